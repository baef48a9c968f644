package database

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	// callTimeout bounds one call of a database, revokeTimeout that of a batch.
	callTimeout   = 20 * time.Second
	revokeTimeout = time.Minute
	// Above this many failures in a row a connection is left alone for a while,
	// which doubles from one to the other.
	tolerated   = 3
	firstPause  = time.Second
	longestRest = 30 * time.Second
	// forgotten is how long after its last use a pool is closed when another
	// one is opened.
	forgotten = 15 * time.Minute
)

// pools has an open Database for each connection that is in use.
type pools struct {
	now func() time.Time

	mu   sync.Mutex
	open map[string]*pool
}

// pool is one connection with its breaker. What is below db is the pools' mutex's.
type pool struct {
	version uint64
	db      Database

	users    int
	used     time.Time
	dropped  bool
	failures int
	rests    time.Time
}

func newPools(now func() time.Time) *pools { return &pools{now: now, open: make(map[string]*pool)} }

func poolKey(m engines.Mount, name string) string { return m.UUID + "/" + name }

// with calls fn with the Database of a connection. Its errors are for callers.
func (p *pools) with(m engines.Mount, c *connection, fn func(db Database) error) error {
	held, err := p.take(poolKey(m, c.Name), c)
	if err != nil {
		return err
	}
	err = fn(held.db)
	p.give(held, err)
	return upstream(c.Name, err)
}

func (p *pools) take(key string, c *connection) (*pool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	held := p.open[key]
	if held != nil && held.version != c.version {
		p.dropLocked(key)
		held = nil
	}
	if held == nil {
		for other, idle := range p.open {
			if idle.users == 0 && now.Sub(idle.used) > forgotten {
				p.dropLocked(other)
			}
		}
		db, err := c.plugin.Open(c.settings())
		if err != nil {
			return nil, engines.Invalidf("the connection %q cannot be used: %s", c.Name, err.Error())
		}
		held = &pool{version: c.version, db: db}
		p.open[key] = held
	}
	if wait := held.rests.Sub(now); wait > 0 {
		resting := engines.Errorf(engines.KindUpstream, "the database of the connection %q did not answer %d times in a row and is asked again in %s",
			c.Name, held.failures, wait.Round(time.Millisecond))
		resting.Cause = engines.ErrNotMade
		return nil, resting
	}
	held.users++
	held.used = now
	return held, nil
}

// give takes a pool back, and counts whether its database answered.
func (p *pools) give(held *pool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var refused *Refusal
	switch {
	case err == nil || errors.As(err, &refused):
		held.failures, held.rests = 0, time.Time{}
	case errors.Is(err, context.Canceled):
		// Whoever asked has gone.
	default:
		if held.failures++; held.failures >= tolerated {
			pause := firstPause << min(held.failures-tolerated, 5)
			held.rests = p.now().Add(min(pause, longestRest))
		}
	}
	held.users--
	held.used = p.now()
	if held.dropped && held.users == 0 {
		closeLater(held.db)
	}
}

// drop closes the pool of a connection once nobody uses it.
func (p *pools) drop(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(key)
}

func (p *pools) dropLocked(key string) {
	held := p.open[key]
	if held == nil {
		return
	}
	delete(p.open, key)
	held.dropped = true
	if held.users == 0 {
		closeLater(held.db)
	}
}

// closeLater closes a Database that nobody uses, without waiting for a network.
func closeLater(db Database) { go func() { _ = db.Close() }() }

// upstream makes an error for callers of a database's.
func upstream(name string, err error) error {
	var refused *Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return engines.Errorf(engines.KindUpstream, "the database of the connection %q refused: %s", name, refused.Text)
	}
	failed := engines.Errorf(engines.KindUpstream, "the database of the connection %q cannot be used: %s", name, err.Error())
	failed.Cause = err
	return failed
}
