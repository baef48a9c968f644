package jwt

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/auth/signed"
	"github.com/coffer-secrets/coffer/engines"
)

const roleDir = "role/"

// The modes in which the answer of a provider reaches Coffer.
const (
	modeClient = "client"
	modeDirect = "direct"
	modeDevice = "device"
)

// role is the row of a role.
type role struct {
	Name string `json:"name"`
	// Type is of the engine's own types.
	Type    string              `json:"role_type"`
	Bound   bounds              `json:"bound"`
	Leeways signed.Leeways      `json:"leeways"`
	User    userClaim           `json:"user"`
	Groups  string              `json:"groups_claim"`
	Mapped  map[string]string   `json:"claim_mappings"`
	Flow    flowSettings        `json:"flow"`
	Token   engines.TokenParams `json:"token"`
}

// bounds are what a token has to say.
type bounds struct {
	Audiences []string `json:"audiences"`
	Subject   string   `json:"subject"`
	// Claims have, by name, the values of which one has to be there; with Glob
	// they are patterns.
	Claims map[string]json.RawMessage `json:"claims"`
	Glob   bool                       `json:"glob,omitempty"`
}

// userClaim is the claim that says who it is.
type userClaim struct {
	Name    string `json:"name"`
	Pointer bool   `json:"pointer,omitempty"`
}

// flowSettings are those of logins at a provider.
type flowSettings struct {
	Redirects []string      `json:"redirects"`
	Scopes    []string      `json:"scopes"`
	MaxAge    time.Duration `json:"max_age,omitempty"`
	Mode      string        `json:"mode"`
	// Poll is how often to ask, in seconds; 0 for the default.
	Poll    int64 `json:"poll,omitempty"`
	Verbose bool  `json:"verbose,omitempty"`
}

func roleFields() []engines.Field {
	return append([]engines.Field{
		{Name: "allowed_redirect_uris", Type: engines.Strings, Help: "Where a provider may send the browser back to. Ports of this machine's own addresses do not count."},
		{Name: "bound_audiences", Type: engines.Strings, Help: "Audiences of which the token has to be for one."},
		{Name: "bound_claims", Type: engines.Map, Help: "Claims, by name or JSON pointer, and the values of which each has to have one."},
		{Name: "bound_claims_type", Default: "string", Allowed: []string{"string", "glob"}, Help: "Whether bound_claims are \"string\" or \"glob\"."},
		{Name: "bound_subject", Help: "What the claim \"sub\" has to be."},
		{Name: "callback_mode", Default: modeClient, Allowed: []string{modeClient, modeDirect, modeDevice}, Help: "Where the provider answers: to the \"client\", \"direct\" to Coffer, or by \"device\" flow."},
		{Name: "claim_mappings", Type: engines.KVPairs, Help: "Claims, by name or JSON pointer, and the metadata that they become."},
		{Name: "clock_skew_leeway", Type: engines.Seconds, Signed: true, Default: signed.DefaultClockSkew, Help: "How far clocks may be apart; 0 for the default, -1 for not at all."},
		{Name: "expiration_leeway", Type: engines.Seconds, Signed: true, Default: signed.DefaultLeeway, Help: "How long a token without expiration is good; 0 for the default, -1 for not at all."},
		{Name: "groups_claim", Help: "The claim, by name or JSON pointer, that lists the groups."},
		{Name: "max_age", Type: engines.Seconds, Help: "How long ago a person may have proven at the provider who they are."},
		{Name: "not_before_leeway", Type: engines.Seconds, Signed: true, Default: signed.DefaultLeeway, Help: "How long before its expiration a token without any other time is good; 0 for the default, -1 for not at all."},
		{Name: "oidc_scopes", Type: engines.Strings, Help: "Scopes to ask for beside \"openid\"."},
		{Name: "poll_interval", Type: engines.Int, Help: "How many seconds clients wait between two questions, in the modes direct and device."},
		{Name: "role_type", Default: OIDCType, Allowed: []string{Type, OIDCType}, Help: "\"jwt\" for tokens that callers bring, \"oidc\" for those of a provider."},
		{Name: "user_claim", Help: "The claim that says who it is."},
		{Name: "user_claim_json_pointer", Type: engines.Bool, Help: "The claim is named by JSON pointer."},
		{Name: "verbose_oidc_logging", Type: engines.Bool, Help: "Accepted; tokens and claims are never logged."},
		{Name: "cel_program", Type: engines.Map, Help: "Refused here: roles with a program are below cel/role."},
		{Name: "message", Help: "Refused here, as cel_program."},
	}, auth.TokenFields("policies", "ttl", "max_ttl", "period", "bound_cidrs", "num_uses")...)
}

