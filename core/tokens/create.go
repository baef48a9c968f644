package tokens

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// grant is a token in the making.
type grant struct {
	req    *engines.Request
	caller *Caller
	role   *Role
	token  *Token
	// sudo is that of the caller; a role takes its place where it decides.
	sudo     bool
	warnings []string
}

const (
	maxMetaPairs   = 64
	maxMetaBytes   = 8 << 10
	maxPolicies    = 256
	maxDisplayName = 256
)

func (e *engine) create(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return e.issue(ctx, req, tx, nil, req.Fields.Bool("no_parent"))
}

func (e *engine) createOrphan(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return e.issue(ctx, req, tx, &Role{Orphan: true, Renewable: true, unnamed: true}, true)
}

func (e *engine) createWithRole(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	role, err := readRole(tx, req.Fields.String("role_name"))
	if err != nil {
		return nil, err
	}
	if role == nil {
		return nil, engines.Invalidf("unknown role %s", req.Fields.String("role_name"))
	}
	return e.issue(ctx, req, tx, role, req.Fields.Bool("no_parent"))
}

func (e *engine) issue(ctx context.Context, req *engines.Request, tx engines.Tx, role *Role, orphan bool) (*engines.Response, error) {
	caller := CallerOf(ctx)
	if caller == nil || caller.Token == nil {
		return nil, ErrInvalid()
	}
	g := &grant{req: req, caller: caller, role: role, sudo: caller.Sudo || caller.Token.IsRoot()}
	g.token = &Token{
		Type: Service, Path: "auth/token/" + strings.TrimPrefix(req.Path, req.Mount.Path),
		EntityID: caller.Token.EntityID, Times: Times{Created: req.Now},
	}
	for _, step := range []func() error{g.checkCaller, func() error { return g.setParent(orphan) }, g.setKind, g.setAddresses, g.setPolicies, g.setLabels, g.setTTL} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	all := whole(tx)
	if len(g.token.Parent) > 0 {
		if depth, err := e.tokens.ancestors(all, g.token); err != nil || depth >= maxDepth {
			if err == nil {
				err = engines.Invalidf("the token would have more than %d ancestors: make it an orphan, or a child of another", maxDepth-1)
			}
			return nil, err
		}
		all.RequireExists(rowKey(g.token.Parent))
	}
	id, err := e.tokens.give(all, g)
	if err != nil {
		return nil, err
	}
	missing, err := e.missing(all, g.token.Policies)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: Auth(g.token, id, req.Now), Warnings: append(g.warnings, MissingWarnings(missing)...)}, nil
}

// MissingWarnings say which policies allow nothing because there are none of
// their names.
func MissingWarnings(names []string) []string {
	var out []string
	for _, name := range names {
		out = append(out, fmt.Sprintf("policy %q does not exist", name))
	}
	return out
}

func (s *Tokens) give(tx *state.Tx, g *grant) (string, error) {
	id := g.req.Fields.String("id")
	if id == "" {
		return s.Issue(tx, g.token)
	}
	switch {
	case !g.sudo:
		return "", engines.Invalidf("root or sudo privileges required to specify token id")
	case g.token.Type == Batch:
		return "", engines.Invalidf("batch tokens cannot have a chosen id")
	case strings.HasPrefix(id, servicePrefix), strings.HasPrefix(id, batchPrefix), strings.HasPrefix(id, "hvs."), strings.HasPrefix(id, "s."):
		return "", engines.Invalidf("custom token ID cannot have the prefix of a generated one")
	case len(id) > 256 || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", engines.Invalidf("custom token ID must be at most 256 printable ASCII characters")
	}
	return s.IssueAs(tx, g.token, id)
}

// Auth tells of a token that has just been made or renewed.
func Auth(t *Token, id string, now time.Time) *answer.Auth {
	return &answer.Auth{
		ClientToken: id, Accessor: t.Accessor, Policies: t.Policies, TokenPolicies: t.Policies, Metadata: t.Meta,
		LeaseDuration: seconds(t.TTL(now)), Renewable: t.Renewable, EntityID: t.EntityID, TokenType: t.Type,
		Orphan: t.Orphan(), NumUses: t.NumUses,
	}
}

func (g *grant) checkCaller() error {
	switch {
	case g.caller.Token.Type == Batch:
		return engines.Invalidf("batch tokens cannot create more tokens")
	case g.caller.Token.NumUses > 0:
		return engines.Invalidf("restricted use token cannot generate child tokens")
	}
	return nil
}

