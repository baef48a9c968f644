package approle

import (
	"context"
	"encoding/json"
	"math"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

// Bounds of what a caller gives for a secret id.
const (
	maxSecretIDBytes = 4096
	maxMetadataBytes = 16 << 10
	maxMetadataPairs = 64
)

// How many secret ids whose time is over go at once, when others are made and
// by tidy.
const (
	sweptByOthers = 64
	sweptByTidy   = 2000
)

func secretRoutes() []engines.Route {
	given := []engines.Field{
		{Name: "cidr_list", Type: engines.Strings, Help: "Addresses that it may be used from, within those of the role."},
		{Name: "metadata", Help: "A JSON object of texts, which goes into the metadata of the tokens."},
		{Name: "num_uses", Type: engines.Int, Help: "How often it may be used, at most as often as the role says."},
		{Name: "token_bound_cidrs", Type: engines.Strings, Help: "Addresses that its tokens may be used from, within those of the role."},
		{Name: "ttl", Type: engines.Seconds, Help: "How long it can be used, at most as long as the role says."},
	}
	secretID := engines.Field{Name: "secret_id", Secret: true, Help: "The secret id."}
	accessor := engines.Field{Name: "secret_id_accessor", Help: "The accessor of the secret id."}
	fields := func(lists ...[]engines.Field) []engines.Field {
		out := []engines.Field{roleName()}
		for _, list := range lists {
			out = append(out, list...)
		}
		return out
	}
	update := func(h engines.Handler) engines.Op {
		return engines.Op{Do: engines.Update, Trait: engines.Writes, Handler: h}
	}
	remove := func(h engines.Handler) engines.Op {
		return engines.Op{Do: engines.Delete, Trait: engines.Writes, Handler: h}
	}
	const base = "role/{role_name}/"
	return []engines.Route{
		{
			Pattern: base + "secret-id", Help: "Make a secret id, and list the accessors of all.", Fields: fields(given, auth.Paging()),
			Ops: []engines.Op{update(generate), {Do: engines.List, Handler: listSecrets}},
		},
		{
			Pattern: base + "custom-secret-id", Help: "Make a secret id of one's own choice.", Fields: fields(given, []engines.Field{secretID}),
			Ops: []engines.Op{update(generateCustom)},
		},
		{
			Pattern: base + "secret-id/lookup", Help: "Show what is known of a secret id.", Fields: fields([]engines.Field{secretID}),
			Ops: []engines.Op{update(lookup(bySecretID))},
		},
		{
			Pattern: base + "secret-id/destroy", Help: "Destroy a secret id.", Fields: fields([]engines.Field{secretID}),
			Ops: []engines.Op{update(destroy(bySecretID)), remove(destroy(bySecretID))},
		},
		{
			Pattern: base + "secret-id-accessor/lookup", Help: "Show what is known of a secret id, by its accessor.",
			Fields: fields([]engines.Field{accessor}), Ops: []engines.Op{update(lookup(byAccessor))},
		},
		{
			Pattern: base + "secret-id-accessor/destroy", Help: "Destroy a secret id, by its accessor.",
			Fields: fields([]engines.Field{accessor}), Ops: []engines.Op{update(destroy(byAccessor)), remove(destroy(byAccessor))},
		},
	}
}

// needRole is loadRole for a role that has to be there.
func needRole(req *engines.Request, tx engines.Tx) (*role, error) {
	r, err := loadRole(req, tx)
	if err == nil && r == nil {
		err = engines.Invalidf("role %q does not exist", req.Fields.String("role_name"))
	}
	return r, err
}

func generate(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return makeSecret(req, tx, newUUID())
}

func generateCustom(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	secretID := req.Fields.String("secret_id")
	if secretID == "" || len(secretID) > maxSecretIDBytes {
		return nil, engines.Invalidf("secret_id: it has 1 to %d bytes", maxSecretIDBytes)
	}
	return makeSecret(req, tx, secretID)
}

func makeSecret(req *engines.Request, tx engines.Tx, secretID string) (*engines.Response, error) {
	r, err := needRole(req, tx)
	if err != nil {
		return nil, err
	}
	if !r.BindSecretID {
		return nil, engines.Invalidf("bind_secret_id is not set on the role")
	}
	s := &secret{Accessor: newUUID(), Created: req.Now, Updated: req.Now, row: r.secretRow(secretID)}
	if err := s.set(r, req.Fields); err != nil {
		return nil, err
	}
	taken, err := tx.Get(secretDir + s.row)
	if err != nil {
		return nil, err
	}
	if taken != nil {
		return nil, engines.Invalidf("secret_id: it is already registered")
	}
	if err := s.add(tx); err != nil {
		return nil, err
	}
	// Now and then, so that what nobody tidies does not stay for ever. An
	// accessor begins with a random digit.
	if s.Accessor[0] < '2' {
		if _, err := sweep(tx, req.Now, sweptByOthers, false); err != nil {
			return nil, err
		}
	}
	return &engines.Response{Data: map[string]any{
		"secret_id": secretID, "secret_id_accessor": s.Accessor, "secret_id_ttl": int64(s.TTL.Seconds()), "secret_id_num_uses": s.NumUses,
	}}, nil
}

// set takes over what was given, within what the role allows.
func (s *secret) set(r *role, f engines.Values) error {
	s.NumUses, s.TTL = r.NumUses, r.TTL
	if f.Has("num_uses") {
		if s.NumUses = f.Int("num_uses"); s.NumUses < 0 {
			return engines.Invalidf("num_uses cannot be negative")
		}
		if r.NumUses > 0 && (s.NumUses == 0 || s.NumUses > r.NumUses) {
			return engines.Invalidf("num_uses cannot be higher than the role's secret_id_num_uses")
		}
	}
	if f.Has("ttl") {
		s.TTL = f.Duration("ttl")
		if r.TTL > 0 && (s.TTL == 0 || s.TTL > r.TTL) {
			return engines.Invalidf("ttl cannot be longer than the role's secret_id_ttl")
		}
	}
	if s.TTL > 0 {
		if s.Expires = s.Created.Add(s.TTL); s.Expires.Year() > 9999 {
			return engines.Invalidf("ttl: it is too long")
		}
	}
	for _, c := range []struct {
		name  string
		into  *[]string
		outer []string
	}{{"cidr_list", &s.CIDRs, r.CIDRs}, {"token_bound_cidrs", &s.TokenCIDRs, r.Token.BoundCIDRs}} {
		*c.into = f.Strings(c.name)
		if err := auth.CheckAddresses(c.name, *c.into); err != nil {
			return err
		}
		if !auth.Within(*c.into, c.outer) {
			return engines.Invalidf("%s: failed to verify subset relationship between the CIDR blocks of the role and those of the secret ID", c.name)
		}
	}
	return s.setMetadata(f.String("metadata"))
}

func (s *secret) setMetadata(text string) error {
	if text == "" {
		return nil
	}
	if len(text) > maxMetadataBytes {
		return engines.Invalidf("metadata: at most %d bytes", maxMetadataBytes)
	}
	if err := json.Unmarshal([]byte(text), &s.Metadata); err != nil {
		return engines.Invalidf("metadata: expected a JSON object of texts, itself written as a text")
	}
	if len(s.Metadata) > maxMetadataPairs {
		return engines.Invalidf("metadata: at most %d pairs", maxMetadataPairs)
	}
	return nil
}

func listSecrets(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	r, err := needRole(req, tx)
	if err != nil {
		return nil, err
	}
	return auth.List(req, tx, accessorDir+r.Folder+"/")
}

// finder gets the secret id that a request names, nil if there is none and that
// is no error.
type finder func(req *engines.Request, tx engines.Tx, r *role) (*secret, error)

func bySecretID(req *engines.Request, tx engines.Tx, r *role) (*secret, error) {
	secretID := req.Fields.String("secret_id")
	if secretID == "" {
		return nil, engines.Invalidf("missing secret_id")
	}
	return loadSecret(tx, r.secretRow(secretID), req.Now)
}

func byAccessor(req *engines.Request, tx engines.Tx, r *role) (*secret, error) {
	accessor := req.Fields.String("secret_id_accessor")
	if accessor == "" {
		return nil, engines.Invalidf("missing secret_id_accessor")
	}
	s, err := r.byAccessor(tx, accessor, req.Now)
	if err == nil && s == nil {
		err = engines.Errorf(engines.KindNotFound, "failed to find accessor entry for secret_id_accessor")
	}
	return s, err
}

func lookup(find finder) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		r, err := needRole(req, tx)
		if err != nil {
			return nil, err
		}
		s, err := find(req, tx, r)
		if err != nil || s == nil {
			return nil, err
		}
		return &engines.Response{Data: map[string]any{
			"cidr_list": orEmpty(s.CIDRs), "creation_time": s.Created, "expiration_time": s.Expires, "last_updated_time": s.Updated,
			"metadata": orNone(s.Metadata), "secret_id_accessor": s.Accessor, "secret_id_num_uses": s.NumUses,
			"secret_id_ttl": int64(math.Ceil(s.TTL.Seconds())), "token_bound_cidrs": orEmpty(s.TokenCIDRs),
		}}, nil
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func orNone(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func destroy(find finder) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		r, err := needRole(req, tx)
		if err != nil {
			return nil, err
		}
		s, err := find(req, tx, r)
		if err != nil || s == nil {
			return nil, err
		}
		return nil, s.remove(tx)
	}
}

func tidy(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	removed, err := sweep(tx, req.Now, sweptByTidy, true)
	if err != nil || removed < sweptByTidy {
		return nil, err
	}
	return &engines.Response{Warnings: []string{"As many secret IDs were removed as one request can; there may be more: tidy again."}}, nil
}
