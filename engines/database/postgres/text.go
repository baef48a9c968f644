package postgres

import (
	"errors"
	"fmt"
	"strings"
)

// maxStatements bounds what statements grow to.
const maxStatements = 256 << 10

// values are what placeholders stand for.
type values struct {
	fill map[string]string
	// verifier takes the password's place where a statement sets it.
	verifier string
}

// place is where in a statement the reader is.
type place uint8

const (
	plain   place = iota
	literal       // '…'
	escaped       // E'…'
	identifier
	dollar
	line
	block
)

// reader goes through a statement as PostgreSQL's own scanner does.
type reader struct {
	text string
	at   int
	in   place
	// tag ends a dollar quote; depth counts comments inside of each other.
	tag   string
	depth int
	out   strings.Builder
}

// fill returns the statements as one text, with the placeholders filled in.
func fill(statements []string, v *values) (string, error) {
	var out strings.Builder
	for _, text := range statements {
		filled, err := fillOne(text, v)
		if err != nil {
			return "", err
		}
		if out.Len()+len(filled) > maxStatements {
			return "", errors.New("the statements are too long")
		}
		out.WriteString(filled)
		// A comment at the end of one must not swallow the next.
		out.WriteString("\n;\n")
	}
	return out.String(), nil
}

// check says what is wrong with statements, whatever is filled in.
func check(statements []string) error {
	_, err := fill(statements, &values{fill: map[string]string{"name": "a", "username": "a", "password": "a", "public_key": "a", "expiration": "a"}})
	return err
}

func fillOne(text string, v *values) (string, error) {
	if strings.ContainsRune(text, 0) {
		return "", errors.New("a statement holds a zero byte")
	}
	r := &reader{text: text}
	for r.at < len(text) {
		if value, length := r.placeholder(v); length > 0 {
			quoted, err := r.quote(value)
			if err != nil {
				return "", err
			}
			r.out.WriteString(quoted)
			r.at += length
			// A value must not become what begins a quote: E'…' or $tag$.
			if r.in == plain && r.at < len(text) && strings.ContainsRune("'$", rune(text[r.at])) {
				return "", errors.New("a placeholder stands right before a quote")
			}
			continue
		}
		if r.in == plain && r.setsPassword(v) {
			continue
		}
		r.step()
	}
	if r.in != plain && r.in != line {
		return "", errors.New("a statement ends inside of a quote or a comment")
	}
	return r.out.String(), nil
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

// placeholder finds a placeholder here. Any other braces are PostgreSQL's, such
// as those of arrays; and comments are left as they are.
func (r *reader) placeholder(v *values) (value string, length int) {
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
	value, ok = v.fill[strings.TrimSpace(name)]
	if !ok {
		return "", 0
	}
	return value, len(name) + 4
}

// setsPassword puts a verifier where the text is PASSWORD '{{password}}'.
func (r *reader) setsPassword(v *values) bool {
	const quoted = "'{{password}}'"
	if v.verifier == "" || !strings.HasPrefix(r.rest(), quoted) {
		return false
	}
	before := strings.TrimRight(r.text[:r.at], " \t\r\n")
	if len(before) < 8 || !strings.EqualFold(before[len(before)-8:], "password") || len(before) > 8 && isWord(before[len(before)-9]) {
		return false
	}
	r.out.WriteString("'" + v.verifier + "'")
	r.at += len(quoted)
	return true
}

// quote makes a value safe for where it stands.
func (r *reader) quote(value string) (string, error) {
	if strings.ContainsRune(value, 0) {
		return "", errors.New("a value holds a zero byte")
	}
	switch r.in {
	case literal:
		return strings.ReplaceAll(value, "'", "''"), nil
	case escaped:
		return strings.NewReplacer("'", "''", `\`, `\\`).Replace(value), nil
	case identifier:
		return strings.ReplaceAll(value, `"`, `""`), nil
	case dollar:
		// What quotes it inside is for whoever wrote the function to know.
		if strings.ContainsAny(value, "'\"\\$;") {
			return "", errors.New("a value with quotes cannot stand inside of a dollar quote: use a password policy without them")
		}
		return value, nil
	}
	for i := range len(value) {
		if !isWord(value[i]) {
			return "", fmt.Errorf(`a placeholder stands outside of quotes: write "{{name}}" for names and '{{password}}' for values`)
		}
	}
	return value, nil
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c >= 0x80
}

// step reads what is here.
func (r *reader) step() {
	rest := r.rest()
	switch r.in {
	case plain:
		r.stepPlain(rest)
	case literal:
		// A doubled quote ends the literal and begins the next: the same.
		r.until(rest, "'", 1)
	case escaped:
		if rest[0] == '\\' {
			r.take(2, escaped)
			return
		}
		if strings.HasPrefix(rest, "''") {
			r.take(2, escaped)
			return
		}
		r.until(rest, "'", 1)
	case identifier:
		r.until(rest, `"`, 1)
	case dollar:
		r.until(rest, r.tag, len(r.tag))
	case line:
		r.until(rest, "\n", 1)
	case block:
		switch {
		case strings.HasPrefix(rest, "/*"):
			r.depth++
			r.take(2, block)
		case strings.HasPrefix(rest, "*/"):
			if r.depth--; r.depth == 0 {
				r.take(2, plain)
				return
			}
			r.take(2, block)
		default:
			r.take(1, block)
		}
	}
}

// until leaves the place at its end mark.
func (r *reader) until(rest, mark string, n int) {
	if strings.HasPrefix(rest, mark) {
		r.take(n, plain)
		return
	}
	r.take(1, r.in)
}

func (r *reader) stepPlain(rest string) {
	if r.word(rest) {
		return
	}
	switch {
	case rest[0] == '\'':
		r.take(1, literal)
	case rest[0] == '"':
		r.take(1, identifier)
	case strings.HasPrefix(rest, "--"):
		r.take(2, line)
	case strings.HasPrefix(rest, "/*"):
		r.depth = 1
		r.take(2, block)
	case rest[0] == '$':
		end := 1
		for end < len(rest) && isWord(rest[end]) {
			end++
		}
		if end < len(rest) && rest[end] == '$' && (end == 1 || rest[1] < '0' || rest[1] > '9') {
			r.tag = rest[:end+1]
			r.take(end+1, dollar)
			return
		}
		r.take(1, plain)
	default:
		r.take(1, plain)
	}
}

// word reads a name whole, so that its last letter is not taken for the E of an
// escaped literal, nor a dollar in it for a quote.
func (r *reader) word(rest string) bool {
	n := 0
	for n < len(rest) && (isWord(rest[n]) || n > 0 && rest[n] == '$') {
		n++
	}
	switch {
	case n == 0:
		return false
	case n == 1 && (rest[0] == 'e' || rest[0] == 'E') && strings.HasPrefix(rest[1:], "'"):
		r.take(2, escaped)
	default:
		r.take(n, plain)
	}
	return true
}
