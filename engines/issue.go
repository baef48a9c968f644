package engines

import (
	"context"
	"errors"
	"time"
)

// Grant is what a handler of the trait Issues answers to have something made
// outside of Coffer. The handler decides what will exist and how to undo it, and
// touches nothing: it may run more than once. The core commits that as a pending
// lease, and only then calls Create, outside of any transaction, once. What
// Create made reaches the caller when the lease has been confirmed. Whatever
// fails on the way, Revoke is called with Undo until it succeeds.
type Grant struct {
	// Role is what the request was for, such as the name of a role: for quotas
	// and to find the lease by. Empty for none.
	Role string
	// What will exist, such as {"username": "v-app-x"}. It is shown with the
	// lease and must hold nothing secret. At most 16 pairs of 256 bytes.
	What map[string]string
	// Target names where it will exist, such as a connection. What is to be
	// revoked waits in one queue for each mount and target.
	Target string
	// Undo is all that Revoke needs, also when roles and the like are gone. It is
	// sealed, and shown to nobody. At most MaxUndo.
	Undo []byte
	// TTL and MaxTTL are as the request and the role ask; 0 leaves them to the
	// mount. The core cuts them to what the mount and the token allow.
	TTL, MaxTTL time.Duration
	Renewable   bool
	// Owner is what the lease ends with before its time; none is the token.
	Owner LeaseOwner
	// Within bounds how long Create may take: after that, it counts as failed
	// even if it went on. 0 is DefaultWithin; it is at most MaxWithin.
	Within time.Duration
	// Create makes it. Its context ends with the bound. It returns the answer's
	// data. Its error is the answer: KindUpstream for what the target refused. One
	// that wraps ErrNotMade says that the target was not even asked, so that there
	// is nothing to undo and the lease is forgotten.
	Create func(ctx context.Context, l *Granted) (data any, err error)
	// Warnings are shown to the caller.
	Warnings []string
}

// LeaseOwner is whose end ends a lease.
type LeaseOwner string

// The owners of leases.
const (
	// OwnedByToken is the token that asked.
	OwnedByToken LeaseOwner = "token"
	// OwnedByEntity is the entity that asked: a login that ends takes nothing with
	// it. A token without an entity is given no such lease.
	OwnedByEntity LeaseOwner = "entity"
)

// LeaseOwnerField is how roles say which.
func LeaseOwnerField() Field {
	return Field{
		Name: "lease_owner", Type: String, Default: string(OwnedByToken), Allowed: []string{string(OwnedByToken), string(OwnedByEntity)},
		Help: "What leases end with before their time: the token that asked, or its entity.",
	}
}

// ErrNotMade is part of an error of Create that certainly made nothing, such as
// that of a connection that could not be opened.
var ErrNotMade = errors.New("nothing was made")

// MaxUndo bounds Grant.Undo, in bytes.
const MaxUndo = 16 << 10

// Bounds of Grant.Within.
const (
	DefaultWithin = 30 * time.Second
	MaxWithin     = 2 * time.Minute
)

// Granted is a lease that has been committed and awaits what it is for.
type Granted struct {
	ID      string
	Issued  time.Time
	Expires time.Time
	// Mark is what can be written beside a thing of that name where it is made, to
	// be found by: nobody else can make it, and it says nothing to anybody else.
	Mark func(name string) string
}

// MarkPrefix begins every mark.
const MarkPrefix = "coffer:"

// Found is what stands at a target with something beside it that may be a mark.
type Found struct {
	// Name is the one that the mark was made for.
	Name string
	Mark string
	// Undo is all that Revoke needs, as in Grant.
	Undo []byte
}

// Marked lists what stands at a target with a mark beside it, whoever made it,
// outside of any transaction: the core tells what is the mount's own, and compares
// it with the leases.
type Marked func(ctx context.Context, r *Reach, target string) ([]Found, error)

// Targets lists the targets of a mount whose things have marks.
type Targets func(tx Tx) ([]string, error)

// Revocation is one thing to be undone.
type Revocation struct {
	LeaseID string
	Target  string
	Undo    []byte
}

// Revoke undoes a batch, all of one target, outside of any transaction. It
// returns one error for each, nil for what is gone, or nil if all are. What does
// not exist is gone: it is called again for what it undid already, and for what
// was never made. Errors are shown to operators with the lease: they must hold
// nothing secret.
type Revoke func(ctx context.Context, r *Reach, batch []Revocation) []error

// Extension is a lease about to live until Expires.
type Extension struct {
	Revocation
	Expires time.Time
}

// Extend tells the target of a renewal before it is committed, outside of any
// transaction. Its error refuses the renewal. It may be called for a renewal that
// is not committed then.
type Extend func(ctx context.Context, r *Reach, e *Extension) error
