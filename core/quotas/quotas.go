package quotas

import (
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Quotas are the rules of a node. It is safe for concurrent use.
type Quotas struct {
	current atomic.Pointer[set]
	nodes   atomic.Int64
	// Loops are the callers who log in too often.
	Loops Loops
	// refreshing keeps what has been spent from being taken over twice.
	refreshing sync.Mutex
}

// New returns quotas that know no rules yet.
func New() *Quotas {
	q := new(Quotas)
	q.current.Store(new(set))
	return q
}

// Refresh takes over the rules as the transaction sees them, if they are newer.
func (q *Quotas) Refresh(tx *state.Tx) error {
	index := tx.TableIndex(state.Quotas)
	if q.current.Load().index >= index {
		return nil
	}
	q.refreshing.Lock()
	defer q.refreshing.Unlock()
	before := q.current.Load()
	if before.index >= index {
		return nil
	}
	next, err := readSet(tx, index, before)
	if err != nil {
		return err
	}
	q.current.Store(next)
	return nil
}

// SetNodes tells among how many nodes a rate is shared.
func (q *Quotas) SetNodes(n int) { q.nodes.Store(int64(n)) }

// Asked is a request as rates see it.
type Asked struct {
	Path string
	Addr netip.Addr
	// Role tells the role of a login, empty for none.
	Role func() string
}

// Check counts a request. It returns headers for the answer, and an error if
// the request is one too many; audited says whether that is to be recorded.
func (q *Quotas) Check(a *Asked) (headers map[string]string, audited bool, err error) {
	s := q.current.Load()
	if s.rates == nil || s.config.exempt(a.Path) {
		return nil, false, nil
	}
	rule := s.rates.find(a.Path, a.Role)
	if rule == nil {
		return nil, false, nil
	}
	allowed, interval := rule.share(int(q.nodes.Load()))
	v := s.spent[rule].take(a.Addr, time.Now(), allowed, interval, rule.Block)
	wait := strconv.FormatInt(int64((v.reset+time.Second-1)/time.Second), 10)
	if s.config.Headers {
		headers = map[string]string{
			"X-Ratelimit-Limit": strconv.FormatInt(v.limit, 10), "X-Ratelimit-Remaining": strconv.FormatInt(v.remaining, 10), "X-Ratelimit-Reset": wait,
		}
	}
	if v.allowed {
		return headers, false, nil
	}
	if headers == nil {
		headers = make(map[string]string)
	}
	headers["Retry-After"] = wait
	return nil, s.config.AuditLogging, &engines.Error{
		Kind: engines.KindRateLimited, Message: "request path " + strconv.Quote(a.Path) + ": rate limit quota exceeded", Headers: headers,
	}
}
