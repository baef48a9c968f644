package system

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/leases/issued"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

// mountFields are those of a mount and of its tune path, which are one route: a
// mount's own path may have any number of segments.
func mountFields(path engines.Field) []engines.Field {
	fields := []engines.Field{
		path,
		{Name: "type", Type: engines.String, Help: "Type of the engine, such as \"kv\"."},
		field("description", engines.String, "What the mount is for."),
		field("config", engines.Map, "Settings: default_lease_ttl, max_lease_ttl and the others of tune."),
		field("options", engines.KVPairs, "Options of the engine, such as version=2."),
		field("local", engines.Bool, "Accepted; there is no replication between clusters."),
		field("seal_wrap", engines.Bool, "Accepted; every value is sealed."),
		field("external_entropy_access", engines.Bool, "Accepted."),
		{Name: "plugin_name", Type: engines.String, Help: "Another name of type."},
		{Name: "plugin_version", Type: engines.String, Help: "Must be empty: engines are built in."},
	}
	for _, f := range tuneFields(path) {
		if !slices.ContainsFunc(fields, func(have engines.Field) bool { return have.Name == f.Name }) {
			fields = append(fields, f)
		}
	}
	return fields
}

func tuneFields(path engines.Field) []engines.Field {
	return []engines.Field{
		path,
		field("default_lease_ttl", engines.String, "Default lease duration, or \"system\"."),
		field("max_lease_ttl", engines.String, "Greatest lease duration, or \"system\"."),
		field("description", engines.String, "What the mount is for."),
		field("options", engines.KVPairs, "Options of the engine."),
		field("listing_visibility", engines.String, "\"unauth\" shows the mount to callers without a token."),
		field("token_type", engines.String, "Type of the tokens that logins get."),
		field("audit_non_hmac_request_keys", engines.Strings, "Request fields that stand plain in audit records."),
		field("audit_non_hmac_response_keys", engines.Strings, "Response fields that stand plain in audit records."),
		field("passthrough_request_headers", engines.Strings, "Request headers that the engine gets."),
		field("allowed_response_headers", engines.Strings, "Response headers that the engine may set."),
		field("user_lockout_config", engines.KVPairs, "Rules for locking users out."),
		{Name: "plugin_version", Type: engines.String, Help: "Must be empty: engines are built in."},
	}
}

// tuneTable describes the tune paths, which the routes of the mounts answer.
func (s *system) tuneTable() *engines.Table {
	fields := tuneFields(field("path", engines.String, "The mount's path."))
	ops := []engines.Op{read(whole(s.mountOrTune)), update(whole(s.enableOrTune))}
	return &engines.Table{Routes: []engines.Route{
		{Pattern: "mounts/{path}/tune", Help: "Show and change the settings of a secrets engine.", Fields: fields, Ops: ops},
		{Pattern: "auth/{path}/tune", Help: "Show and change the settings of a way to log in.", Sudo: true, Fields: fields, Ops: ops},
	}}
}

func (s *system) mountRoutes() []engines.Route {
	path := field("path", engines.String, "The mount's path.")
	force := engines.Field{Name: "force", Type: engines.Bool, Query: true, Help: "To disable it: give up leases that cannot be undone at once."}
	return []engines.Route{
		{Pattern: "mounts", Help: "List the secrets engines.", Ops: []engines.Op{read(whole(s.listMounts))}},
		{Pattern: "mounts/{path...}", Help: "Show, enable and disable a secrets engine.", Fields: append(mountFields(path), force), Ops: []engines.Op{
			read(whole(s.mountOrTune)), update(whole(s.enableOrTune)), remove(whole(s.disable)),
		}},
		{Pattern: "remount", Help: "Move a mount to another path.", Sudo: true, Fields: []engines.Field{
			{Name: "from", Type: engines.String, Required: true, Help: "The present path."},
			{Name: "to", Type: engines.String, Required: true, Help: "The new path."},
		}, Ops: []engines.Op{update(whole(s.remount))}},
		{Pattern: "remount/status/{migration_id}", Help: "Tell how a move went.", Fields: []engines.Field{
			field("migration_id", engines.String, "What the move answered."),
		}, Ops: []engines.Op{read(whole(s.remountStatus))}},
	}
}

func (s *system) authRoutes() []engines.Route {
	path := field("path", engines.String, "The path below auth/.")
	return []engines.Route{
		{Pattern: "auth", Help: "List the ways to log in.", Ops: []engines.Op{read(whole(s.listAuth))}},
		{Pattern: "auth/{path...}", Help: "Show, enable and disable a way to log in.", Sudo: true, Fields: mountFields(path), Ops: []engines.Op{
			read(whole(s.mountOrTune)), update(whole(s.enableOrTune)), remove(whole(s.disable)),
		}},
	}
}

// target is the mount path that a request names, and whether it is about its
// settings: "mounts/a/b/tune" is the tune path of the mount "a/b/".
func target(req *engines.Request) (path string, tune bool) {
	path = strings.Trim(req.Fields.String("path"), "/")
	path, tune = strings.CutSuffix(path, "/tune")
	if isAuth(req) {
		path = "auth/" + path
	}
	return path + "/", tune
}

