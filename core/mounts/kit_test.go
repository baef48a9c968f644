package mounts_test

import (
	"sync"
	"testing"

	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// dataRows counts the rows that mounts have stored.
func dataRows(t *testing.T, s *kit.Server) (n int) {
	t.Helper()
	view := s.Node.Local()
	defer view.Close()
	err := view.Scan([]byte{byte(state.Data)}, []byte{byte(state.Data) + 1}, func([]byte, fsm.Row) (bool, []byte, error) {
		n++
		return true, nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Mounting is the same under concurrency: of those who want one path, or paths
// that hide each other, one gets it.
func TestOneOfManyGetsAPath(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	var mu sync.Mutex
	got := 0
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			path := []string{"p", "p/q", "p/q/r"}[i%3]
			if put(s, "sys/mounts/"+path, body{"type": "kv"}).Status == 204 {
				mu.Lock()
				got++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got != 1 {
		t.Errorf("%d of them were mounted", got)
	}
}

func TestEngineListsAreChecked(t *testing.T) {
	t.Parallel()
	e := login()
	if _, err := mounts.New([]*engines.Engine{e, e}, mounts.Limits{}, nil); err == nil {
		t.Error("an engine listed twice is no error")
	}
	nameless := login()
	nameless.Type = ""
	if _, err := mounts.New([]*engines.Engine{nameless}, mounts.Limits{}, nil); err == nil {
		t.Error("an engine without a name is no error")
	}
}
