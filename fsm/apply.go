package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

const (
	// groupBytes is the size at which a batch is committed though entries follow.
	groupBytes = 4 << 20

	// RequestRetention is how long a request id is remembered, in cluster time.
	RequestRetention = 10 * time.Minute
	// maxRequestAhead is how far a request id may lie in the future. It bounds
	// how long a row is kept for an id from a node whose clock is wrong.
	maxRequestAhead = 24 * time.Hour
	// pruneEvery is the number of indexes between two removals of old ids.
	pruneEvery = 4096
)

// ApplyBatch applies committed entries in order and publishes the state after
// the last. Entries at or below the applied index are skipped: they are in the
// store already, and answered OK. It returns one result per entry.
//
// What goes wrong here would make this replica differ from the others, so
// nothing is returned as an error: the store halts.
func (s *Store) ApplyBatch(entries []Entry) []Result {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if s.closed {
		s.halt(ErrClosed)
	}
	results := make([]Result, len(entries))
	t := s.newTxn()
	defer func() { _ = t.close() }() // of what was committed, or is given up
	for i := range entries {
		r, err := t.apply(&entries[i])
		if err == nil && t.batch.Len() > groupBytes {
			err = t.commit()
		}
		if err != nil {
			s.halt(fmt.Errorf("apply entry %d: %w", entries[i].Index, err))
		}
		results[i] = r
	}
	if err := t.commit(); err != nil {
		s.halt(fmt.Errorf("apply up to entry %d: %w", t.at.index, err))
	}
	s.publish()
	return results
}

// txn gathers the effects of a group of entries in one batch. Rows that the
// batch changed or read are known by the overlay, since changes cannot be read
// back from the batch, except for a command that removes a prefix: that one has
// an indexed batch of its own, which can be read.
type txn struct {
	s     *Store
	batch *pebble.Batch
	// probe reads the database as it was before the batch. It is an iterator,
	// made when it is first needed, since most of what is looked up is absent
	// and only an iterator can be told to use the filters of the last level.
	probe   *pebble.Iterator
	direct  bool // the batch is indexed, and is read instead
	dirty   bool // the batch holds something
	overlay map[string]Row
	changes []change // those that the overlay has, in order
	// requests are the ids that the batch adds, and floor the time in Unix
	// milliseconds below which it removes ids.
	requests map[string]storedReply
	ids      []storedID
	floor    int64

	at      state
	indexed tableSet
	buf     []byte
}

// change is a row that the batch puts or, without a version, deletes.
type change struct {
	key string
	row Row
}

type storedReply struct {
	index uint64
	reply []byte
	// apart says that the two have to be read from the database.
	apart bool
}

func (s *Store) newTxn() *txn {
	return &txn{
		s: s, batch: s.gen.db.NewBatch(),
		overlay: make(map[string]Row), requests: make(map[string]storedReply),
		floor: s.requests.floor, at: s.at, indexed: s.indexed,
	}
}

// commit writes the batch, with the state it leads to, and begins another.
func (t *txn) commit() error {
	if !t.dirty {
		return nil
	}
	t.buf = t.at.append(t.buf[:0])
	if err := t.batch.Set(stateKey(), t.buf, nil); err != nil {
		return err
	}
	if t.indexed != t.s.indexed {
		if err := t.batch.Set(indexedKey(), t.indexed[:], nil); err != nil {
			return err
		}
	}
	t.writeThrough()
	if err := t.batch.Commit(pebble.NoSync); err != nil {
		return err
	}
	t.s.requests.add(t.ids, t.floor)
	t.s.at, t.s.indexed = t.at, t.indexed
	return t.begin(false)
}

// writeThrough tells the cache of rows what the batch changes.
func (t *txn) writeThrough() {
	if t.direct {
		t.s.gen.rows.forget(t.at.index)
		return
	}
	for i := range t.changes {
		c := &t.changes[i]
		t.s.gen.rows.write(c.key, c.row, c.row.Version != 0, t.at.index)
	}
}

