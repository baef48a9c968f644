package engines

import (
	"errors"
	"fmt"
)

// Kind classes an error; the HTTP layer maps each to one status.
type Kind uint8

// The kinds of errors. KindInternal is what any other error counts as.
const (
	KindInternal       Kind = iota
	KindInvalid             // the request is wrong: 400
	KindUnauthorized        // no or a bad token: 403, as Vault
	KindDenied              // policy forbids it: 403
	KindNotFound            // 404
	KindMethod              // 405
	KindConflict            // lost to other writers too often: 409
	KindPrecondition        // the required index is not here: 412
	KindTooLarge            // 413
	KindRateLimited         // 429
	KindUpstream            // another system refused or failed: 502
	KindUnavailable         // sealed, no leader: 503
	KindNotInitialized      // 501
	KindUnknownOutcome      // may or may not have happened: 504
)

// Error is an error for a caller: a kind, a message that is safe to show and
// says what to do, and a cause that is logged and never sent.
type Error struct {
	Kind    Kind
	Message string
	// Details are further messages shown with the first.
	Details []string
	// Warnings teach: what was missing, and how to put it right.
	Warnings []string
	Cause    error
	// Headers are added to the answer.
	Headers map[string]string
	// Keep commits what the handler wrote all the same, such as the count of a
	// failed login. What any other failed request wrote is forgotten.
	Keep bool
}

// Error returns the public message.
func (e *Error) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an error of a kind. A %w operand becomes the cause but its text
// becomes part of the message only if the format says so.
func Errorf(kind Kind, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Message: wrapped.Error(), Cause: errors.Unwrap(wrapped)}
}

// Invalidf is Errorf with KindInvalid.
func Invalidf(format string, args ...any) *Error { return Errorf(KindInvalid, format, args...) }

// NotFound answers 404 with an empty list of errors, as Vault does for a path
// where nothing is stored.
func NotFound() *Error { return &Error{Kind: KindNotFound} }

// Internal hides a cause behind a 500.
func Internal(cause error) *Error {
	return &Error{Kind: KindInternal, Message: "internal error", Cause: cause}
}

// Keeps reports whether err commits what was written before it.
func Keeps(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Keep
}

// KindOf returns the kind of err, KindInternal if it has none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return KindInternal
}
