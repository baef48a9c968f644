package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// normalize gives arguments the form that the flag library knows: the words of
// the command first, and two dashes before every long flag. What follows "--",
// and what is the value of a flag, is left as it is.
func normalize(root *cobra.Command, shared *pflag.FlagSet, args []string) []string {
	var words, rest []string
	cmd, inWords := root, true
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "--":
			return append(append(words, rest...), args[i:]...)
		case strings.HasPrefix(arg, "-") && arg != "-":
			arg = twoDashes(arg)
			rest = append(rest, arg)
			if takesNext(cmd, shared, arg) && i+1 < len(args) {
				i++
				rest = append(rest, args[i])
			}
		default:
			child := childNamed(cmd, arg)
			if !inWords || child == nil {
				inWords = false
				rest = append(rest, arg)
				continue
			}
			words, cmd = append(words, arg), child
		}
	}
	return append(words, rest...)
}

func twoDashes(arg string) string {
	name, _, _ := strings.Cut(arg, "=")
	if strings.HasPrefix(arg, "--") || len(name) <= len("-x") {
		return arg
	}
	return "-" + arg
}

// takesNext reports whether a flag's value is the next argument.
func takesNext(cmd *cobra.Command, shared *pflag.FlagSet, arg string) bool {
	name := strings.TrimLeft(arg, "-")
	if name == "" || strings.Contains(name, "=") {
		return false
	}
	find := func(set *pflag.FlagSet) *pflag.Flag {
		if len(name) == 1 {
			return set.ShorthandLookup(name)
		}
		return set.Lookup(name)
	}
	f := find(cmd.Flags())
	if f == nil {
		f = find(shared)
	}
	return f != nil && f.NoOptDefVal == ""
}

func childNamed(cmd *cobra.Command, name string) *cobra.Command {
	for _, child := range cmd.Commands() {
		if child.Name() == name || child.HasAlias(name) {
			return child
		}
	}
	return nil
}
