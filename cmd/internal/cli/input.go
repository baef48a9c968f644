package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
)

// maxInput bounds what is read from a file or from standard input.
const maxInput = 64 << 20

// input is standard input, which one thing alone may read whole.
type input struct {
	r     io.Reader
	lines *bufio.Reader
	used  bool
}

// all reads what there is.
func (in *input) all() ([]byte, error) {
	if in.used || in.lines != nil {
		return nil, usagef("Standard input can be read only once.")
	}
	in.used = true
	return readBounded(in.r, "standard input")
}

// line reads a line, without its end.
func (in *input) line() (string, error) {
	if in.used {
		return "", usagef("Standard input can be read only once.")
	}
	if in.lines == nil {
		in.lines = bufio.NewReader(io.LimitReader(in.r, maxInput))
	}
	text, err := in.lines.ReadString('\n')
	if err != nil && (!errors.Is(err, io.EOF) || text == "") {
		return "", usagef("Nothing was given on standard input.")
	}
	return strings.TrimRight(text, "\r\n"), nil
}

func readBounded(r io.Reader, what string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err != nil {
		return nil, usagef("Error reading %s: %w", what, err)
	}
	if len(text) > maxInput {
		return nil, usagef("Error reading %s: it is larger than %d bytes", what, maxInput)
	}
	return text, nil
}

// file reads a file, or standard input for "-".
func (in *input) file(name string) ([]byte, error) {
	if name == "-" {
		return in.all()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, usagef("Error opening a file: %w", err)
	}
	defer func() { _ = f.Close() }()
	return readBounded(f, name)
}

// data reads the arguments of a write: key=value, key=@file, key=-, or a whole
// JSON object as @file or -. A key that is given again becomes a list.
func (in *input) data(args []string) (map[string]any, error) {
	out := make(map[string]any)
	for _, arg := range args {
		if arg == "-" || strings.HasPrefix(arg, "@") {
			if err := in.object(strings.TrimPrefix(arg, "@"), out); err != nil {
				return nil, err
			}
			continue
		}
		key, value, err := in.pair(arg)
		if err != nil {
			return nil, err
		}
		add(out, key, value)
	}
	return out, nil
}

func add(to map[string]any, key, value string) {
	switch before := to[key].(type) {
	case nil:
		to[key] = value
	case []any:
		to[key] = append(before, value)
	default:
		to[key] = []any{before, value}
	}
}

// object merges a JSON object into to, numbers exact.
func (in *input) object(name string, to map[string]any) error {
	text, err := in.file(name)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&to); err != nil {
		return usagef("Failed to parse data: the input is not a JSON object.")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return usagef("Failed to parse data: something follows the JSON object.")
	}
	return nil
}

// pair reads key=value. What is wrong with it is told without the value.
func (in *input) pair(arg string) (key, value string, err error) {
	key, value, ok := strings.Cut(arg, "=")
	if key == "" || !ok {
		return "", "", usagef("Failed to parse data: each argument must be key=value, @file or -.")
	}
	switch {
	case value == "-" || strings.HasPrefix(value, "@"):
		text, err := in.file(strings.TrimPrefix(value, "@"))
		return key, string(text), err
	case strings.HasPrefix(value, `\@`):
		value = value[1:]
	}
	return key, value, nil
}

// values reads key=value arguments as text alone, for a query.
func (in *input) values(args []string) (map[string][]string, error) {
	out := make(map[string][]string)
	for _, arg := range args {
		key, value, err := in.pair(arg)
		if err != nil {
			return nil, err
		}
		out[key] = append(out[key], value)
	}
	return out, nil
}

// pairs reads key=value flags, which name no files.
func pairs(flag string, list []string) (map[string]string, error) {
	out := make(map[string]string, len(list))
	for _, item := range list {
		key, value, ok := strings.Cut(item, "=")
		if !ok || key == "" {
			return nil, usagef("-%s: expected key=value.", flag)
		}
		out[key] = value
	}
	return out, nil
}
