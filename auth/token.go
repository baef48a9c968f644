package auth

import (
	"maps"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/tokenparams"
)

// older are the names that parameters of tokens had before they began with
// "token_".
var older = map[string]engines.FieldType{
	"policies": engines.Strings, "ttl": engines.Seconds, "max_ttl": engines.Seconds,
	"period": engines.Seconds, "bound_cidrs": engines.Strings, "num_uses": engines.Int,
}

// TokenFields are the common fields of a role, and those by older names that
// the way to log in has had.
func TokenFields(names ...string) []engines.Field {
	fields := tokenparams.Fields()
	for _, name := range names {
		fields = append(fields, engines.Field{Name: name, Type: older[name], Deprecated: true, Help: "Use token_" + name + "."})
	}
	return fields
}

// ApplyToken is tokenparams.Apply that also knows the older names. A parameter
// by its present name wins.
func ApplyToken(v engines.Values, p *engines.TokenParams) error {
	set := maps.Clone(v.Given())
	for name := range older {
		if now := "token_" + name; v.Has(name) && !v.Has(now) {
			set[now] = v.Get(name)
		}
	}
	return tokenparams.Apply(engines.NewValues(set, nil), p)
}

// SamePolicies refuses to renew a token whose role gives other policies by now:
// its holder has to log in again to have those. "default" does not count.
func SamePolicies(r *engines.Renewal, p *engines.TokenParams) error {
	sorted := func(names []string) []string {
		out := make([]string, 0, len(names))
		for _, name := range names {
			if name = strings.ToLower(strings.TrimSpace(name)); name != "" && name != "default" {
				out = append(out, name)
			}
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	if !slices.Equal(sorted(r.Policies), sorted(p.Policies)) {
		return engines.Invalidf("policies have changed, not renewing")
	}
	return nil
}

// ErrGone is why a token is not renewed whose user or role is gone.
func ErrGone(what string) error {
	return engines.Invalidf("the %s that the token was given by no longer exists, not renewing", what)
}

// Paging are the fields of a listing.
func Paging() []engines.Field {
	return []engines.Field{
		{Name: "after", Query: true, Help: "Begin a listing after this name, which need not exist."},
		{Name: "limit", Type: engines.Int, Query: true, Help: "How many names to list; 0 for all."},
	}
}

// maxNames bounds a listing that is not paged.
const maxNames = 10_000

// List lists a folder.
func List(req *engines.Request, tx engines.Tx, dir string) (*engines.Response, error) {
	limit := maxNames + 1
	if asked := req.Fields.Int("limit"); asked > 0 && asked < int64(limit) {
		limit = int(asked)
	}
	names, err := tx.List(dir, engines.Page{After: req.Fields.String("after"), Limit: limit})
	if err != nil {
		return nil, err
	}
	if len(names) > maxNames {
		return nil, engines.Invalidf("more than %d names here: list them in pages, with limit and after", maxNames)
	}
	if len(names) == 0 {
		return nil, engines.NotFound()
	}
	return &engines.Response{Data: map[string]any{"keys": names}}, nil
}

// maxNameBytes bounds the name of a user or a role.
const maxNameBytes = 256

// Name brings the name of a user or a role, which is the field that is named,
// to its one form: lower case and trimmed.
func Name(req *engines.Request, field string) (string, error) {
	name := strings.ToLower(strings.TrimSpace(req.Fields.String(field)))
	if !Plain(name) {
		return "", engines.Invalidf("%s: a name has 1 to %d bytes without control characters", field, maxNameBytes)
	}
	return name, nil
}

// Plain reports whether a text can be a name: short, in one line and no path.
func Plain(text string) bool {
	return text != "" && len(text) <= maxNameBytes && strings.ToValidUTF8(text, "") == text &&
		!slices.ContainsFunc([]rune(text), func(r rune) bool { return r < 0x20 || r == 0x7f || r == '/' })
}
