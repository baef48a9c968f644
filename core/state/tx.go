package state

import (
	"bytes"
	"errors"
	"slices"
	"sort"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
	"github.com/coffer-secrets/coffer/seal"
)

// Limits of one transaction. The log carries an entry of several MiB badly.
const (
	maxValueBytes  = 1 << 20
	maxTxBytes     = 4 << 20
	maxTxOps       = 8192
	maxCheckBytes  = 2 << 20
	valueOverhead  = 64
	smallTxnWrites = 4
	// recentChecks is how far back a check is looked for before it is repeated.
	recentChecks = 32
)

// Row is a stored row, opened.
type Row struct {
	Value   []byte
	Version uint64
	// Expiry is cluster time; the zero time if the row has none.
	Expiry time.Time
	Owner  []byte
}

// PutOptions are what the state machine indexes a row by.
type PutOptions struct {
	Expiry time.Time
	Owner  []byte
}

// Tx is one transaction. It is used by one goroutine.
type Tx struct {
	store  *Store
	view   *fsm.View
	now    time.Time
	term   uint64
	checks []*fsmpb.Check
	writes []write
	// recent are rows read last: stages and handler look at the same few.
	recent []readRow
	// bytes is the size of the writes, checked that of the checks.
	bytes, checked int
}

// readRow is a row as the snapshot has it; not found if ok is false.
type readRow struct {
	key []byte
	row fsm.Row
	ok  bool
}

// maxRecent bounds how many rows a transaction keeps at hand.
const maxRecent = 8

// write is one buffered change, sealed when the transaction is committed.
type write struct {
	op    fsmpb.Write_Op
	key   []byte
	value []byte
	// plain rows are those that a sealed node has to read.
	plain bool
	PutOptions
}

// Mark is a point to which a transaction's writes can be rolled back.
type Mark struct{ writes, bytes int }

// Now is cluster time, the same throughout a transaction.
func (tx *Tx) Now() time.Time { return tx.now }

// Index is the index of the snapshot.
func (tx *Tx) Index() uint64 { return tx.view.Index() }

// TableIndex is the index at which a table last changed, as of the snapshot.
func (tx *Tx) TableIndex(t Table) uint64 { return tx.view.TableIndex(byte(t)) }

// Store returns the store that the transaction is on.
func (tx *Tx) Store() *Store { return tx.store }

// Dirty reports whether the transaction has writes to commit.
func (tx *Tx) Dirty() bool { return len(tx.writes) > 0 }

// Wrote reports whether the transaction changes a table.
func (tx *Tx) Wrote(t Table) bool {
	for i := range tx.writes {
		if tx.writes[i].key[0] == byte(t) {
			return true
		}
	}
	return false
}

// Mark returns the present point.
func (tx *Tx) Mark() Mark { return Mark{writes: len(tx.writes), bytes: tx.bytes} }

// Rollback forgets the writes since a mark. What was read stays a condition.
func (tx *Tx) Rollback(m Mark) {
	tx.writes = tx.writes[:m.writes]
	tx.bytes = m.bytes
}

// buffered looks for the newest own write that decides a key.
func (tx *Tx) buffered(key []byte) (*write, bool) {
	for i := len(tx.writes) - 1; i >= 0; i-- {
		w := &tx.writes[i]
		if w.op == fsmpb.Write_DELETE_PREFIX {
			if bytes.HasPrefix(key, w.key) {
				return nil, true
			}
			continue
		}
		if bytes.Equal(w.key, key) {
			if w.op == fsmpb.Write_DELETE {
				return nil, true
			}
			return w, true
		}
	}
	return nil, false
}

// sealed returns a row as stored and makes its version a condition of the
// commit. ok is false for a row that is not there. A row that the transaction
// wrote itself comes back as own.
func (tx *Tx) sealed(key []byte) (row fsm.Row, own *write, ok bool, err error) {
	if w, decided := tx.buffered(key); decided {
		return fsm.Row{}, w, w != nil, nil
	}
	for i := range tx.recent {
		if r := &tx.recent[i]; bytes.Equal(r.key, key) {
			tx.check(key, fsmpb.Check_VERSION, r.row.Version)
			return r.row, nil, r.ok, nil
		}
	}
	row, ok, err = tx.view.Get(key)
	if err != nil {
		return fsm.Row{}, nil, false, engines.Internal(err)
	}
	tx.check(key, fsmpb.Check_VERSION, row.Version)
	if len(tx.recent) < maxRecent {
		tx.recent = append(tx.recent, readRow{key, row, ok})
	}
	return row, nil, ok, nil
}

