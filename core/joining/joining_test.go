package joining_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/core/joining"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// scene is a node of a cluster whose members are a map.
type scene struct {
	t     *testing.T
	store *state.Store
	key   []byte
	host  *joining.Host

	mu      sync.Mutex
	members map[string]string
	follows bool
	addErr  error
}

func newScene(t *testing.T) *scene {
	t.Helper()
	n, err := cluster.Open(cluster.Config{Dir: t.TempDir(), NodeID: "a", ElectionTimeout: 50 * time.Millisecond, TickInterval: -1, CacheBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	if _, _, err := n.LeadContext(ctx); err != nil {
		t.Fatal(err)
	}
	keyring, err := seal.NewKeyring(rand.Reader, n.Now())
	if err != nil {
		t.Fatal(err)
	}
	barrier, err := seal.NewBarrier(keyring)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(barrier.Close)
	s := &scene{t: t, store: state.New(n, barrier), key: keyring.Derive(joining.Label, joining.KeyBytes), members: map[string]string{"a": "10.0.0.1:8201"}}
	s.host, err = joining.NewHost(joining.Deps{
		Key: s.key, Store: s.store, Index: func() uint64 { return 7 }, Log: func(string, string) {},
		Rows:    func() (map[string][]byte, error) { return map[string][]byte{"seal": []byte("row")}, nil },
		Leads:   func() bool { s.mu.Lock(); defer s.mu.Unlock(); return !s.follows },
		Members: func() map[string]string { s.mu.Lock(); defer s.mu.Unlock(); return maps.Clone(s.members) },
		Add: func(_ context.Context, id, address string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.addErr == nil {
				s.members[id] = address
			}
			return s.addErr
		},
		Move: func(_ context.Context, id, address string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.members[id] = address
			return s.addErr
		},
		Issue: func(_ context.Context, id string, public []byte) ([]byte, []byte, error) {
			return []byte("certificate of " + id + " for " + string(public)), []byte("root"), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// prove takes an invitation and returns what answers it.
func (s *scene) prove(key []byte, p joining.Proof) (*joining.Newcomer, []byte) {
	s.t.Helper()
	invitation, err := s.host.Invite(p.Node)
	if err != nil {
		s.t.Fatal(err)
	}
	if string(invitation.Rows["seal"]) != "row" {
		s.t.Errorf("%v", invitation.Rows)
	}
	n, err := joining.NewNewcomer(key)
	if err != nil {
		s.t.Fatal(err)
	}
	p.Challenge = invitation.Challenge
	sealed, err := n.Prove(p)
	if err != nil {
		s.t.Fatal(err)
	}
	return n, sealed
}

func (s *scene) join(p joining.Proof) (*joining.Admission, error) {
	s.t.Helper()
	n, sealed := s.prove(s.key, p)
	answer, err := s.host.Admit(s.t.Context(), sealed)
	if err != nil {
		return nil, err
	}
	return n.Admitted(answer)
}

func proof(id, address, public string) joining.Proof {
	return joining.Proof{Node: id, Address: address, Public: []byte(public), Version: "1.0"}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	p := proof("b", "10.0.0.2:8201", "key of b")
	p.NonVoter = true
	a, err := s.join(p)
	if err != nil {
		t.Fatal(err)
	}
	if string(a.Certificate) != "certificate of b for key of b" || string(a.Root) != "root" || a.Index != 7 ||
		a.Members["a"] != "10.0.0.1:8201" || a.Members["b"] != "10.0.0.2:8201" {
		t.Errorf("%+v", a)
	}
	err = s.store.Local(func(tx *state.Tx) error {
		version, nonVoter, ok, err := joining.Known(tx, "b")
		if version != "1.0" || !nonVoter || !ok {
			t.Errorf("%q, %v, %v", version, nonVoter, ok)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	// The same node again, also from another place.
	if _, err := s.join(p); err != nil {
		t.Error(err)
	}
	p.Address = "10.0.0.9:8201"
	if a, err := s.join(p); err != nil || a.Members["b"] != p.Address {
		t.Errorf("%+v, %v", a, err)
	}
}

// TestNobodyTakesAPlace: an id or address of another member is refused, until
// that member has been removed.
func TestNobodyTakesAPlace(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if _, err := s.join(proof("b", "10.0.0.2:8201", "key of b")); err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string]joining.Proof{
		"the id of a member":      proof("b", "10.0.0.2:8201", "another key"),
		"the id of the founder":   proof("a", "10.0.0.1:8201", "another key"),
		"the address of a member": proof("c", "10.0.0.2:8201", "key of c"),
	} {
		if _, err := s.join(p); engines.KindOf(err) != engines.KindConflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.mu.Lock()
	delete(s.members, "b")
	s.mu.Unlock()
	if _, err := s.store.Update(t.Context(), func(tx *state.Tx) error { return joining.Forget(tx, "b") }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.join(proof("b", "10.0.0.2:8201", "another key")); err != nil {
		t.Errorf("a removed node's successor: %v", err)
	}
}

// TestRefusals: replayed, foreign, changed and malformed answers.
func TestRefusals(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	n, sealed := s.prove(s.key, proof("b", "10.0.0.2:8201", "k"))
	answer, err := s.host.Admit(t.Context(), sealed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.host.Admit(t.Context(), sealed); engines.KindOf(err) != engines.KindDenied || !strings.Contains(err.Error(), "already") {
		t.Errorf("replayed: %v", err)
	}
	other, _ := s.prove(s.key, proof("b", "10.0.0.2:8201", "k"))
	if _, err := other.Admitted(answer); err == nil {
		t.Error("took the answer to another proof")
	}
	changed := bytes.Clone(answer)
	changed[len(changed)-1] ^= 1
	for _, bad := range [][]byte{nil, changed, sealed, answer[:8]} {
		if _, err := n.Admitted(bad); err == nil {
			t.Error("took a changed answer")
		}
		if _, err := s.host.Admit(t.Context(), bad); engines.KindOf(err) != engines.KindDenied {
			t.Errorf("admitted by %d bytes: %v", len(bad), err)
		}
	}
	for name, p := range map[string]joining.Proof{
		"no key":          proof("c", "10.0.0.3:8201", ""),
		"a long key":      proof("c", "10.0.0.3:8201", strings.Repeat("k", 2000)),
		"no port":         proof("c", "10.0.0.3", "k"),
		"no host":         proof("c", ":8201", "k"),
		"port 0":          proof("c", "10.0.0.3:0", "k"),
		"a path":          proof("c", "10.0.0.3/x:8201", "k"),
		"every interface": proof("c", "0.0.0.0:8201", "k"),
	} {
		_, sealed := s.prove(s.key, p)
		if _, err := s.host.Admit(t.Context(), sealed); engines.KindOf(err) != engines.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []string{"", "a b", strings.Repeat("x", 129), "ä", "x\n"} {
		if _, err := s.host.Invite(id); engines.KindOf(err) != engines.KindInvalid {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestOtherKeys: a node of another cluster cannot read the challenge.
func TestOtherKeys(t *testing.T) {
	t.Parallel()
	s, other := newScene(t), newScene(t)
	invitation, err := s.host.Invite("b")
	if err != nil {
		t.Fatal(err)
	}
	n, err := joining.NewNewcomer(other.key)
	if err != nil {
		t.Fatal(err)
	}
	p := proof("b", "10.0.0.2:8201", "k")
	p.Challenge = invitation.Challenge
	if _, err := n.Prove(p); err == nil {
		t.Error("proved with another cluster's key")
	}
	// Nor is its own proof worth anything here.
	_, sealed := other.prove(other.key, p)
	if _, err := s.host.Admit(t.Context(), sealed); engines.KindOf(err) != engines.KindDenied {
		t.Errorf("admitted: %v", err)
	}
	// A challenge is for one node.
	n, _ = joining.NewNewcomer(s.key)
	p.Node = "c"
	if _, err := n.Prove(p); err == nil {
		t.Error("answered another node's challenge")
	}
}

func TestOnlyTheLeaderAdmits(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	s.follows = true
	if _, err := s.join(proof("b", "10.0.0.2:8201", "k")); engines.KindOf(err) != engines.KindUnavailable {
		t.Errorf("%v", err)
	}
	s.mu.Lock()
	s.follows, s.addErr = false, errors.New("no quorum")
	s.mu.Unlock()
	if _, err := s.join(proof("b", "10.0.0.2:8201", "k")); engines.KindOf(err) != engines.KindUnavailable {
		t.Errorf("%v", err)
	}
	s.mu.Lock()
	s.addErr = nil
	s.mu.Unlock()
	if _, err := s.join(proof("b", "10.0.0.2:8201", "k")); err != nil {
		t.Errorf("tried again: %v", err)
	}
}

func TestRenew(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if _, err := s.join(proof("b", "10.0.0.2:8201", "k")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		certificate, root, err := s.host.Renew(t.Context(), "b", "10.0.0.7:8201", []byte("k"))
		if err != nil || string(certificate) != "certificate of b for k" || string(root) != "root" || s.members["b"] != "10.0.0.7:8201" {
			t.Errorf("%s, %s, %v, %v", certificate, root, err, s.members)
		}
	}
	for name, test := range map[string]struct {
		node, address string
		want          engines.Kind
	}{
		"a stranger":            {"c", "10.0.0.3:8201", engines.KindDenied},
		"another one's address": {"b", "10.0.0.1:8201", engines.KindConflict},
		"no address":            {"b", "x", engines.KindInvalid},
	} {
		if _, _, err := s.host.Renew(t.Context(), test.node, test.address, []byte("k")); engines.KindOf(err) != test.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.follows = true
	if _, _, err := s.host.Renew(t.Context(), "b", "10.0.0.7:8201", []byte("k")); engines.KindOf(err) != engines.KindUnavailable {
		t.Errorf("%v", err)
	}
}

func TestManyAsk(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	limited := 0
	for range 200 {
		if _, err := s.host.Invite("b"); engines.KindOf(err) == engines.KindRateLimited {
			limited++
		}
	}
	if limited == 0 {
		t.Error("strangers are answered without bound")
	}
}