func (g *grant) setParent(orphan bool) error {
	if g.role != nil && g.role.Orphan {
		return nil
	}
	if orphan {
		if !g.sudo {
			return engines.Invalidf("root or sudo privileges required to create orphan token")
		}
		return nil
	}
	g.token.Parent = g.caller.Token.key
	return nil
}

// kind is the type that the token shall have: the role's word counts more.
func (g *grant) kind() (string, error) {
	kind := g.req.Fields.String("type")
	if g.role != nil {
		switch g.role.Token.Type {
		case Service, Batch:
			kind = g.role.Token.Type
		case "default-batch":
			if kind == "" {
				kind = Batch
			}
		}
	}
	switch kind {
	case "", Service:
		return Service, nil
	case Batch:
		return Batch, nil
	}
	return "", engines.Invalidf("invalid 'type' value %q: it is \"service\" or \"batch\"", kind)
}

// setKind settles service or batch, and what goes with it.
func (g *grant) setKind() error {
	f := g.req.Fields
	kind, err := g.kind()
	if err != nil {
		return err
	}
	g.token.Type = kind
	g.token.Renewable = f.Bool("renewable") && kind == Service && (g.role == nil || g.role.Renewable)
	g.token.NumUses = f.Int("num_uses")
	if g.token.NumUses < 0 {
		return engines.Invalidf("number of uses cannot be negative")
	}
	if g.role != nil {
		if n := g.role.Token.NumUses; n > 0 && (g.token.NumUses == 0 || g.token.NumUses > n) {
			g.token.NumUses = n
		}
		if !g.role.unnamed {
			g.token.Role = g.role.Name
		}
	}
	if kind == Batch && g.token.NumUses > 0 {
		return engines.Invalidf("'num_uses' cannot be set for batch tokens: they are stored nowhere and cannot be counted")
	}
	return nil
}

// setAddresses settles where the token may be used from.
func (g *grant) setAddresses() error {
	if g.role != nil {
		var err error
		if g.token.BoundCIDRs, err = ParseCIDRs(g.role.Token.BoundCIDRs); err != nil {
			return err
		}
		if g.role.Token.StrictlyBindIP {
			addr := g.req.Caller.Addr.Unmap()
			if !addr.IsValid() {
				return engines.Invalidf("the role binds tokens to the caller's address, which is not known")
			}
			g.token.BoundCIDRs = []netip.Prefix{netip.PrefixFrom(addr, addr.BitLen())}
		}
	}
	if len(g.token.BoundCIDRs) == 0 {
		g.token.BoundCIDRs = g.caller.Token.BoundCIDRs // a child may not be used from further away than its parent
	}
	return nil
}

// setPolicies settles the policies. Only sudo or a role gives more than the
// caller's own token has.
func (g *grant) setPolicies() error {
	f := g.req.Fields
	asked := NormalizePolicies(f.Strings("policies"))
	if len(asked) > maxPolicies {
		return engines.Invalidf("policies: at most %d", maxPolicies)
	}
	parent := g.caller.Token
	final, addDefault := slices.Clone(asked), true
	switch {
	case g.role != nil && g.role.limitsPolicies():
		var err error
		if final, err = g.role.policies(asked); err != nil {
			return err
		}
		addDefault = !g.role.disallows(DefaultPolicy)
	case len(asked) == 0:
		final, addDefault = slices.Clone(parent.Policies), false
	case !g.sudo:
		for _, name := range asked {
			if !slices.Contains(parent.Policies, name) && !parent.IsRoot() {
				return engines.Invalidf("child policies must be subset of parent")
			}
		}
		addDefault = slices.Contains(parent.Policies, DefaultPolicy)
	}
	if f.Bool("no_default_policy") || g.role != nil && g.role.Token.NoDefaultPolicy {
		addDefault = false
		if len(asked) == 0 {
			final = slices.DeleteFunc(final, func(name string) bool { return name == DefaultPolicy })
		}
	}
	if addDefault {
		final = append(final, DefaultPolicy)
	}
	g.token.Policies = NormalizePolicies(final)
	return g.checkPolicies()
}

// checkPolicies refuses what no token, or not this one, may have.
func (g *grant) checkPolicies() error {
	t := g.token
	if slices.Contains(t.Policies, wrappingPolicy) {
		return engines.Invalidf("cannot assign policy %q", wrappingPolicy)
	}
	if !t.IsRoot() {
		return nil
	}
	switch {
	case !g.caller.Token.IsRoot():
		return engines.Invalidf("root tokens may not be created without parent token being root")
	case t.Type == Batch:
		return engines.Invalidf("batch tokens cannot be root tokens") // nothing could end them
	}
	t.Policies = []string{RootPolicy} // no other adds to it
	return nil
}

