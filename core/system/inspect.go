package system

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/identity"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func (s *system) inspectRoutes() []engines.Route {
	return []engines.Route{
		{Pattern: "internal/counters/requests", Help: "Count requests by month: they are counted in metrics only.", Ops: []engines.Op{read(whole(s.countRequests))}},
		{Pattern: "internal/counters/tokens", Help: "Count the service tokens.", Ops: []engines.Op{read(whole(s.countTokens))}},
		{Pattern: "internal/counters/entities", Help: "Count the entities.", Ops: []engines.Op{read(whole(s.countEntities))}},
		{Pattern: "internal/inspect/request", Help: "Tell how this request arrived.", Sudo: true, Ops: []engines.Op{read(whole(s.inspectRequest))}},
		{Pattern: "internal/inspect/router/{tag}", Help: "List the mounts by a key of the router.", Sudo: true, Fields: []engines.Field{
			{Name: "tag", Type: engines.String, Allowed: []string{"root", "uuid", "accessor", "storage"}, Help: "The key: \"root\", \"uuid\", \"accessor\" or \"storage\"."},
		}, Ops: []engines.Op{read(whole(s.inspectRouter))}},
	}
}

func (s *system) countRequests(context.Context, *engines.Request, *state.Tx) (*engines.Response, error) {
	return data(map[string]any{"counters": []any{}}), nil
}

func (s *system) countTokens(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	total := 0
	err := tx.ScanKeys(state.Prefix(state.Accessors, state.RootNamespace), func([]byte) ([]byte, error) {
		total++
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	return data(map[string]any{"counters": map[string]any{"service_tokens": map[string]any{"total": total}}}), nil
}

func (s *system) countEntities(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	total, err := identity.CountEntities(tx)
	if err != nil {
		return nil, err
	}
	return data(map[string]any{"counters": map[string]any{"entities": map[string]any{"total": total}}}), nil
}

// inspectRequest shows what the node made of the way that a request came by:
// behind which address and with which certificate it sees its caller.
func (s *system) inspectRequest(_ context.Context, req *engines.Request, _ *state.Tx) (*engines.Response, error) {
	certificates := []map[string]any{}
	for _, c := range req.Caller.PeerCertificates {
		certificates = append(certificates, map[string]any{
			"subject": c.Subject.String(), "issuer": c.Issuer.String(), "serial_number": c.SerialNumber.String(),
			"not_after": c.NotAfter.UTC().Format(time.RFC3339),
		})
	}
	addr := ""
	if req.Caller.Addr.IsValid() {
		addr = req.Caller.Addr.String()
	}
	return data(map[string]any{
		"id": req.ID, "operation": req.Op.String(), "path": req.Path, "mount_point": req.Mount.Path, "remote_address": addr,
		"client_certificates": certificates, "accessor": req.Caller.Accessor, "entity_id": req.Caller.EntityID,
		"display_name": req.Caller.DisplayName, "policies": req.Caller.Policies, "time": req.Now.Format(time.RFC3339Nano),
	}), nil
}

func (s *system) inspectRouter(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	router, err := s.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	tag := req.Fields.String("tag")
	key := func(m map[string]any) string {
		name := map[string]string{"root": "mount_path", "storage": "uuid"}[tag]
		if name == "" {
			name = tag
		}
		text, _ := m[name].(string)
		return text
	}
	out := []map[string]any{}
	for _, m := range router.All() {
		out = append(out, map[string]any{
			"mount_path": m.Path, "mount_namespace": "", "uuid": m.UUID, "accessor": m.Accessor, "type": m.Type, "tainted": false,
		})
	}
	slices.SortFunc(out, func(a, b map[string]any) int { return strings.Compare(key(a), key(b)) })
	return data(map[string]any{tag: out}), nil
}
