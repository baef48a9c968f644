package jwt

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/auth/jwt/program"
	"github.com/coffer-secrets/coffer/auth/signed"
	"github.com/coffer-secrets/coffer/engines"
)

const programDir = "cel/"

// programRole is the row of a role whose program decides.
type programRole struct {
	Name      string         `json:"name"`
	Program   program.Source `json:"cel_program"`
	Message   string         `json:"message"`
	Audiences []string       `json:"bound_audiences"`
	Leeways   signed.Leeways `json:"leeways"`
}

func (e *engine) programRoutes() []engines.Route {
	fields := []engines.Field{
		{Name: "name", Help: "The name of the role, in any case."},
		{Name: "bound_audiences", Type: engines.Strings, Help: "Audiences of which the token has to be for one."},
		{Name: "cel_program", Type: engines.Map, Help: "The program: its \"expression\", and \"variables\" with \"name\" and \"expression\"."},
		{Name: "clock_skew_leeway", Type: engines.Seconds, Signed: true, Default: signed.DefaultClockSkew, Help: "How far clocks may be apart; 0 for the default, -1 for not at all."},
		{Name: "expiration_leeway", Type: engines.Seconds, Signed: true, Default: signed.DefaultLeeway, Help: "How long a token without expiration is good; 0 for the default, -1 for not at all."},
		{Name: "message", Help: "What to say when the program refuses, in the place of its own words."},
		{Name: "not_before_leeway", Type: engines.Seconds, Signed: true, Default: signed.DefaultLeeway, Help: "How long before its expiration a token without any other time is good; 0 for the default, -1 for not at all."},
	}
	return []engines.Route{
		{
			Pattern: "cel/role", Help: "List the roles with programs.", Fields: auth.Paging(),
			Ops: []engines.Op{{Do: engines.List, Handler: listProgramRoles}},
		},
		{
			Pattern: "cel/role/{name}", Help: "Read, write and delete a role whose program decides.", Fields: fields,
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readProgramRole},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeProgramRole, Exists: programRoleExists, Help: "Write the role, whole."},
				{Do: engines.Patch, Trait: engines.Writes, Handler: patchProgramRole, Help: "Change what is given of the role."},
				{Do: engines.Delete, Trait: engines.Writes, Handler: deleteProgramRole},
			},
		},
		{
			Pattern: "cel/login", Help: "Log in with a token on which a program decides.", Public: true,
			Fields: []engines.Field{
				{Name: "role", Help: "The role to log in by; that of the configuration if empty."},
				{Name: "jwt", Secret: true, Help: "The token."},
			},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Ahead: e.decide, Handler: login}},
		},
	}
}

func loadProgramRole(tx engines.Tx, name string) (*programRole, uint64, error) {
	entry, err := tx.Get(programDir + name)
	if err != nil || entry == nil {
		return nil, 0, err
	}
	r := new(programRole)
	if err := json.Unmarshal(entry.Value, r); err != nil {
		return nil, 0, engines.Internal(err)
	}
	return r, entry.Version, nil
}

// named gets the role that a request names; nil if there is none.
func named(req *engines.Request, tx engines.Tx) (string, *programRole, error) {
	name, err := auth.Name(req, "name")
	if err != nil {
		return "", nil, err
	}
	r, _, err := loadProgramRole(tx, name)
	return name, r, err
}

func programRoleExists(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
	_, r, err := named(req, tx)
	return r != nil, err
}

func listProgramRoles(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return auth.List(req, tx, programDir)
}

func readProgramRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	_, r, err := named(req, tx)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.NotFound()
	}
	return r.show(), nil
}

func (r *programRole) show() *engines.Response {
	seconds := func(d time.Duration) int64 { return int64(d / time.Second) }
	return &engines.Response{Data: map[string]any{
		"name": r.Name, "cel_program": r.Program, "message": r.Message, "bound_audiences": auth.Strings(r.Audiences),
		"expiration_leeway": seconds(r.Leeways.Expiration), "not_before_leeway": seconds(r.Leeways.NotBefore), "clock_skew_leeway": seconds(r.Leeways.ClockSkew),
	}}
}

func deleteProgramRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := auth.Name(req, "name")
	if err != nil {
		return nil, err
	}
	return nil, tx.Delete(programDir + name)
}

func writeProgramRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, _, err := named(req, tx)
	if err != nil {
		return nil, err
	}
	if !req.Fields.Has("cel_program") {
		return nil, engines.Invalidf("missing required field 'cel_program'")
	}
	r := &programRole{Name: name, Leeways: signed.Leeways{Expiration: signed.DefaultLeeway, NotBefore: signed.DefaultLeeway, ClockSkew: signed.DefaultClockSkew}}
	return r.save(req.Fields, tx)
}

func patchProgramRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	_, r, err := named(req, tx)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.NotFound()
	}
	return r.save(req.Fields, tx)
}

