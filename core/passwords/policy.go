package passwords

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/hashicorp/hcl/hcl/ast"
	"github.com/hashicorp/hcl/hcl/token"

	"github.com/coffer-secrets/coffer/core/policy"
)

// Bounds of a policy.
const (
	minLength  = 4
	maxLength  = 1024
	maxRules   = 64
	maxCharset = 1024
	// maxText bounds the policy's own text.
	maxText = 64 << 10
	// maxDraws is how often a password is drawn before it is given up, and
	// tried how many passwords a new policy has to give.
	maxDraws = 2000
	tried    = 10
)

// Policy says what a password is made of.
type Policy struct {
	length int
	rules  []rule
	// charset are the characters of all rules, each once.
	charset []rune
}

// rule asks for at least so many characters of a set.
type rule struct {
	charset []rune
	least   int
}

// ErrUnlikely is a policy that passwords hold too seldom.
var ErrUnlikely = errors.New("passwords of this length hold the rules too seldom: ask for fewer characters of each charset, or a greater length")

// Parse reads a policy. Its errors are safe to show to who wrote it.
func Parse(text string) (*Policy, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the policy is longer than %d bytes", maxText)
	}
	list, err := policy.Objects(text)
	if err != nil {
		return nil, err
	}
	p := &Policy{}
	for _, item := range list.Items {
		switch keys := names(item); {
		case len(keys) == 1 && keys[0] == "length":
			if p.length, err = number(item.Val, minLength, maxLength); err != nil {
				return nil, fmt.Errorf("length: %w", err)
			}
		case keys[0] == "rule":
			if err := p.addRules(keys[1:], item.Val); err != nil {
				return nil, err
			}
		default:
			return nil, errors.New("a password policy is made of length and of rule blocks")
		}
	}
	return p, p.check()
}

func names(item *ast.ObjectItem) []string {
	out := make([]string, 0, len(item.Keys))
	for _, key := range item.Keys {
		name, _ := key.Token.Value().(string)
		out = append(out, name)
	}
	if len(out) == 0 {
		return []string{""}
	}
	return out
}

// addRules reads `rule "charset" { … }`; in JSON the kinds are members of rule,
// and either may be a list.
func (p *Policy) addRules(kinds []string, value ast.Node) error {
	if len(p.rules) > maxRules {
		return fmt.Errorf("at most %d rules", maxRules)
	}
	switch v := value.(type) {
	case *ast.ListType:
		for _, part := range v.List {
			if err := p.addRules(kinds, part); err != nil {
				return err
			}
		}
		return nil
	case *ast.ObjectType:
		if len(kinds) == 1 && kinds[0] == "charset" {
			return p.addCharset(v.List)
		}
		if len(kinds) > 0 {
			return errors.New(`the only kind of rule is "charset"`)
		}
		for _, item := range v.List.Items {
			if err := p.addRules(names(item), item.Val); err != nil {
				return err
			}
		}
		return nil
	}
	return errors.New(`a rule is a block: rule "charset" { charset = "…" }`)
}

func (p *Policy) addCharset(list *ast.ObjectList) error {
	var r rule
	for _, item := range list.Items {
		var err error
		switch names(item)[0] {
		case "charset":
			r.charset, err = charset(item.Val)
		case "min-chars":
			r.least, err = number(item.Val, 0, maxLength)
		default:
			err = errors.New("a charset rule has charset and min-chars")
		}
		if err != nil {
			return err
		}
	}
	if len(r.charset) == 0 {
		return errors.New("a rule's charset is missing")
	}
	p.rules = append(p.rules, r)
	p.charset = append(p.charset, r.charset...)
	return nil
}

func charset(value ast.Node) ([]rune, error) {
	lit, ok := value.(*ast.LiteralType)
	if !ok || lit.Token.Type != token.STRING && lit.Token.Type != token.HEREDOC {
		return nil, errors.New("a charset is a string")
	}
	text, _ := lit.Token.Value().(string)
	runes := []rune(text)
	slices.Sort(runes)
	runes = slices.Compact(runes)
	switch {
	case !utf8.ValidString(text) || slices.ContainsFunc(runes, func(r rune) bool { return !unicode.IsPrint(r) }):
		return nil, errors.New("a charset holds printable characters only")
	case len(runes) == 0 || len(runes) > maxCharset:
		return nil, fmt.Errorf("a charset holds 1 to %d characters", maxCharset)
	}
	return runes, nil
}

func number(value ast.Node, least, most int) (int, error) {
	lit, ok := value.(*ast.LiteralType)
	if !ok {
		return 0, fmt.Errorf("expected a number between %d and %d", least, most)
	}
	n, err := strconv.Atoi(lit.Token.Text)
	if err != nil || n < least || n > most {
		return 0, fmt.Errorf("expected a number between %d and %d", least, most)
	}
	return n, nil
}

func (p *Policy) check() error {
	slices.Sort(p.charset)
	p.charset = slices.Compact(p.charset)
	needed := 0
	for _, r := range p.rules {
		needed += r.least
	}
	switch {
	case p.length == 0:
		return errors.New("length is missing")
	case len(p.charset) == 0:
		return errors.New("there is no charset")
	case needed > p.length:
		return errors.New("the rules ask for more characters than length has")
	}
	for range tried {
		if _, err := p.Generate(rand.Reader); err != nil {
			return err
		}
	}
	return nil
}

// Generate makes a password of what random gives.
func (p *Policy) Generate(random io.Reader) (string, error) {
	source := bufio.NewReaderSize(random, 256)
	out := make([]rune, p.length)
	for range maxDraws {
		for i := range out {
			var err error
			if out[i], err = p.draw(source); err != nil {
				return "", err
			}
		}
		if p.holds(out) {
			return string(out), nil
		}
	}
	return "", ErrUnlikely
}

// draw takes one character. What would make the first of the charset likelier
// than the last is dropped.
func (p *Policy) draw(source io.ByteReader) (rune, error) {
	n := len(p.charset)
	limit := (1 << 16) / n * n
	for {
		high, err := source.ReadByte()
		if err != nil {
			return 0, err
		}
		low, err := source.ReadByte()
		if err != nil {
			return 0, err
		}
		if v := int(high)<<8 | int(low); v < limit {
			return p.charset[v%n], nil
		}
	}
}

func (p *Policy) holds(password []rune) bool {
	for _, r := range p.rules {
		count := 0
		for _, c := range password {
			if _, ok := slices.BinarySearch(r.charset, c); ok {
				count++
			}
		}
		if count < r.least {
			return false
		}
	}
	return true
}
