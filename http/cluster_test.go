package httpapi_test

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core"
	httpapi "github.com/coffer-secrets/coffer/http"
	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// three is a cluster with a kv mount.
func three(t *testing.T, list ...kit.Option) *kit.Cluster {
	t.Helper()
	c := kit.NewCluster(t, 3, list...)
	c.Nodes[0].Mount("kv", "kv", map[string]string{"version": "2"})
	return c
}

func value(v any) body { return body{"data": body{"v": v}} }

// TestAnyNodeAnswers: what was written through one node is read on all at once.
func TestAnyNodeAnswers(t *testing.T) {
	t.Parallel()
	c := three(t)
	for i, writer := range c.Nodes {
		want := fmt.Sprint(i)
		w := writer.Put("kv/data/x", value(want))
		if w.Header.Get("X-Coffer-Index") == "" || w.Header.Get("X-Vault-Index") == "" {
			t.Errorf("node %d answers a write with %v", i, w.Header)
		}
		for j, reader := range c.Nodes {
			if got := reader.Get("kv/data/x").Text("data", "data", "v"); got != want {
				t.Errorf("node %d reads %q after node %d wrote %q", j, got, i, want)
			}
		}
		token := writer.Login("default")
		for j, reader := range c.Nodes {
			if r := reader.Do(kit.Request{Path: "auth/token/lookup-self", Token: token}); r.Status != 200 {
				t.Errorf("node %d does not know the token of node %d: %d %s", j, i, r.Status, r.Raw)
			}
		}
		// A token that counts its uses is counted by the leader.
		once := writer.Put("auth/token/create", body{"num_uses": 1, "policies": []string{"root"}}).Text("auth", "client_token")
		other := c.Nodes[(i+1)%3]
		other.Must(200, kit.Request{Path: "kv/data/x", Token: once})
		writer.Must(403, kit.Request{Path: "kv/data/x", Token: once})
		// What only computes is answered by any node, and what fails fails as it would there.
		writer.Put("sys/tools/hash", body{"input": "aGVsbG8="})
		writer.Must(404, kit.Request{Method: "PUT", Path: "none/x", Body: body{}})
		writer.Must(400, kit.Request{Method: "PUT", Path: "kv/data/x", Body: body{"data": body{}, "options": body{"cas": 99}}})
		// Wrapping stores the answer.
		wrapped := writer.Must(200, kit.Request{Path: "kv/data/x", Header: header("X-Vault-Wrap-Ttl", "60")}).Text("wrap_info", "token")
		if got := other.Must(200, kit.Request{Method: "PUT", Path: "sys/wrapping/unwrap", Token: wrapped}); got.Text("data", "data", "v") != want {
			t.Errorf("unwrapped %s", got.Raw)
		}
	}
	for _, follower := range c.Followers() {
		follower.Must(429, kit.Request{Path: "sys/health", Token: kit.NoToken})
		follower.Must(200, kit.Request{Path: "sys/health?standbyok=true", Token: kit.NoToken})
		// During an election there is none to tell of.
		r := follower.Get("sys/leader")
		for deadline := time.Now().Add(20 * time.Second); r.Text("leader_cluster_address") == "" && time.Now().Before(deadline); {
			r = follower.Get("sys/leader")
		}
		if r.At("is_self") != false || r.Text("leader_cluster_address") == "" {
			t.Errorf("a follower tells of the leader %s", r.Raw)
		}
		// The ceremonies are in the leader's memory.
		nonce := follower.Put("sys/generate-root/attempt", body{"otp": ""}).Text("nonce")
		if got := c.Leader().Get("sys/generate-root/attempt").Text("nonce"); nonce == "" || got != nonce {
			t.Errorf("begun with %q on a follower, the leader has %q", nonce, got)
		}
		follower.Must(204, kit.Request{Method: "DELETE", Path: "sys/generate-root/attempt"})
	}
	c.Equal()
}