func isAuth(req *engines.Request) bool { return strings.HasPrefix(req.Path, "sys/auth/") }

// classOf is what the request's path is about.
func classOf(req *engines.Request) engines.Class {
	if isAuth(req) {
		return engines.ClassAuth
	}
	return engines.ClassSecret
}

func (s *system) listMounts(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return s.listClass(tx, false)
}

func (s *system) listAuth(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return s.listClass(tx, true)
}

func (s *system) listClass(tx *state.Tx, auth bool) (*engines.Response, error) {
	router, err := s.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	out := make(map[string]any)
	for _, m := range router.All() {
		if (m.Class == engines.ClassAuth) == auth {
			out[strings.TrimPrefix(m.Path, "auth/")] = entryInfo(&m.Entry)
		}
	}
	return both(out), nil
}

func entryInfo(e *mounts.Entry) map[string]any {
	config := map[string]any{
		"default_lease_ttl": e.Config.DefaultLeaseTTL, "max_lease_ttl": e.Config.MaxLeaseTTL, "force_no_cache": e.Config.ForceNoCache,
	}
	addTuned(config, &e.Config)
	if e.Class == engines.ClassAuth && e.Config.TokenType == "" {
		config["token_type"] = "default-service"
	}
	options := any(nil)
	if len(e.Options) > 0 {
		options = e.Options
	}
	return map[string]any{
		"type": e.Type, "description": e.Description, "accessor": e.Accessor, "uuid": e.UUID, "local": e.Local,
		"seal_wrap": e.SealWrap, "external_entropy_access": false, "options": options, "config": config,
		"plugin_version": "", "running_plugin_version": "", "running_sha256": "", "deprecation_status": "supported",
	}
}

// addTuned adds the settings that are only shown when they are set.
func addTuned(out map[string]any, c *mounts.Config) {
	for name, values := range map[string][]string{
		"audit_non_hmac_request_keys": c.AuditNonHMACRequestKeys, "audit_non_hmac_response_keys": c.AuditNonHMACResponseKeys,
		"passthrough_request_headers": c.PassthroughRequestHeaders, "allowed_response_headers": c.AllowedResponseHeaders,
	} {
		if len(values) > 0 {
			out[name] = values
		}
	}
	if c.ListingVisibility != "" {
		out["listing_visibility"] = c.ListingVisibility
	}
	if c.TokenType != "" {
		out["token_type"] = c.TokenType
	}
	if len(c.UserLockout) > 0 {
		out["user_lockout_config"] = c.UserLockout
	}
}

func (s *system) mountOrTune(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	path, tune := target(req)
	router, err := s.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	m, ok := router.Get(path)
	if !ok {
		if tune {
			return nil, engines.Invalidf("cannot fetch sysview for path %q", path)
		}
		return nil, engines.Invalidf("No secret engine mount at %s", path)
	}
	if !tune {
		return both(entryInfo(&m.Entry)), nil
	}
	def, limit := m.TTLs(s.Mounts().Limits())
	out := map[string]any{
		"default_lease_ttl": int64(def.Seconds()), "max_lease_ttl": int64(limit.Seconds()),
		"force_no_cache": m.Config.ForceNoCache, "description": m.Description,
	}
	if len(m.Options) > 0 {
		out["options"] = m.Options
	}
	if m.Class == engines.ClassAuth {
		out["token_type"] = "default-service"
	}
	addTuned(out, &m.Config)
	return both(out), nil
}

func (s *system) enableOrTune(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	path, tune := target(req)
	f := req.Fields
	if tune {
		return nil, s.Mounts().Tune(ctx, tx, path, func(e *mounts.Entry) error { return tuneEntry(e, f.Given()) })
	}
	class := classOf(req)
	typ := f.String("type")
	if typ == "" || typ == "plugin" {
		typ = f.String("plugin_name")
	}
	if typ == "" {
		return nil, engines.Invalidf("type: say which engine to enable")
	}
	if f.String("plugin_version") != "" {
		return nil, engines.Invalidf("plugin_version: engines are built in and have no version of their own")
	}
	e := mounts.NewEntry(class, typ, path)
	e.Description, e.Local, e.SealWrap = f.String("description"), f.Bool("local"), f.Bool("seal_wrap")
	e.Options = f.KVPairs("options")
	given := maps.Clone(f.Given()) // settings count beside config too
	if f.Has("config") {
		values, err := decodeConfig(f)
		if err != nil {
			return nil, err
		}
		maps.Copy(given, values)
	}
	if err := tuneEntry(&e, given); err != nil {
		return nil, err
	}
	return nil, s.Mounts().Enable(ctx, tx, e)
}

// decodeConfig reads the object "config" by the same fields as tune.
func decodeConfig(f engines.Values) (map[string]any, error) {
	path := engines.Field{Name: "path", Type: engines.String, Help: "Ignored."}
	route := &engines.Route{Pattern: "config", Fields: tuneFields(path)}
	body := f.Map("config")
	delete(body, "force_no_cache")
	values, _, err := schema.Decode(route, engines.Update, nil, nil, body)
	if err != nil {
		return nil, err
	}
	return values.Given(), nil
}

