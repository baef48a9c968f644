package attacks_test

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// canary is a value that only some may see, and must stand nowhere else.
const canary = "cAnArY4711"

// node is a server with a secret on it.
type node struct {
	*kit.Server
	t testing.TB
}

func serving(t testing.TB, list ...kit.Option) *node {
	t.Helper()
	n := &node{Server: kit.New(t, list...), t: t}
	n.Mount("kv", "kv", map[string]string{"version": "2"})
	n.Put("kv/data/hidden/x", body{"data": body{"v": canary}})
	return n
}

// untouched runs something that must leave log and state as they are.
func (n *node) untouched(what string, do func()) {
	n.t.Helper()
	index, sum := n.Index(), n.Checksum()
	do()
	if n.Index() != index {
		n.t.Errorf("%s reached the log", what)
	}
	if n.Checksum() != sum {
		n.t.Errorf("%s changed the state", what)
	}
}

// post writes with a token; kit.NoToken for none.
func (n *node) post(token, path string, b any) *kit.Response {
	n.t.Helper()
	return n.Do(kit.Request{Method: http.MethodPut, Path: path, Token: token, Body: b})
}

// token makes a child of the root token.
func (n *node) token(b body) string {
	n.t.Helper()
	return n.Put("auth/token/create", b).Text("auth", "client_token")
}

// alive reports whether a token can be used.
func (n *node) alive(token string) bool {
	n.t.Helper()
	return n.Do(kit.Request{Path: "auth/token/lookup-self", Token: token}).Status == http.StatusOK
}

// expect checks an answer's status and that its errors hold a text.
func (n *node) expect(what string, r *kit.Response, status int, text string) {
	n.t.Helper()
	if r.Status != status || !strings.Contains(strings.Join(r.Errors(), "|"), text) {
		n.t.Errorf("%s: %d %s, want %d with %q", what, r.Status, r.Raw, status, text)
	}
	if strings.Contains(string(r.Raw), canary) {
		n.t.Errorf("%s shows the secret: %s", what, r.Raw)
	}
}

// together runs something many times at once and returns how often it was
// answered with each status.
func together(times int, do func(i int) int) map[int]int {
	var mu sync.Mutex
	got := make(map[int]int)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range times {
		wg.Go(func() {
			<-start
			status := do(i)
			mu.Lock()
			defer mu.Unlock()
			got[status]++
		})
	}
	close(start)
	wg.Wait()
	return got
}

// only checks that no other status was answered.
func only(t testing.TB, what string, got map[int]int, statuses ...int) {
	t.Helper()
	for status := range got {
		if !slices.Contains(statuses, status) {
			t.Errorf("%s: answers %v, want only %v", what, got, statuses)
		}
	}
}

// eventually waits for what nobody tells when it happens.
func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-deadline:
			t.Fatalf("%s never came true", what)
		case <-tick.C:
		}
	}
}
