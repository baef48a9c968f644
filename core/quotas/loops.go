package quotas

import (
	"hash/maphash"
	"sync"
	"time"
)

const (
	// loopWindow is how far back logins count, and loopLogins how many of them
	// say that a caller logs in for each thing that it does.
	loopWindow = time.Minute
	loopLogins = 10
	// maxLoopers bounds whose logins are remembered.
	maxLoopers = 4096
)

// Loops notices who logs in again and again although their tokens would still
// do. It is this node's alone, and forgets when there are too many. It is safe
// for concurrent use; the zero value has seen nobody.
type Loops struct {
	mu      sync.Mutex
	seed    maphash.Seed
	callers map[uint64]*logins
}

// logins are the last of one caller.
type logins struct {
	last [loopLogins]login
	next int
}

type login struct {
	at, until time.Time
	request   string
}

// Login notes a login and the end of the token that it gave, and returns how
// many there were in the last minute, if those are many whose tokens are good
// still. caller is who logged in, and where; one request counts once.
func (l *Loops) Login(caller, request string, now, until time.Time) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.callers == nil {
		l.seed = maphash.MakeSeed()
	}
	if l.callers == nil || len(l.callers) >= maxLoopers {
		l.callers = make(map[uint64]*logins)
	}
	key := maphash.String(l.seed, caller)
	c := l.callers[key]
	if c == nil {
		c = new(logins)
		l.callers[key] = c
	}
	before := (c.next + loopLogins - 1) % loopLogins
	if c.last[before].request != request {
		before = c.next
		c.next = (c.next + 1) % loopLogins
	}
	c.last[before] = login{now, until, request}
	n := 0
	for _, past := range c.last {
		if now.Sub(past.at) < loopWindow && past.until.After(now) {
			n++
		}
	}
	if n < loopLogins {
		return 0
	}
	return n
}
