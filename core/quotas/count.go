package quotas

import (
	"strconv"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// countKey is the row that counts the leases of a rule. It is in a table of its
// own: the rules' is read anew with each change.
func countKey(id string) []byte {
	return state.Key(state.Counts, state.RootNamespace, []byte(id))
}

func counted(tx *state.Tx, id string) (n int64, found bool, err error) {
	row, err := tx.Get(countKey(id))
	if err != nil || row == nil {
		return 0, false, err
	}
	if n, err = strconv.ParseInt(string(row.Value), 10, 64); err != nil {
		return 0, false, engines.Internal(err)
	}
	return n, true, nil
}

func putCount(tx *state.Tx, id string, n int64) error {
	return tx.Put(countKey(id), strconv.AppendInt(nil, n, 10), state.PutOptions{})
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
	n, found, err := counted(tx, rule.ID)
	if err != nil || !found { // the rule is gone, and the rules are read anew
		return "", err
	}
	if n >= rule.MaxLeases {
		return "", engines.Errorf(engines.KindRateLimited, "request path %q: lease count quota exceeded", path)
	}
	return rule.ID, putCount(tx, rule.ID, n+1)
}

// Free counts a lease no more.
func Free(tx *state.Tx, id string) error {
	n, found, err := counted(tx, id)
	if err != nil || !found {
		return err
	}
	return putCount(tx, id, max(n-1, 0))
}