// tuneEntry applies the settings that were given.
func tuneEntry(e *mounts.Entry, given map[string]any) error {
	text := func(name string, into *string) {
		if v, ok := given[name].(string); ok {
			*into = v
		}
	}
	list := func(name string, into *[]string) {
		if v, ok := given[name].([]string); ok {
			*into = v
		}
	}
	c := &e.Config
	text("description", &e.Description)
	text("listing_visibility", &c.ListingVisibility)
	text("token_type", &c.TokenType)
	list("audit_non_hmac_request_keys", &c.AuditNonHMACRequestKeys)
	list("audit_non_hmac_response_keys", &c.AuditNonHMACResponseKeys)
	list("passthrough_request_headers", &c.PassthroughRequestHeaders)
	list("allowed_response_headers", &c.AllowedResponseHeaders)
	if v, ok := given["user_lockout_config"].(map[string]string); ok {
		c.UserLockout = v
	}
	if v, ok := given["options"].(map[string]string); ok {
		if e.Options == nil {
			e.Options = make(map[string]string)
		}
		maps.Copy(e.Options, v)
	}
	for name, into := range map[string]*int64{"default_lease_ttl": &c.DefaultLeaseTTL, "max_lease_ttl": &c.MaxLeaseTTL} {
		v, ok := given[name].(string)
		if !ok || v == "" { // clients send what they leave as it is as empty
			continue
		}
		ttl, err := leaseTTL(v)
		if err != nil {
			return engines.Invalidf("%s: expected a duration such as \"1h\", seconds, or \"system\"", name)
		}
		*into = ttl
	}
	return nil
}

func leaseTTL(text string) (int64, error) {
	if text == "system" {
		return 0, nil
	}
	d, ok := engines.ParseSeconds(text)
	if !ok || d < 0 {
		return 0, strconv.ErrSyntax
	}
	return int64(d.Seconds()), nil
}

func (s *system) disable(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	path, tune := target(req)
	if tune {
		return nil, engines.Errorf(engines.KindMethod, "unsupported operation")
	}
	m, err := s.Mounts().Disable(tx, classOf(req), path)
	if err != nil || m == nil || m.Class != engines.ClassAuth && m.Engine.Revoke == nil {
		return nil, err
	}
	if err := s.Issued.Unmount(tx, m); err != nil || m.Class == engines.ClassAuth {
		return nil, err
	}
	return s.leasesLeft(req, tx, m)
}

// leasesLeft tells of the leases of a mount that is removed, and with force gives
// up those that cannot be undone.
func (s *system) leasesLeft(req *engines.Request, tx *state.Tx, m *mounts.Mounted) (*engines.Response, error) {
	n, more, err := issued.OfMount(tx, m)
	if err != nil || n == 0 && !more {
		return nil, err
	}
	least := ""
	if more {
		least = "at least "
	}
	had := fmt.Sprintf("The mount had %s%d leases. ", least, n)
	if !req.Fields.Bool("force") {
		return &engines.Response{Warnings: []string{had + "What was made for them is removed in the background, which is tried until it works: sys/leases/stuck tells what fails. " +
			"Where it cannot work any more, sys/leases/revoke-force/" + strings.TrimSuffix(m.Path, "/") + " gives it up, as force=true would have."}}, nil
	}
	store := tx.Store()
	return &engines.Response{
		Warnings: []string{had + "Those that could not be undone at once are given up: what was made for them may still be there."},
		Then:     func(ctx context.Context) error { return s.Issued.Abandon(ctx, store, m) },
	}, nil
}

// remountKept is how long it is told how a move went.
const remountKept = 24 * time.Hour

func passing(tx *state.Tx) *state.Region {
	return tx.Region(state.Prefix(state.Passing, state.RootNamespace))
}

func (s *system) remount(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	from := strings.Trim(req.Fields.String("from"), "/") + "/"
	to := strings.Trim(req.Fields.String("to"), "/") + "/"
	m, err := s.Mounts().Move(tx, from, to)
	if err != nil {
		return nil, err
	}
	if m.Engine.Revoke != nil { // leases are called by the path that it had
		if err := s.Issued.Moved(tx, m); err != nil {
			return nil, err
		}
	}
	// The move is done with this transaction; the id serves clients that go on
	// to ask how it went.
	id := req.ID
	row := state.PutOptions{Expiry: tx.Now().Add(remountKept)}
	if err := passing(tx).PutRow("remount/"+id, []byte(from+"\x00"+to), row); err != nil {
		return nil, err
	}
	return both(map[string]any{"migration_id": id}), nil
}

func (s *system) remountStatus(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	id := req.Fields.String("migration_id")
	entry, err := passing(tx).Get("remount/" + id)
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, engines.NotFound()
	}
	from, to, _ := strings.Cut(string(entry.Value), "\x00")
	return both(map[string]any{
		"migration_id": id, "migration_info": map[string]any{"status": "success", "source_mount": from, "target_mount": to},
	}), nil
}
