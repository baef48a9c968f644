package transit_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coffer-secrets/coffer/seal/transit"
)

// A buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// elapse lets the time of a synctest bubble pass.
func elapse(d time.Duration) { <-time.After(d) }

func openRenewing(t *testing.T, f *fake) (*transit.Wrapper, *buffer) {
	t.Helper()
	logged := &buffer{}
	cfg := config(serve(t, f))
	cfg.DisableRenewal = false
	cfg.Logger = slog.New(slog.NewTextHandler(logged, nil))
	return open(t, cfg), logged
}

// The token is renewed well within its life, for as long as the wrapper lives.
func TestTokenIsRenewed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.setToken(3600, true)
		w, _ := openRenewing(t, f)
		elapse(10 * time.Hour)
		if n := f.count("renew-self"); n < 14 || n > 20 {
			t.Errorf("renewed %d times in ten hours, at a life of one", n)
		}
		w.Close()
		before := f.count("")
		elapse(10 * time.Hour)
		if f.count("") != before {
			t.Error("a closed wrapper renews")
		}
	})
}

func TestRenewalIsDisabled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.setToken(3600, true)
		open(t, config(serve(t, f)))
		elapse(10 * time.Hour)
		if n := f.count(""); n != 0 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestNothingToRenew(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		ttl       int64
		renewable bool
		log       string
	}{
		"does not expire": {0, false, "does not expire"},
		"not renewable":   {3600, false, "not renewable"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.setToken(test.ttl, test.renewable)
			_, logged := openRenewing(t, f)
			elapse(24 * time.Hour)
			if f.count("") != 1 || !strings.Contains(logged.String(), test.log) {
				t.Errorf("%s: %d requests, log %s", name, f.count(""), logged)
			}
		})
	}
}

// An outage, or a nonsensical answer, is told in the log and outlasted.
func TestRenewalOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.setToken(3600, true)
		begin := time.Now()
		f.intercept = func(w http.ResponseWriter, n int, _ string) {
			switch {
			case time.Since(begin) < 2*time.Hour:
				fail(w, 503, "sealed")
			case n%2 == 0:
				answer(w, map[string]any{
					"data": map[string]any{"ttl": -5, "renewable": true},
					"auth": map[string]any{"lease_duration": int64(1) << 62, "renewable": true},
				})
			}
		}
		_, logged := openRenewing(t, f)
		elapse(12 * time.Hour)
		if n := f.count("renew-self"); n < 14 {
			t.Errorf("renewed %d times", n)
		}
		if text := logged.String(); !strings.Contains(text, "cannot look up") || !strings.Contains(text, "cannot renew") ||
			strings.Contains(text, goodToken) {
			t.Errorf("log %s", text)
		}
	})
}

// The context given to New ends the renewal too.
func TestContextEndsRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.setToken(3600, true)
		cfg := config(serve(t, f))
		cfg.DisableRenewal = false
		ctx, cancel := context.WithCancel(t.Context())
		w, err := transit.New(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		cancel()
		synctest.Wait()
		before := f.count("")
		elapse(24 * time.Hour)
		if f.count("") != before {
			t.Error("renews after its context is done")
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A blockingLog holds up whoever logs until it is released.
type blockingLog struct{ release chan struct{} }

func (b blockingLog) Write(p []byte) (int, error) {
	<-b.release
	return len(p), nil
}

// Close returns when the renewal has ended, and not before.
func TestCloseWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.setToken(3600, false) // which is logged
		blocked := blockingLog{make(chan struct{})}
		cfg := config(serve(t, f))
		cfg.DisableRenewal = false
		cfg.Logger = slog.New(slog.NewTextHandler(blocked, nil))
		w := open(t, cfg)
		synctest.Wait()
		closed := make(chan struct{})
		go func() {
			w.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returns while the renewal runs")
		default:
		}
		close(blocked.release)
		<-closed
	})
}
