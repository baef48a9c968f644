package fsm

import (
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
)

// Restore replaces the whole state by a snapshot. The new state is built
// beside the old one, verified and made durable, and then swapped in by one
// rename. On an error nothing has changed. Views of the old state stay valid.
func (s *Store) Restore(r io.Reader) error {
	s.applyMu.Lock()
	defer s.applyMu.Unlock()
	if s.closed {
		return ErrClosed
	}
	n, _ := stateNumber(s.gen.name)
	gen, err := s.build(stateName(n+1), r)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	if err := s.publishName(gen.name); err != nil {
		// Which of the two a restart would open is not known.
		s.halt(fmt.Errorf("restore: %w", err))
	}
	old := s.gen
	old.remove.Store(true)
	if err := s.load(gen); err != nil {
		s.halt(fmt.Errorf("restore: %w", err))
	}
	s.publish()
	return old.release()
}

// build makes a state folder out of a snapshot, durably but not yet in use.
func (s *Store) build(name string, r io.Reader) (*generation, error) {
	if err := s.fs.RemoveAll(s.fs.PathJoin(s.dir, name)); err != nil {
		return nil, err
	}
	gen, err := s.openGeneration(name, true)
	if err != nil {
		return nil, err
	}
	if err = fill(gen.db, r); err == nil {
		err = gen.db.Flush()
	}
	if err != nil {
		gen.remove.Store(true)
		return nil, errors.Join(err, gen.release())
	}
	return gen, nil
}

// fill writes the records of a snapshot, and the indexes over them, to an
// empty database. The applied state goes last, once all was verified.
func fill(db *pebble.DB, r io.Reader) error {
	in, err := NewSnapshotReader(r)
	if err != nil {
		return err
	}
	h := in.Header()
	if h.Index == 0 {
		return malformed("no applied index")
	}
	t := &txn{batch: db.NewBatch(), at: state{h.Index, h.Term, h.Time}}
	defer func() { _ = t.close() }() // of what was committed, or is given up
	for {
		key, value, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = t.load(key, value)
		}
		if err == nil && t.batch.Len() > groupBytes {
			err = t.batch.Commit(pebble.NoSync)
			if err == nil {
				err = t.batch.Close()
				t.batch = db.NewBatch()
			}
		}
		if err != nil {
			return err
		}
	}
	if err := t.batch.Set(stateKey(), t.at.append(nil), nil); err != nil {
		return err
	}
	if err := t.batch.Set(indexedKey(), t.indexed[:], nil); err != nil {
		return err
	}
	return t.batch.Commit(pebble.NoSync)
}

// load writes one record as it is, and its entries in the indexes.
func (t *txn) load(key, value []byte) error {
	if key[0] != spaceRequest {
		row, err := parseRow(value)
		if err != nil {
			return err
		}
		if row.indexed() {
			t.indexed.add(key[0])
		}
		if err := t.eachIndexKey(key, row, t.setEmpty); err != nil {
			return err
		}
	}
	return t.batch.Set(key, value, nil)
}
