package redis

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

const (
	// maxRules bounds the rules of a user, maxRule the length of one.
	maxRules = 1024
	maxRule  = 4 << 10
)

// defaultRules are those of a role that has none.
var defaultRules = []string{"~*", "+@read"} //nolint:gochecknoglobals // a constant

// rules reads the rules of statements: each is a JSON list, one rule in
// brackets, or rules with spaces between them. In rules, {{name}} is the user's.
func rules(statements []string, name string) ([]string, error) {
	var out []string
	for _, text := range statements {
		text = strings.TrimSpace(text)
		switch {
		case strings.HasPrefix(text, "["):
			var list []string
			if err := json.Unmarshal([]byte(text), &list); err != nil {
				return nil, errors.New(`a statement begins like a JSON list of rules and is none, such as ["~*", "+@read"]`)
			}
			out = append(out, list...)
		case strings.HasPrefix(text, "("):
			out = append(out, text)
		default:
			out = append(out, strings.Fields(text)...)
		}
	}
	if len(out) > maxRules {
		return nil, fmt.Errorf("there are more than %d rules", maxRules)
	}
	fill := strings.NewReplacer("{{name}}", name, "{{username}}", name)
	for i, rule := range out {
		if err := allowed(rule); err != nil {
			return nil, err
		}
		out[i] = fill.Replace(rule)
	}
	if len(out) == 0 {
		return append(out, defaultRules...), nil
	}
	return out, nil
}

// allowed refuses rules that change how a user logs in: it has one password,
// and the one that Coffer made.
func allowed(rule string) error {
	if rule == "" || len(rule) > maxRule || strings.ContainsFunc(rule, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return fmt.Errorf("a rule is empty, longer than %d bytes, or holds control characters", maxRule)
	}
	switch strings.ToLower(rule) {
	case "on", "off", "nopass", "reset", "resetpass":
		return fmt.Errorf("a role cannot have the rule %s: its users are on, with the password that they are given", strings.ToLower(rule))
	}
	if strings.ContainsRune("><#!", rune(rule[0])) {
		return errors.New("a role cannot have rules that give or take passwords")
	}
	return nil
}
