package audit

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// errMalformed is data that is no JSON.
var errMalformed = errors.New("audit: malformed data")

// scanner walks over a JSON text where it is. Names may occur twice and texts
// may be no UTF-8: what is written of them is. Whatever else is no JSON is an
// error, so that nothing of it reaches a record.
type scanner struct {
	text []byte
	at   int
}

// kind is the first byte of what comes next; 0 at the end.
func (s *scanner) kind() byte {
	for ; s.at < len(s.text); s.at++ {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) take(c byte) error {
	if s.kind() != c {
		return errMalformed
	}
	s.at++
	return nil
}

// quoted takes a text with its quotes.
func (s *scanner) quoted() ([]byte, error) {
	if s.kind() != '"' {
		return nil, errMalformed
	}
	for i := s.at + 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '\\':
			i++
		case c == '"':
			value := s.text[s.at : i+1]
			s.at = i + 1
			return value, nil
		case c < ' ':
			return nil, errMalformed
		}
	}
	return nil, errMalformed
}

// unquote gives what a quoted text says: most often what stands there.
func unquote(value []byte) ([]byte, error) {
	text := value[1 : len(value)-1]
	if bytes.IndexByte(text, '\\') < 0 && utf8.Valid(text) {
		return text, nil
	}
	text, err := jsontext.AppendUnquote([]byte{}, value)
	if err != nil && utf8.Valid(value) {
		return nil, errMalformed // and not only of replaced characters
	}
	return text, nil
}

// name takes a member's name and the colon.
func (s *scanner) name() (string, error) {
	value, err := s.quoted()
	if err != nil {
		return "", err
	}
	text, err := unquote(value)
	if err != nil {
		return "", err
	}
	return string(text), s.take(':')
}

// literal takes a number, true, false or null.
func (s *scanner) literal() ([]byte, error) {
	start := s.at
	for s.at < len(s.text) && bytes.IndexByte([]byte(",]} \t\r\n"), s.text[s.at]) < 0 {
		s.at++
	}
	value := s.text[start:s.at]
	switch string(value) {
	case "true", "false", "null":
		return value, nil
	}
	if v := jsontext.Value(value); len(value) == 0 || v.Kind() != '0' || !v.IsValid() {
		return nil, errMalformed
	}
	return value, nil
}

// each walks over an object or an array, and calls item before each value, with
// the name of a member.
func (s *scanner) each(item func(name string) error) error {
	open := s.kind()
	end := open + 2 // of '{' and '[', both
	s.at++
	for first := true; s.kind() != end; first = false {
		if !first {
			if err := s.take(','); err != nil {
				return err
			}
		}
		var name string
		if open == '{' {
			var err error
			if name, err = s.name(); err != nil {
				return err
			}
		}
		if err := item(name); err != nil {
			return err
		}
	}
	s.at++
	return nil
}

// skip takes a value.
func (s *scanner) skip(depth int) error {
	var err error
	switch s.kind() {
	case '{', '[':
		if depth > maxDepth {
			return errDeep
		}
		return s.each(func(string) error { return s.skip(depth + 1) })
	case '"':
		_, err = s.quoted()
	default:
		_, err = s.literal()
	}
	return err
}
