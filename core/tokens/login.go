package tokens

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Login is somebody who has proven who they are, and how.
type Login struct {
	Auth *engines.Auth
	// Mount is the way that they logged in by, and MountType what it says of the
	// type of its tokens.
	Mount     engines.Mount
	MountType string
	// Path is the whole path of the login.
	Path     string
	Addr     netip.Addr
	EntityID string
}

// Login makes the token of somebody who has logged in. It has no parent. The
// warnings say what was cut.
func (s *Tokens) Login(tx *state.Tx, l *Login) (t *Token, id string, warnings []string, err error) {
	p := l.Auth.Token
	t = &Token{
		Path: l.Path, DisplayName: displayName(l.Mount, l.Auth.DisplayName), Meta: l.Auth.Metadata, EntityID: l.EntityID,
		Times: Times{Created: tx.Now()}, Way: l.Mount.Accessor, Private: l.Auth.Private,
	}
	if t.Type, err = loginType(p.Type, l.MountType); err != nil {
		return nil, "", nil, err
	}
	if t.Policies, err = loginPolicies(l.Auth); err != nil {
		return nil, "", nil, err
	}
	if t.BoundCIDRs, err = ParseCIDRs(p.BoundCIDRs); err != nil {
		return nil, "", nil, err
	}
	if p.StrictlyBindIP {
		if !l.Addr.IsValid() {
			return nil, "", nil, engines.Errorf(engines.KindDenied, "permission denied")
		}
		addr := l.Addr.Unmap()
		t.BoundCIDRs = []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}
	}
	if !t.AllowsAddr(l.Addr) {
		return nil, "", nil, engines.Errorf(engines.KindDenied, "permission denied")
	}
	warnings = t.boundLogin(p, l.Mount)
	id, err = s.Issue(tx, t)
	return t, id, warnings, err
}

// displayName is what a login's token shows: where, and who.
func displayName(m engines.Mount, name string) string {
	where := strings.ReplaceAll(strings.Trim(strings.TrimPrefix(m.Path, "auth/"), "/"), "/", "-")
	if name == "" {
		return where
	}
	return where + "-" + name
}

// loginType is the type that role and mount settle on: a mount that names a
// type insists on it, else the role decides, else the mount's default.
func loginType(role, mount string) (string, error) {
	switch mount {
	case Service, Batch:
		return mount, nil
	}
	if role == "" || role == "default" {
		role = mount
	}
	switch role {
	case "", "default", "default-service", Service:
		return Service, nil
	case "default-batch", Batch:
		return Batch, nil
	}
	return "", engines.Invalidf("invalid token type %q", role)
}

// loginPolicies are the policies of the token itself; those of the identity are
// looked up at each request.
func loginPolicies(a *engines.Auth) ([]string, error) {
	list := slices.Concat(a.Policies, a.Token.Policies)
	if !a.Token.NoDefaultPolicy {
		list = append(list, DefaultPolicy)
	}
	list = NormalizePolicies(list)
	if slices.Contains(list, RootPolicy) {
		return nil, engines.Invalidf("auth methods cannot create root tokens")
	}
	return list, nil
}

// boundLogin settles how long the token lives.
func (t *Token) boundLogin(p engines.TokenParams, m engines.Mount) (warnings []string) {
	limit := m.MaxTTL
	if p.MaxTTL > 0 {
		if p.MaxTTL > limit {
			warnings = append(warnings, CapWarning(p.MaxTTL, limit))
		}
		limit = min(limit, p.MaxTTL)
	}
	t.CreationTTL, t.MaxTTL = p.TTL, limit
	if t.CreationTTL <= 0 {
		t.CreationTTL = min(m.DefaultTTL, limit)
	}
	if t.Type == Service {
		t.Period, t.ExplicitMaxTTL, t.NumUses, t.Renewable = p.Period, p.ExplicitMaxTTL, p.NumUses, true
	}
	asked := t.CreationTTL
	if t.Period > 0 {
		asked = 0
	}
	got, warning := boundTTL(t, asked, limit, t.Created)
	if warning != "" {
		warnings = append(warnings, warning)
	}
	t.CreationTTL, t.Expiry = got, t.Created.Add(max(got, time.Second))
	return warnings
}