// begin replaces the batch, which was committed, by an empty one.
func (t *txn) begin(direct bool) error {
	if err := t.close(); err != nil {
		return err
	}
	t.direct, t.dirty = direct, false
	clear(t.overlay)
	clear(t.requests)
	t.changes, t.ids = nil, nil
	if direct {
		t.batch = t.s.gen.db.NewIndexedBatch()
	} else {
		t.batch = t.s.gen.db.NewBatch()
	}
	return nil
}

func (t *txn) close() error {
	err := t.batch.Close()
	if t.probe != nil {
		err = errors.Join(err, t.probe.Close())
		t.probe = nil
	}
	return err
}

// stored calls fn with what stands under a key, if anything does: in the
// database, or in the batch if that is indexed. The value is valid only during
// the call.
func (t *txn) stored(key []byte, fn func(value []byte) error) (found bool, err error) {
	if t.direct {
		value, closer, err := t.batch.Get(key)
		if errors.Is(err, pebble.ErrNotFound) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return true, errors.Join(fn(value), closer.Close())
	}
	if t.probe == nil {
		if t.probe, err = t.s.gen.db.NewIter(&pebble.IterOptions{UseL6Filters: true}); err != nil {
			return false, err
		}
	}
	if !t.probe.SeekPrefixGE(key) {
		return false, t.probe.Error()
	}
	value, err := t.probe.ValueAndErr()
	if err != nil {
		return false, err
	}
	return true, fn(value)
}

// apply runs one entry. An error is fatal.
func (t *txn) apply(e *Entry) (Result, error) {
	if e.Index <= t.at.index {
		if e.Term > t.at.term {
			return Result{}, fmt.Errorf("of term %d lies below the applied index %d of term %d: this store is of another history",
				e.Term, t.at.index, t.at.term)
		}
		return Result{Code: OK, Index: e.Index}, nil
	}
	if e.Term < t.at.term {
		return Result{}, fmt.Errorf("term %d after term %d", e.Term, t.at.term)
	}
	if len(e.Data) == 0 {
		return Result{Code: OK, Index: e.Index}, t.advance(e, 0)
	}
	if len(e.Data) > MaxCommandBytes {
		return Result{Code: Invalid, Index: e.Index}, t.advance(e, 0)
	}
	cmd, err := Decode(e.Data)
	if err != nil {
		return Result{}, err
	}
	t.s.speak(cmd.GetVersion())
	if Validate(cmd) != nil {
		return Result{Code: Invalid, Index: e.Index}, t.advance(e, 0)
	}
	if removesPrefix(cmd) {
		return t.applyAlone(e, cmd)
	}
	return t.applyCommand(e, cmd)
}

// applyAlone gives a command a batch of its own that can be read back.
func (t *txn) applyAlone(e *Entry, cmd *fsmpb.Command) (Result, error) {
	if err := t.commit(); err != nil {
		return Result{}, err
	}
	if err := t.begin(true); err != nil {
		return Result{}, err
	}
	r, err := t.applyCommand(e, cmd)
	if err != nil {
		return r, err
	}
	return r, t.commit()
}

func (t *txn) applyCommand(e *Entry, cmd *fsmpb.Command) (Result, error) {
	if err := t.advance(e, cmd.GetTime()); err != nil {
		return Result{}, err
	}
	id := cmd.GetRequestId()
	if len(id) > 0 {
		if r, done, err := t.remembered(id); err != nil || done {
			return r.at(e), err
		}
	}
	if fence := cmd.GetFenceTerm(); fence != 0 && fence != e.Term {
		return Result{Code: StaleTerm, Index: e.Index}, nil
	}
	for i, c := range cmd.GetChecks() {
		ok, err := t.holds(c)
		if err != nil {
			return Result{}, err
		}
		if !ok {
			return Result{Code: Conflict, Index: e.Index, Failed: i}, nil
		}
	}
	for _, w := range cmd.GetWrites() {
		if err := t.write(w); err != nil {
			return Result{}, err
		}
	}
	if len(id) > 0 {
		if err := t.remember(id, cmd.GetReply()); err != nil {
			return Result{}, err
		}
	}
	return Result{Code: OK, Index: e.Index}, nil
}

