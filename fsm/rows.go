package fsm

import (
	"hash/maphash"
	"sync"
)

const (
	rowShards    = 64
	halfBytes    = 256 << 10 // of one half of a shard
	maxKeptBytes = 8 << 10   // of one row
	keptOverhead = 160       // of a row in a map, beside its bytes
)

// rowCache keeps rows as they stand after the last change, written through when
// they change and added when they are read. A skip list of tens of thousands of
// rows costs some microseconds to search, and the same few rows are read for
// nearly every request.
//
// An entry says how a row has stood since an index. It holds for a view at or
// above that index, since whatever changes the row replaces the entry before the
// change can be seen.
type rowCache struct {
	seed   maphash.Seed
	shards [rowShards]rowShard
}

// rowShard has two halves: what was used last is in the young one. When that is
// full it takes the place of the old one, which is dropped.
type rowShard struct {
	mu         sync.Mutex
	young, old map[string]keptRow
	bytes      int // of young
	// changed is the index of the last change of any row of the shard.
	changed uint64
}

// keptRow is a row, or that there is none.
type keptRow struct {
	row   Row
	ok    bool
	since uint64
}

func newRowCache() *rowCache {
	c := &rowCache{seed: maphash.MakeSeed()}
	c.forget(0)
	return c
}

func (c *rowCache) shard(key []byte) *rowShard {
	return &c.shards[maphash.Bytes(c.seed, key)%rowShards]
}

// get returns how a row stands in a view at an index, if that is known. The
// row's bytes are shared and must not be changed.
func (c *rowCache) get(key []byte, index uint64) (row Row, ok, known bool) {
	s := c.shard(key)
	s.mu.Lock()
	kept, hit := s.young[string(key)]
	if !hit {
		if kept, hit = s.old[string(key)]; hit {
			s.set(string(key), kept)
		}
	}
	s.mu.Unlock()
	if !hit || kept.since > index {
		return Row{}, false, false
	}
	return kept.row, kept.ok, true
}

// keep adds a row that a view at an index has, unless it may have changed since.
func (c *rowCache) keep(key []byte, row Row, ok bool, index uint64) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed > index {
		return
	}
	since := row.Version
	if !ok {
		since = index
	}
	s.set(string(key), keptRow{row, ok, since})
}

// write replaces a row by what an entry makes of it, before anybody sees that.
func (c *rowCache) write(key string, row Row, ok bool, index uint64) {
	s := &c.shards[maphash.String(c.seed, key)%rowShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = index
	s.set(key, keptRow{row, ok, index})
}

// forget drops everything, before anybody sees what an entry removed.
func (c *rowCache) forget(index uint64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.young, s.old = make(map[string]keptRow), nil
		s.bytes, s.changed = 0, index
		s.mu.Unlock()
	}
}

func (s *rowShard) set(key string, kept keptRow) {
	delete(s.old, key)
	if before, ok := s.young[key]; ok {
		s.bytes -= before.size(key)
		delete(s.young, key)
	}
	size := kept.size(key)
	if size > maxKeptBytes {
		return
	}
	if s.bytes+size > halfBytes {
		s.old, s.young, s.bytes = s.young, make(map[string]keptRow), 0
	}
	s.young[key] = kept
	s.bytes += size
}

func (k *keptRow) size(key string) int {
	return len(key) + len(k.row.Value) + len(k.row.Owner) + keptOverhead
}
