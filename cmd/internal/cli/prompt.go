package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// secretInput asks for something that must not be seen: on the terminal without
// echo, or else as a line of standard input.
func (a *app) secretInput(ctx context.Context, prompt string) (string, error) {
	terminal, ok := a.in.r.(*os.File)
	if !ok || !isTerminal(terminal) {
		text, err := a.in.line()
		return strings.TrimSpace(text), err
	}
	if a.opts.nonInteractive {
		return "", usagef("An answer is needed, and -non-interactive forbids to ask. Give it on standard input.")
	}
	_, _ = fmt.Fprint(a.err, prompt+" (will be hidden): ")
	text, err := readHidden(ctx, int(terminal.Fd()))
	_, _ = io.WriteString(a.err, "\n")
	if err != nil {
		return "", usagef("Error reading from the terminal: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// readHidden reads a line without echo. If the user gives up meanwhile, the
// terminal gets its echo back; the reader is then left to end with the process,
// since nothing else wakes it.
func readHidden(ctx context.Context, fd int) ([]byte, error) {
	before, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := term.ReadPassword(fd)
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), term.Restore(fd, before))
	}
}
