package usernames

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

// Bounds of templates and what they give.
const (
	// MaxTemplate is how long a template may be, in bytes.
	MaxTemplate = 4 << 10
	maxRandom   = 128
	// maxPart bounds what each step of a template gives.
	maxPart = 8 << 10
)

// Alphanumeric are the characters of random texts.
const Alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// Rules are what the names of one kind of target are like.
type Rules struct {
	// Target is what takes the names, for errors, such as "the database".
	Target string
	// Most is how many characters it takes.
	Most int
	// Least is how many characters of two names for the same caller, at the same
	// time, have to differ. It is above 0 where a name that was taken would be
	// revoked.
	Least int
	// Fields are what a template knows, and Fixed those of them, with their
	// values, that are the same for all names.
	Fields []string
	Fixed  map[string]string
	// Conditions lets templates have {{if}}.
	Conditions bool
	// Others are the characters besides letters and digits that stay; any other
	// becomes a dash.
	Others string
}

// Template makes names. It is safe for concurrent use.
type Template struct {
	tree  *template.Template
	rules Rules
}

// Parse reads a template. Its error is for whoever wrote it.
func Parse(text string, r Rules) (*Template, error) {
	t, err := ParseAgain(text, r)
	if err != nil {
		return nil, err
	}
	return t, t.try()
}

// ParseAgain is Parse of a text that was parsed before and found to give names
// that differ.
func ParseAgain(text string, r Rules) (*Template, error) {
	if len(text) > MaxTemplate {
		return nil, fmt.Errorf("username_template is longer than %d bytes", MaxTemplate)
	}
	tree, err := template.New("username").Funcs(functions(time.Time{})).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("username_template: %w", err)
	}
	if len(tree.Templates()) > 1 || tree.Tree == nil || tree.Root == nil {
		return nil, errors.New("username_template is empty or defines templates")
	}
	t := &Template{tree: tree, rules: r}
	if err := t.allowed(tree.Root); err != nil {
		return nil, err
	}
	return t, nil
}

// allowed walks what a template is made of.
func (t *Template) allowed(node parse.Node) error {
	switch n := node.(type) {
	case *parse.ListNode:
		return all(t, n.Nodes)
	case *parse.ActionNode:
		return t.allowed(n.Pipe)
	case *parse.IfNode:
		if !t.rules.Conditions {
			break
		}
		if n.ElseList == nil {
			return all(t, []parse.Node{n.Pipe, n.List})
		}
		return all(t, []parse.Node{n.Pipe, n.List, n.ElseList})
	case *parse.PipeNode:
		if len(n.Decl) > 0 {
			return errors.New("username_template cannot have variables")
		}
		return all(t, n.Cmds)
	case *parse.CommandNode:
		return all(t, n.Args)
	case *parse.IdentifierNode:
		_, ok := functions(time.Time{})[n.Ident]
		if !ok && (!t.rules.Conditions || !slices.Contains(comparisons, n.Ident)) {
			return fmt.Errorf("username_template cannot use the function %s", n.Ident)
		}
		return nil
	case *parse.FieldNode:
		if len(n.Ident) != 1 || !slices.Contains(t.rules.Fields, n.Ident[0]) {
			return fmt.Errorf("username_template knows .%s", strings.Join(t.rules.Fields, ", ."))
		}
		return nil
	case *parse.TextNode, *parse.StringNode, *parse.NumberNode, *parse.CommentNode:
		return nil
	}
	return errors.New("username_template is made of text, fields and functions only")
}

// comparisons are functions of Go's templates that conditions may use.
var comparisons = []string{"eq", "ne", "and", "or", "not"} //nolint:gochecknoglobals // a constant

func all[N parse.Node](t *Template, nodes []N) error {
	for _, node := range nodes {
		if err := t.allowed(node); err != nil {
			return err
		}
	}
	return nil
}

