package state

import (
	"sync"
	"sync/atomic"

	"github.com/coffer-secrets/coffer/fsm"
)

// keys keeps the barrier's keyring as new as the views that it opens.
type keys struct {
	// reload takes over the keyring that this node has; nil if nobody else changes
	// it.
	reload func() error
	// loaded is the index of the boot rows that the keyring is at least as new as.
	loaded atomic.Uint64
	mu     sync.Mutex
	// plain is the store without all this.
	plain *Store
}

// Following returns a store like New's for a keyring that other nodes change
// too: a transaction on a view whose boot rows have changed calls reload first.
func Following(s *Store, reload func() error) *Store {
	out := New(s.replica, s.barrier)
	out.keys.reload, out.keys.plain = reload, s
	return out
}

// Plain returns a store that does not follow the keyring, for those who change
// it: they hold what reload waits for.
func (s *Store) Plain() *Store {
	if s.keys.plain == nil {
		return s
	}
	return s.keys.plain
}

// begin begins a transaction on a view, under a keyring that opens all of it.
func (s *Store) begin(view *fsm.View) (*Tx, error) {
	if at := view.TableIndex(byte(Boot)); s.keys.reload != nil && at > s.keys.loaded.Load() {
		if err := s.keys.follow(at); err != nil {
			return nil, err
		}
	}
	return &Tx{store: s, view: view, now: s.replica.Now(), term: view.Term()}, nil
}

func (k *keys) follow(at uint64) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if at <= k.loaded.Load() {
		return nil
	}
	if err := k.reload(); err != nil {
		return err
	}
	k.loaded.Store(at)
	return nil
}
