package cli

import (
	"errors"
	"fmt"
	"io"
)

// Exit codes, as scripts know them from Vault's command line.
const (
	exitOK        = 0
	exitUsage     = 1   // wrong flags or arguments
	exitRemote    = 2   // the server refused, or could not be reached
	exitNoCommand = 127 // there is no such command
)

// exit is an error with the code to exit with. Commands from elsewhere have
// errors of their own with that method.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

// ExitCode is the code to exit with.
func (e *exit) ExitCode() int { return e.code }

// usagef is for what the user got wrong.
func usagef(format string, args ...any) error {
	return &exit{code: exitUsage, err: fmt.Errorf(format, args...)}
}

// remotef says what could not be done, for a reason that comes from the server.
func remotef(err error, format string, args ...any) error {
	return &exit{code: exitRemote, err: fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)}
}

// failf is for an answer that holds nothing of what was asked for.
func failf(format string, args ...any) error {
	return &exit{code: exitRemote, err: fmt.Errorf(format, args...)}
}

// silent exits with a code and says nothing more.
func silent(code int) error { return &exit{code: code} }

// report tells what went wrong and returns the code. A request that was to be
// described instead of sent ends here too: that is no failure.
func report(err error, stdout, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	var text *described
	if errors.As(err, &text) {
		_, _ = fmt.Fprintln(stdout, text.text)
		return exitOK
	}
	var e *exit
	if errors.As(err, &e) && e.err == nil {
		return e.code
	}
	_, _ = fmt.Fprintln(stderr, err)
	var coded interface{ ExitCode() int }
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return exitRemote
}
