package state

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
	"github.com/coffer-secrets/coffer/seal"
)

// Replica is the replicated store as the core sees it: a node of the cluster.
type Replica interface {
	// Propose commits one command. The errors are ErrNotLeader (not applied)
	// and ErrUnknownOutcome (perhaps applied).
	Propose(ctx context.Context, cmd *fsmpb.Command) (fsm.Result, error)
	// Read returns a linearizable view.
	Read(ctx context.Context) (*fsm.View, error)
	// Local returns what this node has applied, without asking anyone.
	Local() *fsm.View
	// Now is cluster time.
	Now() time.Time
}

// The errors of a Replica.
var (
	ErrNotLeader      = errors.New("state: this node does not lead")
	ErrUnknownOutcome = errors.New("state: the outcome of the commit is unknown")
)

// errClosed is a replica that has been closed under the store.
var errClosed = errors.New("state: the node is closed")

// maxAttempts bounds how often a transaction runs that keeps losing to others.
const maxAttempts = 24

// maxCrowded is up to how many writes are looked at for others that take turns.
const maxCrowded = 8

// Store gives transactions on the sealed state. It is safe for concurrent use.
type Store struct {
	replica Replica
	barrier *seal.Barrier
	latches latches
	keys    keys
}

// New returns a store that seals with barrier.
func New(replica Replica, barrier *seal.Barrier) *Store {
	return &Store{replica: replica, barrier: barrier}
}

// Barrier returns what the store seals with.
func (s *Store) Barrier() *seal.Barrier { return s.barrier }

// Now is cluster time.
func (s *Store) Now() time.Time { return s.replica.Now() }

// View runs fn on a linearizable snapshot. Writes that fn buffers are an error.
func (s *Store) View(ctx context.Context, fn func(tx *Tx) error) error {
	view, err := s.replica.Read(ctx)
	if err != nil {
		return proposeError(err)
	}
	defer view.Close()
	return s.look(view, fn)
}

// ErrWrites is a write in a transaction that only reads.
var ErrWrites = errors.New("state: write in a read-only transaction")

func (s *Store) look(view *fsm.View, fn func(tx *Tx) error) error {
	tx, err := s.begin(view)
	if err != nil {
		return err
	}
	if err := fn(tx); err != nil {
		return err
	}
	if tx.Dirty() {
		return ErrWrites
	}
	return nil
}

// Age is how old a view may be. The zero value asks for one that is linearizable.
type Age struct {
	// Any takes what this node has.
	Any bool
	// Within takes what this node has if nothing that was committed so long ago
	// is missing.
	Within time.Duration
}

// ViewOf is View on a snapshot that may be as old as it says.
func (s *Store) ViewOf(ctx context.Context, age Age, fn func(tx *Tx) error) error {
	if age == (Age{}) {
		return s.View(ctx, fn)
	}
	view := s.replica.Local()
	if view == nil {
		return proposeError(errClosed)
	}
	defer view.Close()
	// What is missing was stamped later than what was applied last.
	if !age.Any && s.replica.Now().Sub(time.Unix(0, view.Time())) > age.Within {
		return s.View(ctx, fn)
	}
	return s.look(view, fn)
}

// Local runs fn on what this node has, which may be behind the leader.
func (s *Store) Local(fn func(tx *Tx) error) error {
	view := s.replica.Local()
	if view == nil {
		return proposeError(errClosed)
	}
	defer view.Close()
	tx, err := s.begin(view)
	if err != nil {
		return err
	}
	return fn(tx)
}

// Update runs fn and commits what it wrote as one log entry, running it again
// when others changed a row that it read. It returns the index at which the
// outcome is visible.
//
// The first run uses this node's own state. Its commit is fenced with the term
// of that state: if it succeeds, this node led in that term and had applied all
// that was answered before, so whatever fn read was current, whether it is a
// condition of the commit or not. Any other outcome is an answer that rests on
// reads, so fn runs again on a linearizable view before it counts.
func (s *Store) Update(ctx context.Context, fn func(tx *Tx) error) (uint64, error) {
	done, err := s.UpdateOnce(ctx, Once{}, fn)
	return done.Index, err
}

