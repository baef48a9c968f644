package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/coffer-secrets/coffer/engines"
)

// The limits that hold where Limits says none.
const (
	DefaultDepth  = 64
	DefaultTokens = 100_000
)

// Limits bound a body. Zero means the default.
type Limits struct {
	// Depth is how deep objects and arrays may nest, the outermost counted.
	Depth int
	// Tokens is how many strings, numbers, literals and brackets it may hold.
	Tokens int
}

// ParseBody splits a body, a JSON object, into its members, each as the text
// that came in (a subslice of raw). Nothing and null count as no members. It
// refuses with KindInvalid what RFC 8259 leaves open (a name twice in one
// object, text that is not UTF-8) and what is beyond the limits; the message
// says where, never what.
func ParseBody(raw []byte, lim Limits) (map[string]json.RawMessage, error) {
	if lim.Depth <= 0 {
		lim.Depth = DefaultDepth
	}
	if lim.Tokens <= 0 {
		lim.Tokens = DefaultTokens
	}
	if err := checkLimits(raw, lim); err != nil {
		return nil, err
	}
	// The decoder reads a bytes.Buffer in place.
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	switch dec.PeekKind() {
	case 'n':
		if _, err := dec.ReadToken(); err != nil {
			return nil, syntaxError(raw, dec, err)
		}
		return nil, atEnd(raw, dec)
	case '{':
	default:
		_, err := dec.ReadToken()
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		if err != nil {
			return nil, syntaxError(raw, dec, err)
		}
		return nil, engines.Invalidf("the request body must be a JSON object")
	}
	members, err := readMembers(raw, dec)
	if err != nil {
		return nil, syntaxError(raw, dec, err)
	}
	if err := atEnd(raw, dec); err != nil {
		return nil, err
	}
	return members, nil
}

// readMembers reads one object whole.
func readMembers(raw []byte, dec *jsontext.Decoder) (map[string]json.RawMessage, error) {
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	members := map[string]json.RawMessage{}
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String() // the token dies with the next read
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		end := int(dec.InputOffset())
		members[key] = json.RawMessage(raw[end-len(value) : end : end])
	}
	_, err := dec.ReadToken()
	return members, err
}

func atEnd(raw []byte, dec *jsontext.Decoder) error {
	_, err := dec.ReadToken()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return syntaxError(raw, dec, err)
	}
	return bodyError(raw, int(dec.InputOffset()), "text after the object")
}

// syntaxError says what kind of error it is and where. The decoder's own text
// quotes the input.
func syntaxError(raw []byte, dec *jsontext.Decoder, err error) error {
	offset := int(dec.InputOffset())
	what := "malformed JSON"
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		offset = int(syntax.ByteOffset)
	}
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		what = "an object has the same key twice"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		what = "the JSON ends too early"
	}
	return bodyError(raw, offset, what)
}

func bodyError(raw []byte, offset int, what string) error {
	offset = max(0, min(offset, len(raw)))
	line := 1 + bytes.Count(raw[:offset], []byte{'\n'})
	return engines.Invalidf("error in the request body at line %d, offset %d: %s", line, offset, what)
}

// checkLimits counts brackets and tokens in one cheap pass before anything is
// built. It does not care whether the text is JSON: that is checked after.
func checkLimits(raw []byte, lim Limits) error {
	if !utf8.Valid(raw) {
		return bodyError(raw, firstInvalid(raw), "not valid UTF-8")
	}
	depth, tokens := 0, 0
	inScalar := false
	for i := 0; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			tokens++
			inScalar = false
			i = skipString(raw, i+1)
		case '{', '[':
			depth++
			tokens++
			inScalar = false
			if depth > lim.Depth {
				return bodyError(raw, i, fmt.Sprintf("nested deeper than %d levels", lim.Depth))
			}
		case '}', ']':
			depth--
			tokens++
			inScalar = false
		case ',', ':', ' ', '\t', '\r', '\n':
			inScalar = false
		default:
			if !inScalar {
				tokens++
			}
			inScalar = true
		}
		if tokens > lim.Tokens {
			return bodyError(raw, i, fmt.Sprintf("more than %d JSON tokens", lim.Tokens))
		}
	}
	return nil
}

// skipString returns the index of the quote that ends the string whose content
// begins at i, or the length of raw.
func skipString(raw []byte, i int) int {
	for ; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return i
}

func firstInvalid(raw []byte) int {
	for i := 0; i < len(raw); {
		r, size := utf8.DecodeRune(raw[i:])
		if r == utf8.RuneError && size <= 1 {
			return i
		}
		i += size
	}
	return len(raw)
}

// objectMembers splits a JSON value that is an object.
func objectMembers(raw json.RawMessage) (map[string]json.RawMessage, bool) {
	if string(raw) == "{}" { // often is, and a decoder costs a microsecond
		return map[string]json.RawMessage{}, true
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if dec.PeekKind() != '{' {
		return nil, false
	}
	members, err := readMembers(raw, dec)
	return members, err == nil
}

// arrayItems splits a JSON value that is an array of at most limit items.
func arrayItems(raw json.RawMessage, limit int) ([]json.RawMessage, bool) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if dec.PeekKind() != '[' {
		return nil, false
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, false
	}
	items := []json.RawMessage{}
	for dec.PeekKind() != ']' {
		value, err := dec.ReadValue()
		if err != nil || len(items) == limit {
			return nil, false
		}
		end := int(dec.InputOffset())
		items = append(items, raw[end-len(value):end:end])
	}
	_, err := dec.ReadToken()
	return items, err == nil
}