func (g *grant) setLabels() error {
	f := g.req.Fields
	if g.token.Meta = f.KVPairs("meta"); g.token.Meta == nil {
		g.token.Meta = f.KVPairs("metadata")
	}
	size := 0
	for k, v := range g.token.Meta {
		size += len(k) + len(v)
	}
	if len(g.token.Meta) > maxMetaPairs || size > maxMetaBytes {
		return engines.Invalidf("meta: at most %d pairs and %d bytes", maxMetaPairs, maxMetaBytes)
	}
	g.token.DisplayName = "token"
	if name := f.String("display_name"); name != "" {
		if len(name) > maxDisplayName {
			return engines.Invalidf("display_name: at most %d bytes", maxDisplayName)
		}
		g.token.DisplayName = "token-" + strings.Trim(strings.Map(plainRune, name), "-")
	}
	if f.String("entity_alias") != "" {
		return engines.Invalidf("entity_alias needs a role that allows it")
	}
	if g.role != nil && g.role.PathSuffix != "" {
		g.token.Path += "/" + g.role.PathSuffix
	}
	return nil
}

// plainRune keeps letters and digits of a display name.
func plainRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '.':
		return r
	}
	return '-'
}

// setTTL settles how long the token lives.
func (g *grant) setTTL() error {
	t := g.token
	ttl, err := g.asked()
	if err != nil {
		return err
	}
	explicit, period, err := g.limits()
	if err != nil {
		return err
	}
	limit := g.req.Mount.MaxTTL
	if explicit > limit && period == 0 {
		g.warnings = append(g.warnings, CapWarning(explicit, limit))
		explicit = limit
	}
	t.ExplicitMaxTTL, t.Period = explicit, period
	if t.IsRoot() && ttl == 0 && period == 0 && explicit == 0 {
		if !g.caller.Token.Expiry.IsZero() {
			return engines.Invalidf("expiring root tokens cannot create non-expiring root tokens")
		}
		t.Renewable = false
		return nil
	}
	g.bound(ttl, limit)
	return nil
}

// limits are the explicit maximum and the period, as asked for and as the role
// has them.
func (g *grant) limits() (explicit, period time.Duration, err error) {
	f := g.req.Fields
	explicit, period = f.Duration("explicit_max_ttl"), f.Duration("period")
	batch := g.token.Type == Batch
	switch {
	case explicit < 0 || period < 0:
		return 0, 0, engines.Invalidf("explicit_max_ttl and period cannot be negative")
	case period > 0 && !g.sudo:
		return 0, 0, engines.Invalidf("root or sudo privileges required to create periodic token")
	case batch && (period > 0 || explicit > 0):
		return 0, 0, engines.Invalidf("batch tokens have neither a period nor an explicit_max_ttl")
	case batch || g.role == nil:
		return explicit, period, nil
	}
	if m := g.role.Token.ExplicitMaxTTL; m > 0 && (explicit == 0 || explicit > m) {
		if explicit > m {
			g.warnings = append(g.warnings, "Explicit max TTL specified both during creation call and in role; using the lesser value of "+short(m))
		}
		explicit = m
	}
	if p := g.role.Token.Period; p > 0 {
		period = p
	}
	return explicit, period, nil
}

// bound caps the TTL and sets the expiry.
func (g *grant) bound(ttl, limit time.Duration) {
	t := g.token
	t.CreationTTL = ttl
	if ttl == 0 {
		t.CreationTTL = g.req.Mount.DefaultTTL
	}
	asked := ttl
	if t.Period > 0 {
		asked = 0
	}
	got, warning := boundTTL(t, asked, limit, t.Created)
	if warning != "" {
		g.warnings = append(g.warnings, warning)
	}
	t.CreationTTL = got
	t.Expiry = t.Created.Add(got)
}

// asked is the TTL that the caller named, in either of the two fields.
func (g *grant) asked() (time.Duration, error) {
	f := g.req.Fields
	ttl := f.Duration("ttl")
	if ttl == 0 {
		ttl = f.Duration("lease")
	}
	if ttl < 0 {
		return 0, engines.Invalidf("ttl cannot be negative")
	}
	return ttl, nil
}

// matchAny reports whether a name matches one of the patterns, in which '*'
// stands for any characters and everything else for itself.
func matchAny(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return match(pattern, name) })
}

func match(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	rest, ok := strings.CutPrefix(name, parts[0])
	if last == 0 || !ok {
		return ok && rest == ""
	}
	for _, part := range parts[1:last] {
		if _, rest, ok = strings.Cut(rest, part); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[last])
}
