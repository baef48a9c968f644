package schema

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/coffer-secrets/coffer/engines"
)

// maxNamed bounds the names listed in one warning, and their length.
const (
	maxNamed      = 20
	maxNameLength = 64
)

// Decode turns what a caller sent into the route's fields; see Match.Decode,
// which is the same for the route of a match and does not check it again.
func Decode(route *engines.Route, op engines.Operation, captures []Capture, query url.Values, body map[string]json.RawMessage) (engines.Values, []string, error) {
	segments, err := parsePattern(route.Pattern)
	if err != nil {
		return engines.Values{}, nil, engines.Internal(err)
	}
	p, err := makePlan(route, segments)
	if err != nil {
		return engines.Values{}, nil, engines.Internal(err)
	}
	return Match{Route: route, Captures: captures, plan: p}.Decode(op, query, body)
}

// Decode turns what a caller sent into the route's fields. Where a field comes
// from several places, a capture wins over the body and the body over the
// query, which counts for fields marked Query and for whatever is not a Create,
// Update or Patch. JSON null stands for the zero value; Required fields then
// are missing. Required is enforced for Create and Update.
//
// Warnings, in Vault's words, name members of the body that are no fields or
// that a capture overrode. Errors are of KindInvalid.
func (m Match) Decode(op engines.Operation, query url.Values, body map[string]json.RawMessage) (engines.Values, []string, error) {
	in := input{
		match: m, query: query, body: body,
		writes: op == engines.Create || op == engines.Update || op == engines.Patch,
		set:    make(map[string]any, len(m.Captures)+len(body)),
	}
	var warnings []string
	for i := range m.Route.Fields {
		f := &m.Route.Fields[i]
		if err := in.decode(f); err != nil {
			return engines.Values{}, nil, err
		}
		if err := checkPresence(in.set, f, op); err != nil {
			return engines.Values{}, nil, err
		}
		if f.Deprecated && in.set[f.Name] != nil {
			warnings = append(warnings, fmt.Sprintf("Parameter %q is deprecated: %s", f.Name, f.Help))
		}
	}
	if in.known < len(body) && m.plan.body == "" {
		warnings = append(warnings, "Endpoint ignored these unrecognized parameters: "+nameList(m.unknown(body)))
	}
	if len(in.replaced) > 0 {
		warnings = append(warnings, "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: "+nameList(in.replaced))
	}
	return engines.NewValues(in.set, m.plan.defaults), warnings, nil
}

// input is one call being decoded, and what has come of it so far.
type input struct {
	match  Match
	query  url.Values
	body   map[string]json.RawMessage
	writes bool

	set map[string]any
	// known counts members of the body that are fields.
	known int
	// replaced names those that a capture overrode.
	replaced []string
}

// decode sets one field from where it stands, if anywhere.
func (in *input) decode(f *engines.Field) error {
	raw, inBody := in.body[f.Name]
	if inBody {
		in.known++
	}
	if in.match.plan.body != "" { // no member of the body is a field
		inBody = false
	}
	capture := slices.IndexFunc(in.match.Captures, func(c Capture) bool { return c.Name == f.Name })
	switch {
	case f.Body:
		in.set[f.Name] = in.body
		return nil
	case capture >= 0:
		if inBody {
			in.replaced = append(in.replaced, f.Name)
		}
		return decodeText(in.set, f, in.match.Captures[capture].Value)
	case inBody:
		return decodeJSON(in.set, f, raw)
	case (f.Query || !in.writes) && len(in.query[f.Name]) > 0:
		return decodeQuery(in.set, f, in.query[f.Name])
	}
	return nil
}

func checkPresence(set map[string]any, f *engines.Field, op engines.Operation) error {
	value := set[f.Name]
	if f.Required && value == nil && (op == engines.Create || op == engines.Update) {
		return engines.Invalidf("missing required field %q", f.Name)
	}
	if text, ok := value.(string); ok && len(f.Allowed) > 0 && !slices.Contains(f.Allowed, text) {
		return engines.Invalidf("field %q: expected one of %s", f.Name, strings.Join(f.Allowed, ", "))
	}
	return nil
}

func (m Match) unknown(body map[string]json.RawMessage) []string {
	var names []string
	for name := range body {
		if !slices.ContainsFunc(m.Route.Fields, func(f engines.Field) bool { return f.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// nameList sorts, bounds and prints names as Vault does: [a b].
func nameList(names []string) string {
	slices.Sort(names)
	more := ""
	if len(names) > maxNamed {
		more = fmt.Sprintf(" and %d more", len(names)-maxNamed)
		names = names[:maxNamed]
	}
	shown := make([]string, len(names))
	for i, name := range names {
		shown[i] = printable(name)
	}
	return "[" + strings.Join(shown, " ") + more + "]"
}

// printable cuts a client's name short and takes control characters out of it.
func printable(name string) string {
	for len(name) > maxNameLength {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	quoted := strconv.QuoteToGraphic(name)
	if quoted[1:len(quoted)-1] == name {
		return name
	}
	return quoted
}

// decodeText reads a field from a path.
func decodeText(set map[string]any, f *engines.Field, text string) error {
	value, ok := fromText(f, text)
	if !ok {
		return wrongType(f)
	}
	set[f.Name] = value
	return nil
}

// decodeQuery reads a field from a query string. A name given several times
// makes a list; where the field is none, the first counts.
func decodeQuery(set map[string]any, f *engines.Field, texts []string) error {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return engines.Invalidf("field %q: not valid UTF-8", f.Name)
		}
	}
	if len(texts) == 1 || f.Type != engines.Strings && f.Type != engines.Ints && f.Type != engines.KVPairs {
		return decodeText(set, f, texts[0])
	}
	value, ok := fromList(f, texts)
	if !ok {
		return wrongType(f)
	}
	set[f.Name] = value
	return nil
}

// decodeJSON reads a field from a member of the body.
func decodeJSON(set map[string]any, f *engines.Field, raw json.RawMessage) error {
	value, ok := fromJSON(f, raw)
	if !ok {
		return wrongType(f)
	}
	set[f.Name] = value
	return nil
}

func wrongType(f *engines.Field) error {
	return engines.Invalidf("field %q: expected %s", f.Name, expected(f))
}

func expected(f *engines.Field) string {
	switch f.Type {
	case engines.Int:
		return "an integer"
	case engines.Float:
		return "a number"
	case engines.Bool:
		return "a boolean"
	case engines.Seconds:
		if f.Signed {
			return `a duration such as 3600, "1h30m" or "-1s"`
		}
		return `a duration that is not negative, such as 3600 or "1h30m"`
	case engines.Strings:
		return "a list of strings"
	case engines.Ints:
		return "a list of integers"
	case engines.KVPairs:
		return "an object of strings or a list of key=value"
	case engines.Map:
		return "an object"
	case engines.JSON:
		return "a JSON value"
	case engines.Time:
		return "an RFC 3339 time or Unix seconds"
	}
	return "a string"
}
