package issued

import (
	"strconv"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
)

// Fill puts live leases as if a mount had given them: benchmarks need more of
// them than can be asked for.
func Fill(tx *state.Tx, mount, path string, n int, ttl time.Duration) error {
	owner := []byte(tokens.RandomText(32))
	for i := range n {
		r := &row{
			id: path + "/" + tokens.RandomText(idChars), Phase: live, Mount: mount, Path: path,
			made:    made{Role: "a", What: map[string]string{"username": "v-token-app-" + strconv.Itoa(i)}, Target: "db", Undo: []byte(`{"Target":"db","User":"v-token-app"}`)},
			holder:  holder{Owner: owner, Accessor: tokens.RandomText(idChars), Addr: "192.0.2.1"},
			times:   times{Issued: tx.Now(), Expires: tx.Now().Add(ttl), Most: tx.Now().Add(2 * ttl), TTL: ttl, Renewable: true, By: tx.Now()},
			undoing: undoing{Confirmed: true},
		}
		if err := r.put(tx); err != nil {
			return err
		}
	}
	return nil
}