var roles = auth.Roles[role, *role]{
	Dir: roleDir, Pattern: "role", Fields: roleFields(),
	New: func(name string) *role {
		return &role{Name: name, Type: OIDCType, Flow: flowSettings{Mode: modeClient}}
	},
}

// TokenParams implements auth.Role.
func (r *role) TokenParams() *engines.TokenParams { return &r.Token }

// Show implements auth.Role.
func (r *role) Show() map[string]any {
	seconds := func(d time.Duration) int64 { return int64(d / time.Second) }
	boundType := "string"
	if r.Bound.Glob {
		boundType = "glob"
	}
	out := map[string]any{
		"role_type": r.Type, "bound_audiences": auth.Strings(r.Bound.Audiences), "bound_subject": r.Bound.Subject,
		"bound_claims": r.Bound.Claims, "bound_claims_type": boundType, "claim_mappings": r.Mapped,
		"expiration_leeway": seconds(r.Leeways.Expiration), "not_before_leeway": seconds(r.Leeways.NotBefore),
		"clock_skew_leeway": seconds(r.Leeways.ClockSkew),
		"user_claim":        r.User.Name, "user_claim_json_pointer": r.User.Pointer, "groups_claim": r.Groups,
		"allowed_redirect_uris": auth.Strings(r.Flow.Redirects), "oidc_scopes": auth.Strings(r.Flow.Scopes), "max_age": seconds(r.Flow.MaxAge),
		"callback_mode": r.Flow.Mode, "verbose_oidc_logging": r.Flow.Verbose,
	}
	if r.Flow.Poll > 0 {
		out["poll_interval"] = r.Flow.Poll
	}
	return out
}

// Set implements auth.Role.
func (r *role) Set(f engines.Values) ([]string, error) {
	if err := r.set(f); err != nil {
		return nil, err
	}
	return nil, r.check()
}

// set takes over what was given.
func (r *role) set(f engines.Values) error {
	if f.Has("cel_program") || f.Has("message") {
		return engines.Invalidf("a role with a program is written to cel/role/%s", r.Name)
	}
	for name, into := range map[string]*string{
		"bound_subject": &r.Bound.Subject, "callback_mode": &r.Flow.Mode, "groups_claim": &r.Groups, "role_type": &r.Type, "user_claim": &r.User.Name,
	} {
		if f.Has(name) {
			*into = f.String(name)
		}
	}
	for name, into := range map[string]*[]string{
		"allowed_redirect_uris": &r.Flow.Redirects, "bound_audiences": &r.Bound.Audiences, "oidc_scopes": &r.Flow.Scopes,
	} {
		if f.Has(name) {
			*into = f.Strings(name)
		}
	}
	for name, into := range map[string]*time.Duration{
		"clock_skew_leeway": &r.Leeways.ClockSkew, "expiration_leeway": &r.Leeways.Expiration,
		"not_before_leeway": &r.Leeways.NotBefore, "max_age": &r.Flow.MaxAge,
	} {
		if f.Has(name) {
			*into = f.Duration(name)
		}
	}
	for name, into := range map[string]*bool{"user_claim_json_pointer": &r.User.Pointer, "verbose_oidc_logging": &r.Flow.Verbose} {
		if f.Has(name) {
			*into = f.Bool(name)
		}
	}
	if f.Has("bound_claims") {
		r.Bound.Claims = f.Map("bound_claims")
	}
	if f.Has("bound_claims_type") {
		r.Bound.Glob = f.String("bound_claims_type") == "glob"
	}
	if f.Has("claim_mappings") {
		r.Mapped = f.KVPairs("claim_mappings")
	}
	if f.Has("poll_interval") {
		r.Flow.Poll = f.Int("poll_interval")
	}
	return auth.ApplyToken(f, &r.Token)
}

