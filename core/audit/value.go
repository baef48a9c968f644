package audit

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/engines"
)

// Bounds of what one record says of the data.
const (
	maxData  = 1 << 20
	maxDepth = 64
)

var (
	// errDeep is data that is nested deeper than any that is answered.
	errDeep = errors.New("audit: the data is nested too deeply")
	// errLarge is data that is too large for a record.
	errLarge = errors.New("audit: the data is too large")
)

// mode says what of a value stands plain.
type mode uint8

const (
	// hashTexts leaves numbers and booleans plain.
	hashTexts mode = iota
	// hashAll leaves nothing plain but names and structure.
	hashAll
	// leave writes the value as it is.
	leave
)

// fields says what is known of the fields of a request or an answer.
type fields struct {
	route *engines.Route
	// all says that the whole body is one secret field.
	all   bool
	plain []string
}

// fieldsOf reads what a route and its mount say. plain names fields that an
// operator wants to see; a secret one stays hidden all the same.
func fieldsOf(route *engines.Route, plain []string) fields {
	if route == nil {
		return fields{}
	}
	f := fields{route: route, plain: plain}
	for i := range route.Fields {
		f.all = f.all || route.Fields[i].Secret && route.Fields[i].Body
	}
	return f
}

func (f *fields) secret(name string) bool {
	if f.route == nil {
		return false
	}
	for i := range f.route.Fields {
		if field := &f.route.Fields[i]; field.Secret && field.Name == name {
			return true
		}
	}
	return false
}

func declared(route *engines.Route, name string) bool {
	return route != nil && slices.ContainsFunc(route.Fields, func(f engines.Field) bool { return f.Name == name && !f.Body })
}

func (e *encoder) mode(f *fields, name string, known bool) mode {
	switch {
	case e.form.raw:
		return leave
	case f.all || f.secret(name):
		return hashAll
	case known && slices.Contains(f.plain, name):
		return leave
	}
	return hashTexts
}

// input writes the data of a request: the members of its body and its query.
func (e *encoder) input(r *Request) error {
	in := &r.Input
	if in.Malformed {
		e.key("body")
		e.begin('{')
		e.truth("parsed", false)
		e.number("bytes", int64(len(in.Raw)))
		e.end('}')
		return nil
	}
	if len(in.Body) == 0 && len(in.Query) == 0 {
		return nil
	}
	var plain []string
	if r.Mount != nil {
		plain = r.Mount.PlainRequest
	}
	f := fieldsOf(r.Route, plain)
	e.key("data")
	return e.bounded(in.Raw, func() error {
		e.begin('{')
		for _, name := range slices.Sorted(maps.Keys(in.Body)) {
			e.key(e.name(name))
			if err := e.value(&scanner{text: in.Body[name]}, e.mode(&f, name, declared(r.Route, name)), 0); err != nil {
				return err
			}
		}
		for _, name := range slices.Sorted(maps.Keys(in.Query)) {
			suffix := ""
			if _, twice := in.Body[name]; twice {
				suffix = " (query)"
			}
			e.key(e.name(name) + suffix)
			if err := e.query(in.Query[name], e.mode(&f, name, declared(r.Route, name))); err != nil {
				return err
			}
		}
		e.end('}')
		return nil
	})
}

func (e *encoder) query(values []string, m mode) error {
	if len(values) != 1 {
		e.begin('[')
		defer e.end(']')
	}
	for _, value := range values {
		if len(values) != 1 {
			e.comma()
		}
		if m == leave {
			e.plain(value)
		} else {
			e.secret(value)
		}
		if len(e.dst) > e.limit {
			return errLarge
		}
	}
	return nil
}

// bounded writes data, or in its place the size and the hash of what it was
// made from if it is too large for a record.
func (e *encoder) bounded(raw []byte, write func() error) error {
	start, err := len(e.dst), errLarge
	e.limit = start + maxData
	if len(raw) <= maxData {
		err = write()
	}
	if !errors.Is(err, errLarge) {
		return err
	}
	e.dst = append(e.dst[:start], '{')
	e.number("omitted_bytes", int64(len(raw)))
	e.textMember("omitted", string(e.mac.appendHash(nil, raw)))
	e.end('}')
	return nil
}

// output writes the data of an answer.
func (e *encoder) output(r *Request, resp *Response) error {
	data := resp.Envelope.Data
	if data == nil {
		return nil
	}
	raw, err := marshal(data)
	if err != nil {
		return err
	}
	var plain []string
	if r.Mount != nil {
		plain = r.Mount.PlainResponse
	}
	f := fieldsOf(r.Route, plain)
	e.key("data")
	return e.bounded(raw, func() error {
		s := &scanner{text: raw}
		if s.kind() != '{' {
			return e.value(s, e.mode(&f, "", false), 0)
		}
		return e.members(s, 0, func(name string) error {
			if e.form.elide && resp.Listing && (name == "keys" || name == "key_info") {
				return e.counted(s)
			}
			return e.value(s, e.mode(&f, name, true), 1)
		})
	})
}

func marshal(data any) ([]byte, error) {
	if a, ok := data.(answer.Appender); ok {
		return a.AppendJSON(nil)
	}
	return json.Marshal(data)
}

// counted writes how many members or items the value has.
func (e *encoder) counted(s *scanner) error {
	if kind := s.kind(); kind != '[' && kind != '{' {
		return e.value(s, hashTexts, 0)
	}
	n := 0
	err := s.each(func(string) error {
		n++
		return s.skip(0)
	})
	e.dst = strconv.AppendInt(e.dst, int64(n), 10)
	return err
}

// members writes an object, whose values are written by value.
func (e *encoder) members(s *scanner, depth int, value func(name string) error) error {
	if depth > maxDepth {
		return errDeep
	}
	e.begin('{')
	err := s.each(func(name string) error {
		e.key(e.name(name))
		return value(name)
	})
	e.end('}')
	return err
}

// value writes the next value.
func (e *encoder) value(s *scanner, m mode, depth int) error {
	if len(e.dst) > e.limit {
		return errLarge
	}
	switch s.kind() {
	case '{':
		return e.members(s, depth, func(string) error { return e.value(s, m, depth+1) })
	case '[':
		return e.items(s, m, depth)
	case '"':
		return e.quoted(s, m)
	}
	value, err := s.literal()
	switch {
	case err != nil:
		return err
	case m == hashAll && value[0] != 'n':
		e.secret(string(value))
	default:
		e.dst = append(e.dst, value...)
	}
	return nil
}

// quoted writes a text.
func (e *encoder) quoted(s *scanner, m mode) error {
	value, err := s.quoted()
	if err != nil {
		return err
	}
	text, err := unquote(value)
	if err != nil {
		return err
	}
	if m == leave || len(text) == 0 {
		e.plain(string(text))
		return nil
	}
	e.dst = append(e.mac.appendHash(append(e.dst, '"'), text), '"')
	return nil
}

func (e *encoder) items(s *scanner, m mode, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	e.begin('[')
	err := s.each(func(string) error {
		e.comma()
		return e.value(s, m, depth+1)
	})
	e.end(']')
	return err
}
