package load_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coffer-secrets/coffer/testing/bench/load"
)

// slow takes so long for each operation, by the bubble's clock.
type slow struct {
	takes time.Duration
	fails error
}

func (s slow) Do(n int) error {
	<-time.After(s.takes)
	if n%2 == 1 {
		return s.fails
	}
	return nil
}

func (slow) Close() {}

func TestClosedLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got, err := load.Run([]load.Worker{slow{takes: 10 * time.Millisecond}, slow{takes: 10 * time.Millisecond}}, load.Pace{For: time.Second})
		if err != nil || got.Rate < 195 || got.Rate > 205 || got.Quantile(1) != 10*time.Millisecond {
			t.Errorf("%v a second, at most %v: %v", got.Rate, got.Quantile(1), err)
		}
	})
}

// TestOpenLoop: who cannot keep up has callers wait longer and longer.
func TestOpenLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		quick, err := load.Run([]load.Worker{slow{takes: 5 * time.Millisecond}}, load.Pace{For: time.Second, Rate: 100})
		if err != nil || len(quick.Took) != 100 || quick.Quantile(0.999) != 5*time.Millisecond {
			t.Errorf("%d done, at most %v: %v", len(quick.Took), quick.Quantile(1), err)
		}
		behind, err := load.Run([]load.Worker{slow{takes: 20 * time.Millisecond}}, load.Pace{For: time.Second, Rate: 100})
		if err != nil || len(behind.Took) != 100 || behind.Late < 49 || behind.Rate > 51 || behind.Quantile(0.5) < 200*time.Millisecond || behind.Quantile(1) < 490*time.Millisecond {
			t.Errorf("%d done, half after %v, the last after %v: %v", len(behind.Took), behind.Quantile(0.5), behind.Quantile(1), err)
		}
	})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got, err := load.Run([]load.Worker{slow{time.Millisecond, &load.StatusError{Status: 503}}}, load.Pace{For: 100 * time.Millisecond})
		if err != nil || got.Errors < 49 || len(got.Took) < 49 || got.First == nil {
			t.Errorf("%d errors, %d successes: %v", got.Errors, len(got.Took), err)
		}
		cut := errors.New("cut")
		if _, err := load.Run([]load.Worker{slow{time.Millisecond, cut}}, load.Pace{For: time.Second}); !errors.Is(err, cut) {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestMerge(t *testing.T) {
	t.Parallel()
	out, lowest, highest := load.Merge([]load.Outcome{
		{Rate: 3, Took: []time.Duration{1, 9}}, {Rate: 1, Took: []time.Duration{2}, Errors: 2}, {Rate: 2, Took: []time.Duration{3}},
	})
	if out.Rate != 2 || lowest != 1 || highest != 3 || len(out.Took) != 4 || out.Quantile(1) != 9 || out.Errors != 2 {
		t.Errorf("merged to %v, %v..%v", out, lowest, highest)
	}
}

// TestAnswers: of a length, in chunks, and of none, one after the other, in the
// clear and over TLS.
func TestAnswers(t *testing.T) {
	t.Parallel()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/chunks":
			for range 3 {
				_, _ = w.Write(bytes.Repeat([]byte("x"), 5000))
				_ = http.NewResponseController(w).Flush()
			}
		case "/none":
			w.WriteHeader(http.StatusNoContent)
		case "/denied":
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(r.Header.Get("X-Vault-Token")))
		default:
			_, _ = w.Write([]byte("short"))
		}
	})
	for _, server := range []*httptest.Server{httptest.NewServer(handler), httptest.NewTLSServer(handler)} {
		t.Cleanup(server.Close)
		ctx := t.Context()
		_, addr, _ := strings.Cut(server.URL, "://")
		cfg := server.TLS
		if cfg != nil {
			cfg = server.Client().Transport.(*http.Transport).TLSClientConfig
		}
		c, err := load.Dial(ctx, addr, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		for range 2 {
			for path, want := range map[string]int{"/short": 5, "/chunks": 15000, "/none": 0} {
				if _, body, err := c.Ask(load.Message(http.MethodGet, path, "", "")); err != nil || len(body) != want {
					t.Errorf("%s: %d bytes: %v", path, len(body), err)
				}
				if err := c.Do(load.Message(http.MethodGet, path, "", ""), 0); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
			var wrong *load.StatusError
			denied := load.Message(http.MethodGet, "/denied", "token", "")
			if err := c.Do(denied, 0); !errors.As(err, &wrong) || wrong.Status != http.StatusForbidden || string(wrong.Body) != "token" {
				t.Errorf("refused with %v", err)
			}
			if err := c.Do(denied, http.StatusForbidden); err != nil {
				t.Error(err)
			}
		}
	}
}