// UpdateOnce is Update for one that may be asked for again. The answer is that
// of the time when it was committed.
func (s *Store) UpdateOnce(ctx context.Context, once Once, fn func(tx *Tx) error) (Done, error) {
	confirmed := false
	var held *latch
	defer func() { held.release() }()
	for range maxAttempts {
		view, err := s.view(ctx, confirmed)
		if err != nil {
			return Done{}, proposeError(err)
		}
		if done, err := s.earlier(view, once); err != nil || done.Again {
			view.Close()
			return done, err
		}
		tx, err := s.begin(view)
		if err != nil {
			view.Close()
			return Done{}, err
		}
		err = fn(tx)
		index := view.Index()
		view.Close()
		var given *abandoned
		if errors.As(err, &given) {
			return Done{}, given.why
		}
		if err != nil || !tx.Dirty() {
			if confirmed {
				return Done{Index: index}, err
			}
			confirmed = true
			continue
		}
		if key := s.crowded(tx); key != nil && held == nil {
			if held, err = s.latches.take(ctx, key); err != nil {
				return Done{}, err
			}
			continue // what it read is out of date by now
		}
		result, reply, err := s.commit(ctx, tx, once)
		if err != nil {
			return s.settle(ctx, once, reply, tx.term, err)
		}
		switch result.Code {
		case fsm.OK:
			return Done{Index: result.Index}, nil
		case fsm.Duplicate:
			return s.again(once, result.Index, result.Reply)
		case fsm.StaleTerm: // the first change of a new leader
			confirmed = true
			continue
		}
		if held, err = s.contend(ctx, held, tx, result); err != nil {
			return Done{}, err
		}
	}
	return Done{}, engines.Errorf(engines.KindConflict, "too many others are changing the same thing: try again")
}

// Abandon makes fn's error end an Update at once, though what it rests on may
// be out of date: for one that is no answer to anybody.
func Abandon(why error) error { return &abandoned{why} }

type abandoned struct{ why error }

func (a *abandoned) Error() string { return a.why.Error() }

func (s *Store) view(ctx context.Context, confirmed bool) (*fsm.View, error) {
	if confirmed {
		return s.replica.Read(ctx)
	}
	if view := s.replica.Local(); view != nil {
		return view, nil
	}
	return nil, errClosed
}

// crowded returns a row that a transaction writes while others take turns at it; nil
// if there is none. Who did not wait behind them would make them lose again, until
// they give up.
func (s *Store) crowded(tx *Tx) []byte {
	if len(tx.writes) > maxCrowded {
		return nil
	}
	for i := range tx.writes {
		if s.latches.taken(tx.writes[i].key) {
			return tx.writes[i].key
		}
	}
	return nil
}

// contend waits for the latch of the row that a commit lost on, so that those
// who fight over it take turns. A latch already held for it stays.
func (s *Store) contend(ctx context.Context, held *latch, tx *Tx, result fsm.Result) (*latch, error) {
	if result.Code != fsm.Conflict || result.Failed < 0 || result.Failed >= len(tx.checks) {
		return held, engines.Internal(errors.New("state: the command was refused as " + result.Code.String()))
	}
	key := tx.checks[result.Failed].GetKey()
	if held.covers(key) {
		return held, nil
	}
	held.release()
	return s.latches.take(ctx, key)
}

// commit proposes what a transaction wrote, fenced with the term that it rests
// on, and returns the reply as it is kept.
func (s *Store) commit(ctx context.Context, tx *Tx, once Once) (result fsm.Result, reply []byte, err error) {
	if tx.term == 0 { // nothing has been applied: no fence can be told
		return fsm.Result{Code: fsm.StaleTerm}, nil, nil
	}
	cmd, err := tx.command()
	if err != nil {
		return fsm.Result{}, nil, err
	}
	cmd.FenceTerm = tx.term
	if cmd.RequestId = once.ID; cmd.RequestId == nil {
		cmd.RequestId = s.requestID()
	}
	if once.Reply != nil {
		if cmd.Reply, err = s.sealReply(once); err != nil {
			return fsm.Result{}, nil, err
		}
	}
	reply = cmd.Reply
	if result, err = s.replica.Propose(ctx, cmd); err != nil {
		return fsm.Result{}, reply, proposeError(err)
	}
	return result, reply, nil
}

// RequestID makes an id for Once, by cluster time as this node has it.
func RequestID(replica Replica) []byte { return (&Store{replica: replica}).requestID() }

// requestID makes an id in the form of a UUIDv7 (RFC 9562, 5.7): the state
// machine forgets ids by their time.
func (s *Store) requestID() []byte {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:8], uint64(s.replica.Now().UnixMilli())<<16) // #nosec G115 -- after 1970
	_, _ = rand.Read(id[6:])
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
	return id[:]
}

func proposeError(err error) error {
	switch {
	case errors.Is(err, ErrNotLeader):
		return &engines.Error{Kind: engines.KindUnavailable, Message: "no leader is known: try again", Cause: err}
	case errors.Is(err, ErrUnknownOutcome):
		return &engines.Error{
			Kind:    engines.KindUnknownOutcome,
			Message: "the change may or may not have been made: read before you try again", Cause: err,
		}
	}
	return &engines.Error{Kind: engines.KindUnavailable, Message: "the cluster did not answer in time", Cause: err}
}

// ReadBoot returns a row that is stored without the barrier, as this node has
// it, or nil: a sealed node needs it.
func ReadBoot(replica Replica, name string) ([]byte, error) {
	view := replica.Local()
	if view == nil {
		return nil, errClosed
	}
	defer view.Close()
	row, ok, err := view.Get(BootKey(name))
	if err != nil || !ok {
		return nil, err
	}
	return row.Value, nil
}
