package pki_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// TestListsRest: a list that took long is not signed anew at once for each
// revocation, but holds all of them when it has rested.
func TestListsRest(t *testing.T) {
	t.Parallel()
	k := mount(t)
	k.root()
	k.run()
	k.write("roles/any", m{"allow_any_name": true, "key_type": "ec"})
	revoke := func() {
		k.write("revoke", m{"serial_number": k.write("issue/any", m{"common_name": "a.example.com", "ttl": "1h"})["serial_number"]})
	}
	listed := func(want int, when string) {
		t.Helper()
		if list, err := x509.ParseRevocationList(k.raw("crl")); err != nil || len(list.RevokedCertificateEntries) != want {
			t.Errorf("%s: %v, want %d lines", when, err, want)
		}
	}
	revoke()
	slow := &engines.Reach{Mount: k.Info, Change: k.change, Now: k.now, Look: func(fn func(tx engines.Tx) error) error {
		k.Now = k.Now.Add(2 * time.Second)
		return k.look(fn)
	}}
	for name, at := range k.Store.Scheduled() {
		if !at.After(k.Now) {
			if err := k.engine.Due(t.Context(), slow, name); err != nil {
				t.Fatal(err)
			}
		}
	}
	listed(1, "after the first")
	for range 3 {
		revoke()
		k.run()
	}
	listed(1, "while it rests")
	k.Now = k.Now.Add(17 * time.Second)
	k.run()
	listed(1, "after 17 s")
	k.Now = k.Now.Add(time.Second)
	k.run()
	listed(4, "after nine times as long as it took")
	revoke()
	k.run()
	listed(5, "after one that was quick")
}