// advance moves to an entry and, if it is later, to its time. Now and then it
// removes old request ids: when, depends on nothing but the indexes, so that
// it is the same however entries are grouped.
func (t *txn) advance(e *Entry, at int64) error {
	due := e.Index/pruneEvery != t.at.index/pruneEvery
	t.at.index, t.at.term = e.Index, e.Term
	t.at.time = max(t.at.time, at)
	t.dirty = true
	if due {
		return t.prune()
	}
	return nil
}

// at fills the index of a result that has none of its own.
func (r Result) at(e *Entry) Result {
	if r.Index == 0 {
		r.Index = e.Index
	}
	return r
}

// remembered looks a request id up; done if that settles the command.
func (t *txn) remembered(id []byte) (r Result, done bool, err error) {
	ms := requestTime(id)
	if ms >= t.floor {
		prior, ok := t.requests[string(id)]
		known := ok
		if !known {
			prior, ok, known = t.s.requests.find(id, ms)
		}
		if !known {
			if prior, ok, err = t.readRequest(id); err != nil {
				return Result{}, false, err
			}
		}
		if ok {
			return Result{Code: Duplicate, Index: prior.index, Reply: prior.reply}, true, nil
		}
	}
	switch {
	case ms < tooEarly(t.at.time):
		return Result{Code: TooOld}, true, nil
	case ms > t.at.time/int64(time.Millisecond)+maxRequestAhead.Milliseconds():
		return Result{Code: Invalid}, true, nil
	}
	return Result{}, false, nil
}

// prune removes the ids that are no longer remembered.
func (t *txn) prune() error {
	floor := tooEarly(t.at.time)
	if floor <= 0 {
		return nil
	}
	t.floor = floor
	var end [8]byte
	binary.BigEndian.PutUint64(end[:], uint64(floor)<<16)
	return t.batch.DeleteRange([]byte{spaceRequest}, appendRequestKey(nil, end[:requestTimeBytes]), nil)
}

func (t *txn) readRequest(id []byte) (storedReply, bool, error) {
	t.buf = appendRequestKey(t.buf[:0], id)
	var prior storedReply
	found, err := t.stored(t.buf, func(value []byte) (err error) {
		prior, err = parseReply(value)
		prior.reply = bytes.Clone(prior.reply)
		return err
	})
	return prior, found, err
}

func (t *txn) remember(id, reply []byte) error {
	prior := storedReply{index: t.at.index, reply: reply}
	k := string(id)
	t.requests[k] = prior
	t.ids = append(t.ids, storedID{k, prior})
	t.buf = appendRequestKey(t.buf[:0], id)
	return t.batch.Set(t.buf, prior.append(nil), nil)
}

func (p storedReply) append(dst []byte) []byte {
	return append(binary.BigEndian.AppendUint64(dst, p.index), p.reply...)
}

func parseReply(b []byte) (storedReply, error) {
	if len(b) < 8 {
		return storedReply{}, errors.New("malformed request row")
	}
	return storedReply{index: binary.BigEndian.Uint64(b), reply: b[8:]}, nil
}

// holds evaluates a check.
func (t *txn) holds(c *fsmpb.Check) (bool, error) {
	row, ok, err := t.lookup(c.GetKey())
	if err != nil {
		return false, err
	}
	if c.GetKind() == fsmpb.Check_EXISTS {
		return ok, nil
	}
	return row.Version == c.GetVersion(), nil
}

// lookup returns a row without its value, as the entries before left it. The
// version of an absent row is 0.
func (t *txn) lookup(key []byte) (Row, bool, error) {
	if row, hit := t.overlay[string(key)]; hit {
		return row, row.Version != 0, nil
	}
	var row Row
	if !t.direct {
		if row, ok, known := t.s.gen.rows.get(key, t.at.index); known {
			return row, ok, nil
		}
	}
	found, err := t.stored(key, func(value []byte) (err error) {
		row, err = parseRow(value)
		row.Owner, row.Value = bytes.Clone(row.Owner), nil
		return err
	})
	if err == nil {
		t.note(key, row) // the commands of a batch rest on the same few rows
	}
	return row, found, err
}

