package quotas

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Bounds of what a rule may say.
const (
	maxInterval = 366 * 24 * time.Hour
	maxName     = 256
	maxPath     = 2048
	maxExempt   = 256
)

// routes serves sys/quotas.
type routes struct {
	quotas *Quotas
	mounts func() *mounts.Mounts
}

// Routes returns what is served below sys/.
func (q *Quotas) Routes(mounted func() *mounts.Mounts) []engines.Route {
	r := &routes{quotas: q, mounts: mounted}
	field := func(name string, typ engines.FieldType, help string) engines.Field {
		return engines.Field{Name: name, Type: typ, Help: help}
	}
	common := []engines.Field{
		field("name", engines.String, "The quota's name."),
		field("path", engines.String, "A mount, a path, or the beginning of paths with a trailing \"*\"; empty for everything."),
		field("role", engines.String, "The role whose logins at the mount count."),
		field("inheritable", engines.Bool, "Whether it counts in namespaces below too."),
		field("type", engines.String, "Accepted."),
	}
	rate := slices.Concat(common, []engines.Field{
		field("rate", engines.Float, "How many requests each client may make in an interval."),
		field("interval", engines.Seconds, "The interval; a second if none is given."),
		field("block_interval", engines.Seconds, "For how long a client is kept out that asked for more."),
	})
	count := append(slices.Clone(common), field("max_leases", engines.Int, "How many leases there may be at once."))
	page := []engines.Field{{Name: "after", Type: engines.String, Query: true, Help: "List names after this one."}, {Name: "limit", Type: engines.Int, Query: true, Help: "List so many names."}}
	list := []engines.Route{
		{Pattern: "quotas/config", Help: "Settings of all rate limits.", Fields: []engines.Field{
			field("enable_rate_limit_audit_logging", engines.Bool, "Record the requests that are refused."),
			field("enable_rate_limit_response_headers", engines.Bool, "Tell in each answer's headers what is left."),
			field("rate_limit_exempt_paths", engines.Strings, "Paths without a limit; a trailing \"*\" stands for all below."),
			field("absolute_rate_limit_exempt_paths", engines.Strings, "As rate_limit_exempt_paths, from the root namespace."),
		}, Ops: []engines.Op{op(engines.Read, readSettings), op(engines.Update, r.writeSettings)}},
	}
	for kind, fields := range map[Kind][]engines.Field{Rate: rate, Count: count} {
		list = append(list,
			engines.Route{Pattern: "quotas/" + string(kind), Help: "List the quotas of this kind.", Fields: page, Ops: []engines.Op{op(engines.List, listRules(kind))}},
			engines.Route{Pattern: "quotas/" + string(kind) + "/{name}", Help: "Read, write and delete a quota.", Fields: fields, Ops: []engines.Op{
				op(engines.Read, readRule(kind)), op(engines.Update, r.writeRule(kind)), op(engines.Delete, r.deleteRule(kind)),
			}},
		)
	}
	return list
}

type handler func(req *engines.Request, tx *state.Tx) (*engines.Response, error)

func op(does engines.Operation, h handler) engines.Op {
	trait := engines.Reads
	if does == engines.Update || does == engines.Delete {
		trait = engines.Writes
	}
	return engines.Op{Do: does, Trait: trait, Handler: func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		return h(req, tx.(*state.Region).Tx()) //nolint:forcetypeassert // the core's own engine runs on the core's own transactions
	}}
}

// applied makes the rules count on this node before the answer is given.
func (r *routes) applied(tx *state.Tx) *engines.Response {
	store := tx.Store()
	return &engines.Response{Then: func(context.Context) error { return store.Local(r.quotas.Refresh) }}
}

func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func readSettings(_ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	c, err := readConfig(tx)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: map[string]any{
		"enable_rate_limit_audit_logging": c.AuditLogging, "enable_rate_limit_response_headers": c.Headers,
		"rate_limit_exempt_paths": texts(c.Exempt), "absolute_rate_limit_exempt_paths": texts(c.ExemptAbsolute),
	}}, nil
}

func (r *routes) writeSettings(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	c, err := readConfig(tx)
	if err != nil {
		return nil, err
	}
	f := req.Fields
	for name, to := range map[string]*bool{"enable_rate_limit_audit_logging": &c.AuditLogging, "enable_rate_limit_response_headers": &c.Headers} {
		if f.Has(name) {
			*to = f.Bool(name)
		}
	}
	for name, to := range map[string]*[]string{"rate_limit_exempt_paths": &c.Exempt, "absolute_rate_limit_exempt_paths": &c.ExemptAbsolute} {
		if f.Has(name) {
			if *to, err = exemptPaths(name, f.Strings(name)); err != nil {
				return nil, err
			}
		}
	}
	return r.applied(tx), store(tx, configPath, c)
}

func exemptPaths(field string, list []string) ([]string, error) {
	if len(list) > maxExempt {
		return nil, engines.Invalidf("%s: at most %d paths", field, maxExempt)
	}
	out := make([]string, 0, len(list))
	for _, path := range list {
		if path = strings.TrimPrefix(path, "/"); path == "" || len(path) > maxPath {
			return nil, engines.Invalidf("%s: a path is 1 to %d bytes long", field, maxPath)
		}
		out = append(out, path)
	}
	return out, nil
}

func listRules(kind Kind) handler {
	return func(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
		names, err := region(tx).List(string(kind)+"/", engines.Page{After: req.Fields.String("after"), Limit: int(req.Fields.Int("limit"))})
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, engines.NotFound()
		}
		return &engines.Response{Data: map[string]any{"keys": names}}, nil
	}
}

