package attacks_test

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/testing/kit"
)

func patience(d time.Duration) kit.Option {
	return kit.Core(func(c *core.Config) { c.IndexWait = d })
}

func encoded(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// TestAttack27IndexFromTheFuture: who requires an index that is not there waits
// for a while and is told so; he neither waits for ever nor reads the past.
func TestAttack27IndexFromTheFuture(t *testing.T) {
	t.Parallel()
	n := serving(t, patience(10*time.Millisecond))
	cluster := n.Get("sys/seal-status").Text("cluster_id")
	state := func(id string, index uint64) string { return encoded(fmt.Sprintf("v1:%s:%d:%d:", id, index, index)) }
	now := n.Index()
	for _, c := range []struct {
		what, header string
		values       []string
		status       int
	}{
		{"the next index", "X-Coffer-Index", []string{strconv.FormatUint(now+1, 10)}, 412},
		{"the last there can be", "X-Coffer-Index", []string{strconv.FormatUint(math.MaxUint64, 10)}, 412},
		{"more than there can be", "X-Coffer-Index", []string{"18446744073709551616"}, 400},
		{"a negative one", "X-Coffer-Index", []string{"-1"}, 400},
		{"what is no number", "X-Coffer-Index", []string{"1e3"}, 400},
		{"the present", "X-Coffer-Index", []string{strconv.FormatUint(now, 10)}, 200},
		{"Vault's form", "X-Vault-Index", []string{state(cluster, now+1)}, 412},
		{"Vault's form of the present", "X-Vault-Index", []string{state(cluster, now)}, 200},
		{"another cluster's", "X-Vault-Index", []string{state("other", now+1)}, 200},
		{"another cluster's and a future one", "X-Vault-Index", []string{state("other", 1), state(cluster, now+1)}, 412},
		{"one of each form", "X-Vault-Index", []string{strconv.FormatUint(now+1, 10), state(cluster, 1)}, 412},
		{"one of each index", "X-Vault-Index", []string{encoded("v1:" + cluster + ":1:" + strconv.FormatUint(now+1, 10) + ":")}, 412},
		{"a MAC", "X-Vault-Index", []string{encoded("v1:" + cluster + ":1:1:00ff")}, 200},
		{"no cluster", "X-Vault-Index", []string{state("", 1)}, 400},
		{"another version", "X-Vault-Index", []string{encoded("v2:" + cluster + ":1:1:")}, 400},
		{"too few parts", "X-Vault-Index", []string{encoded("v1:1")}, 400},
		{"too many parts", "X-Vault-Index", []string{encoded("v1:a:1:1:1:1")}, 400},
		{"signs", "X-Vault-Index", []string{encoded("v1:a:+1:1:")}, 400},
		{"what is not base64", "X-Vault-Index", []string{"%%%"}, 400},
		{"nothing", "X-Vault-Index", []string{""}, 400},
		{"a long one", "X-Vault-Index", []string{encoded("v1:" + strings.Repeat("a", 1000) + ":1:1:")}, 400},
		{"many", "X-Vault-Index", strings.Split(strings.Repeat("1,", 99)+"1", ","), 400},
	} {
		n.untouched(c.what, func() {
			r := n.Do(kit.Request{Path: "kv/data/hidden/x", Header: http.Header{c.header: c.values}})
			if r.Status != c.status || c.status != 200 && (strings.Join(r.Errors(), "") == "" || strings.Contains(string(r.Raw), canary)) {
				t.Errorf("%s: %d %s, want %d", c.what, r.Status, r.Raw, c.status)
			}
			if c.status == 200 {
				return
			}
			w := n.Do(kit.Request{Method: http.MethodPut, Path: "kv/data/hidden/x", Body: body{"data": body{}}, Header: http.Header{c.header: c.values}})
			if w.Status != c.status {
				t.Errorf("%s, writing: %d %s, want %d", c.what, w.Status, w.Raw, c.status)
			}
		})
	}
}

// TestAttack27Waits: an index that comes in time is waited for, and what an
// answer told is what a request may require.
func TestAttack27Waits(t *testing.T) {
	t.Parallel()
	n := serving(t, patience(time.Minute))
	wrote := n.Put("kv/data/pub/x", body{"data": body{"v": 1}})
	told := wrote.Header.Get("X-Vault-Index")
	if told == "" {
		t.Fatalf("a write is answered with %v", wrote.Header)
	}
	n.Must(http.StatusOK, kit.Request{Path: "kv/data/pub/x", Header: http.Header{"X-Vault-Index": {told}}})
	next := strconv.FormatUint(n.Index()+1, 10)
	done := make(chan int, 1)
	go func() {
		done <- n.Do(kit.Request{Path: "kv/data/pub/x", Header: http.Header{"X-Coffer-Index": {next}}}).Status
	}()
	eventually(t, "the request is under way", func() bool {
		return strings.Contains(string(n.Get("sys/in-flight-req").Raw), "kv/data/pub/x")
	})
	select {
	case status := <-done:
		t.Errorf("answered %d before its index was there", status)
	default:
	}
	n.Put("kv/data/pub/x", body{"data": body{"v": 2}})
	if status := <-done; status != http.StatusOK {
		t.Errorf("answered %d", status)
	}
	n.Put("sys/seal", nil)
	n.expect("a sealed node", n.Do(kit.Request{Path: "kv/data/pub/x", Header: http.Header{"X-Coffer-Index": {"99999"}}}), http.StatusServiceUnavailable, "sealed")
}