// TestHeldOverElections: who talks to one node that lives sees no failure while
// the leader steps down and is killed, and everything is done once.
func TestHeldOverElections(t *testing.T) {
	t.Parallel()
	c := three(t)
	client := c.Followers()[0]
	var written, version atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for w := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				path := fmt.Sprintf("kv/data/w%d", w)
				r := client.Do(kit.Request{Method: "PUT", Path: path, Body: body{"data": body{"v": i}, "options": body{"cas": i}}})
				if r.Status != 200 {
					t.Errorf("write %d of %d: %d %s", i, w, r.Status, r.Raw)
					return
				}
				written.Add(1)
				if got := client.Get(path); fmt.Sprint(got.At("data", "data", "v")) != fmt.Sprint(i) {
					t.Errorf("read %s after writing %d", got.Raw, i)
					return
				}
				version.Add(1)
			}
		})
	}
	progress := func(n int64) {
		from := written.Load()
		for deadline := time.Now().Add(20 * time.Second); written.Load() < from+n && time.Now().Before(deadline); {
			client.Get("sys/seal-status")
		}
		if written.Load() < from+n {
			t.Error("nothing is written any more")
		}
	}
	progress(20)
	for range 3 {
		c.StepDown()
		progress(20)
	}
	if leader := c.Leader(); leader != client {
		c.Kill(leader)
		progress(20)
		c.Start(leader)
		progress(20)
	}
	close(stop)
	wg.Wait()
	c.Equal()
}

// TestLoginWhileNobodyLeads: a login through a node that lives waits for the next
// leader, is done once, and gives a token that works.
func TestLoginWhileNobodyLeads(t *testing.T) {
	t.Parallel()
	c := three(t)
	follower := c.Followers()[0]
	follower.Put("sys/auth/userpass", body{"type": "userpass"})
	follower.Put("auth/userpass/users/u", body{"password": "p", "policies": "default"})
	before := len(follower.List("auth/token/accessors").Strings("data", "keys"))
	killed := c.Leader()
	c.Kill(killed)
	token := follower.Must(200, kit.Request{Method: "PUT", Path: "auth/userpass/login/u", Token: kit.NoToken, Body: body{"password": "p"}}).Text("auth", "client_token")
	child := follower.Login("default")
	for _, s := range append(c.Followers(), c.Leader()) {
		s.Must(200, kit.Request{Path: "auth/token/lookup-self", Token: token})
		s.Must(200, kit.Request{Path: "auth/token/lookup-self", Token: child})
	}
	if now := len(follower.List("auth/token/accessors").Strings("data", "keys")); now != before+2 {
		t.Errorf("two tokens became %d", now-before)
	}
	c.Start(killed)
	killed.Must(200, kit.Request{Path: "auth/token/lookup-self", Token: token})
	c.Equal()
}

// TestReadsNeverGoBack: a counter that one raises through any node is read, on
// every node and while leadership moves, as it was when it was last answered.
func TestReadsNeverGoBack(t *testing.T) {
	t.Parallel()
	c := three(t)
	c.Nodes[0].Put("kv/data/n", value(0))
	var acknowledged atomic.Int64
	read := func(s *kit.Server) (n int64) {
		_, _ = fmt.Sscan(fmt.Sprint(s.Get("kv/data/n").At("data", "data", "v")), &n)
		return n
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i, s := range c.Nodes {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				least := acknowledged.Load()
				if n := read(s); n < least {
					t.Errorf("node %d reads %d after %d was acknowledged", i, n, least)
					return
				}
			}
		})
	}
	for n := int64(1); n <= 45; n++ {
		c.Nodes[n%3].Put("kv/data/n", value(n))
		acknowledged.Store(n)
		if n%15 == 0 {
			c.StepDown()
		}
	}
	close(stop)
	wg.Wait()
	c.Equal()
}

