package tokenparams

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

// Fields are the common fields of a role.
func Fields() []engines.Field {
	return []engines.Field{
		{Name: "token_bound_cidrs", Type: engines.Strings, Help: "Addresses that tokens may be used from."},
		{Name: "token_explicit_max_ttl", Type: engines.Seconds, Help: "Longest life of a token, which renewing cannot extend."},
		{Name: "token_max_ttl", Type: engines.Seconds, Help: "Longest life of a token, renewals included."},
		{Name: "token_no_default_policy", Type: engines.Bool, Help: "Do not give the policy \"default\"."},
		{Name: "token_num_uses", Type: engines.Int, Help: "How often a token may be used; 0 for any number."},
		{Name: "token_period", Type: engines.Seconds, Help: "Make periodic tokens, which live for this long after each renewal."},
		{Name: "token_policies", Type: engines.Strings, Help: "Policies of the tokens."},
		{Name: "token_strictly_bind_ip", Type: engines.Bool, Help: "Bind a token to the address that it was made from."},
		{Name: "token_ttl", Type: engines.Seconds, Help: "How long a token lives at first."},
		{Name: "token_type", Type: engines.String, Default: "default", Help: "\"service\", \"batch\", \"default\", \"default-service\" or \"default-batch\"."},
	}
}

// Apply sets those parameters that the caller gave, and checks the whole.
func Apply(v engines.Values, p *engines.TokenParams) error {
	if v.Has("token_bound_cidrs") {
		p.BoundCIDRs = v.Strings("token_bound_cidrs")
	}
	if v.Has("token_explicit_max_ttl") {
		p.ExplicitMaxTTL = v.Duration("token_explicit_max_ttl")
	}
	if v.Has("token_max_ttl") {
		p.MaxTTL = v.Duration("token_max_ttl")
	}
	if v.Has("token_no_default_policy") {
		p.NoDefaultPolicy = v.Bool("token_no_default_policy")
	}
	if v.Has("token_num_uses") {
		p.NumUses = v.Int("token_num_uses")
	}
	if v.Has("token_period") {
		p.Period = v.Duration("token_period")
	}
	if v.Has("token_policies") {
		p.Policies = normalize(v.Strings("token_policies"))
	}
	if v.Has("token_strictly_bind_ip") {
		p.StrictlyBindIP = v.Bool("token_strictly_bind_ip")
	}
	if v.Has("token_ttl") {
		p.TTL = v.Duration("token_ttl")
	}
	if v.Has("token_type") {
		p.Type = v.String("token_type")
	}
	return check(p)
}

// normalize lower-cases, trims, sorts and dedupes policy names.
func normalize(names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func check(p *engines.TokenParams) error {
	if p.TTL < 0 || p.MaxTTL < 0 || p.ExplicitMaxTTL < 0 || p.Period < 0 || p.NumUses < 0 {
		return engines.Invalidf("the durations and the number of uses of tokens cannot be negative")
	}
	if p.TTL > p.MaxTTL && p.MaxTTL > 0 {
		return engines.Invalidf("'token_ttl' cannot be greater than 'token_max_ttl'")
	}
	if slices.Contains(p.Policies, "root") {
		return engines.Invalidf("token_policies: a login cannot give the policy \"root\"")
	}
	for _, text := range p.BoundCIDRs {
		text = strings.TrimSpace(text)
		_, addrErr := netip.ParseAddr(text)
		_, prefixErr := netip.ParsePrefix(text)
		if addrErr != nil && prefixErr != nil {
			return engines.Invalidf("token_bound_cidrs: an entry is neither an address nor address/bits")
		}
	}
	switch p.Type {
	case "", "default", "default-service", "service", "default-batch":
	case "batch":
		if p.Period > 0 || p.NumUses > 0 || p.ExplicitMaxTTL > 0 {
			return engines.Invalidf("'token_type' cannot be 'batch' when role is set to generate tokens that are counted, periodic or have an explicit maximum")
		}
	default:
		return engines.Invalidf("invalid 'token_type' value %q", p.Type)
	}
	return nil
}

// Show adds the parameters to what a role's path answers. Durations are in
// seconds.
func Show(p *engines.TokenParams, into map[string]any) {
	kind := p.Type
	if kind == "" {
		kind = "default"
	}
	into["token_bound_cidrs"] = list(p.BoundCIDRs)
	into["token_explicit_max_ttl"] = int64(p.ExplicitMaxTTL.Seconds())
	into["token_max_ttl"] = int64(p.MaxTTL.Seconds())
	into["token_no_default_policy"] = p.NoDefaultPolicy
	into["token_num_uses"] = p.NumUses
	into["token_period"] = int64(p.Period.Seconds())
	into["token_policies"] = list(p.Policies)
	into["token_strictly_bind_ip"] = p.StrictlyBindIP
	into["token_ttl"] = int64(p.TTL.Seconds())
	into["token_type"] = kind
}

func list(values []string) []string {
	if values == nil {
		return []string{}
	}
	return values
}
