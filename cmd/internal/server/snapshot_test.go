package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/core/backup"
)

// upload sends bytes and returns status and answer.
func (r *running) upload(path, token string, body io.Reader) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.base+"/v1/sys/storage/raft/"+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

func (r *running) snapshot(token string) []byte {
	r.t.Helper()
	status, _, answer := r.do(http.MethodGet, "sys/storage/raft/snapshot", token, nil)
	if status != http.StatusOK {
		r.t.Fatalf("status %d: %s", status, answer)
	}
	if _, err := backup.Inspect(bytes.NewReader(answer)); err != nil {
		r.t.Fatal(err)
	}
	return answer
}

func (r *running) sealed() bool {
	r.t.Helper()
	return r.ok(http.MethodGet, "sys/seal-status", "", nil)["sealed"] == true
}

// TestRestoreThroughAFollower saves and restores by way of a node that does
// not lead.
func TestRestoreThroughAFollower(t *testing.T) {
	t.Parallel()
	a, k := founder(t, 1, 1)
	b := start(t, node(t.TempDir(), "b", fmt.Sprintf("retry_join {\n leader_api_addr = %q\n}", a.base), ""))
	until(t, "the invitation", func() bool { return b.ok(http.MethodGet, "sys/seal-status", "", nil)["initialized"] == true })
	b.unseal(k, 1)
	a.putSecret(k.RootToken, "old")
	data := b.snapshot(k.RootToken)
	a.putSecret(k.RootToken, "new")
	// On a machine that is busy, leadership may be lost in the middle of anything.
	until(t, "another key", func() bool {
		status, _, _ := a.do(http.MethodPut, "sys/rotate", k.RootToken, nil)
		return status == http.StatusNoContent
	})
	b.wantStatus(http.StatusBadRequest, http.MethodGet, "sys/storage/raft/snapshot", "")
	if status, answer := b.upload("snapshot", "nobody", bytes.NewReader(data)); status != http.StatusForbidden {
		t.Errorf("restored by nobody: %d %s", status, answer)
	}
	half := bytes.NewReader(data[:len(data)/2])
	if status, answer := b.upload("snapshot", k.RootToken, half); status != http.StatusBadRequest || !strings.Contains(answer, "not a whole") {
		t.Errorf("restored half of it: %d %s", status, answer)
	}
	a.wantSecret(k.RootToken, "new")
	until(t, "the snapshot to be restored", func() bool {
		status, answer := b.upload("snapshot", k.RootToken, bytes.NewReader(data))
		if status != http.StatusNoContent && status < http.StatusInternalServerError {
			t.Fatalf("%d %s", status, answer)
		}
		return status == http.StatusNoContent
	})
	for _, r := range []*running{a, b} {
		until(t, "a node to go on", func() bool {
			status, _, answer := r.do(http.MethodGet, "secret/data/a", k.RootToken, nil)
			if status != http.StatusOK && status != http.StatusServiceUnavailable {
				t.Fatalf("while it reads the restored keys: %d %s", status, answer)
			}
			return strings.Contains(string(answer), `{"k":"old"}`)
		})
	}
	a.putSecret(k.RootToken, "newest")
	b.wantSecret(k.RootToken, "newest")
	wantSame(t, k.RootToken, a, b)
}

func TestRestoreOfAnotherCluster(t *testing.T) {
	t.Parallel()
	a, ka := founder(t, 1, 1)
	a.putSecret(ka.RootToken, "of a")
	data := a.snapshot(ka.RootToken)
	b, kb := founder(t, 1, 1)
	b.putSecret(kb.RootToken, "of b")
	if status, answer := b.upload("snapshot", kb.RootToken, bytes.NewReader(data)); status != http.StatusBadRequest || !strings.Contains(answer, "another cluster") {
		t.Errorf("%d %s", status, answer)
	}
	flipped := slices.Clone(data)
	flipped[len(flipped)-9] ^= 1
	for name, body := range map[string][]byte{"flipped": flipped, "empty": nil, "text": []byte("no snapshot"), "cut": data[:len(data)-40]} {
		if status, answer := b.upload("snapshot-force", kb.RootToken, bytes.NewReader(body)); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, answer)
		}
	}
	b.wantSecret(kb.RootToken, "of b")
	if status, answer := b.upload("snapshot-force", kb.RootToken, bytes.NewReader(data)); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, answer)
	}
	until(t, "the node to seal itself", b.sealed)
	b.unseal(ka, 1)
	b.wantSecret(ka.RootToken, "of a")
	b.wantStatus(http.StatusForbidden, http.MethodGet, "secret/data/a", kb.RootToken)
}

// TestRestoreIntoAFreshNode begins a cluster with a snapshot, unsealed with the
// shares that it was made under, and others join it.
func TestRestoreIntoAFreshNode(t *testing.T) {
	t.Parallel()
	a, k := founder(t, 3, 2)
	a.putSecret(k.RootToken, "kept")
	data := a.snapshot(k.RootToken)
	fresh := start(t, node(t.TempDir(), "f", "", ""))
	if status, answer := fresh.upload("snapshot", "", bytes.NewReader(data[:len(data)-10])); status != http.StatusBadRequest {
		t.Fatalf("%d %s", status, answer)
	}
	if status, answer := fresh.upload("snapshot", "", bytes.NewReader(data)); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, answer)
	}
	if status, _ := fresh.upload("snapshot", "", bytes.NewReader(data)); status < http.StatusBadRequest {
		t.Errorf("restored again without a token: %d", status)
	}
	fresh.unseal(k, 2)
	fresh.wantSecret(k.RootToken, "kept")
	other := start(t, node(t.TempDir(), "o", "", ""))
	until(t, "the founder's certificate", func() bool {
		status, _, _ := other.do(http.MethodPost, "sys/storage/raft/join", "", map[string]any{"leader_api_addr": fresh.base})
		return status == http.StatusOK
	})
	other.unseal(k, 2)
	other.wantSecret(k.RootToken, "kept")
	if got := fresh.members(k.RootToken); !strings.HasPrefix(got, "f* o") {
		t.Errorf("members: %s", got)
	}
	wantSame(t, k.RootToken, fresh, other)
}