// TestLostAnswers: who hands a request on again, since the answer was lost, has
// it executed once and gets the first answer.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	c := three(t)
	follower := c.Followers()[0]
	var lost atomic.Int64
	lose := func(n int64) {
		lost.Store(n)
		c.Lose(func(string, string) bool { return lost.Add(-1) >= 0 })
	}
	lose(2)
	r := follower.Put("auth/token/create", body{"policies": []string{"default"}, "meta": body{"k": "v"}})
	token := r.Text("auth", "client_token")
	if lost.Load() >= 0 {
		t.Fatal("no answer was lost")
	}
	for i, node := range c.Nodes {
		look := node.Must(200, kit.Request{Path: "auth/token/lookup-self", Token: token})
		if look.Text("data", "accessor") != r.Text("auth", "accessor") || look.Text("data", "meta", "k") != "v" {
			t.Errorf("node %d: %s, created as %s", i, look.Raw, r.Raw)
		}
	}
	accessors := len(follower.List("auth/token/accessors").Strings("data", "keys"))
	lose(1)
	follower.Login("default")
	if now := len(follower.List("auth/token/accessors").Strings("data", "keys")); now != accessors+1 {
		t.Errorf("one login made %d tokens", now-accessors)
	}
	// What has been done would be refused the second time.
	lose(1)
	r = follower.Put("kv/data/cas", body{"data": body{"v": 1}, "options": body{"cas": 0}})
	if fmt.Sprint(r.At("data", "version")) != "1" {
		t.Errorf("the answer: %s", r.Raw)
	}
	// A failure that cost something is answered as it was.
	uses := follower.Put("auth/token/create", body{"num_uses": 2, "policies": []string{"default"}}).Text("auth", "client_token")
	lose(1)
	follower.Must(403, kit.Request{Path: "kv/data/cas", Token: uses})
	c.Lose(nil)
	if left := follower.Must(200, kit.Request{Path: "auth/token/lookup-self", Token: uses}).At("data", "num_uses"); fmt.Sprint(left) == "2" {
		t.Error("the use was not counted")
	}
	// The last use is one too, whatever it reads.
	last := follower.Put("auth/token/create", body{"num_uses": 1, "policies": []string{"default"}}).Text("auth", "client_token")
	lose(1)
	follower.Must(200, kit.Request{Path: "auth/token/lookup-self", Token: last})
	if lost.Load() >= 0 {
		t.Error("no answer to a read was lost")
	}
	follower.Must(403, kit.Request{Path: "auth/token/lookup-self", Token: last})
	// Revoking itself takes the token along that asked.
	lose(1)
	follower.Must(204, kit.Request{Method: "PUT", Path: "auth/token/revoke-self", Token: token})
	// What was to follow the change is not done again, nor said to have been done.
	issued := follower.List("sys/leases/lookup/auth/token/create").Strings("data", "keys")
	lose(1)
	follower.Must(504, kit.Request{Method: "PUT", Path: "sys/leases/revoke", Body: body{"lease_id": "auth/token/create/" + issued[0], "sync": true}})
	// An answer of a ceremony is not asked for again.
	lose(1)
	follower.Must(504, kit.Request{Method: "PUT", Path: "sys/generate-root/attempt", Body: body{}})
	c.Lose(nil)
	c.Equal()
	for _, node := range c.Nodes {
		if strings.Contains(node.Log(), token) {
			t.Error("a log shows the token")
		}
	}
}

// TestMinority: a node without a quorum serves what it has to those who want
// that, and refuses the others.
func TestMinority(t *testing.T) {
	t.Parallel()
	// Long enough for elections while it is set up, on a machine that is busy.
	c := three(t, kit.HTTP(func(h *httpapi.Config) { h.Hold = 2 * time.Second }), kit.ReadHold(2*time.Second))
	c.Leader().Put("kv/data/x", value("before"))
	for _, s := range c.Nodes {
		s.Get("kv/data/x")
	}
	cut := c.Leader()
	c.Cut(cut, true)
	for _, r := range []kit.Request{
		{Method: "PUT", Path: "kv/data/y", Body: value("lost")}, {Method: "PATCH", Path: "kv/data/x", Body: value("lost")}, {Path: "kv/data/x"},
		{Path: "kv/data/x", Header: header("X-Coffer-Consistency", "bounded=1ms")}, {Path: "kv/data/x", Header: header("X-Coffer-Consistency", "linearizable")},
	} {
		began := time.Now()
		got := cut.Do(r)
		text := strings.Join(got.Errors(), "")
		refused := got.Status == 503 && strings.Contains(text, "leader")
		// It had proposed the first one when its leadership ended.
		refused = refused || r.Method == http.MethodPut && got.Status == 504 && strings.Contains(text, "may or may not")
		if !refused || time.Since(began) > 15*time.Second {
			t.Errorf("%s %v: %d %s after %s", r.Method, r.Header, got.Status, got.Raw, time.Since(began))
		}
	}
	for _, consistency := range []string{"local", "bounded=1h"} {
		got := cut.Must(200, kit.Request{Path: "kv/data/x", Header: header("X-Coffer-Consistency", consistency)})
		if got.Text("data", "data", "v") != "before" {
			t.Errorf("%s: %s", consistency, got.Raw)
		}
	}
	for _, bad := range []string{"strong", "bounded", "bounded=", "bounded=-1s", "bounded=x", "LOCAL"} {
		cut.Must(400, kit.Request{Path: "kv/data/x", Header: header("X-Coffer-Consistency", bad)})
	}
	c.Leader().Put("kv/data/x", value("after"))
	c.Cut(cut, false)
	eventuallyGet(t, cut, "kv/data/x", "after")
	c.Equal()
}

