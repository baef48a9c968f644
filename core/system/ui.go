package system

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	"github.com/coffer-secrets/coffer/core/direct"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/policy"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

func (s *system) uiRoutes() []engines.Route {
	path := field("path", engines.String, "A path in or of the mount.")
	return []engines.Route{
		{Pattern: "internal/ui/mounts", Help: "List the mounts that the caller can use.", Public: true, Ops: []engines.Op{read(whole(s.uiMounts))}},
		{Pattern: "internal/ui/mounts/{path...}", Help: "Tell of the mount that a path is in.", Public: true, Fields: []engines.Field{path}, Ops: []engines.Op{read(whole(s.uiMount))}},
		{Pattern: "internal/ui/resultant-acl", Help: "What the caller's policies come to.", Ops: []engines.Op{read(whole(s.resultantACL))}},
		{Pattern: "internal/ui/namespaces", Help: "List the namespaces that the caller can use.", Public: true, Ops: []engines.Op{read(whole(s.uiNamespaces))}},
		{Pattern: "internal/specs/openapi", Help: "Describe the API.", Public: true, Fields: []engines.Field{
			field("context", engines.String, "Accepted."), field("generic_mount_paths", engines.Bool, "Write mount paths as parameters."),
		}, Ops: []engines.Op{read(whole(s.openAPI)), compute(whole(s.openAPI))}},
	}
}

// callerACL is what the caller may do, or nil without a good token. These
// routes need no token, but tell more with one.
func (s *system) callerACL(ctx context.Context, req *engines.Request, tx *state.Tx) (*policy.ACL, error) {
	id := tokens.CallerOf(ctx).ID
	if id == "" {
		return nil, nil
	}
	t, err := s.Tokens.Find(tx, id)
	if err != nil {
		return nil, err
	}
	if !t.AllowsAddr(req.Caller.Addr) {
		return nil, engines.Errorf(engines.KindDenied, "permission denied")
	}
	return s.ACL(tx, t)
}

func (s *system) uiMounts(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	acl, err := s.callerACL(ctx, req, tx)
	if err != nil {
		return nil, err
	}
	router, err := s.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	secret, auth := make(map[string]any), make(map[string]any)
	for _, m := range router.All() {
		if !visible(acl, &m.Entry) {
			continue
		}
		if m.Class == engines.ClassAuth {
			auth[strings.TrimPrefix(m.Path, "auth/")] = uiInfo(&m.Entry, acl != nil)
			continue
		}
		secret[m.Path] = uiInfo(&m.Entry, acl != nil)
	}
	return data(map[string]any{"secret": secret, "auth": auth}), nil
}

func visible(acl *policy.ACL, e *mounts.Entry) bool {
	if e.Config.ListingVisibility == "unauth" {
		return true
	}
	return acl != nil && acl.HasAccessBelow(e.Path)
}

// uiInfo is what is told of a mount; to strangers, no more than they need.
func uiInfo(e *mounts.Entry, known bool) map[string]any {
	options := any(nil)
	if len(e.Options) > 0 {
		options = e.Options
	}
	out := map[string]any{"type": e.Type, "description": e.Description, "options": options}
	if known {
		full := entryInfo(e)
		delete(full, "deprecation_status")
		return full
	}
	return out
}

func (s *system) uiMount(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	denied := engines.Errorf(engines.KindDenied, "preflight capability check returned 403, please ensure client's policies grant access to path %q", strings.Trim(req.Fields.String("path"), "/")+"/")
	acl, err := s.callerACL(ctx, req, tx)
	if err != nil {
		return nil, err
	}
	if acl == nil {
		return nil, engines.Invalidf("missing client token")
	}
	router, err := s.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	m, _, ok := router.Find(strings.Trim(req.Fields.String("path"), "/"))
	if !ok || !acl.HasAccessBelow(m.Path) {
		return nil, denied
	}
	out := uiInfo(&m.Entry, true)
	out["path"] = m.Path
	return data(out), nil
}

func (s *system) resultantACL(ctx context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	acl, err := s.ACL(tx, tokens.CallerOf(ctx).Token)
	if err != nil {
		return nil, err
	}
	return data(acl.Resultant()), nil
}

func (s *system) uiNamespaces(context.Context, *engines.Request, *state.Tx) (*engines.Response, error) {
	return data(map[string]any{"keys": []string{}}), nil // there is only the root namespace
}

// genericPaths describes a mount with a parameter in the place of where it is,
// if that can be chosen.
func genericPaths(e *mounts.Entry, t *engines.Table) map[string]any {
	switch e.Type {
	case "system", "identity", "token", "cubbyhole":
		return schema.OpenAPI(e.Path, t)
	}
	prefix, at := "", strings.TrimSuffix(e.Path, "/")
	if e.Class == engines.ClassAuth {
		prefix, at = "auth/", strings.TrimPrefix(at, "auth/")
	}
	name := strings.ReplaceAll(at, "/", "_") + "_mount_path"
	paths := schema.OpenAPI(prefix+"{"+name+"}/", t)
	for _, item := range paths {
		if item, ok := item.(map[string]any); ok {
			list, _ := item["parameters"].([]any)
			item["parameters"] = append(list, map[string]any{
				"name": name, "in": "path", "required": true, "description": "Where the engine is mounted.",
				"schema": map[string]any{"type": "string", "default": at},
			})
		}
	}
	return paths
}

// openAPI describes the mounts that the caller can use; without a token, what
// needs none to be known of: the system's own paths.
func (s *system) openAPI(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	acl, err := s.callerACL(ctx, req, tx)
	if err != nil {
		return nil, err
	}
	router, err := s.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	all := schema.OpenAPI("sys/", direct.Table())
	maps.Copy(all, schema.OpenAPI("sys/", s.tuneTable()))
	for _, m := range router.All() {
		if m.Class != engines.ClassSystem && !visible(acl, &m.Entry) {
			continue
		}
		if req.Fields.Bool("generic_mount_paths") {
			maps.Copy(all, genericPaths(&m.Entry, m.Table.Table()))
			continue
		}
		maps.Copy(all, schema.OpenAPI(m.Path, m.Table.Table()))
	}
	body, err := json.Marshal(schema.Document(all, s.Control.Node().Version))
	if err != nil {
		return nil, engines.Internal(err)
	}
	return &engines.Response{Raw: &engines.Raw{Status: statusOK, ContentType: "application/json", Body: body}}, nil
}
