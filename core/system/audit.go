package system

import (
	"context"
	"strings"

	"github.com/coffer-secrets/coffer/core/audit"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func (s *system) auditRoutes() []engines.Route {
	path := field("path", engines.String, "The device's name.")
	header := field("header", engines.String, "The header's name.")
	return []engines.Route{
		{Pattern: "audit", Help: "List the audit devices.", Sudo: true, Ops: []engines.Op{read(whole(s.listAudit))}},
		{Pattern: "audit/{path...}", Help: "Enable and disable an audit device.", Sudo: true, Fields: []engines.Field{
			path,
			{Name: "type", Type: engines.String, Help: "\"file\", \"http\", \"socket\" or \"syslog\"."},
			field("description", engines.String, "What the device is for."),
			{Name: "options", Type: engines.KVPairs, Secret: true, Help: "Options of the device's type, such as file_path."},
			field("local", engines.Bool, "Accepted; there is no replication between clusters."),
		}, Ops: []engines.Op{update(whole(s.enableAudit)), remove(whole(s.disableAudit))}},
		{Pattern: "audit-hash/{path...}", Help: "Tell what stands for a text in a device's records.", Fields: []engines.Field{
			path, {Name: "input", Type: engines.String, Required: true, Secret: true, Help: "The text."},
		}, Ops: []engines.Op{compute(s.auditHash)}},
		{Pattern: "config/auditing/request-headers", Help: "List the request headers that audit records carry.", Sudo: true,
			Ops: []engines.Op{read(whole(s.auditHeaders))}},
		{Pattern: "config/auditing/request-headers/{header}", Help: "A request header that audit records carry.", Sudo: true, Fields: []engines.Field{
			header, field("hmac", engines.Bool, "Whether its values are hashed."),
		}, Ops: []engines.Op{read(whole(s.auditHeader)), update(whole(s.setAuditHeader)), remove(whole(s.deleteAuditHeader))}},
	}
}

func (s *system) listAudit(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	list, err := s.Audit.Devices(tx)
	if err != nil {
		return nil, err
	}
	works := make(map[string]bool)
	for _, status := range s.Audit.Statuses() {
		works[status.Path] = status.Works
	}
	out := make(map[string]any)
	for _, e := range list {
		out[e.Path] = map[string]any{
			"path": e.Path, "type": e.Type, "description": e.Description, "options": e.Shown(), "local": e.Local,
			"configured": e.Configured(), "works": works[e.Path],
		}
	}
	return both(out), nil
}

func (s *system) enableAudit(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f := req.Fields
	return nil, s.Audit.Enable(tx, audit.Entry{
		Path: f.String("path"), Type: f.String("type"), Description: f.String("description"),
		Options: f.KVPairs("options"), Local: f.Bool("local"),
	})
}

func (s *system) disableAudit(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return nil, s.Audit.Disable(tx, req.Fields.String("path"))
}

func (s *system) auditHash(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
	hash, ok := s.Audit.Hash(strings.Trim(req.Fields.String("path"), "/")+"/", req.Fields.String("input"))
	if !ok {
		return nil, engines.Invalidf("there is no audit device of this name")
	}
	return both(map[string]any{"hash": hash}), nil
}

func headerInfo(hash bool) map[string]any { return map[string]any{"hmac": hash} }

func (s *system) auditHeaders(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	t, err := audit.ReadTable(tx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any)
	for name, hash := range t.Headers {
		out[name] = headerInfo(hash)
	}
	return both(map[string]any{"headers": out}), nil
}

func (s *system) auditHeader(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	t, err := audit.ReadTable(tx)
	if err != nil {
		return nil, err
	}
	name := strings.ToLower(req.Fields.String("header"))
	hash, ok := t.Headers[name]
	if !ok {
		return nil, engines.Invalidf("Could not find header in config")
	}
	return both(map[string]any{name: headerInfo(hash)}), nil
}

func (s *system) setAuditHeader(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	hash := req.Fields.Bool("hmac")
	return nil, audit.SetHeader(tx, req.Fields.String("header"), &hash)
}

func (s *system) deleteAuditHeader(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return nil, audit.SetHeader(tx, req.Fields.String("header"), nil)
}
