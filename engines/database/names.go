package database

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

// Bounds of templates and what they give.
const (
	maxTemplate = 4 << 10
	maxRandom   = 128
	// maxPart bounds what each step of a template gives.
	maxPart = 8 << 10
	// leastRandom is how many characters of two names for the same caller, at
	// the same time, have to differ: a name that was taken would be revoked.
	leastRandom = 6
	// passwordLength is that of passwords without a policy: 119 bits.
	passwordLength = 20
)

const alphanumeric = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// names makes user names by a template: a text of fields and functions, without
// conditions, loops and definitions.
type names struct {
	tree *template.Template
	most int
}

// input is what a template knows.
type input struct {
	DisplayName string
	RoleName    string
}

func parseNames(text string, most int) (*names, error) {
	if len(text) > maxTemplate {
		return nil, fmt.Errorf("username_template is longer than %d bytes", maxTemplate)
	}
	tree, err := template.New("username").Funcs(functions(time.Time{})).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("username_template: %w", err)
	}
	if len(tree.Templates()) > 1 || tree.Tree == nil || tree.Root == nil {
		return nil, errors.New("username_template is empty or defines templates")
	}
	if err := allowed(tree.Root); err != nil {
		return nil, err
	}
	n := &names{tree: tree, most: most}
	return n, n.try()
}

// allowed walks what a template is made of.
func allowed(node parse.Node) error {
	switch n := node.(type) {
	case *parse.ListNode:
		return all(n.Nodes)
	case *parse.ActionNode:
		return allowed(n.Pipe)
	case *parse.PipeNode:
		if len(n.Decl) > 0 {
			return errors.New("username_template cannot have variables")
		}
		return all(n.Cmds)
	case *parse.CommandNode:
		return all(n.Args)
	case *parse.IdentifierNode:
		if _, ok := functions(time.Time{})[n.Ident]; !ok {
			return fmt.Errorf("username_template cannot use the function %s", n.Ident)
		}
		return nil
	case *parse.FieldNode:
		if len(n.Ident) != 1 || n.Ident[0] != "DisplayName" && n.Ident[0] != "RoleName" {
			return errors.New("username_template knows .DisplayName and .RoleName")
		}
		return nil
	case *parse.TextNode, *parse.StringNode, *parse.NumberNode, *parse.CommentNode:
		return nil
	}
	return errors.New("username_template is made of text, fields and functions only")
}

func all[N parse.Node](nodes []N) error {
	for _, node := range nodes {
		if err := allowed(node); err != nil {
			return err
		}
	}
	return nil
}

// try makes names of long inputs, and sees whether they are names, and no two
// the same.
func (n *names) try() error {
	in := input{DisplayName: strings.Repeat("d", 64), RoleName: strings.Repeat("r", 64)}
	differ := 0
	for range 3 {
		a, err := n.make(in, time.Unix(1<<31, 0))
		if err != nil {
			return err
		}
		b, err := n.make(in, time.Unix(1<<31, 0))
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
	if differ < leastRandom {
		return errors.New("username_template gives names that are not unique: use (random 8) or more, and do not cut it off")
	}
	return nil
}

// make makes one name. Of characters, only those stay that need no quoting
// anywhere.
func (n *names) make(in input, now time.Time) (string, error) {
	tree, err := n.tree.Clone()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	if err := tree.Funcs(functions(now)).Execute(&out, in); err != nil {
		return "", fmt.Errorf("username_template: %w", err)
	}
	name := strings.Map(func(c rune) rune {
		if strings.ContainsRune(alphanumeric+"_.@+-", c) {
			return c
		}
		return '-'
	}, strings.TrimSpace(out.String()))
	if name == "" || len(name) > n.most {
		return "", fmt.Errorf("username_template gives a name of %d characters, where the database takes 1 to %d", len(name), n.most)
	}
	return name, nil
}

// functions are those of a template, at a time.
func functions(now time.Time) template.FuncMap {
	return template.FuncMap{
		"random":   func(n int) (string, error) { return randomText(alphanumeric, n) },
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

func randomText(charset string, n int) (string, error) {
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

// defaultPassword makes a password where there is no policy: with each kind of
// character that databases ask for.
func defaultPassword() (string, error) {
	text, err := randomText(alphanumeric+"-", passwordLength-4)
	if err != nil {
		return "", err
	}
	return "A1a-" + text, nil
}