// TestCutOffLeader: a write that the leader had proposed for a client of its own when
// it was cut off is held until its fate is known, which is that of a later leader's
// log, and is made once. Where it does not come to be known in time, the answer says
// so: see TestMinority.
func TestCutOffLeader(t *testing.T) {
	t.Parallel()
	c := three(t)
	leader := c.Leader()
	leader.Put("kv/data/x", value("before"))
	c.Cut(leader, true)
	before, got := leader.Index(), make(chan *kit.Response, 1)
	go func() {
		got <- leader.Do(kit.Request{Method: "PUT", Path: "kv/data/x", Body: body{"data": body{"v": "after"}, "options": body{"cas": 1}}})
	}()
	for leader.Index() == before && leader.Node.Status().Leader {
		runtime.Gosched()
	}
	if leader.Index() == before {
		t.Log("its leadership had ended before the write was proposed")
	}
	next := c.Leader() // its log does not have the write
	if next == leader {
		t.Fatal("the node that is cut off leads")
	}
	c.Cut(leader, false)
	if r := <-got; r.Status != 200 || fmt.Sprint(r.At("data", "version")) != "2" {
		t.Errorf("the write: %d %s", r.Status, r.Raw)
	}
	for _, s := range c.Nodes {
		r := s.Get("kv/data/x")
		if r.Text("data", "data", "v") != "after" || fmt.Sprint(r.At("data", "metadata", "version")) != "2" {
			t.Errorf("read %s", r.Raw)
		}
	}
}

// eventuallyGet reads until a node can.
func eventuallyGet(t *testing.T, s *kit.Server, path, want string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		r := s.Do(kit.Request{Path: path})
		if r.Status == 200 {
			if got := r.Text("data", "data", "v"); got != want {
				t.Errorf("read %q, want %q", got, want)
			}
			return
		}
	}
	t.Error("the node does not heal")
}

