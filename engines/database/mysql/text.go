package mysql

import (
	"errors"
	"fmt"
	"strings"
)

// maxStatements bounds what statements grow to.
const maxStatements = 256 << 10

// place is where in a statement the reader is.
type place uint8

const (
	plain place = iota
	single
	double
	backtick
	line
	block
)

// reader goes through a statement as the server's own scanner does.
type reader struct {
	text string
	at   int
	in   place
	out  strings.Builder
	// end is how much of out there is up to the last that is neither a comment
	// nor a semicolon: the server refuses an empty statement.
	end int
}

// fill returns the statements as one text, with the placeholders filled in.
func fill(statements []string, values map[string]string) (string, error) {
	var out strings.Builder
	for _, text := range statements {
		filled, err := fillOne(text, values)
		if err != nil {
			return "", err
		}
		if out.Len()+len(filled) > maxStatements {
			return "", errors.New("the statements are too long")
		}
		if out.Len() > 0 {
			// A comment at the end of one must not swallow the next.
			out.WriteString("\n;\n")
		}
		out.WriteString(filled)
	}
	return out.String(), nil
}

// check says what is wrong with statements, whatever is filled in.
func check(statements []string) error {
	_, err := fill(statements, map[string]string{"name": "a", "username": "a", "password": "a", "public_key": "a", "expiration": "a"})
	return err
}

// fillOne fills one text, and leaves out the semicolons and comments at its end.
func fillOne(text string, values map[string]string) (string, error) {
	if strings.ContainsRune(text, 0) {
		return "", errors.New("a statement holds a zero byte")
	}
	r := &reader{text: text}
	for r.at < len(text) {
		if value, length := r.placeholder(values); length > 0 {
			quoted, err := r.quote(value)
			if err != nil {
				return "", err
			}
			r.out.WriteString(quoted)
			r.at += length
			r.end = r.out.Len()
			// A value must not become what a quote belongs to: _charset'…'.
			if r.in == plain && r.at < len(text) && strings.ContainsRune("'\"`", rune(text[r.at])) {
				return "", errors.New("a placeholder stands right before a quote")
			}
			continue
		}
		from, in := r.at, r.in
		if err := r.step(); err != nil {
			return "", err
		}
		if in != line && in != block && r.in != line && r.in != block && strings.Trim(text[from:r.at], "; \t\r\n") != "" {
			r.end = r.out.Len()
		}
	}
	if r.in != plain && r.in != line {
		return "", errors.New("a statement ends inside of a quote or a comment")
	}
	if r.end == 0 {
		return "", errors.New("a statement is empty")
	}
	return r.out.String()[:r.end], nil
}

// rest is what is still to be read.
func (r *reader) rest() string { return r.text[r.at:] }

// take copies n bytes and goes to another place.
func (r *reader) take(n int, to place) {
	n = min(n, len(r.text)-r.at)
	r.out.WriteString(r.text[r.at : r.at+n])
	r.at += n
	r.in = to
}

// placeholder finds a placeholder here. Comments are left as they are.
func (r *reader) placeholder(values map[string]string) (value string, length int) {
	if r.in == line || r.in == block {
		return "", 0
	}
	inner, ok := strings.CutPrefix(r.rest(), "{{")
	if !ok {
		return "", 0
	}
	name, _, ok := strings.Cut(inner, "}}")
	if !ok {
		return "", 0
	}
	value, ok = values[strings.TrimSpace(name)]
	if !ok {
		return "", 0
	}
	return value, len(name) + 4
}

// quote makes a value safe for where it stands.
func (r *reader) quote(value string) (string, error) {
	if strings.ContainsRune(value, 0) {
		return "", errors.New("a value holds a zero byte")
	}
	switch r.in {
	case single:
		return escape(value, "'"), nil
	case double:
		return escape(value, `"`), nil
	case backtick:
		return strings.ReplaceAll(value, "`", "``"), nil
	}
	for i := range len(value) {
		if !isWord(value[i]) {
			return "", fmt.Errorf("a placeholder stands outside of quotes: write '{{name}}'@'%%' for users and '{{password}}' for values")
		}
	}
	return value, nil
}

// escape makes a value one that can stand in a text between marks.
func escape(value, mark string) string {
	return strings.NewReplacer(`\`, `\\`, mark, mark+mark).Replace(value)
}

// literal makes a text of a value.
func literal(value string) string { return "'" + escape(value, "'") + "'" }

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

// step reads what is here.
func (r *reader) step() error {
	rest := r.rest()
	switch r.in {
	case plain:
		return r.stepPlain(rest)
	case single:
		r.stepText(rest, "'")
	case double:
		r.stepText(rest, `"`)
	case backtick:
		// A doubled quote ends the name and begins the next: the same.
		r.until(rest, "`")
	case line:
		r.until(rest, "\n")
	case block:
		r.until(rest, "*/")
	}
	return nil
}

func (r *reader) stepText(rest, mark string) {
	if rest[0] == '\\' {
		r.take(2, r.in)
		return
	}
	r.until(rest, mark)
}

// until leaves the place at its end mark.
func (r *reader) until(rest, mark string) {
	if strings.HasPrefix(rest, mark) {
		r.take(len(mark), plain)
		return
	}
	r.take(1, r.in)
}

func (r *reader) stepPlain(rest string) error {
	switch {
	case rest[0] == '\'':
		r.take(1, single)
	case rest[0] == '"':
		r.take(1, double)
	case rest[0] == '`':
		r.take(1, backtick)
	case rest[0] == '#':
		r.take(1, line)
	case strings.HasPrefix(rest, "--") && (len(rest) == 2 || rest[2] <= ' '):
		r.take(2, line)
	case strings.HasPrefix(rest, "/*!"), strings.HasPrefix(rest, "/*M!"):
		return errors.New("a statement has a comment that only some versions of the server run: write what is in it, or leave it out")
	case strings.HasPrefix(rest, "/*"):
		r.take(2, block)
	default:
		r.take(1, plain)
	}
	return nil
}
