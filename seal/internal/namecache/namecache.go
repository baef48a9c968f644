package namecache

import (
	"hash/maphash"
	"math/rand/v2"
	"sync"
)

const (
	shards = 64

	// entryOverhead estimates what an entry takes beside its bytes: two
	// headers, a map cell and allocator rounding.
	entryOverhead = 128

	// oneIn is of how many offered entries a full cache takes one.
	oneIn = 16
)

// A Cache is safe for concurrent use.
type Cache struct {
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu    sync.Mutex
	limit int // of used, in bytes
	used  int
	hand  int // the next entry to consider for eviction
	index map[string]int
	ring  []entry
	_     [16]byte // keeps locks of neighbours off one cache line
}

type entry struct {
	key   string
	value string
	hot   bool // asked for since the hand went by
}

func (e *entry) cost() int { return len(e.key) + len(e.value) + entryOverhead }

// New returns a cache that takes about limit bytes when full.
func New(limit int) *Cache {
	c := &Cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].limit = limit / shards
		c.shards[i].index = make(map[string]int)
	}
	return c
}

func (c *Cache) shard(key []byte) *shard {
	return &c.shards[maphash.Bytes(c.seed, key)%shards]
}

// Get returns a copy of the value of key.
func (c *Cache) Get(key []byte) ([]byte, bool) {
	value, ok := c.Text(key)
	if !ok {
		return nil, false
	}
	return []byte(value), true
}

// Text is Get without a copy.
func (c *Cache) Text(key []byte) (string, bool) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	i, ok := s.index[string(key)]
	if !ok {
		return "", false
	}
	s.ring[i].hot = true
	return s.ring[i].value, true
}

// Put remembers a copy of value for key. A key has one value for ever: if it is
// known, Put does nothing. What is larger than a shard is not kept.
func (c *Cache) Put(key, value []byte) { c.put(key, value, false) }

// Offer is Put for what comes in long rows: once the cache is full, it takes only
// one in oneIn, so that a row that is longer than the cache neither pays for the
// keeping of each entry nor drives out all others.
func (c *Cache) Offer(key, value []byte) { c.put(key, value, true) }

func (c *Cache) put(key, value []byte, offered bool) {
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	cost := len(key) + len(value) + entryOverhead
	if cost > s.limit || offered && s.used+cost > s.limit && rand.Uint32N(oneIn) != 0 { // #nosec G404 -- no secret
		return
	}
	e := entry{key: string(key), value: string(value)}
	if _, ok := s.index[e.key]; ok {
		return
	}
	for s.used+e.cost() > s.limit {
		s.evictLocked()
	}
	s.index[e.key] = len(s.ring)
	s.ring = append(s.ring, e)
	s.used += e.cost()
}

// evictLocked removes the first entry from the hand on that was not asked for
// since the hand last went by. The last entry takes its place in the ring.
func (s *shard) evictLocked() {
	for {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		e := &s.ring[s.hand]
		if !e.hot {
			break
		}
		e.hot = false
		s.hand++
	}
	gone, last := s.ring[s.hand], len(s.ring)-1
	s.used -= gone.cost()
	delete(s.index, gone.key)
	if s.hand != last {
		s.ring[s.hand] = s.ring[last]
		s.index[s.ring[s.hand].key] = s.hand
	}
	s.ring[last] = entry{}
	s.ring = s.ring[:last]
}

// Clear forgets everything.
func (c *Cache) Clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.index, s.ring, s.used, s.hand = make(map[string]int), nil, 0, 0
		s.mu.Unlock()
	}
}

// Bytes returns what the entries take, as New counts it.
func (c *Cache) Bytes() int {
	total := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		total += s.used
		s.mu.Unlock()
	}
	return total
}