// try makes names of long inputs, and sees whether they are names, and no two
// the same.
func (t *Template) try() error {
	in := make(map[string]string)
	for _, field := range t.rules.Fields {
		in[field] = strings.Repeat(strings.ToLower(field[:1]), 64)
	}
	differ := 0
	for range 3 {
		a, err := t.Make(in, time.Unix(1<<31, 0))
		if err != nil {
			return err
		}
		b, err := t.Make(in, time.Unix(1<<31, 0))
		if err != nil {
			return err
		}
		here := 0
		for i := range min(len(a), len(b)) {
			if a[i] != b[i] {
				here++
			}
		}
		differ = max(differ, here)
	}
	if differ < t.rules.Least {
		return errors.New("username_template gives names that are not unique: use (random 8) or more, and do not cut it off")
	}
	return nil
}

// Make makes one name of the values of fields.
func (t *Template) Make(in map[string]string, now time.Time) (string, error) {
	tree, err := t.tree.Clone()
	if err != nil {
		return "", err
	}
	values := make(map[string]string)
	for _, field := range t.rules.Fields {
		values[field] = in[field]
	}
	maps.Copy(values, t.rules.Fixed)
	var out strings.Builder
	if err := tree.Funcs(functions(now)).Execute(&out, values); err != nil {
		return "", fmt.Errorf("username_template: %w", err)
	}
	name := strings.Map(func(c rune) rune {
		if strings.ContainsRune(Alphanumeric, c) || strings.ContainsRune(t.rules.Others, c) {
			return c
		}
		return '-'
	}, strings.TrimSpace(out.String()))
	if name == "" || len(name) > t.rules.Most {
		return "", fmt.Errorf("username_template gives a name of %d characters, where %s takes 1 to %d", len(name), t.rules.Target, t.rules.Most)
	}
	return name, nil
}

// functions are those of a template, at a time.
func functions(now time.Time) template.FuncMap {
	return template.FuncMap{
		"random":   func(n int) (string, error) { return RandomText(Alphanumeric, n) },
		"uuid":     newUUID,
		"truncate": truncate,
		"truncate_sha256": func(n int, text string) (string, error) {
			if n < 9 || len(text) <= n {
				return truncate(n, text)
			}
			sum := sha256.Sum256([]byte(text))
			return text[:n-8] + hex.EncodeToString(sum[:4]), nil
		},
		"uppercase":        strings.ToUpper,
		"lowercase":        strings.ToLower,
		"replace":          replace,
		"sha256":           func(text string) string { sum := sha256.Sum256([]byte(text)); return hex.EncodeToString(sum[:]) },
		"base64":           func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) },
		"unix_time":        func() string { return strconv.FormatInt(now.Unix(), 10) },
		"unix_time_millis": func() string { return strconv.FormatInt(now.UnixMilli(), 10) },
		"timestamp":        func(layout string) string { return now.UTC().Format(layout) },
		"printf":           printf,
	}
}

func truncate(n int, text string) (string, error) {
	if n < 1 {
		return "", errors.New("truncate takes a length above 0")
	}
	return text[:min(n, len(text))], nil
}

func replace(from, to, text string) (string, error) {
	if from == "" || len(text)*(len(to)+1) > maxPart {
		return "", errors.New("replace takes a text to look for, and cannot grow that long")
	}
	return strings.ReplaceAll(text, from, to), nil
}

// printf knows %s and %%, so that no width can ask for memory.
func printf(format string, args ...string) (string, error) {
	parts := strings.Split(format, "%")
	out := parts[0]
	for i := 1; i < len(parts); i++ {
		switch {
		case parts[i] == "" && i+1 < len(parts):
			i++
			out += "%" + parts[i]
		case strings.HasPrefix(parts[i], "s") && len(args) > 0:
			out, args = out+args[0]+parts[i][1:], args[1:]
		default:
			return "", errors.New("printf takes %s and %%, and one argument for each %s")
		}
	}
	if len(args) > 0 || len(out) > maxPart {
		return "", errors.New("printf has arguments that nothing takes, or gives too much")
	}
	return out, nil
}

// RandomText makes a text of n characters of a set.
func RandomText(charset string, n int) (string, error) {
	if n < 1 || n > maxRandom {
		return "", fmt.Errorf("random takes a length of 1 to %d", maxRandom)
	}
	out := make([]byte, n)
	for i := range out {
		at, err := rand.Int(rand.Reader, big.NewInt(int64(len(charset))))
		if err != nil {
			return "", err
		}
		out[i] = charset[at.Int64()]
	}
	return string(out), nil
}

func newUUID() (string, error) {
	var b [16]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
}
