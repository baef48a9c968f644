package kv

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/go-json-experiment/json/jsontext"
)

// member is one member of an object, with its value as the text that came in.
type member struct {
	name  string
	value json.RawMessage
}

// members takes an object apart; anything else has none.
func members(object json.RawMessage) ([]member, error) {
	if len(object) == 0 {
		return nil, nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(object))
	if dec.PeekKind() != '{' {
		return nil, nil
	}
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	var all []member
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		m := member{name: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, err
		}
		end := int(dec.InputOffset())
		m.value = object[end-len(value) : end]
		all = append(all, m)
	}
	_, err := dec.ReadToken()
	return all, err
}

// mergePatch applies a JSON merge patch (RFC 7396) that is an object. Members
// that it leaves alone keep their text and place.
func mergePatch(target, patch json.RawMessage) (json.RawMessage, error) {
	return appendMerged(make([]byte, 0, len(target)+len(patch)), target, patch)
}

func appendMerged(dst []byte, target, patch json.RawMessage) ([]byte, error) {
	old, err := members(target)
	if err != nil {
		return nil, err
	}
	changes, err := members(patch)
	if err != nil {
		return nil, err
	}
	change := make(map[string]json.RawMessage, len(changes))
	for _, c := range changes {
		change[c.name] = c.value
	}
	start := len(dst)
	put := func(m member, base json.RawMessage) error {
		if dst, err = appendName(dst, len(dst) > start+1, m.name); err != nil {
			return err
		}
		if m.value[0] != '{' {
			dst = append(dst, m.value...)
			return nil
		}
		dst, err = appendMerged(dst, base, m.value)
		return err
	}
	dst = append(dst, '{')
	for _, m := range old {
		value, changed := change[m.name]
		delete(change, m.name)
		switch {
		case !changed:
			if dst, err = appendName(dst, len(dst) > start+1, m.name); err != nil {
				return nil, err
			}
			dst = append(dst, m.value...)
		case value[0] != 'n':
			if err := put(member{m.name, value}, m.value); err != nil {
				return nil, err
			}
		}
	}
	for _, c := range changes {
		if _, left := change[c.name]; left && c.value[0] != 'n' {
			if err := put(c, nil); err != nil {
				return nil, err
			}
		}
	}
	return append(dst, '}'), nil
}

func appendName(dst []byte, comma bool, name string) ([]byte, error) {
	if comma {
		dst = append(dst, ',')
	}
	dst, err := jsontext.AppendQuote(dst, name)
	return append(dst, ':'), err
}

var errNoObject = errors.New("kv: a stored value is no object")

// subkeys replaces everything in an object that is not a nested object with
// null, and nested objects below depth levels (0 = no limit) and empty ones
// too.
func subkeys(object json.RawMessage, depth int64) (json.RawMessage, error) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(object))
	if dec.PeekKind() != '{' {
		return nil, errNoObject
	}
	text, err := appendSubkeys(nil, dec, depth, 1)
	if err == nil && string(text) == "null" {
		return json.RawMessage("{}"), nil
	}
	return text, err
}

// appendSubkeys reads one object; level is that of its names.
func appendSubkeys(dst []byte, dec *jsontext.Decoder, depth, level int64) ([]byte, error) {
	if _, err := dec.ReadToken(); err != nil {
		return nil, err
	}
	if dec.PeekKind() == '}' {
		_, err := dec.ReadToken()
		return append(dst, "null"...), err
	}
	open := byte('{')
	for dec.PeekKind() != '}' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, err
		}
		dst = append(dst, open)
		open = ','
		if dst, err = appendName(dst, false, name.String()); err != nil {
			return nil, err
		}
		if dec.PeekKind() == '{' && (depth <= 0 || level < depth) {
			dst, err = appendSubkeys(dst, dec, depth, level+1)
		} else {
			dst = append(dst, "null"...)
			err = dec.SkipValue()
		}
		if err != nil {
			return nil, err
		}
	}
	_, err := dec.ReadToken()
	return append(dst, '}'), err
}
