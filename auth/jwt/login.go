package jwt

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/auth/signed"
	"github.com/coffer-secrets/coffer/engines"
)

// maxMetadata bounds what claims become, and maxGroups how many groups somebody
// may be in.
const (
	maxMetadata = 16 << 10
	maxGroups   = 2000
	maxAlias    = 1024
)

// rests are the rows that a login rests on, by their versions; 0 for none.
type rests map[string]uint64

// hold reports whether the rows are as they were.
func (r rests) hold(tx engines.Tx) (bool, error) {
	for _, row := range slices.Sorted(maps.Keys(r)) {
		entry, err := tx.Get(row)
		if err != nil {
			return false, err
		}
		var version uint64
		if entry != nil {
			version = entry.Version
		}
		if version != r[row] {
			return false, nil
		}
	}
	return true, nil
}

// verified is who somebody is, and what that rests on.
type verified struct {
	rests rests
	auth  *engines.Auth
}

// fresh returns what stands in Request.Ahead, unless it is stale.
func fresh(req *engines.Request, tx engines.Tx) (*verified, error) {
	v, ok := req.Ahead.(*verified)
	if !ok {
		return nil, engines.ErrStale
	}
	if held, err := v.rests.hold(tx); err != nil {
		return nil, err
	} else if !held {
		return nil, engines.ErrStale
	}
	return v, nil
}

func login(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	v, err := fresh(req, tx)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Auth: v.auth}, nil
}

// verifyLogin verifies the token that a caller brings.
func (e *engine) verifyLogin(_ context.Context, req *engines.Request, tx engines.Tx) (func(context.Context) (any, error), error) {
	p, err := e.providers.of(tx, req.Mount)
	if err != nil {
		return nil, err
	}
	r, on, err := e.role(req, tx, p)
	if err != nil {
		return nil, err
	}
	if r.Type != Type {
		return nil, engines.Invalidf("role with oidc role_type is not allowed")
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
		if err := p.accept(claims, r.Bound.Audiences, r.Leeways, req.Now); err != nil {
			return nil, err
		}
		made, err := r.auth(claims)
		return &verified{rests: on, auth: made}, err
	}, nil
}

// role gets the role that a request names, for a caller who may log in by it.
func (e *engine) role(req *engines.Request, tx engines.Tx, p *provider) (*role, rests, error) {
	name, err := roleName(req, p.config)
	if err != nil {
		return nil, nil, err
	}
	return roleFor(req, tx, p, name)
}

func roleFor(req *engines.Request, tx engines.Tx, p *provider, name string) (*role, rests, error) {
	r, on, err := roleOf(tx, p, name)
	if err != nil {
		return nil, nil, err
	}
	if !auth.Allows(r.Token.BoundCIDRs, req.Caller.Addr) {
		return nil, nil, engines.Errorf(engines.KindDenied, "permission denied")
	}
	return r, on, nil
}

// roleOf gets a role, whoever asks.
func roleOf(tx engines.Tx, p *provider, name string) (*role, rests, error) {
	r, version, err := roles.Load(tx, name)
	if err != nil {
		return nil, nil, err
	}
	if r == nil {
		return nil, nil, engines.Invalidf("role %q could not be found", name)
	}
	return r, rests{configRow: p.version, roleDir + name: version}, nil
}

// verify returns the claims of a token if a key of the provider has signed it.
func (p *provider) verify(ctx context.Context, text string, algorithms []string, now time.Time) (signed.Claims, error) {
	token, err := signed.Parse(text, algorithms...)
	if err != nil {
		return nil, refused(err)
	}
	keys, err := p.keys(ctx, token.KeyID(), now)
	if err != nil {
		return nil, err
	}
	claims, err := token.Verify(keys)
	if err != nil {
		return nil, refused(err)
	}
	return claims, nil
}

// accept refuses a token of others, for others, or at another time.
func (p *provider) accept(claims signed.Claims, audiences []string, leeways signed.Leeways, now time.Time) error {
	for _, err := range []error{claims.Issuer(p.issuer()), claims.For(audiences), claims.Current(now, leeways)} {
		if err != nil {
			return refused(err)
		}
	}
	return nil
}

// refused says why a token does not count, in words that hold nothing of it.
func refused(err error) error { return engines.Invalidf("error validating token: %s", err.Error()) }

