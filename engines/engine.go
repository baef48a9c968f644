package engines

import (
	"context"
	"encoding/json"
	"time"
)

// Class says what an engine is mounted as.
type Class string

// The classes of engines.
const (
	ClassSecret Class = "secret"
	ClassAuth   Class = "auth"
	ClassSystem Class = "system"
)

// Engine is one type of thing that can be mounted, such as "kv".
type Engine struct {
	// Type is the name that `sys/mounts` takes as "type".
	Type string
	// Class says where it may be mounted.
	Class Class
	// Help is one line for path-help and listings.
	Help string
	// Table gives the routes of a mount. It depends on the mount only through
	// its options ("version" of kv), and is called once per change of these.
	Table func(m Mount) (*Table, error)
	// Role, if set, tells the role that the body of a login names, for quotas;
	// empty for none. Without it the role is the member "role".
	Role func(body map[string]json.RawMessage, tx Tx) (string, error)
	// Mounted, if set, runs inside the transaction that creates the mount.
	Mounted func(ctx context.Context, m Mount, tx Tx) error
	// Tuned, if set, runs inside the transaction that changes a mount's options
	// and may refuse the change.
	Tuned func(ctx context.Context, old, changed Mount, tx Tx) error
	// Renew, if set, is asked before a token is renewed that a login made.
	Renew Renew
	// Revoke undoes what the engine issued: an engine with an operation of the
	// trait Issues that answers a Grant has it. Extend, if set, is told of renewals.
	Revoke Revoke
	Extend Extend
	// Marked, if set, lists what the engine has made that can be found by its mark,
	// and Targets where there is any.
	Marked  Marked
	Targets Targets
	// Due does what the engine has scheduled with Tx.Schedule.
	Due Due
}

// Table is what a mount offers: its routes, and help for the mount as a whole.
type Table struct {
	Help   string
	Routes []Route
}

// Mount is what an engine may know of where it is mounted.
type Mount struct {
	// Path is the mount's path with a trailing slash, such as "secret/".
	Path string
	// Type is the engine's type.
	Type string
	// UUID is unique for the lifetime of the mount; Accessor is its public handle.
	UUID     string
	Accessor string
	// Options are the mount's options, such as version=2.
	Options map[string]string
	// DefaultTTL and MaxTTL are the effective lease limits.
	DefaultTTL time.Duration
	MaxTTL     time.Duration
	// Lockout are the rules for locking users out, as the mount was tuned.
	Lockout map[string]string
	// Token makes a token by which an audience knows the mount, and verifies it with
	// the published keys of identity tokens; it is good for so long. It must not be
	// called inside of a transaction, and is good until the node is sealed. It is nil
	// where there are no such tokens.
	Token func(ctx context.Context, audience string, ttl time.Duration) (string, error)
}

// Operation is what a caller asks to be done with a path.
type Operation uint8

// The operations. Create and Update arrive by the same methods; an Op's Exists
// function tells them apart.
const (
	Read Operation = iota + 1
	List
	Scan
	Create
	Update
	Patch
	Delete
	Help
)

var operationNames = [...]string{"", "read", "list", "scan", "create", "update", "patch", "delete", "help"}

// String gives the operation's name as policies and audit records spell it.
func (o Operation) String() string {
	if int(o) >= len(operationNames) {
		return "unknown"
	}
	return operationNames[o]
}

// Trait says what an operation does to the cluster, and so where it may run.
type Trait uint8

// The traits.
const (
	// Reads is answered by any unsealed node.
	Reads Trait = iota
	// Writes commits a transaction.
	Writes
	// Issues creates something outside Coffer and runs on the leader.
	Issues
)

// Route is one pattern of paths and what may be done there.
type Route struct {
	// Pattern is relative to the mount: segments are literal, "{name}" (one
	// segment) or, at the end, "{name...}" (one or more segments) and
	// "{name...?}" (any number of segments). Each capture is a field.
	Pattern string
	// Fields are the inputs, captures included.
	Fields []Field
	// Ops are the operations offered.
	Ops []Op
	// Help is one line; Description says more.
	Help        string
	Description string
	// Public routes need no token; Sudo routes need the sudo capability.
	Public bool
	Sudo   bool
}

// Op is one operation of a route.
type Op struct {
	Do      Operation
	Trait   Trait
	Handler Handler
	// Help is one line, if it differs from the route's.
	Help string
	// Exists tells an update from a create for operations done as Update. If
	// nil, every write counts as an update, as in Vault.
	Exists Exists
	// Ahead, if set, does what a transaction has no time for.
	Ahead Ahead
}

// Handler answers one request against one transaction.
type Handler func(ctx context.Context, req *Request, tx Tx) (*Response, error)

// Exists reports whether what the request names is there already.
type Exists func(ctx context.Context, req *Request, tx Tx) (bool, error)

// Entry is a stored value and the index at which it was last modified.
type Entry struct {
	Value   []byte
	Version uint64
}

// Page bounds a listing: names sorted after After, Limit of them (0 = all).
type Page struct {
	After string
	Limit int
	// Unsorted lists a page in the store's own order, which never changes, and After
	// is by that order too. It costs what it answers with, while a sorted page costs
	// the whole folder. Without Limit it has no effect. The folder must hold rows
	// only.
	Unsorted bool
}

// Tx is a transaction on a mount's own storage. Paths are relative to it:
// segments joined by '/', none empty. A transaction sees its own writes.
// Every row got is remembered as a condition of the commit.
type Tx interface {
	// Get returns nil, nil for a row that is not there.
	Get(path string) (*Entry, error)
	// Put stores a value; value is not kept by the transaction's caller.
	Put(path string, value []byte) error
	Delete(path string) error
	// DeletePrefix removes every row below dir, which ends in a slash or is
	// empty (the whole mount).
	DeletePrefix(dir string) error
	// List returns the immediate children of dir (as for DeletePrefix),
	// sorted, folders with a trailing slash. A listing is not a condition.
	List(dir string, page Page) ([]string, error)
	// Walk visits the paths of all rows below dir, relative to it, in no
	// particular order, until fn returns an error.
	Walk(dir string, fn func(path string) error) error
	// WalkPage is a part of a walk: at most limit paths of rows below dir, relative
	// to it, and where the next part begins; nil for the first part, and after the
	// last. The order is the store's own and never changes, so a walk in parts
	// visits each row once that is there all the while, and costs no more than one
	// in whole, as pages of List do.
	WalkPage(dir string, from []byte, limit int) (paths []string, next []byte, err error)
	// Schedule has the engine's Due called for name, which is like a path, at a
	// time of the cluster's clock: as soon as may be if that has passed, and no
	// more if it is zero. A name has one time; the last one set holds.
	Schedule(name string, at time.Time) error
}
