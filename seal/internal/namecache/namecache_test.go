package namecache_test

import (
	"bytes"
	"fmt"
	"sync"
	"testing"

	"github.com/coffer-secrets/coffer/seal/internal/namecache"
)

func put(c *namecache.Cache, i int) {
	c.Put(fmt.Appendf(nil, "key%d", i), fmt.Appendf(nil, "value%d", i))
}

func has(t *testing.T, c *namecache.Cache, i int) bool {
	t.Helper()
	value, ok := c.Get(fmt.Appendf(nil, "key%d", i))
	if ok && string(value) != fmt.Sprintf("value%d", i) {
		t.Fatalf("key%d has %q", i, value)
	}
	return ok
}

func TestGetWhatWasPut(t *testing.T) {
	t.Parallel()
	c := namecache.New(1 << 20)
	if has(t, c, 1) {
		t.Error("an empty cache has an entry")
	}
	for i := range 1000 {
		put(c, i)
	}
	for i := range 1000 {
		if !has(t, c, i) {
			t.Errorf("key%d is gone from a cache that is not full", i)
		}
	}
	c.Clear()
	if has(t, c, 1) || c.Bytes() != 0 {
		t.Errorf("a cleared cache holds %d bytes", c.Bytes())
	}
	put(c, 1)
	if !has(t, c, 1) {
		t.Error("a cleared cache takes no entry")
	}
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 256 << 10
	c := namecache.New(limit)
	for i := range 20_000 {
		put(c, i)
		if i%1000 == 0 && c.Bytes() > limit {
			t.Fatalf("%d bytes, limit %d", c.Bytes(), limit)
		}
	}
	kept := 0
	for i := range 20_000 {
		if has(t, c, i) {
			kept++
		}
	}
	if c.Bytes() > limit || c.Bytes() < limit/2 || kept < 500 {
		t.Errorf("%d entries in %d bytes, limit %d", kept, c.Bytes(), limit)
	}
}

func TestTooLargeIsNotKept(t *testing.T) {
	t.Parallel()
	c := namecache.New(64 << 10)
	c.Put([]byte("key"), make([]byte, 4<<10))
	if _, ok := c.Get([]byte("key")); ok || c.Bytes() != 0 {
		t.Error("an entry larger than its shard is kept")
	}
}

// What is asked for again and again outlives a long scan.
func TestHotEntriesSurviveAScan(t *testing.T) {
	t.Parallel()
	c := namecache.New(1 << 20)
	for i := range 100 {
		put(c, i)
	}
	for i := range 100_000 {
		put(c, 1000+i)
		if i%100 == 0 {
			for hot := range 100 {
				has(t, c, hot)
			}
		}
	}
	kept := 0
	for i := range 100 {
		if has(t, c, i) {
			kept++
		}
	}
	if kept != 100 {
		t.Errorf("%d of 100 hot entries survive", kept)
	}
}

func TestValuesAreCopies(t *testing.T) {
	t.Parallel()
	c := namecache.New(1 << 20)
	key, value := []byte("key"), []byte("value")
	c.Put(key, value)
	clear(key)
	clear(value)
	got, _ := c.Get([]byte("key"))
	clear(got)
	if again, ok := c.Get([]byte("key")); !ok || !bytes.Equal(again, []byte("value")) {
		t.Errorf("got %q", again)
	}
	before := c.Bytes()
	c.Put([]byte("key"), []byte("other"))
	if again, _ := c.Get([]byte("key")); string(again) != "value" || c.Bytes() != before {
		t.Errorf("a second value %q is kept", again)
	}
}

func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	c := namecache.New(128 << 10)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				key := fmt.Appendf(nil, "key%d", (i*7+w)%3000)
				if value, ok := c.Get(key); ok && !bytes.Equal(value, key) {
					t.Errorf("%s has %s", key, value)
				}
				c.Put(key, key)
				if i == 2500 && w == 0 {
					c.Clear()
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkGet(b *testing.B) {
	c := namecache.New(1 << 20)
	key := []byte("a mount's prefix and a/path/of/some/length")
	c.Put(key, make([]byte, 150))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Get(key)
		}
	})
}

// TestLongRows: of a row that is longer than the cache, most is not kept, and
// not all that was kept before is driven out.
func TestLongRows(t *testing.T) {
	t.Parallel()
	const limit, row = 256 << 10, 10_000
	c := namecache.New(limit)
	offered := func(i int) bool {
		c.Offer(fmt.Appendf(nil, "key%d", i), fmt.Appendf(nil, "value%d", i))
		return has(t, c, i)
	}
	for i := range 500 {
		if !offered(i) {
			t.Fatalf("a cache with room did not take entry %d", i)
		}
	}
	taken := 0
	for i := range row {
		if offered(500 + i) {
			taken++
		}
		if c.Bytes() > limit {
			t.Fatalf("%d bytes, limit %d", c.Bytes(), limit)
		}
	}
	if taken < row/16 || taken > row/3 {
		t.Errorf("of %d, %d were taken", row, taken)
	}
	stayed := 0
	for i := range 500 {
		if has(t, c, i) {
			stayed++
		}
	}
	if stayed < 25 {
		t.Errorf("of 500 entries that were asked for before, %d stayed", stayed)
	}
}
