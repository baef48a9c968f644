package wire_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/cluster/wire"
)

const patience = 10 * time.Second

// mesh is some ports that know each other.
type mesh struct {
	t         *testing.T
	authority *wire.Authority
	mu        sync.Mutex
	addresses map[string]string
	removed   map[string]bool
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	a, err := wire.NewAuthority("c1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &mesh{t: t, authority: a, addresses: map[string]string{}, removed: map[string]bool{}}
}

func (m *mesh) member(node string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return !m.removed[node]
}

func (m *mesh) address(node string) (string, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.addresses[node]
	return a, ok
}

// identity makes one for a node, of an authority, at a time.
func identity(t *testing.T, a *wire.Authority, node string, at time.Time) *wire.Identity {
	t.Helper()
	key, err := wire.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Issue(node, public, at)
	if err != nil {
		t.Fatal(err)
	}
	id, err := wire.NewIdentity(key, cert, a.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// open starts a port that answers calls with the caller's name.
func (m *mesh) open(node string, id *wire.Identity) *wire.Port {
	m.t.Helper()
	l, err := new(net.ListenConfig).Listen(m.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		m.t.Fatal(err)
	}
	p := wire.Open(m.t.Context(), wire.Config{
		Listener: l, Member: m.member, Address: m.address, Logger: slog.New(slog.DiscardHandler),
		RPC: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, "hello "+wire.PeerOf(r.Context()))
		}),
	})
	p.SetIdentity(id)
	m.t.Cleanup(func() {
		if err := p.Close(); err != nil {
			m.t.Error(err)
		}
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addresses[node] = l.Addr().String()
	return p
}

func call(t *testing.T, from *wire.Port, to string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, wire.URL(to, "/x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := from.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	if err == nil && resp.ProtoMajor != 2 {
		t.Errorf("answered by HTTP/%d", resp.ProtoMajor)
	}
	return string(text), err
}

func TestCalls(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	a := m.open("node a", identity(t, m.authority, "node a", time.Now()))
	b := m.open("b", identity(t, m.authority, "b", time.Now()))
	for range 3 {
		if got, err := call(t, a, "b"); err != nil || got != "hello node a" {
			t.Fatalf("%q, %v", got, err)
		}
		if got, err := call(t, b, "node a"); err != nil || got != "hello b" {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if _, err := call(t, a, "nobody"); err == nil {
		t.Error("called a node without an address")
	}
	// A removed node is refused on the connection that it has, and on others.
	m.mu.Lock()
	m.removed["b"] = true
	m.mu.Unlock()
	if _, err := call(t, b, "node a"); err == nil {
		t.Error("a removed node is answered")
	}
	a.Disconnect("b")
	if _, err := call(t, b, "node a"); err == nil {
		t.Error("a removed node came in again")
	}
}

// TestStrangers: who does not show a certificate of this cluster, valid now, is
// not let in, nor taken for the node that was dialled.
func TestStrangers(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	now := time.Now()
	m.open("a", identity(t, m.authority, "a", now))
	foreign, err := wire.NewAuthority("c1", now)
	if err != nil {
		t.Fatal(err)
	}
	otherCluster, err := wire.ParseAuthority("c2", marshal(t, m.authority))
	if err != nil {
		t.Fatal(err)
	}
	for name, id := range map[string]*wire.Identity{
		"of another authority": identity(t, foreign, "x", now),
		"of another cluster":   identity(t, otherCluster, "x", now),
		"expired":              identity(t, m.authority, "x", now.Add(-wire.Lifetime-time.Hour)),
		"of the future":        identity(t, m.authority, "x", now.Add(48*time.Hour)),
		"none":                 nil,
	} {
		p := m.open("x", id)
		if got, err := call(t, p, "a"); err == nil {
			t.Errorf("%s: let in: %q", name, got)
		}
		// And the other way about.
		good := m.open("good", identity(t, m.authority, "good", now))
		if got, err := call(t, good, "x"); err == nil {
			t.Errorf("%s: taken for a peer: %q", name, got)
		}
	}
	skewed := m.open("skewed", identity(t, m.authority, "skewed", now.Add(2*time.Hour)))
	if _, err := call(t, skewed, "a"); err != nil {
		t.Errorf("a clock that is two hours off: %v", err)
	}
	// b has taken over the address of c.
	b := m.open("b", identity(t, m.authority, "b", now))
	m.mu.Lock()
	m.addresses["c"] = b.Addr().String()
	m.mu.Unlock()
	if got, err := call(t, skewed, "c"); err == nil {
		t.Errorf("b is taken for c: %q", got)
	}
}

func marshal(t *testing.T, a *wire.Authority) []byte {
	t.Helper()
	text, err := a.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestGarbage: what is no TLS, or TLS without a certificate, is cut off, and
// others are served meanwhile.
func TestGarbage(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	a := m.open("a", identity(t, m.authority, "a", time.Now()))
	b := m.open("b", identity(t, m.authority, "b", time.Now()))
	for name, text := range map[string]string{
		"HTTP":    "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"a frame": "\xff\xff\xff\xff" + strings.Repeat("x", 1<<16),
		"TLS 1.0": "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
	} {
		c, err := net.Dial("tcp", a.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, text)
		if n, err := io.Copy(io.Discard, c); n > 64 {
			t.Errorf("%s: got %d bytes back, %v", name, n, err)
		}
		_ = c.Close()
	}
	for _, config := range []*tls.Config{
		{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}},
		{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}, // #nosec G402 -- to be refused
	} {
		c, err := tls.Dial("tcp", a.Addr().String(), config)
		if err == nil {
			_ = c.SetDeadline(time.Now().Add(patience))
			_, err = c.Read(make([]byte, 1)) // TLS 1.3 tells of the refusal only now
			_ = c.Close()
		}
		if err == nil {
			t.Error("without a certificate")
		}
	}
	if _, err := call(t, b, "a"); err != nil {
		t.Error(err)
	}
}

// TestRaft sends a request of Raft to a node by its name.
func TestRaft(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	a := m.open("a", identity(t, m.authority, "a", time.Now())).RaftTransport()
	b := m.open("b", identity(t, m.authority, "b", time.Now())).RaftTransport()
	go func() {
		select {
		case rpc := <-b.Consumer():
			rpc.Respond(&raft.RequestVoteResponse{Term: 7, Granted: true}, nil)
		case <-time.After(patience):
		}
	}()
	var resp raft.RequestVoteResponse
	if err := a.RequestVote("b", "ignored", &raft.RequestVoteRequest{Term: 7}, &resp); err != nil || !resp.Granted || resp.Term != 7 {
		t.Errorf("%+v, %v", resp, err)
	}
	if a.LocalAddr() == "" {
		t.Error("no address")
	}
}

func TestIdentityOnDisk(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	dir := t.TempDir()
	if id, err := wire.Load(dir); id != nil || err != nil {
		t.Fatalf("%v, %v", id, err)
	}
	id := identity(t, m.authority, "a", time.Now())
	if err := id.Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := wire.Load(dir)
	if err != nil || got.Node != "a" || got.Cluster != "c1" || !got.NotAfter().Equal(id.NotAfter()) {
		t.Fatalf("%+v, %v", got, err)
	}
	if got.Due(time.Now()) || !got.Due(time.Now().Add(wire.Lifetime*2/3)) {
		t.Error("due at the wrong time")
	}
	public, err := got.Public()
	if err != nil {
		t.Fatal(err)
	}
	later, err := m.authority.Issue("a", public, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if got, err = got.Renewed(later, m.authority.Certificate()); err != nil || !got.NotAfter().After(id.NotAfter()) {
		t.Fatalf("%+v, %v", got, err)
	}
	other, err := m.authority.Issue("b", public, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := got.Renewed(other, m.authority.Certificate()); err == nil {
		t.Error("became another node")
	}
	p := m.open("a", got)
	if _, err := call(t, m.open("b", identity(t, m.authority, "b", time.Now())), "a"); err != nil || p == nil {
		t.Error(err)
	}
}
