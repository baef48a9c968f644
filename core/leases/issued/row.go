package issued

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"time"

	"github.com/coffer-secrets/coffer/core/leases"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// phase is how far a lease has come.
type phase string

// The phases of a lease.
const (
	pending  phase = "pending"
	live     phase = "live"
	revoking phase = "revoking"
)

// row is a lease as it is stored.
type row struct {
	Phase phase `json:"phase"`
	// Mount is the accessor of the mount, and Path what the request was for.
	Mount string `json:"mount"`
	Path  string `json:"path"`
	made
	holder
	times
	undoing
	// Counted is what the lease counts against, for Deps.Free.
	Counted string `json:"counted,omitempty"`

	id      string
	version uint64
}

// made is what the lease is for.
type made struct {
	Role   string            `json:"role,omitempty"`
	What   map[string]string `json:"what,omitempty"`
	Target string            `json:"target,omitempty"`
	Undo   []byte            `json:"undo,omitempty"`
}

// holder is whose the lease is.
type holder struct {
	// Owner is the key of the token, or of the entity, that it ends with; nil for
	// none.
	Owner    []byte `json:"owner,omitempty"`
	Accessor string `json:"accessor,omitempty"`
	EntityID string `json:"entity_id,omitempty"`
	Addr     string `json:"addr,omitempty"`
}

// times are in cluster time.
type times struct {
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
	Renewed time.Time `json:"renewed,omitzero"`
	// Most is what no renewal goes beyond, and TTL what each gives if nothing else
	// is asked for.
	Most      time.Time     `json:"most"`
	TTL       time.Duration `json:"ttl"`
	Renewable bool          `json:"renewable,omitempty"`
	// By is when making the thing must have ended.
	By time.Time `json:"by"`
}

// undoing is how undoing goes.
type undoing struct {
	// Confirmed says that the lease was live: nobody is making the thing any more.
	Confirmed bool `json:"confirmed,omitempty"`
	// Asked says that somebody asked for its end before its time.
	Asked     bool      `json:"asked,omitempty"`
	Attempts  int       `json:"attempts,omitempty"`
	LastError string    `json:"last_error,omitempty"`
	Next      time.Time `json:"next,omitzero"`
}

// given reports whether somebody may have been given what the lease is for, or
// there may be something left of it.
func (r *row) given() bool { return r.Confirmed || r.LastError != "" }

func region(tx *state.Tx) *state.Region {
	return tx.Region(state.Prefix(state.Leases, state.RootNamespace))
}

// load reads a lease by its id, or returns nil.
func load(tx *state.Tx, id string) (*row, error) {
	stored, err := region(tx).GetRow(id)
	if engines.KindOf(err) == engines.KindInvalid && err != nil {
		return nil, nil //nolint:nilerr // what cannot be stored is that of no lease
	}
	if err != nil || stored == nil {
		return nil, err
	}
	return parse(id, stored)
}

// peek is load for one of so many that conditions of all of them would be too many.
func peek(tx *state.Tx, id string) (*row, error) {
	key, err := region(tx).Key(id)
	if err != nil {
		return nil, err
	}
	stored, err := tx.Peek(key)
	if err != nil || stored == nil {
		return nil, err
	}
	return parse(id, stored)
}

// anew reads a lease again, or returns nil. If it has not changed it is what it
// was, which saves taking it apart.
func (r *row) anew(tx *state.Tx) (*row, error) {
	stored, err := region(tx).GetRow(r.id)
	if err != nil || stored == nil {
		return nil, err
	}
	if stored.Version == r.version {
		same := *r
		return &same, nil
	}
	return parse(r.id, stored)
}

func parse(id string, stored *state.Row) (*row, error) {
	r := &row{id: id, version: stored.Version}
	if err := json.Unmarshal(stored.Value, r); err != nil {
		return nil, engines.Internal(err)
	}
	return r, nil
}

