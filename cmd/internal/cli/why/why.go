package why

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Explanation is the answer of sys/policies/explain.
type Explanation struct {
	Path      string `json:"path"`
	Operation string `json:"operation"`
	Allowed   bool   `json:"allowed"`
	Reason    string `json:"reason"`
	Sudo      bool   `json:"sudo_required"`
	Rule      *Rule  `json:"rule"`
	Lost      []Rule `json:"lost"`
}

// Rule is one rule that fits the request.
type Rule struct {
	// Path has its templates filled.
	Path         string   `json:"path"`
	Capabilities []string `json:"capabilities"`
	Sources      []Source `json:"sources"`
}

// Source is a block that the rule was made of. Line is 0 where there are none.
type Source struct {
	Policy string `json:"policy"`
	Line   int    `json:"line"`
	// Path is as it is written.
	Path string `json:"path"`
}

// Parse reads an answer's data.
func Parse(data map[string]any) (*Explanation, error) {
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	e := new(Explanation)
	if err := json.Unmarshal(raw, e); err != nil || e.Operation == "" {
		return nil, errors.New("the server's answer is none that this command knows")
	}
	return e, nil
}

// String is the explanation for people.
func (e *Explanation) String() string {
	var b strings.Builder
	verdict := "Denied"
	if e.Allowed {
		verdict = "Allowed"
	}
	fmt.Fprintf(&b, "%s: %s %s\nReason: %s\n", verdict, e.Operation, e.Path, e.Reason)
	if e.Sudo {
		b.WriteString("The path needs the capability \"sudo\" too.\n")
	}
	if e.Rule != nil {
		b.WriteString("\nThe rule that decides:\n")
		e.Rule.write(&b)
	}
	if len(e.Lost) > 0 {
		b.WriteString("\nRules that fit too, and lost to it:\n")
		for i := range e.Lost {
			e.Lost[i].write(&b)
		}
	}
	return b.String()
}

func (r *Rule) write(b *strings.Builder) {
	fmt.Fprintf(b, "  path %q  [%s]\n", r.Path, strings.Join(r.Capabilities, ", "))
	for _, s := range r.Sources {
		fmt.Fprintf(b, "    policy %q", s.Policy)
		if s.Line > 0 {
			fmt.Fprintf(b, ", line %d", s.Line)
		}
		if s.Path != r.Path {
			fmt.Fprintf(b, ", from the template %q", s.Path)
		}
		b.WriteByte('\n')
	}
}
