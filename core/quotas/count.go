package quotas

import (
	"math/rand/v2"
	"strconv"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

const (
	// parts is in how many rows the leases of a rule are counted. Two that are made
	// at once seldom need the same row.
	parts = 8
	// near is how many leases below its limit a rule begins to be counted exactly,
	// by all rows: more than a node makes at the same time.
	near = 4096
)

// countKey is one of the rows that count the leases of a rule; the first is there
// for as long as the rule is. They are in a table of their own: the rules' is read
// anew with each change.
func countKey(id string, part int) []byte {
	if part == 0 {
		return state.Key(state.Counts, state.RootNamespace, []byte(id))
	}
	return state.Key(state.Counts, state.RootNamespace, []byte(id), []byte{byte(part)})
}

// counted adds up what is counted for a rule, by rows as get reads them.
func counted(id string, get func(key []byte) (*state.Row, error)) (n int64, found bool, err error) {
	for part := range parts {
		row, err := get(countKey(id, part))
		if err != nil || row == nil && part == 0 {
			return 0, false, err
		}
		if row == nil {
			continue
		}
		in, err := strconv.ParseInt(string(row.Value), 10, 64)
		if err != nil {
			return 0, false, engines.Internal(err)
		}
		n += in
	}
	return max(n, 0), true, nil
}

// add counts more or fewer in one row, which may go below nothing.
func add(tx *state.Tx, id string, part int, more int64) error {
	key, n := countKey(id, part), int64(0)
	row, err := tx.Get(key)
	if err != nil {
		return err
	}
	if row != nil {
		if n, err = strconv.ParseInt(string(row.Value), 10, 64); err != nil {
			return engines.Internal(err)
		}
	}
	return tx.Put(key, strconv.AppendInt(nil, n+more, 10), state.PutOptions{})
}

// anyPart chooses a row.
func anyPart() int { return rand.IntN(parts) } // #nosec G404 -- spreads load

// dropCounts removes the rows of a rule that ends.
func dropCounts(tx *state.Tx, id string) error {
	for part := range parts {
		if err := tx.Delete(countKey(id, part)); err != nil {
			return err
		}
	}
	return nil
}

// Take counts a lease that is made at a path, in a role or none, and returns
// the id to give to Free when it ends; empty if no rule counts it.
func (q *Quotas) Take(tx *state.Tx, path, role string) (string, error) {
	s := q.current.Load()
	if index := tx.TableIndex(state.Quotas); s.index != index {
		var err error
		if s, err = readSet(tx, index, nil); err != nil {
			return "", err
		}
	}
	rule := s.counts.find(path, func() string { return role })
	if rule == nil {
		return "", nil
	}
	n, found, err := counted(rule.ID, tx.Peek)
	if err != nil || !found { // the rule is gone, and the rules are read anew
		return "", err
	}
	part := anyPart()
	if n >= rule.MaxLeases-near {
		part = 0
		if n, _, err = counted(rule.ID, tx.Get); err != nil {
			return "", err
		}
	}
	if n >= rule.MaxLeases {
		return "", engines.Errorf(engines.KindRateLimited, "request path %q: lease count quota exceeded", path)
	}
	tx.RequireExists(countKey(rule.ID, 0))
	return rule.ID, add(tx, rule.ID, part, 1)
}

// Free counts a lease no more.
func Free(tx *state.Tx, id string) error {
	first := countKey(id, 0)
	row, err := tx.Peek(first)
	if err != nil || row == nil {
		return err
	}
	tx.RequireExists(first)
	return add(tx, id, anyPart(), -1)
}
