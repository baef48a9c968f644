package cli

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// httpOnly marks the flags that say how to reach a server: they are told apart
// from a command's own.
const httpOnly = "coffer_http"

func usageLine(cmd *cobra.Command) string {
	parent := ""
	if cmd.HasParent() {
		parent = cmd.Parent().CommandPath() + " "
	}
	return parent + cmd.Use
}

// showHelp writes a command's help, flags with one dash.
func showHelp(cmd *cobra.Command, w io.Writer) {
	var b strings.Builder
	line := usageLine(cmd)
	if cmd.HasAvailableSubCommands() {
		line = cmd.CommandPath() + " <command> [options] [args]"
	}
	fmt.Fprintf(&b, "Usage: %s\n\n", line)
	about := cmd.Long
	if about == "" {
		about = cmd.Short
	}
	fmt.Fprintf(&b, "%s\n", indent(strings.TrimSpace(about)))
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\nExamples:\n%s\n", indent(strings.TrimSpace(cmd.Example)))
	}
	var rows [][]string
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() {
			rows = append(rows, []string{"  " + child.Name(), child.Short})
		}
	}
	if len(rows) > 0 {
		fmt.Fprintf(&b, "\nCommands:\n%s", columns(rows))
	}
	own, http := flagRows(cmd.Flags())
	if len(own) > 0 {
		fmt.Fprintf(&b, "\nOptions:\n%s", columns(own))
	}
	if len(http) > 0 {
		fmt.Fprintf(&b, "\nOptions of every command that calls a server:\n%s", columns(http))
	}
	_, _ = io.WriteString(w, b.String())
}

func flagRows(set *pflag.FlagSet) (own, http [][]string) {
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "  -" + f.Name
		if f.NoOptDefVal == "" {
			name += "=<" + strings.TrimSuffix(strings.TrimSuffix(f.Value.Type(), "Array"), "Slice") + ">"
		}
		if f.Shorthand != "" {
			name += ", -" + f.Shorthand
		}
		row := []string{name, f.Usage}
		if _, ok := f.Annotations[httpOnly]; ok {
			http = append(http, row)
			return
		}
		own = append(own, row)
	})
	return own, http
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

var longFlag = regexp.MustCompile(`(^|[\s"',])--([a-z])`)

// oneDash writes flags in a message the way the help does.
func oneDash(text string) string { return longFlag.ReplaceAllString(text, "$1-$2") }