func (t *txn) write(w *fsmpb.Write) error {
	key := w.GetKey()
	t.s.tables[key[0]] = t.at.index
	switch w.GetOp() {
	case fsmpb.Write_PUT:
		return t.put(key, Row{Version: t.at.index, Expiry: w.GetExpiry(), Owner: w.GetOwner(), Value: w.GetValue()})
	case fsmpb.Write_DELETE:
		return t.delete(key)
	case fsmpb.Write_DELETE_PREFIX:
		return t.deletePrefix(key)
	default:
		return fmt.Errorf("%w: operation %d", errUnknown, w.GetOp())
	}
}

func (t *txn) put(key []byte, row Row) error {
	if err := t.unindex(key); err != nil {
		return err
	}
	if row.indexed() {
		t.indexed.add(key[0])
	}
	if err := t.eachIndexKey(key, row, t.setEmpty); err != nil {
		return err
	}
	t.buf = appendRow(t.buf[:0], row)
	if err := t.batch.Set(key, t.buf, nil); err != nil {
		return err
	}
	t.change(key, row)
	return nil
}

func (t *txn) delete(key []byte) error {
	if err := t.unindex(key); err != nil {
		return err
	}
	t.change(key, Row{})
	return t.batch.Delete(key, nil)
}

// deletePrefix removes the rows whose key has the prefix, with their entries
// in the indexes. It runs in a batch that can be read back.
func (t *txn) deletePrefix(prefix []byte) error {
	end := prefixEnd(prefix)
	if t.indexed.has(prefix[0]) {
		if err := t.unindexRange(prefix, end); err != nil {
			return err
		}
	}
	return t.batch.DeleteRange(prefix, end, nil)
}

func (t *txn) unindexRange(start, end []byte) error {
	it, err := t.batch.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		b, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(err, it.Close())
		}
		row, err := parseRow(b)
		if err == nil {
			err = t.eachIndexKey(it.Key(), row, t.deleteKey)
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return errors.Join(it.Error(), it.Close())
}

// unindex removes the entries that a row has in the indexes. A table that
// never had any needs no look at the row.
func (t *txn) unindex(key []byte) error {
	if !t.indexed.has(key[0]) {
		return nil
	}
	old, ok, err := t.lookup(key)
	if err != nil || !ok {
		return err
	}
	return t.eachIndexKey(key, old, t.deleteKey)
}

// eachIndexKey calls fn with the place of a row in each index that has it.
func (t *txn) eachIndexKey(key []byte, row Row, fn func([]byte) error) error {
	if row.Expiry != 0 {
		t.buf = appendExpiryKey(t.buf[:0], row.Expiry, key)
		if err := fn(t.buf); err != nil {
			return err
		}
	}
	if len(row.Owner) > 0 {
		t.buf = appendOwnerKey(t.buf[:0], row.Owner, key)
		return fn(t.buf)
	}
	return nil
}

func (t *txn) setEmpty(key []byte) error  { return t.batch.Set(key, nil, nil) }
func (t *txn) deleteKey(key []byte) error { return t.batch.Delete(key, nil) }

// note tells the overlay how a row stands, if the batch cannot be read back.
func (t *txn) note(key []byte, row Row) {
	if !t.direct {
		t.overlay[string(key)] = row
	}
}

// change notes a row that the batch changes.
func (t *txn) change(key []byte, row Row) {
	if t.direct {
		return
	}
	k := string(key)
	t.changes = append(t.changes, change{k, row})
	row.Value = nil
	t.overlay[k] = row
}

func removesPrefix(cmd *fsmpb.Command) bool {
	for _, w := range cmd.GetWrites() {
		if w.GetOp() == fsmpb.Write_DELETE_PREFIX {
			return true
		}
	}
	return false
}
