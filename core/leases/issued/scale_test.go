package issued_test

import (
	"context"
	"flag"
	"maps"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core/leases/issued"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

var manyLeases = flag.Int("leases", 100_000, "how many leases the benchmarks have")

const (
	fillBatch = 250
	// targetPause is how long the benchmark's target takes for a batch: about what
	// PostgreSQL does.
	targetPause = 30 * time.Millisecond
)

// filler is the engine with a route that puts leases by the hundred.
func filler(p *place) *engines.Engine {
	e := p.engine()
	table := e.Table
	e.Table = func(m engines.Mount) (*engines.Table, error) {
		t, err := table(m)
		if err != nil {
			return nil, err
		}
		t.Routes = append(t.Routes, engines.Route{Pattern: "fill", Help: "Put leases.", Fields: []engines.Field{
			{Name: "ttl", Type: engines.Seconds, Help: "TTL."},
		}, Ops: []engines.Op{{
			Do: engines.Update, Trait: engines.Writes, Handler: func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
				return nil, issued.Fill(tx.(*state.Region).Tx(), req.Mount.Accessor, "fake/creds/a", fillBatch, req.Fields.Duration("ttl"))
			},
		}}})
		return t, nil
	}
	return e
}

func fill(s *kit.Server, n int, ttl string) {
	var clients sync.WaitGroup
	work := make(chan struct{})
	for range 8 {
		clients.Go(func() {
			for range work {
				s.Put("fake/fill", body{"ttl": ttl})
			}
		})
	}
	for range (n + fillBatch - 1) / fillBatch {
		work <- struct{}{}
	}
	close(work)
	clients.Wait()
}

func heapMB() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// reads reads a secret again and again while is says so, at least a thousand
// times, and returns what 99 of 100 took at most.
func reads(s *kit.Server, is func() bool) time.Duration {
	var took []time.Duration
	for n := 0; n < 1000 || is(); n++ {
		began := time.Now()
		s.Get("secret/a")
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)*99/100]
}

// unseals returns the least of some times that a restarted node took to serve.
func unseals(s *kit.Server) time.Duration {
	best := time.Hour
	for range 3 {
		s.Restart()
		began := time.Now()
		s.Unseal()
		s.Get("secret/a")
		best = min(best, time.Since(began))
	}
	return best
}

// many starts a node on which many leases can be put.
func many(b *testing.B) (*kit.Server, *kit.Clock) {
	b.Helper()
	// As cmd/coffer does: with Go's own settings the collector makes most of the p99.
	processors, percent := runtime.GOMAXPROCS(0), debug.SetGCPercent(300)
	runtime.GOMAXPROCS(processors + 2)
	b.Cleanup(func() {
		runtime.GOMAXPROCS(processors)
		debug.SetGCPercent(percent)
	})
	p, clock := newPlace(), kit.NewClock()
	p.undoing = func(context.Context) {
		pause := time.NewTimer(targetPause)
		defer pause.Stop()
		<-pause.C
	}
	s := kit.New(b, kit.At(clock), kit.Engines(filler(p)))
	mount(s)
	s.Mount("secret", "kv", nil)
	s.Put("secret/a", body{"a": "b"})
	return s, clock
}

