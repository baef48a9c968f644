package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) completionCommand() *cobra.Command {
	scripts := map[string]func(root *cobra.Command, b *bytes.Buffer) error{
		"bash": func(root *cobra.Command, b *bytes.Buffer) error { return root.GenBashCompletionV2(b, true) },
		"zsh":  func(root *cobra.Command, b *bytes.Buffer) error { return root.GenZshCompletion(b) },
		"fish": func(root *cobra.Command, b *bytes.Buffer) error { return root.GenFishCompletion(b, true) },
	}
	cmd := group("completion", "Print the script that completes commands in a shell")
	cmd.Long = "Print the script that completes commands in a shell. coffer -autocomplete-install sets it up for yours."
	for _, shell := range []string{"bash", "zsh", "fish"} {
		cmd.AddCommand(local(shell, "Print the script for "+shell, 0, 0, func(context.Context, []string) error {
			var b bytes.Buffer
			if err := scripts[shell](cmd.Root(), &b); err != nil {
				return failf("Error writing the script: %w", err)
			}
			return a.text(b.String())
		}))
	}
	return cmd
}

// completionLine is the line in a shell's file that asks this program for the script whenever a shell starts, so
// that it is never older than the program.
type completionLine struct{ file, line string }

func shellSetup(home, shell string) (completionLine, error) {
	switch filepath.Base(shell) {
	case "bash":
		return completionLine{filepath.Join(home, ".bashrc"), "source <(coffer completion bash)"}, nil
	case "zsh":
		return completionLine{filepath.Join(home, ".zshrc"), "autoload -U compinit && compinit && source <(coffer completion zsh)"}, nil
	case "fish":
		return completionLine{filepath.Join(home, ".config", "fish", "completions", "coffer.fish"), "coffer completion fish | source"}, nil
	}
	return completionLine{}, usagef("Completion is there for bash, zsh and fish, and SHELL names none of them. See coffer completion -help.")
}

// setUpCompletion adds a line to the shell's own file, once, or removes it.
func (a *app) setUpCompletion(install bool) error {
	home, err := os.UserHomeDir()
	if err != nil {
		return usagef("There is no home folder: set HOME.")
	}
	setup, err := shellSetup(home, os.Getenv("SHELL"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(setup.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return usagef("Error setting up completion: %w", err)
	}
	var kept []string
	for line := range strings.Lines(string(text)) {
		if strings.TrimSpace(line) != setup.line {
			kept = append(kept, line)
		}
	}
	out := strings.Join(kept, "")
	if install {
		if out != "" && !strings.HasSuffix(out, "\n") {
			out += "\n"
		}
		out += setup.line + "\n"
	}
	if out != string(text) {
		if err := replaceFile(setup.file, out); err != nil {
			return usagef("Error setting up completion: %w", err)
		}
	}
	_, err = fmt.Fprintf(a.out, "Success! See %s; it counts for shells that start from now on.\n", setup.file)
	return err
}

// replaceFile writes in place: a shell's file may be a link into a repository.
func replaceFile(name, text string) error {
	const folderMode, fileMode = 0o755, 0o644
	if err := os.MkdirAll(filepath.Dir(name), folderMode); err != nil {
		return err
	}
	return os.WriteFile(name, []byte(text), fileMode)
}
