package engines

import (
	"context"
	"time"
)

// Reach is how an engine gets at its mount's storage outside of a request.
type Reach struct {
	Mount  Mount
	Look   Look
	Change Change
	// Now tells cluster time.
	Now func() time.Time
	// Password is that of Request.
	Password func(policy string) (string, error)
}

// Look runs fn on the mount's storage, as this node has it. fn must not write.
type Look func(fn func(tx Tx) error) error

// Change commits what fn writes to the mount's storage, on the leader and under
// the term in which the work began. After a conflict it runs fn again. It fails
// once the mount is gone or the node no longer leads.
type Change func(ctx context.Context, fn func(tx Tx) error) error

// Due does what Tx.Schedule set a time for. It runs on the leader, outside of any
// transaction, after that time and not twice at once for one name, under a context
// that ends with the lead. It may be called again for what it did already: a
// leader can die in the middle. Whatever it changes it commits with Reach.Change,
// and it schedules the name anew, or cancels it, in its last transaction. While it
// fails, or leaves its time as it was, it is called again with growing pauses.
// Its errors are logged: they must hold nothing secret.
type Due func(ctx context.Context, r *Reach, name string) error
