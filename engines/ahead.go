package engines

import (
	"context"
	"time"
)

// Ahead prepares what must not happen inside a transaction, because it takes
// long or asks other systems: comparing a password's hash, fetching keys. It
// runs once the caller is allowed to ask, on a snapshot, reads what the work
// needs and returns the work, or nil if there is none. The work runs outside of
// any transaction, within the request's deadline. What it returns is
// Request.Ahead when the handler runs; its error is the answer.
//
// The snapshot is not a condition of the handler's commit: the handler compares
// what the work rested on with what it reads itself, and returns ErrStale if
// that has changed, upon which the work is done once more.
type Ahead func(ctx context.Context, req *Request, tx Tx) (func(ctx context.Context) (any, error), error)

// ErrStale says that Request.Ahead rests on what is no longer so.
var ErrStale = Errorf(KindConflict, "what the request rests on keeps changing: try again")

// Renewal is the renewal of a token that a login at the mount made.
type Renewal struct {
	Mount Mount
	// Caller is who asks for the renewal, not always the token's holder.
	Caller Caller
	Now    time.Time
	// Policies are the token's, without those of its identity. Metadata and
	// Private are as the login gave them.
	Policies []string
	Metadata map[string]string
	Private  []byte
}

// Renew decides whether a token may be renewed: whether the one who logged in
// still could. It returns the parameters that hold from now on, of which TTL,
// MaxTTL and Period count, or nil for no change. It must not write.
type Renew func(ctx context.Context, r *Renewal, tx Tx) (*TokenParams, error)
