package archtest

import (
	"cmp"
	"fmt"
	"slices"
)

// Finding is one place where the sources leave the design.
type Finding struct {
	// Rule names what is broken, as in the list of waivers.
	Rule string
	// Where is a file, a package, or a file and the name of a declaration in it:
	// "core/core.go:New". It does not change with every edit, as a line would.
	Where string
	// Line is where to look; 0: the whole.
	Line int
	// Size is what was measured; 0 where nothing is.
	Size int
	// Text says what is wrong.
	Text string
}

func (f Finding) String() string {
	where := f.Where
	if f.Line > 0 {
		where = fmt.Sprintf("%s (line %d)", where, f.Line)
	}
	return fmt.Sprintf("%s: %s [%s]", where, f.Text, f.Rule)
}

// Check returns everything that is wrong with the files, in a fixed order.
func Check(files []*File) []Finding {
	var all []Finding
	for _, f := range files {
		all = append(all, imports(f)...)
		all = append(all, calls(f)...)
		all = append(all, comments(f)...)
		if !f.Generated {
			all = append(all, sizes(f)...)
		}
	}
	all = append(all, packages(files)...)
	slices.SortFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Where, b.Where), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text))
	})
	return all
}