// put stores the lease, to be found when something is due.
func (r *row) put(tx *state.Tx) error {
	value, err := json.Marshal(r)
	if err != nil {
		return engines.Internal(err)
	}
	opts := state.PutOptions{Owner: r.Owner}
	switch r.Phase {
	case pending:
		opts.Expiry = r.By
	case live:
		opts.Expiry = r.Expires
	default:
		opts.Owner = nil // nobody has to find it by that any more
	}
	return region(tx).PutRow(r.id, value, opts)
}

// revoke turns the lease to being undone as soon as possible.
func (r *row) revoke(tx *state.Tx) error {
	if r.Phase == revoking {
		return nil
	}
	r.Confirmed = r.Phase == live
	r.Phase, r.Next = revoking, tx.Now()
	return r.enqueue(tx)
}

// ask is revoke because somebody asks for it.
func (r *row) ask(tx *state.Tx) error {
	if r.Phase == revoking && !r.Asked {
		r.Asked = true
		return r.put(tx)
	}
	r.Asked = true
	return r.revoke(tx)
}

// waits reports whether what may yet be made for the lease was undone, and is to
// be once more when it no longer can be.
func (r *row) waits(now time.Time) bool {
	return r.Phase == revoking && !r.Confirmed && r.LastError == "" && now.Before(r.Next)
}

// enqueue stores a lease that is revoking, and its place in its target's queue.
func (r *row) enqueue(tx *state.Tx) error {
	if err := r.put(tx); err != nil {
		return err
	}
	return tx.Put(r.place(), []byte(r.id), state.PutOptions{})
}

// drop removes the lease and what it counts against.
func (r *row) drop(tx *state.Tx, free func(tx *state.Tx, id string) error) error {
	if r.Phase == revoking {
		if err := tx.Delete(r.place()); err != nil {
			return err
		}
	}
	if err := region(tx).Delete(r.id); err != nil {
		return err
	}
	if r.Counted == "" {
		return nil
	}
	return free(tx, r.Counted)
}

// lease is the lease as sys/leases tells of it.
func (r *row) lease() *leases.Lease {
	return &leases.Lease{
		ID: r.id, Issued: r.Issued, Expires: r.Expires, Renewed: r.Renewed, Renewable: r.Renewable && r.Phase == live,
		Path: r.Path, Phase: string(r.Phase), What: r.What, Attempts: r.Attempts, LastError: r.LastError, Next: r.Next,
	}
}

const (
	targetBytes = 16
	whenBytes   = 8
	nameBytes   = 16
)

// target is the name of a queue: which mount and target it is for.
type target [targetBytes]byte

func (r *row) target() (out target) {
	sum := sha256.Sum256([]byte(r.Mount + "\x00" + r.Target))
	copy(out[:], sum[:])
	return out
}

// place is the lease's row in its queue: sorted by when it is next tried.
func (r *row) place() []byte {
	queue, name := r.target(), sha256.Sum256([]byte(r.id))
	when := binary.BigEndian.AppendUint64(nil, uint64(r.Next.UnixNano())) // #nosec G115 -- after 1970
	return state.Key(state.Undoing, state.RootNamespace, queue[:], when, name[:nameBytes])
}

// parsePlace takes the key of a place apart.
func parsePlace(key []byte) (queue target, when time.Time, ok bool) {
	rest := key[len(state.Prefix(state.Undoing, state.RootNamespace)):]
	if len(rest) != targetBytes+whenBytes+nameBytes {
		return queue, when, false
	}
	copy(queue[:], rest)
	return queue, time.Unix(0, int64(binary.BigEndian.Uint64(rest[targetBytes:]))).UTC(), true // #nosec G115 -- as it was put
}

// after is where the queues behind one begin; nil if there can be none.
func (q target) after() []byte {
	next := q
	for i := len(next) - 1; i >= 0; i-- {
		if next[i]++; next[i] != 0 {
			return state.Key(state.Undoing, state.RootNamespace, next[:])
		}
	}
	return []byte{byte(state.Undoing) + 1}
}
