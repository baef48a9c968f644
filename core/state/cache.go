package state

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

const cacheShards = 16

// Cache keeps the decoded form of rows. An entry counts only for the very
// version of the row that it was decoded from, which is read each time unless
// no row of the table has changed since, so nothing has to tell the cache of a
// change. It is safe for concurrent use.
type Cache[T any] struct {
	seed   maphash.Seed
	shards [cacheShards]cacheShard[T]
	limit  int
}

type cacheShard[T any] struct {
	mu   sync.RWMutex
	rows map[string]*cached[T]
}

type cached[T any] struct {
	version uint64
	value   T
	// confirmed is an index of the row's table at which the row had the version.
	confirmed atomic.Uint64
}

// NewCache returns a cache of about limit rows.
func NewCache[T any](limit int) *Cache[T] {
	return &Cache[T]{seed: maphash.MakeSeed(), limit: limit / cacheShards}
}

// Get returns the decoded row, or the zero value if it is not there, and makes
// its version a condition of the commit. The value is shared: it must not be
// changed.
func (c *Cache[T]) Get(tx *Tx, key []byte, decode func(row *Row) (T, error)) (T, error) {
	var zero T
	shard := &c.shards[maphash.Bytes(c.seed, key)%cacheShards]
	shard.mu.RLock()
	hit := shard.rows[string(key)]
	shard.mu.RUnlock()
	table := tx.TableIndex(Table(key[0]))
	if hit != nil && hit.confirmed.Load() == table && !tx.Wrote(Table(key[0])) {
		// The whole table is as it was when the version was read.
		tx.check(key, fsmpb.Check_VERSION, hit.version)
		return hit.value, nil
	}
	row, own, ok, err := tx.sealed(key)
	if err != nil || !ok {
		return zero, err
	}
	if own != nil {
		return decode(&Row{Value: own.value, Expiry: own.Expiry, Owner: own.Owner})
	}
	if hit != nil && hit.version == row.Version {
		hit.confirmed.Store(table)
		return hit.value, nil
	}
	opened, err := tx.open(key, row)
	if err != nil {
		return zero, err
	}
	value, err := decode(opened)
	if err != nil {
		return zero, err
	}
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if len(shard.rows) >= c.limit || shard.rows == nil {
		shard.rows = make(map[string]*cached[T]) // start over: a miss costs one decode
	}
	made := &cached[T]{version: row.Version, value: value}
	made.confirmed.Store(table)
	shard.rows[string(key)] = made
	return value, nil
}