// save takes over what was given, checks the whole and stores it.
func (r *programRole) save(f engines.Values, tx engines.Tx) (*engines.Response, error) {
	if f.Has("cel_program") {
		text, err := engines.JoinObject(f.Map("cel_program"))
		if err != nil {
			return nil, engines.Internal(err)
		}
		decoder := json.NewDecoder(strings.NewReader(string(text)))
		decoder.DisallowUnknownFields()
		r.Program = program.Source{}
		if err := decoder.Decode(&r.Program); err != nil {
			return nil, engines.Invalidf("cel_program: expected an \"expression\", and \"variables\" with \"name\" and \"expression\"")
		}
	}
	if f.Has("message") {
		r.Message = f.String("message")
	}
	if f.Has("bound_audiences") {
		r.Audiences = f.Strings("bound_audiences")
	}
	for name, into := range map[string]*time.Duration{
		"clock_skew_leeway": &r.Leeways.ClockSkew, "expiration_leeway": &r.Leeways.Expiration, "not_before_leeway": &r.Leeways.NotBefore,
	} {
		if f.Has(name) {
			*into = f.Duration(name)
		}
	}
	if len(r.Message) > maxTextBytes || len(r.Audiences) > maxEntries {
		return nil, engines.Invalidf("the message has at most %d bytes, and bound_audiences %d entries", maxTextBytes, maxEntries)
	}
	if _, err := program.Compile(r.Program); err != nil {
		return nil, engines.Invalidf("cel_program: %s", err.Error())
	}
	value, err := json.Marshal(r)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return r.show(), tx.Put(programDir+r.Name, value)
}

// decide verifies the token that a caller brings, and has the role's program
// decide on it.
func (e *engine) decide(_ context.Context, req *engines.Request, tx engines.Tx) (func(context.Context) (any, error), error) {
	p, err := e.providers.of(tx, req.Mount)
	if err != nil {
		return nil, err
	}
	name, err := roleName(req, p.config)
	if err != nil {
		return nil, err
	}
	r, version, err := loadProgramRole(tx, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.Invalidf("role %q could not be found", name)
	}
	token := strings.TrimSpace(req.Fields.String("jwt"))
	if token == "" {
		return nil, engines.Invalidf("missing token")
	}
	return func(ctx context.Context) (any, error) {
		claims, err := p.verify(ctx, token, p.Algorithms, req.Now)
		if err != nil {
			return nil, err
		}
		if err := p.accept(claims, r.Audiences, r.Leeways, req.Now); err != nil {
			return nil, err
		}
		made, err := r.run(ctx, claims, req.Now)
		return &verified{rests: rests{configRow: p.version, programDir + name: version}, auth: made}, err
	}, nil
}

// run has the program decide.
func (r *programRole) run(ctx context.Context, claims signed.Claims, now time.Time) (*engines.Auth, error) {
	compiled, err := program.Compile(r.Program)
	if err != nil {
		return nil, engines.Internal(err)
	}
	got, err := compiled.Run(ctx, claims, now)
	var refusal *program.Refusal
	switch {
	case errors.As(err, &refusal) && r.Message != "":
		return nil, engines.Invalidf("error executing cel program: %s", r.Message)
	case err != nil:
		return nil, engines.Invalidf("error executing cel program: %s", err.Error())
	}
	return r.auth(got)
}

// auth is what the program gives, within the bounds of any role.
func (r *programRole) auth(a *program.Auth) (*engines.Auth, error) {
	bad := func(what string) (*engines.Auth, error) {
		return nil, engines.Invalidf("the role's program gives %s that no login may have", what)
	}
	lease := a.LeaseOptions
	for _, n := range []int64{lease.TTL, lease.MaxTTL, a.Period, a.ExplicitMaxTTL, a.NumUses} {
		if n < 0 {
			return bad("a negative number")
		}
	}
	if auth.CheckAddresses("bound_cidrs", a.BoundCIDRs) != nil {
		return bad("addresses")
	}
	size := len(a.DisplayName)
	for _, texts := range []map[string]string{a.Metadata, a.Alias.Metadata} {
		for name, value := range texts {
			size += len(name) + len(value)
		}
	}
	if size > maxMetadata || len(a.Alias.Name) > maxAlias || len(a.GroupAliases) > maxGroups || len(a.Policies) > maxEntries {
		return bad("more")
	}
	var groups []string
	for _, g := range a.GroupAliases {
		groups = append(groups, g.Name)
	}
	private, err := json.Marshal(private{Role: r.Name, Program: true})
	if err != nil {
		return nil, engines.Internal(err)
	}
	return &engines.Auth{
		DisplayName: a.DisplayName, Alias: a.Alias.Name, AliasMetadata: a.Alias.Metadata, Metadata: a.Metadata, Groups: groups, Private: private,
		Token: engines.TokenParams{
			Policies: a.Policies, TTL: time.Duration(lease.TTL), MaxTTL: time.Duration(lease.MaxTTL), Period: time.Duration(a.Period),
			ExplicitMaxTTL: time.Duration(a.ExplicitMaxTTL), NumUses: a.NumUses, BoundCIDRs: a.BoundCIDRs, NoDefaultPolicy: a.NoDefaultPolicy,
		},
	}, nil
}
