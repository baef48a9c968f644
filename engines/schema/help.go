package schema

import (
	"fmt"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

// Help explains a path, relative to the mount, to a person ("help") and to a
// program ("openapi", whose paths are relative to the mount). The empty path
// explains the mount as a whole. It is false for a path that no route fits.
func Help(c *Compiled, path string) (map[string]any, bool) {
	if path == "" {
		return map[string]any{"help": mountHelp(c.table), "openapi": Document(OpenAPI("", c.table), "v1")}, true
	}
	m, ok := c.Match(path)
	if !ok {
		return nil, false
	}
	one := &engines.Table{Routes: []engines.Route{*m.Route}}
	return map[string]any{"help": routeHelp(m.Route, path), "openapi": Document(OpenAPI("", one), "v1")}, true
}

func mountHelp(t *engines.Table) string {
	var b strings.Builder
	b.WriteString("## DESCRIPTION\n\n")
	b.WriteString(strings.TrimSpace(t.Help))
	b.WriteString("\n\n## PATHS\n\nThe following paths are supported by this mount. For help on one of them, ask\nfor the help of that path.\n")
	routes := slices.Clone(t.Routes)
	slices.SortFunc(routes, func(a, b engines.Route) int { return strings.Compare(a.Pattern, b.Pattern) })
	for i := range routes {
		fmt.Fprintf(&b, "\n    %s\n        %s\n", shownPattern(routes[i].Pattern), routes[i].Help)
	}
	return b.String()
}

func shownPattern(pattern string) string {
	if pattern == "" {
		return "(the mount itself)"
	}
	return pattern
}

func routeHelp(r *engines.Route, path string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Request:        %s\nMatching Route: %s\n\n%s\n", path, shownPattern(r.Pattern), r.Help)
	b.WriteString("\n## OPERATIONS\n")
	for _, op := range r.Ops {
		help := op.Help
		if help == "" {
			help = r.Help
		}
		fmt.Fprintf(&b, "\n    %-8s %s\n", op.Do, help)
	}
	if len(r.Fields) > 0 {
		b.WriteString("\n## PARAMETERS\n")
		fields := slices.Clone(r.Fields)
		slices.SortFunc(fields, func(a, b engines.Field) int { return strings.Compare(a.Name, b.Name) })
		for i := range fields {
			fmt.Fprintf(&b, "\n    %s (%s)\n        %s\n", fields[i].Name, fieldNote(&fields[i]), fields[i].Help)
		}
	}
	if text := strings.TrimSpace(r.Description); text != "" {
		fmt.Fprintf(&b, "\n## DESCRIPTION\n\n%s\n", text)
	}
	return b.String()
}

// fieldNote is a field's type and what else a writer must know.
func fieldNote(f *engines.Field) string {
	notes := []string{f.Type.String()}
	if f.Required {
		notes = append(notes, "required")
	}
	if f.Default != nil {
		notes = append(notes, fmt.Sprintf("default %v", f.Default))
	}
	if len(f.Allowed) > 0 {
		notes = append(notes, "one of "+strings.Join(f.Allowed, ", "))
	}
	if f.Deprecated {
		notes = append(notes, "deprecated")
	}
	return strings.Join(notes, ", ")
}
