package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// jsonReader reads JSON into the same tree as HCL, with lines, which the HCL
// library does not keep for JSON.
type jsonReader struct {
	file    string
	text    []byte
	decoder *json.Decoder
	// line is the line that counted, an offset, is on.
	counted, line int
}

func parseJSON(file string, text []byte) (value, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	r := &jsonReader{file: file, text: text, decoder: json.NewDecoder(bytes.NewReader(text)), line: 1}
	r.decoder.UseNumber()
	root, err := r.value(0)
	if err != nil {
		return value{}, err
	}
	if _, err := r.decoder.Token(); !errors.Is(err, io.EOF) {
		return value{}, r.at().errorf("the file goes on after its object")
	}
	return root, nil
}

// at is where the reader stands.
func (r *jsonReader) at() place {
	offset := min(int(r.decoder.InputOffset()), len(r.text))
	if offset > r.counted {
		r.line += bytes.Count(r.text[r.counted:offset], []byte("\n"))
		r.counted = offset
	}
	return place{file: r.file, line: r.line}
}

func (r *jsonReader) token() (json.Token, error) {
	t, err := r.decoder.Token()
	if err == nil {
		return t, nil
	}
	at := r.at()
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		offset := min(int(syntax.Offset), len(r.text))
		at.line = 1 + bytes.Count(r.text[:offset], []byte("\n"))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, at.errorf("the file ends early")
	}
	return nil, at.errorf("the file is not well-formed JSON: %s", err)
}

func (r *jsonReader) value(depth int) (value, error) {
	if depth > maxDepth {
		return value{}, r.at().errorf("%w", errDeep)
	}
	t, err := r.token()
	if err != nil {
		return value{}, err
	}
	out := value{place: r.at()}
	switch t := t.(type) {
	case json.Delim:
		if t == '[' {
			return r.list(out, depth)
		}
		return r.object(out, depth)
	case string:
		out.text, out.quoted = t, true
	case json.Number:
		out.text = t.String()
	case bool:
		out.text = "false"
		if t {
			out.text = "true"
		}
	default:
		return value{}, out.errorf("null is not a value: leave the key out")
	}
	return out, nil
}

func (r *jsonReader) list(out value, depth int) (value, error) {
	out.kind = list
	for r.decoder.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		out.list = append(out.list, item)
	}
	_, err := r.token()
	return out, err
}

func (r *jsonReader) object(out value, depth int) (value, error) {
	out.kind = object
	for r.decoder.More() {
		t, err := r.token()
		if err != nil {
			return value{}, err
		}
		at := r.at()
		name, ok := t.(string)
		if !ok {
			return value{}, at.errorf("expected a key")
		}
		inner, err := r.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		out.entries = append(out.entries, entry{place: at, name: name, value: inner})
	}
	_, err := r.token()
	return out, err
}
