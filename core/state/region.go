package state

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// Region is the part of a transaction below one prefix, with sealed names: the
// storage of one mount. It implements engines.Tx.
type Region struct {
	tx     *Tx
	prefix []byte
	// last is the path sealed last: what is read is often written next.
	last struct {
		path string
		key  []byte
	}
}

var _ engines.Tx = (*Region)(nil)

// Region returns the part of the transaction below prefix.
func (tx *Tx) Region(prefix []byte) *Region { return &Region{tx: tx, prefix: prefix} }

// Tx returns the whole transaction, for the core's own handlers.
func (r *Region) Tx() *Tx { return r.tx }

// Key seals a path.
func (r *Region) Key(path string) ([]byte, error) {
	if path == r.last.path && r.last.key != nil {
		return r.last.key, nil
	}
	key, err := r.tx.store.barrier.SealName(r.prefix, path)
	if err != nil {
		return nil, &engines.Error{Kind: engines.KindInvalid, Message: "the path cannot be stored: a segment is empty or too long", Cause: err}
	}
	r.last.path, r.last.key = path, slices.Clip(key)
	return r.last.key, nil
}

// Get implements engines.Tx.
func (r *Region) Get(path string) (*engines.Entry, error) {
	row, err := r.GetRow(path)
	if err != nil || row == nil {
		return nil, err
	}
	return &engines.Entry{Value: row.Value, Version: row.Version}, nil
}

// GetRow is Get with what the row is indexed by.
func (r *Region) GetRow(path string) (*Row, error) {
	key, err := r.Key(path)
	if err != nil {
		return nil, err
	}
	return r.tx.Get(key)
}

// Put implements engines.Tx.
func (r *Region) Put(path string, value []byte) error {
	return r.PutRow(path, value, PutOptions{})
}

// PutRow is Put with what the row shall be indexed by.
func (r *Region) PutRow(path string, value []byte, opts PutOptions) error {
	key, err := r.Key(path)
	if err != nil {
		return err
	}
	return r.tx.Put(key, value, opts)
}

// Delete implements engines.Tx.
func (r *Region) Delete(path string) error {
	key, err := r.Key(path)
	if err != nil {
		return err
	}
	return r.tx.Delete(key)
}

// DeletePrefix implements engines.Tx.
func (r *Region) DeletePrefix(dir string) error {
	prefix, err := r.dir(dir)
	if err != nil {
		return err
	}
	return r.tx.DeletePrefix(prefix)
}

func (r *Region) dir(dir string) ([]byte, error) {
	if dir == "" {
		return r.prefix, nil
	}
	if !strings.HasSuffix(dir, "/") {
		dir += "/"
	}
	return r.Key(dir)
}

// List implements engines.Tx. Sealed names are not in the order of the plain
// ones, so a page costs the opening of every name of the folder, though it holds
// no more than twice as many as it answers with.
func (r *Region) List(dir string, page engines.Page) ([]string, error) {
	if page.Unsorted && page.Limit > 0 {
		return r.unsorted(dir, page)
	}
	prefix, err := r.dir(dir)
	if err != nil {
		return nil, err
	}
	names := listing{page: page}
	err = r.tx.ScanKeys(prefix, func(key []byte) ([]byte, error) {
		name, isDir, n, err := r.tx.store.barrier.OpenComponent(prefix, key)
		if err != nil {
			return nil, engines.Internal(err)
		}
		if !isDir {
			names.add(name)
			return nil, nil
		}
		names.add(name + "/")
		return prefixEnd(key[:len(prefix)+n]), nil
	})
	if err != nil {
		return nil, err
	}
	return names.first(), nil
}

// unsorted is a page in the order of sealed names.
func (r *Region) unsorted(dir string, page engines.Page) ([]string, error) {
	var from []byte
	if page.After != "" {
		last, err := r.Key(strings.TrimSuffix(dir, "/") + "/" + page.After)
		if err != nil {
			return nil, err
		}
		from = append(slices.Clone(last), 0)
	}
	names, _, err := r.WalkPage(dir, from, page.Limit)
	return names, err
}

// listing takes names in any order and keeps the first of a page.
type listing struct {
	page  engines.Page
	names []string
}

func (l *listing) add(name string) {
	if name <= l.page.After { // "" comes before every name
		return
	}
	l.names = append(l.names, name)
	if l.page.Limit > 0 && len(l.names)/2 >= l.page.Limit { // 2*Limit may overflow
		l.names = l.first()
	}
}

// first sorts and returns what is on the page.
func (l *listing) first() []string {
	slices.Sort(l.names)
	if l.page.Limit > 0 && len(l.names) > l.page.Limit {
		return l.names[:l.page.Limit]
	}
	return l.names
}

// Walk implements engines.Tx.
func (r *Region) Walk(dir string, fn func(path string) error) error {
	prefix, err := r.dir(dir)
	if err != nil {
		return err
	}
	return r.tx.ScanKeys(prefix, func(key []byte) ([]byte, error) {
		name, err := r.tx.store.barrier.OpenName(prefix, key)
		if err != nil {
			return nil, engines.Internal(err)
		}
		return nil, fn(name)
	})
}

// errPageFull ends a walk that has what was asked for.
var errPageFull = errors.New("state: the page is full")

// WalkPage implements engines.Tx: next is the sealed name of the first row that
// did not fit.
func (r *Region) WalkPage(dir string, from []byte, limit int) (paths []string, next []byte, err error) {
	prefix, err := r.dir(dir)
	if err != nil {
		return nil, nil, err
	}
	err = r.tx.ScanKeysFrom(prefix, from, func(key []byte) ([]byte, error) {
		if len(paths) == limit {
			next = key
			return nil, errPageFull
		}
		path, err := r.tx.store.barrier.OpenName(prefix, key)
		if err != nil {
			return nil, engines.Internal(err)
		}
		paths = append(paths, path)
		return nil, nil
	})
	if errors.Is(err, errPageFull) {
		err = nil
	}
	return paths, next, err
}

// Schedule implements engines.Tx.
func (r *Region) Schedule(name string, at time.Time) error {
	key, err := r.tx.store.barrier.SealName(r.prefix, name)
	if err != nil {
		return engines.Internal(err)
	}
	key[0] = byte(Due)
	if at.IsZero() {
		return r.tx.Delete(key)
	}
	return r.tx.Put(key, []byte{1}, PutOptions{Expiry: at})
}