// check remembers a condition of the commit. A transaction reads the same few
// rows again and again: those are not repeated.
func (tx *Tx) check(key []byte, kind fsmpb.Check_Kind, version uint64) {
	for i := len(tx.checks) - 1; i >= max(0, len(tx.checks)-recentChecks); i-- {
		if c := tx.checks[i]; c.GetKind() == kind && bytes.Equal(c.GetKey(), key) {
			return
		}
	}
	tx.checks = append(tx.checks, &fsmpb.Check{Key: key, Kind: kind, Version: version})
	tx.checked += len(key) + valueOverhead/2
}

// Get returns a row, or nil if it is not there, and makes that a condition of
// the commit.
func (tx *Tx) Get(key []byte) (*Row, error) {
	row, own, ok, err := tx.sealed(key)
	if err != nil || !ok {
		return nil, err
	}
	if own != nil {
		return &Row{Value: own.value, Expiry: own.Expiry, Owner: own.Owner}, nil
	}
	return tx.open(key, row)
}

// Peek is Get without the condition, for what only has to be true at the time
// of the snapshot.
func (tx *Tx) Peek(key []byte) (*Row, error) {
	n, size := len(tx.checks), tx.checked
	row, err := tx.Get(key)
	tx.checks, tx.checked = tx.checks[:n], size
	return row, err
}

// RequireExists makes it a condition of the commit that a row is there,
// whatever its version.
func (tx *Tx) RequireExists(key []byte) {
	tx.check(key, fsmpb.Check_EXISTS, 0)
}

// RequireAbsent makes it a condition of the commit that a row is not there.
func (tx *Tx) RequireAbsent(key []byte) {
	tx.check(key, fsmpb.Check_VERSION, 0)
}