// auth is what the bearer of these claims gets, if the role lets them in.
func (r *role) auth(claims signed.Claims) (*engines.Auth, error) {
	if r.Bound.Subject != "" {
		if sub, _ := claims["sub"].(string); sub != r.Bound.Subject {
			return nil, engines.Invalidf("sub claim does not match bound subject")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Bound.Claims)) {
		if err := r.Bound.holds(name, claims); err != nil {
			return nil, err
		}
	}
	user, err := r.User.of(claims)
	if err != nil {
		return nil, err
	}
	groups, err := r.groups(claims)
	if err != nil {
		return nil, err
	}
	metadata, err := r.metadata(claims)
	if err != nil {
		return nil, err
	}
	private, err := json.Marshal(private{Role: r.Name})
	if err != nil {
		return nil, engines.Internal(err)
	}
	return &engines.Auth{
		DisplayName: user, Alias: user, AliasMetadata: metadata, Metadata: metadata, Groups: groups, Private: private, Token: r.Token,
	}, nil
}

// holds refuses claims of which one is not as it is bound.
func (b *bounds) holds(name string, claims signed.Claims) error {
	got, ok := claims.At(name)
	if !ok {
		return engines.Invalidf("error validating claims: claim %q is missing", name)
	}
	have, ok := got.([]any)
	if !ok {
		have = []any{got}
	}
	want, _ := wanted(b.Claims[name])
	for _, h := range have {
		if slices.ContainsFunc(want, func(w any) bool { return b.equal(w, h) }) {
			return nil
		}
	}
	return engines.Invalidf("error validating claims: claim %q does not match any associated bound claim values", name)
}

func (b *bounds) equal(want, have any) bool {
	if b.Glob {
		pattern, _ := want.(string)
		text, ok := have.(string)
		return ok && auth.Glob(pattern, text)
	}
	return sameScalar(want, have)
}

// sameScalar compares numbers by value, and what is of different types is
// different.
func sameScalar(want, have any) bool {
	w, ok := want.(json.Number)
	if !ok {
		_, scalar := signed.Text(have)
		return scalar && want == have
	}
	h, ok := have.(json.Number)
	if !ok {
		return false
	}
	if w == h {
		return true
	}
	// 1 and 1.0 are the same, but large integers are not to be rounded.
	if !strings.ContainsAny(string(w)+string(h), ".eE") {
		return false
	}
	wf, wErr := w.Float64()
	hf, hErr := h.Float64()
	return wErr == nil && hErr == nil && wf == hf
}

// of is who it is.
func (u userClaim) of(claims signed.Claims) (string, error) {
	got, ok := claims[u.Name]
	if u.Pointer {
		got, ok = claims.Pointer(u.Name)
	}
	if !ok {
		return "", engines.Invalidf("claim %q not found in token", u.Name)
	}
	user, ok := got.(string)
	if !ok || user == "" || len(user) > maxAlias {
		return "", engines.Invalidf("claim %q is not a text of 1 to %d bytes", u.Name, maxAlias)
	}
	return user, nil
}

func (r *role) groups(claims signed.Claims) ([]string, error) {
	if r.Groups == "" {
		return nil, nil
	}
	got, ok := claims.At(r.Groups)
	if !ok {
		return nil, engines.Invalidf("%q claim not found in token", r.Groups)
	}
	groups, ok := signed.Texts(got)
	if !ok || len(groups) > maxGroups {
		return nil, engines.Invalidf("%q claim is not a list of texts, or one of more than %d", r.Groups, maxGroups)
	}
	groups = slices.DeleteFunc(groups, func(s string) bool { return s == "" })
	slices.Sort(groups)
	return slices.Compact(groups), nil
}

// metadata is what claims become. Unlike bound claims, those to be mapped may
// be missing: there is nothing of them then.
func (r *role) metadata(claims signed.Claims) (map[string]string, error) {
	out := map[string]string{"role": r.Name}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(r.Mapped)) {
		got, ok := claims.At(name)
		if !ok {
			continue
		}
		text, ok := signed.Text(got)
		if size += len(text); !ok || size > maxMetadata {
			return nil, engines.Invalidf("error converting claim %q to a text, or the texts are longer than %d bytes together", name, maxMetadata)
		}
		out[r.Mapped[name]] = text
	}
	return out, nil
}

// private is what is kept with a token for its renewal.
type private struct {
	Role string `json:"role"`
	// Program says that it is a role of those below cel/.
	Program bool `json:"program,omitempty"`
}

// renew wants the role to be there still, and gives what it now says.
func renew(_ context.Context, req *engines.Renewal, tx engines.Tx) (*engines.TokenParams, error) {
	var p private
	if err := json.Unmarshal(req.Private, &p); err != nil {
		return nil, engines.Internal(err)
	}
	if p.Program {
		r, _, err := loadProgramRole(tx, p.Role)
		if err == nil && r == nil {
			err = auth.ErrGone("role")
		}
		return nil, err // what the program gave stays
	}
	r, _, err := roles.Load(tx, p.Role)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, auth.ErrGone("role")
	}
	return &r.Token, nil
}
