package approle

import (
	"context"
	"strings"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

// roleFields are the settings of a role.
func roleFields() []engines.Field {
	return append([]engines.Field{
		{Name: "bind_secret_id", Type: engines.Bool, Default: true, Help: "Ask for a secret id at login."},
		{Name: "bound_cidr_list", Type: engines.Strings, Deprecated: true, Help: "Use secret_id_bound_cidrs."},
		{Name: "local_secret_ids", Type: engines.Bool, Help: "Keep secret ids in this cluster; can only be set when the role is made."},
		{Name: "role_id", Help: "The id of the role; one is made up if none is given."},
		{Name: "secret_id_bound_cidrs", Type: engines.Strings, Help: "Addresses that logins may come from."},
		{Name: "secret_id_num_uses", Type: engines.Int, Help: "How often a secret id may be used; 0 for any number."},
		{Name: "secret_id_ttl", Type: engines.Seconds, Help: "How long a secret id can be used; 0 for ever."},
	}, auth.TokenFields("policies", "period")...)
}

// setting is a path of its own for one field of a role.
type setting struct {
	path string
	// names are the field, and other names for it.
	names []string
	reset func(r *role)
}

var settings = []setting{
	{"bind-secret-id", []string{"bind_secret_id"}, func(r *role) { r.BindSecretID = true }},
	{"bound-cidr-list", []string{"bound_cidr_list"}, func(r *role) { r.CIDRs = nil }},
	{"period", []string{"token_period", "period"}, func(r *role) { r.Token.Period = 0 }},
	{"policies", []string{"token_policies", "policies"}, func(r *role) { r.Token.Policies = nil }},
	{"secret-id-bound-cidrs", []string{"secret_id_bound_cidrs"}, func(r *role) { r.CIDRs = nil }},
	{"secret-id-num-uses", []string{"secret_id_num_uses"}, func(r *role) { r.NumUses = 0 }},
	{"secret-id-ttl", []string{"secret_id_ttl"}, func(r *role) { r.TTL = 0 }},
	{"token-bound-cidrs", []string{"token_bound_cidrs"}, func(r *role) { r.Token.BoundCIDRs = nil }},
	{"token-max-ttl", []string{"token_max_ttl"}, func(r *role) { r.Token.MaxTTL = 0 }},
	{"token-num-uses", []string{"token_num_uses"}, func(r *role) { r.Token.NumUses = 0 }},
	{"token-ttl", []string{"token_ttl"}, func(r *role) { r.Token.TTL = 0 }},
}

func settingRoutes() []engines.Route {
	byName := make(map[string]engines.Field)
	for _, f := range roleFields() {
		byName[f.Name] = f
	}
	routes := make([]engines.Route, 0, len(settings))
	for _, s := range settings {
		fields := []engines.Field{roleName()}
		for _, name := range s.names {
			fields = append(fields, byName[name])
		}
		routes = append(routes, engines.Route{
			Pattern: "role/{role_name}/" + s.path, Help: "Read, write and reset one setting of a role: " + s.names[0] + ".", Fields: fields,
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readSetting(s.names...)},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeSetting(s.names...)},
				{Do: engines.Delete, Trait: engines.Writes, Handler: resetSetting(s.reset)},
			},
		})
	}
	return routes
}

func readSetting(names ...string) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		r, err := loadRole(req, tx)
		if err != nil {
			return nil, err
		}
		if r == nil {
			return nil, engines.NotFound()
		}
		all := r.show()
		out := make(map[string]any, len(names))
		for _, name := range names {
			out[name] = all[name]
		}
		return &engines.Response{Data: out}, nil
	}
}

func writeSetting(names ...string) engines.Handler {
	return change(func(r *role, req *engines.Request) error {
		for _, name := range names {
			if req.Fields.Has(name) {
				return r.set(req.Fields)
			}
		}
		return engines.Invalidf("missing %s", strings.Join(names, " or "))
	})
}

func resetSetting(reset func(r *role)) engines.Handler {
	return change(func(r *role, _ *engines.Request) error {
		reset(r)
		return nil
	})
}

// change edits a role that has to be there.
func change(edit func(r *role, req *engines.Request) error) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		r, err := loadRole(req, tx)
		if err != nil {
			return nil, err
		}
		if r == nil {
			return nil, engines.Errorf(engines.KindNotFound, "the role does not exist")
		}
		before := r.RoleID
		if err := edit(r, req); err != nil {
			return nil, err
		}
		return r.save(req, tx, before)
	}
}