// TestWhereItIsAnswered: headers of clients decide, as far as they may.
func TestWhereItIsAnswered(t *testing.T) {
	t.Parallel()
	c := three(t, kit.Core(func(cfg *core.Config) { cfg.IndexWait = 300 * time.Millisecond }))
	leader, follower := c.Leader(), c.Followers()[0]
	leader.Put("kv/data/x", value("v"))
	future := fmt.Sprint(leader.Index() + 1000)
	r := follower.Do(kit.Request{Method: "PUT", Path: "kv/data/x", Body: value("w"), Header: header("X-Vault-No-Request-Forwarding", "true")})
	if r.Status != 503 && r.Status != 307 {
		t.Errorf("may not be forwarded: %d %s", r.Status, r.Raw)
	}
	follower.Must(200, kit.Request{Path: "kv/data/x", Header: header("X-Vault-No-Request-Forwarding", "true")})
	follower.Must(200, kit.Request{Path: "kv/data/x", Header: header("X-Vault-Forward", "active-node")})
	follower.Must(400, kit.Request{Path: "kv/data/x", Header: header("X-Vault-Forward", "other")})
	for _, s := range c.Nodes {
		s.Must(412, kit.Request{Path: "kv/data/x", Header: header("X-Vault-Index", future)})
		s.Must(412, kit.Request{Path: "kv/data/x", Header: header("X-Vault-Index", future, "X-Vault-Inconsistent", "fail")})
		s.Must(412, kit.Request{Path: "kv/data/x", Header: header("X-Vault-Index", future, "X-Vault-Inconsistent", "forward-active-node")})
		s.Must(412, kit.Request{Method: "PUT", Path: "kv/data/x", Body: value("w"), Header: header("X-Coffer-Index", future)})
	}
	follower.Must(400, kit.Request{Path: "kv/data/x", Header: header("X-Vault-Inconsistent", "other")})
	told := leader.Put("kv/data/x", value("new")).Header.Get("X-Vault-Index")
	got := follower.Must(200, kit.Request{Path: "kv/data/x", Header: header("X-Vault-Index", told, "X-Coffer-Consistency", "local")})
	if got.Text("data", "data", "v") != "new" {
		t.Errorf("required %s, read %s", told, got.Raw)
	}
	// What is of the node asked does not become another node's for a token that only the leader can count.
	few := leader.Put("auth/token/create", body{"num_uses": 5, "policies": []string{"root"}}).Text("auth", "client_token")
	follower.Must(400, kit.Request{Method: "PUT", Path: "sys/seal", Token: few})
	if leader.Get("sys/seal-status").At("sealed") != false {
		t.Error("sealing a follower sealed the leader")
	}
	// Sealed, it answers nothing, whoever leads.
	follower.Put("sys/seal", nil)
	if leader.Get("sys/seal-status").At("sealed") != false {
		t.Error("sealing a follower sealed the leader")
	}
	for _, sealed := range []kit.Request{{Path: "kv/data/x"}, {Method: "PUT", Path: "kv/data/x", Body: value("x")}} {
		follower.Must(503, sealed)
	}
	follower.Unseal()
}

// TestAttack22ForwardedHeaders and 82: nobody but a node says who a client is.
func TestAttack22ForwardedHeaders(t *testing.T) {
	t.Parallel()
	c := three(t)
	follower := c.Followers()[0]
	follower.Put("auth/token/roles/bound", body{"token_bound_cidrs": []string{"10.9.8.7/32"}})
	bound := follower.Put("auth/token/create/bound", body{"policies": []string{"default"}}).Text("auth", "client_token")
	spoofed := header("X-Forwarded-For", "10.9.8.7", "Forwarded", "for=10.9.8.7", "X-Real-Ip", "10.9.8.7", "Coffer-Fate", "not-executed",
		"X-Vault-Forwarded", "true", "X-Coffer-Forwarded", "10.9.8.7", "Connection", "X-Vault-Token")
	for i, s := range c.Nodes {
		for _, r := range []kit.Request{{Path: "auth/token/lookup-self"}, {Method: "PUT", Path: "auth/token/renew-self", Body: body{}}} {
			r.Token, r.Header = bound, spoofed
			if got := s.Do(r); got.Status != 403 {
				t.Errorf("node %d takes the client's word: %d %s", i, got.Status, got.Raw)
			}
		}
		if got := s.Do(kit.Request{Method: "PUT", Path: "hand", Body: body{}}); got.Status != 404 && got.Status != 403 {
			t.Errorf("node %d takes what is handed on from a client: %d %s", i, got.Status, got.Raw)
		}
		w := s.Do(kit.Request{Method: "PUT", Path: "kv/data/x", Body: value("v"), Header: spoofed})
		if w.Status != 200 || w.Header.Get("Coffer-Fate") != "" {
			t.Errorf("node %d: %d %v", i, w.Status, w.Header)
		}
	}
}

// TestDeadlines: what there is no time for is not waited for.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	c := three(t, kit.HTTP(func(h *httpapi.Config) { h.MaxDuration = 400 * time.Millisecond }))
	follower := c.Followers()[0]
	for _, s := range c.Nodes {
		if s != follower {
			c.Cut(s, true)
		}
	}
	began := time.Now()
	got := follower.Do(kit.Request{Method: http.MethodPut, Path: "kv/data/x", Body: value("v")})
	if took := time.Since(began); got.Status != 503 || took > 5*time.Second {
		t.Errorf("%d %s after %s", got.Status, got.Raw, took)
	}
}
