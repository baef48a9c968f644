package enginetest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// ErrConflict is what Commit answers if a row that was read has changed.
var ErrConflict = errors.New("enginetest: a row that was read has changed")

// Store is a mount's storage in memory. It keeps every version of every row,
// so that a transaction reads from a snapshot. Safe for concurrent use.
type Store struct {
	mu    sync.Mutex
	index uint64
	rows  map[string][]engines.Entry // a nil Value is a deletion
	paths []string                   // sorted, deleted rows included
	due   map[string]time.Time       // what is scheduled
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{rows: map[string][]engines.Entry{}, due: map[string]time.Time{}}
}

// Begin starts a transaction on what is stored now.
func (s *Store) Begin() *Tx {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &Tx{store: s, index: s.index, reads: map[string]uint64{}, writes: map[string][]byte{}, due: map[string]time.Time{}}
}

// Rows returns the paths of all rows that exist now, sorted.
func (s *Store) Rows() []string {
	var paths []string
	tx := s.Begin()
	for _, path := range s.paths {
		if tx.stored(path) != nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// at returns a row as it was at index, nil if it was not there.
func (s *Store) at(path string, index uint64) *engines.Entry {
	versions := s.rows[path]
	for i := len(versions) - 1; i >= 0; i-- {
		if versions[i].Version <= index {
			if versions[i].Value == nil {
				return nil
			}
			return &versions[i]
		}
	}
	return nil
}

// Tx is a transaction on a Store. Not safe for concurrent use.
type Tx struct {
	store  *Store
	index  uint64
	reads  map[string]uint64 // version read, 0 for absent
	writes map[string][]byte // nil deletes
	due    map[string]time.Time
}

var _ engines.Tx = (*Tx)(nil)

func (tx *Tx) stored(path string) *engines.Entry {
	tx.store.mu.Lock()
	defer tx.store.mu.Unlock()
	return tx.store.at(path, tx.index)
}

// Get implements engines.Tx.
func (tx *Tx) Get(path string) (*engines.Entry, error) {
	if err := checkPath(path); err != nil {
		return nil, err
	}
	entry := tx.stored(path)
	if value, own := tx.writes[path]; own {
		if value == nil {
			return nil, nil
		}
		return &engines.Entry{Value: slices.Clone(value)}, nil
	}
	if entry == nil {
		tx.reads[path] = 0
		return nil, nil
	}
	tx.reads[path] = entry.Version
	return &engines.Entry{Value: slices.Clone(entry.Value), Version: entry.Version}, nil
}

// Put implements engines.Tx.
func (tx *Tx) Put(path string, value []byte) error {
	if err := checkPath(path); err != nil {
		return err
	}
	tx.writes[path] = append([]byte{}, value...)
	return nil
}

// Delete implements engines.Tx.
func (tx *Tx) Delete(path string) error {
	if err := checkPath(path); err != nil {
		return err
	}
	tx.writes[path] = nil
	return nil
}

// DeletePrefix implements engines.Tx.
func (tx *Tx) DeletePrefix(dir string) error {
	return tx.Walk(dir, func(path string) error {
		tx.writes[dir+path] = nil
		return nil
	})
}

// List implements engines.Tx.
func (tx *Tx) List(dir string, page engines.Page) ([]string, error) {
	if err := checkDir(dir); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, path := range tx.below(dir) {
		name, _, folder := strings.Cut(path[len(dir):], "/")
		if folder {
			name += "/"
		}
		if name > page.After {
			names[name] = true
		}
	}
	sorted := slices.Sorted(maps.Keys(names))
	if page.Limit > 0 && len(sorted) > page.Limit {
		sorted = sorted[:page.Limit]
	}
	return sorted, nil
}

// Walk implements engines.Tx.
func (tx *Tx) Walk(dir string, fn func(path string) error) error {
	if err := checkDir(dir); err != nil {
		return err
	}
	for _, path := range tx.below(dir) {
		if err := fn(path[len(dir):]); err != nil {
			return err
		}
	}
	return nil
}

// WalkPage implements engines.Tx.
func (tx *Tx) WalkPage(dir string, from []byte, limit int) (paths []string, next []byte, err error) {
	if err := checkDir(dir); err != nil {
		return nil, nil, err
	}
	for _, path := range slices.Sorted(slices.Values(tx.below(dir))) {
		switch {
		case path < string(from):
		case len(paths) == limit:
			return paths, []byte(path), nil
		default:
			paths = append(paths, path[len(dir):])
		}
	}
	return paths, nil, nil
}

// below returns the rows below dir that the transaction sees, in no order.
func (tx *Tx) below(dir string) []string {
	var found []string
	tx.store.mu.Lock()
	defer tx.store.mu.Unlock()
	for i := sort.SearchStrings(tx.store.paths, dir); i < len(tx.store.paths); i++ {
		path := tx.store.paths[i]
		if !strings.HasPrefix(path, dir) {
			break
		}
		if _, own := tx.writes[path]; !own && tx.store.at(path, tx.index) != nil {
			found = append(found, path)
		}
	}
	for path, value := range tx.writes {
		if value != nil && strings.HasPrefix(path, dir) {
			found = append(found, path)
		}
	}
	return found
}

// Schedule implements engines.Tx.
func (tx *Tx) Schedule(name string, at time.Time) error {
	if err := checkPath(name); err != nil {
		return err
	}
	tx.due[name] = at
	return nil
}

// Scheduled returns what is scheduled, and for when.
func (s *Store) Scheduled() map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.due)
}

// Writes returns what the transaction would change; nil is a deletion.
func (tx *Tx) Writes() map[string][]byte { return tx.writes }

// Commit applies the writes, all or, with ErrConflict, none.
func (tx *Tx) Commit() error {
	s := tx.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(tx.writes)+len(tx.due) == 0 {
		return nil
	}
	for path, version := range tx.reads {
		var now uint64
		if entry := s.at(path, s.index); entry != nil {
			now = entry.Version
		}
		if now != version {
			return ErrConflict
		}
	}
	s.index++
	for name, at := range tx.due {
		if s.due[name] = at; at.IsZero() {
			delete(s.due, name)
		}
	}
	for path, value := range tx.writes {
		if _, known := s.rows[path]; !known {
			at := sort.SearchStrings(s.paths, path)
			s.paths = slices.Insert(s.paths, at, path)
		}
		s.rows[path] = append(s.rows[path], engines.Entry{Value: value, Version: s.index})
	}
	return nil
}

// checkPath holds engines to what the contract says of a path.
func checkPath(path string) error {
	if path == "" || strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.Contains(path, "//") {
		return fmt.Errorf("enginetest: %q is not the path of a row", path)
	}
	return nil
}

func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	if rest, ok := strings.CutSuffix(dir, "/"); !ok || checkPath(rest) != nil {
		return fmt.Errorf("enginetest: %q is not the path of a folder", dir)
	}
	return nil
}