// check refuses a role that is none.
func (r *role) check() error {
	if r.User.Name == "" {
		return engines.Invalidf("a user claim must be defined on the role")
	}
	for _, text := range []string{r.Bound.Subject, r.User.Name, r.Groups} {
		if len(text) > maxTextBytes {
			return engines.Invalidf("a text of the role is longer than %d bytes", maxTextBytes)
		}
	}
	for _, values := range [][]string{r.Bound.Audiences, r.Flow.Scopes, r.Flow.Redirects} {
		if len(values) > maxEntries || slices.ContainsFunc(values, func(s string) bool { return s == "" || len(s) > maxTextBytes }) {
			return engines.Invalidf("a list of the role has more than %d entries, or an empty one, or one longer than %d bytes", maxEntries, maxTextBytes)
		}
	}
	if err := r.checkClaims(); err != nil {
		return err
	}
	if r.Flow.Poll < 0 || r.Flow.Poll > 300 {
		return engines.Invalidf("poll_interval: expected 0 to 300")
	}
	if r.Type == Type {
		if len(r.Bound.Audiences) == 0 && r.Bound.Subject == "" && len(r.Bound.Claims) == 0 && len(r.Token.BoundCIDRs) == 0 {
			return engines.Invalidf("must have at least one bound constraint when creating/updating a role")
		}
		return nil
	}
	if len(r.Flow.Redirects) == 0 && r.Flow.Mode != modeDevice {
		return engines.Invalidf("'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified")
	}
	if slices.ContainsFunc(r.Flow.Redirects, func(s string) bool { return !isRedirect(s) }) {
		return engines.Invalidf("allowed_redirect_uris: expected absolute addresses without fragments")
	}
	return nil
}

func isRedirect(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme != "" && u.Fragment == "" && u.User == nil && u.Opaque == ""
}

func (r *role) checkClaims() error {
	if len(r.Bound.Claims) > maxEntries || len(r.Mapped) > maxEntries {
		return engines.Invalidf("bound_claims and claim_mappings: at most %d entries", maxEntries)
	}
	for name, raw := range r.Bound.Claims {
		if name == "" || len(raw) > maxTextBytes {
			return engines.Invalidf("bound_claims: an entry without a name, or longer than %d bytes", maxTextBytes)
		}
		values, ok := wanted(raw)
		if !ok || len(values) == 0 {
			return engines.Invalidf("bound_claims: each is a text, number or boolean, or a list of these that is not empty")
		}
		for _, v := range values {
			if _, isText := v.(string); r.Bound.Glob && !isText {
				return engines.Invalidf("bound_claims: with the type \"glob\" each is a text or a list of texts")
			}
		}
	}
	seen := map[string]bool{}
	for _, key := range slices.Sorted(maps.Values(r.Mapped)) {
		switch {
		case key == "" || len(key) > maxTextBytes:
			return engines.Invalidf("claim_mappings: metadata without a name, or with one longer than %d bytes", maxTextBytes)
		case key == "role":
			return engines.Invalidf("metadata key \"role\" is reserved and may not be a mapping destination")
		case seen[key]:
			return engines.Invalidf("multiple keys are mapped to metadata key %q", key)
		}
		seen[key] = true
	}
	return nil
}

// wanted reads what a claim is bound to.
func wanted(raw json.RawMessage) ([]any, bool) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil {
		return nil, false
	}
	values, ok := v.([]any)
	if !ok {
		values = []any{v}
	}
	return values, !slices.ContainsFunc(values, func(v any) bool { _, ok := signed.Text(v); return !ok })
}

// roleName is the role that a login is by.
func roleName(req *engines.Request, c *config) (string, error) {
	name := strings.ToLower(strings.TrimSpace(req.Fields.String("role")))
	if name == "" {
		name = c.DefaultRole
	}
	if name == "" {
		return "", engines.Invalidf("missing role")
	}
	if !auth.Plain(name) {
		return "", engines.Invalidf("role: it is not the name of a role")
	}
	return name, nil
}
