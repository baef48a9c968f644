package pki_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"flag"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki"
	"github.com/coffer-secrets/coffer/testing/kit"
)

var (
	manyCertificates = flag.Int("certificates", 10_000, "certificates of BenchmarkManyCertificates")
	manyRevoked      = flag.Int("revoked", 10_000, "revoked certificates of BenchmarkLongList")
)

// fillBatch is how many rows a transaction of copies holds.
const fillBatch = 2000

// copying is the engine with a route that multiplies what has been issued, and
// revoked: each row as often as is said, by other serial numbers.
func copying() *engines.Engine {
	e := pki.New()
	e.Type = "pki-copied"
	table := e.Table
	e.Table = func(m engines.Mount) (*engines.Table, error) {
		t, err := table(m)
		if err != nil {
			return nil, err
		}
		t.Routes = append(slices.Clone(t.Routes), engines.Route{
			Pattern: "copy", Help: "Copy what there is.", Fields: []engines.Field{{Name: "serial", Help: "Of what."}},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: copyRows}},
		})
		return t, nil
	}
	return e
}

func copyRows(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	serial := req.Fields.String("serial")
	paths := []string{"certs/" + serial, "revoked/" + serial}
	err := tx.Walk("entries/", func(path string) error {
		if strings.HasSuffix(path, "/"+serial) {
			paths = append(paths, "entries/"+path)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	rows := make(map[string][]byte)
	for _, path := range paths {
		row, err := tx.Get(path)
		if err != nil {
			return nil, err
		}
		if row != nil {
			rows[strings.TrimSuffix(path, serial)] = row.Value
		}
	}
	for range fillBatch {
		b := make([]byte, 20)
		_, _ = rand.Read(b)
		b[0] &= 0x7f
		text := hex.EncodeToString(b)
		var parts []string
		for i := 0; i < len(text); i += 2 {
			parts = append(parts, text[i:i+2])
		}
		for dir, value := range rows {
			if err := tx.Put(dir+strings.Join(parts, ":"), value); err != nil {
				return nil, err
			}
		}
	}
	return nil, nil
}

// filled is a server with a mount that has so many certificates, which have been
// revoked if it says so.
func filled(b *testing.B, n int, revoked bool) *kit.Server {
	b.Helper()
	s := kit.New(b, kit.Engines(copying()))
	s.Mount("pki", "pki-copied", nil)
	s.Put("pki/root/generate/internal", m{"common_name": "Root", "key_type": "ec", "ttl": "8760h"})
	s.Put("pki/roles/any", m{"allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec", "ttl": "1h"})
	serial := issueOne(b, s)
	if revoked {
		s.Put("pki/revoke", m{"serial_number": serial})
	}
	for left := n; left > 0; left -= fillBatch {
		s.Put("pki/copy", m{"serial": serial})
	}
	return s
}

func issueOne(b *testing.B, s *kit.Server) string {
	b.Helper()
	return s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "pki/issue/any", Body: m{"common_name": "a.example.com"}}).Text("data", "serial_number")
}

// BenchmarkManyCertificates lists a mount with many certificates by pages, issues in
// it, and opens it after a restart.
func BenchmarkManyCertificates(b *testing.B) {
	s := filled(b, *manyCertificates, false)
	page := func(after string) string {
		keys := s.Must(http.StatusOK, kit.Request{Method: "LIST", Path: "pki/certs?limit=100&after=" + after}).Strings("data", "keys")
		if len(keys) < 100 {
			return "" // the last one
		}
		return keys[99]
	}
	b.Run("page", func(b *testing.B) {
		after := ""
		for range b.N {
			after = page(after)
		}
	})
	b.Run("issue", func(b *testing.B) {
		for range b.N {
			issueOne(b, s)
		}
	})
	b.Run("open", func(b *testing.B) {
		var open time.Duration
		for range b.N {
			s.Restart()
			began := time.Now()
			s.Unseal()
			page("")
			open += time.Since(began)
		}
		b.ReportMetric(float64(open.Milliseconds())/float64(b.N), "ms/first-page")
	})
}

// BenchmarkLongList signs a long list, while others go on issuing.
func BenchmarkLongList(b *testing.B) {
	s := filled(b, *manyRevoked, true)
	lines := func() int {
		r := s.Do(kit.Request{Path: "pki/crl", Token: kit.NoToken})
		list, err := x509.ParseRevocationList(r.Raw)
		if err != nil {
			return 0
		}
		return len(list.RevokedCertificateEntries)
	}
	// times are those of issuing one after the other until stop.
	times := func(stop <-chan struct{}) (all []time.Duration) {
		for {
			select {
			case <-stop:
				slices.Sort(all)
				return all
			default:
				began := time.Now()
				issueOne(b, s)
				all = append(all, time.Since(began))
			}
		}
	}
	at := func(all []time.Duration, part float64) float64 {
		return float64(all[int(part*float64(len(all)-1))].Microseconds())
	}
	quiet := make(chan struct{})
	time.AfterFunc(3*time.Second, func() { close(quiet) })
	before := times(quiet)
	for b.Loop() {
		want := max(lines()+1, *manyRevoked+2)
		stop := make(chan struct{})
		var during []time.Duration
		var work sync.WaitGroup
		work.Go(func() { during = times(stop) })
		began := time.Now()
		s.Put("pki/revoke", m{"serial_number": issueOne(b, s)})
		tick := time.NewTicker(time.Second) // reading the list costs something, too
		for lines() < want {
			if <-tick.C; time.Since(began) > 5*time.Minute {
				b.Fatalf("the list has %d lines", lines())
			}
		}
		tick.Stop()
		took := time.Since(began)
		close(stop)
		work.Wait()
		b.ReportMetric(took.Seconds(), "s/list")
		for name, part := range map[string]float64{"p50": 0.5, "p99": 0.99} {
			b.ReportMetric(at(during, part)/at(before, part), "x-issue-"+name)
		}
		b.ReportMetric(at(during, 1)/1000, "ms-issue-longest")
	}
}