// TestManyEndAtOnce sees that a target is asked once for each of many leases,
// though the commit of some goes on while it undoes the next.
func TestManyEndAtOnce(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	s := kit.New(t, kit.At(clock), kit.Engines(filler(p)))
	mount(s)
	const n = 5 * fillBatch
	fill(s, n, "24h")
	clock.Advance(25 * time.Hour)
	eventually(t, "none is left", func() bool {
		return s.Do(kit.Request{Method: "LIST", Path: "sys/leases/lookup/fake/creds/a"}).Status == http.StatusNotFound
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) != n || slices.Max(slices.Collect(maps.Values(p.asked))) != 1 {
		t.Errorf("of %d leases %d were to be undone, some of them up to %d times", n, len(p.asked), slices.Max(slices.Collect(maps.Values(p.asked))))
	}
}

// TestManyEndAsLeadersChange is TestManyEndAtOnce with leaders that are lost while
// a batch is committed and the next one undone.
func TestManyEndAsLeadersChange(t *testing.T) {
	t.Parallel()
	p, clock := newPlace(), kit.NewClock()
	again := make(chan struct{}, 1)
	p.undoing = func(context.Context) {
		if p.calls.Load()%4 == 2 {
			select {
			case again <- struct{}{}:
			default: // one is enough
			}
		}
	}
	c := kit.NewCluster(t, 3, kit.At(clock), kit.Engines(filler(p)))
	mount(c.Leader())
	n := 0
	for n < 4*fillBatch { // of what a busy machine does not do in time, some may have been done
		c.Leader().Do(kit.Request{Method: http.MethodPut, Path: "fake/fill", Body: body{"ttl": "24h"}})
		n = len(c.Leader().Do(kit.Request{Method: "LIST", Path: "sys/leases/lookup/fake/creds/a"}).Strings("data", "keys"))
	}
	clock.Advance(25 * time.Hour)
	lost := 0
	eventually(t, "none is left", func() bool {
		select {
		case <-again:
			lost++
			c.StepDown()
		default:
		}
		return c.Leader().Do(kit.Request{Method: "LIST", Path: "sys/leases/lookup/fake/creds/a"}).Status == http.StatusNotFound
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) != n || lost == 0 {
		t.Errorf("of %d leases %d were undone, over %d changes of leader", n, len(p.asked), lost)
	}
}

// BenchmarkStandingLeases compares a node with many leases with one that has
// none.
func BenchmarkStandingLeases(b *testing.B) {
	s, _ := many(b)
	for b.Loop() {
		bare, heap, read := unseals(s), heapMB(), reads(s, func() bool { return false })
		began := time.Now()
		fill(s, *manyLeases, "24h")
		b.ReportMetric(float64(*manyLeases)/time.Since(began).Seconds(), "filled/s")
		full := unseals(s)
		b.ReportMetric(float64(full)/float64(bare), "unseal-ratio")
		b.ReportMetric(float64(full.Milliseconds()), "unseal-ms")
		b.ReportMetric(float64(reads(s, func() bool { return false }))/float64(read), "p99-ratio")
		b.ReportMetric(heapMB()-heap, "more-MB")
	}
}

// idleTime is how long an idle node is read from, before and after the other: what
// the collector and the machine's other work do must have their share in both.
const idleTime = 10 * time.Second

func until(long time.Duration) func() bool {
	end := time.Now().Add(long)
	return func() bool { return time.Now().Before(end) }
}

// BenchmarkEndingLeases compares a node whose leases all end at once with an
// idle one.
func BenchmarkEndingLeases(b *testing.B) {
	s, clock := many(b)
	n := *manyLeases
	for b.Loop() {
		fill(s, n, "24h")
		before := reads(s, until(idleTime))
		began := time.Now()
		clock.Advance(24*time.Hour + time.Second)
		left := func() bool {
			stats, _ := s.Core.LeaseStats()
			done := 0
			for _, d := range stats.Done {
				done += int(d.Undone)
			}
			return done < n && time.Since(began) < 10*time.Minute
		}
		busy := reads(s, left)
		b.ReportMetric(float64(n)/time.Since(began).Seconds(), "undone/s")
		eventually(b, "none is left", func() bool {
			return s.Do(kit.Request{Method: "LIST", Path: "sys/leases/lookup/fake/creds/a"}).Status == http.StatusNotFound
		})
		idle := (before + reads(s, until(idleTime))) / 2
		b.ReportMetric(float64(idle.Microseconds()), "idle-p99-µs")
		b.ReportMetric(float64(busy)/float64(idle), "p99-ratio")
	}
}

// failovers returns the median of how long a write by way of another node took
// when its leader was cut off.
func failovers(b *testing.B, c *kit.Cluster) time.Duration {
	b.Helper()
	var took []time.Duration
	for range 9 {
		lost := c.Leader()
		other := c.Followers()[0]
		c.Cut(lost, true)
		began := time.Now()
		eventually(b, "another leads", func() bool {
			return other.Do(kit.Request{Method: http.MethodPut, Path: "secret/a", Body: body{"a": "b"}}).Status == http.StatusNoContent
		})
		took = append(took, time.Since(began))
		c.Cut(lost, false)
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// BenchmarkFailoverWithLeases compares three nodes with many leases with the same
// without any, when leaders are lost.
func BenchmarkFailoverWithLeases(b *testing.B) {
	p := newPlace()
	c := kit.NewCluster(b, 3, kit.Engines(filler(p)))
	s := c.Leader()
	mount(s)
	s.Mount("secret", "kv", nil)
	for b.Loop() {
		bare, heap := failovers(b, c), heapMB()
		fill(c.Leader(), *manyLeases, "24h")
		full := failovers(b, c)
		b.ReportMetric(float64(bare.Milliseconds()), "bare-ms")
		b.ReportMetric(float64(full.Milliseconds()), "full-ms")
		b.ReportMetric(float64(full)/float64(bare), "failover-ratio")
		b.ReportMetric((heapMB()-heap)/float64(len(c.Nodes)), "more-MB-a-node")
	}
}