func (tx *Tx) open(key []byte, row fsm.Row) (*Row, error) {
	plain, err := tx.store.barrier.OpenValue(key, row.Value)
	if errors.Is(err, seal.ErrUnknownTerm) { // the keyring could not be followed
		return nil, &engines.Error{Kind: engines.KindUnavailable, Message: "this node lacks a key that others have: seal and unseal it", Cause: err}
	}
	if err != nil {
		return nil, engines.Internal(err)
	}
	return &Row{Value: plain, Version: row.Version, Expiry: timeOf(row.Expiry), Owner: row.Owner}, nil
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

// Put buffers a row. The key and the value belong to the transaction then.
func (tx *Tx) Put(key, value []byte, opts PutOptions) error {
	if len(value) > maxValueBytes {
		return engines.Errorf(engines.KindTooLarge, "the value is larger than the limit of %d bytes", maxValueBytes)
	}
	return tx.add(write{op: fsmpb.Write_PUT, key: key, value: value, PutOptions: opts})
}

// GetBoot returns a row that is stored without the barrier, or nil.
func (tx *Tx) GetBoot(name string) ([]byte, error) {
	row, own, ok, err := tx.sealed(BootKey(name))
	if err != nil || !ok {
		return nil, err
	}
	if own != nil {
		return own.value, nil
	}
	return row.Value, nil
}

// PutBoot buffers a row that is stored without the barrier. What is secret in
// it must be sealed already.
func (tx *Tx) PutBoot(name string, value []byte) error {
	return tx.add(write{op: fsmpb.Write_PUT, key: BootKey(name), value: value, plain: true})
}

// Delete buffers the removal of a row.
func (tx *Tx) Delete(key []byte) error {
	return tx.add(write{op: fsmpb.Write_DELETE, key: key})
}

// DeletePrefix buffers the removal of every row whose key starts with prefix.
func (tx *Tx) DeletePrefix(prefix []byte) error {
	return tx.add(write{op: fsmpb.Write_DELETE_PREFIX, key: prefix})
}

func (tx *Tx) add(w write) error {
	if tx.writes == nil {
		tx.writes = make([]write, 0, smallTxnWrites)
	}
	tx.bytes += len(w.key) + len(w.value) + len(w.Owner) + valueOverhead
	if tx.bytes > maxTxBytes || len(tx.writes) >= maxTxOps {
		return errTooMuch("changes")
	}
	tx.writes = append(tx.writes, w)
	return nil
}

func errTooMuch(does string) error {
	return engines.Errorf(engines.KindTooLarge,
		"the request %s more than fits one transaction (%d bytes or %d rows): split it", does, maxTxBytes, maxTxOps)
}

// command seals the writes into one command.
func (tx *Tx) command() (*fsmpb.Command, error) {
	if len(tx.checks) > maxTxOps || tx.checked > maxCheckBytes {
		return nil, errTooMuch("rests on")
	}
	cmd := &fsmpb.Command{Checks: tx.checks, Writes: make([]*fsmpb.Write, 0, len(tx.writes))}
	for i := range tx.writes {
		w := &tx.writes[i]
		out := &fsmpb.Write{Op: w.op, Key: w.key, Owner: w.Owner}
		if !w.Expiry.IsZero() {
			out.Expiry = w.Expiry.UnixNano()
		}
		if w.plain {
			out.Value = w.value
		} else if w.op == fsmpb.Write_PUT {
			sealed, err := tx.store.barrier.SealValue(w.key, w.value)
			if err != nil {
				return nil, engines.Internal(err)
			}
			out.Value = sealed
		}
		cmd.Writes = append(cmd.Writes, out)
	}
	return cmd, nil
}

// Scan visits the rows whose key starts with prefix, opened, in key order,
// with the transaction's own writes merged in. Scans are not conditions.
func (tx *Tx) Scan(prefix []byte, fn func(key []byte, row *Row) error) error {
	return tx.ScanKeys(prefix, func(key []byte) ([]byte, error) {
		row, err := tx.Peek(key)
		if err != nil || row == nil {
			return nil, err
		}
		return nil, fn(key, row)
	})
}

// ScanKeys visits the keys that start with prefix, in order. fn may return a
// key to jump forward to.
func (tx *Tx) ScanKeys(prefix []byte, fn func(key []byte) (seek []byte, err error)) error {
	return tx.ScanKeysFrom(prefix, prefix, fn)
}

// ScanKeysFrom is ScanKeys for the keys at from and behind it. Where many rows
// have been removed lately, to begin behind them saves passing over what is left
// of them.
func (tx *Tx) ScanKeysFrom(prefix, from []byte, fn func(key []byte) (seek []byte, err error)) error {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	own := tx.ownKeys(prefix)
	own = own[sort.Search(len(own), func(i int) bool { return bytes.Compare(own[i], from) >= 0 }):]
	visit := func(key []byte) ([]byte, error) {
		if w, decided := tx.buffered(key); decided && w == nil {
			return nil, nil
		}
		return fn(key)
	}
	var skip []byte
	flush := func(until []byte) error {
		for len(own) > 0 && (until == nil || bytes.Compare(own[0], until) < 0) {
			key := own[0]
			own = own[1:]
			if skip != nil && bytes.Compare(key, skip) < 0 {
				continue
			}
			seek, err := visit(key)
			if err != nil {
				return err
			}
			if seek != nil {
				skip = seek
			}
		}
		return nil
	}
	err := tx.view.Scan(from, prefixEnd(prefix), func(key []byte, _ fsm.Row) (bool, []byte, error) {
		if err := flush(key); err != nil {
			return false, nil, err
		}
		if skip != nil && bytes.Compare(key, skip) < 0 {
			return true, skip, nil
		}
		if len(own) > 0 && bytes.Equal(own[0], key) {
			own = own[1:]
		}
		seek, err := visit(bytes.Clone(key))
		if seek != nil {
			skip = seek
		}
		return err == nil, seek, err
	})
	if err != nil {
		return err
	}
	return flush(nil)
}

// ownKeys lists the buffered puts below prefix, sorted, each once.
func (tx *Tx) ownKeys(prefix []byte) [][]byte {
	var own [][]byte
	for i := range tx.writes {
		if w := &tx.writes[i]; w.op == fsmpb.Write_PUT && bytes.HasPrefix(w.key, prefix) {
			own = append(own, w.key)
		}
	}
	slices.SortFunc(own, bytes.Compare)
	return slices.CompactFunc(own, bytes.Equal)
}

// Expiring visits the keys of rows that end at or before until, soonest first.
func (tx *Tx) Expiring(until time.Time, limit int, fn func(expiry time.Time, key []byte) bool) error {
	return tx.view.Expiring(until.UnixNano(), limit, func(expiry int64, key []byte) bool {
		return fn(timeOf(expiry), bytes.Clone(key))
	})
}

// Owned visits the keys of rows that have the owner, in key order.
func (tx *Tx) Owned(owner []byte, fn func(key []byte) bool) error {
	return tx.view.Owned(owner, nil, func(key []byte) bool { return fn(bytes.Clone(key)) })
}