func readRule(kind Kind) handler {
	return func(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
		var q Rule
		found, err := load(tx, rulePath(kind, req.Fields.String("name")), &q)
		if err != nil {
			return nil, err
		}
		if !found {
			return nil, engines.NotFound()
		}
		out := map[string]any{"name": q.Name, "type": string(q.Kind), "path": q.Path, "role": q.Role, "inheritable": q.Inheritable}
		if kind == Rate {
			out["rate"], out["interval"], out["block_interval"] = q.Rate, int64(q.Interval.Seconds()), int64(q.Block.Seconds())
			return &engines.Response{Data: out}, nil
		}
		n, _, err := counted(q.ID, tx.Get)
		out["max_leases"], out["counter"] = q.MaxLeases, n
		return &engines.Response{Data: out}, err
	}
}

func (r *routes) writeRule(kind Kind) handler {
	return func(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
		f := req.Fields
		name := f.String("name")
		if len(name) > maxName {
			return nil, engines.Invalidf("name: at most %d bytes", maxName)
		}
		var q Rule
		found, err := load(tx, rulePath(kind, name), &q)
		if err != nil {
			return nil, err
		}
		if !found {
			q = Rule{ID: newID(), Name: name, Kind: kind, Interval: time.Second}
			if err := hasRoom(tx, kind); err != nil {
				return nil, err
			}
		}
		if err := r.fill(tx, &q, f); err != nil {
			return nil, err
		}
		if err := alone(tx, &q); err != nil {
			return nil, err
		}
		if kind == Count && !found {
			if err := add(tx, q.ID, 0, 0); err != nil {
				return nil, err
			}
		}
		return r.applied(tx), store(tx, rulePath(kind, name), q)
	}
}

func hasRoom(tx *state.Tx, kind Kind) error {
	names, err := region(tx).List(string(kind)+"/", engines.Page{})
	if err == nil && len(names) >= maxRules {
		err = engines.Invalidf("there are %d quotas of this kind, which is the most", maxRules)
	}
	return err
}

// alone refuses a second rule for the same requests: which one counts would be
// anybody's guess.
func alone(tx *state.Tx, q *Rule) error {
	names, err := region(tx).List(string(q.Kind)+"/", engines.Page{})
	if err != nil {
		return err
	}
	for _, name := range names {
		var other Rule
		if _, err := load(tx, rulePath(q.Kind, name), &other); err != nil {
			return err
		}
		if other.Name != q.Name && other.Path == q.Path && other.Role == q.Role {
			return engines.Invalidf("quota rule with similar properties exists under the name %q", other.Name)
		}
	}
	return nil
}

// fill sets what the caller gave, and checks the whole.
func (r *routes) fill(tx *state.Tx, q *Rule, f engines.Values) error {
	if f.Has("path") {
		path, err := r.path(tx, f.String("path"))
		if err != nil {
			return err
		}
		q.Path = path
	}
	if f.Has("role") {
		q.Role = f.String("role")
	}
	if f.Has("inheritable") {
		q.Inheritable = f.Bool("inheritable")
	}
	login := strings.HasPrefix(q.Path, "auth/") && strings.HasSuffix(q.Path, "/")
	if len(q.Role) > maxName || q.Role != "" && !login {
		return engines.Invalidf("role: the path of a quota for a role is a way to log in, such as auth/approle")
	}
	if q.Kind == Count {
		if f.Has("max_leases") {
			q.MaxLeases = f.Int("max_leases")
		}
		if q.MaxLeases <= 0 {
			return engines.Invalidf("max_leases must be greater than 0")
		}
		return nil
	}
	return q.fillRate(f)
}

func (q *Rule) fillRate(f engines.Values) error {
	if f.Has("rate") {
		q.Rate = f.Float("rate")
	}
	if f.Has("interval") {
		if q.Interval = f.Duration("interval"); q.Interval == 0 {
			q.Interval = time.Second
		}
	}
	if f.Has("block_interval") {
		q.Block = f.Duration("block_interval")
	}
	switch {
	case !(q.Rate > 0) || q.Rate > math.MaxInt32: // NaN too
		return engines.Invalidf("rate must be greater than 0")
	case q.Interval < time.Second || q.Interval > maxInterval:
		return engines.Invalidf("interval must be between a second and a year")
	case q.Block < 0 || q.Block > maxInterval:
		return engines.Invalidf("block_interval must be at most a year")
	}
	return nil
}

// path is the one form of a rule's path: that of a mount ends in a slash.
func (r *routes) path(tx *state.Tx, text string) (string, error) {
	text = strings.TrimPrefix(text, "/")
	open := strings.HasSuffix(text, "*")
	plain := strings.TrimSuffix(text, "*")
	if len(text) > maxPath || strings.ContainsAny(plain, "*+") || strings.Contains(text, "//") {
		return "", engines.Invalidf("path: it is a mount, a path, or the beginning of paths with one \"*\" at the end")
	}
	if text == "" {
		return "", nil
	}
	router, err := r.mounts().Router(tx)
	if err != nil {
		return "", err
	}
	if !open {
		if m, ok := router.Get(strings.TrimSuffix(text, "/") + "/"); ok {
			return m.Path, nil
		}
	}
	if _, _, ok := router.Find(strings.TrimSuffix(plain, "/")); !ok {
		return "", engines.Invalidf("path: nothing is mounted there")
	}
	return strings.TrimSuffix(text, "/"), nil
}

func (r *routes) deleteRule(kind Kind) handler {
	return func(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
		path := rulePath(kind, req.Fields.String("name"))
		var q Rule
		found, err := load(tx, path, &q)
		if err != nil || !found {
			return nil, err
		}
		if kind == Count {
			if err := dropCounts(tx, q.ID); err != nil {
				return nil, err
			}
		}
		return r.applied(tx), region(tx).Delete(path)
	}
}

func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	return hex.EncodeToString(id[:])
}
