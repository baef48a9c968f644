package pki_test

import (
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
	"github.com/coffer-secrets/coffer/engines/pki"
)

// rig is a mount of the engine, whose answers differ from run to run.
type rig struct {
	*enginetest.Harness
	t      testing.TB
	engine *engines.Engine
}

func mount(t testing.TB) *rig {
	t.Helper()
	e := pki.New()
	h := enginetest.Mount(t, e, nil)
	h.Random = true
	return &rig{h, t, e}
}

type m = map[string]any

func (k *rig) must(op engines.Operation, path string, body any) map[string]any {
	k.t.Helper()
	resp, err := k.Do(op, path, body, url.Values{})
	if err != nil {
		k.t.Fatalf("%s %s: %v", op, path, err)
	}
	if resp != nil && resp.Grant != nil {
		data, err := resp.Grant.Create(k.t.Context(), &engines.Granted{})
		if err != nil {
			k.t.Fatal(err)
		}
		resp.Data = data
	}
	if resp == nil || resp.Data == nil {
		return nil
	}
	return enginetest.Data(k.t, resp)
}

func (k *rig) write(path string, body any) map[string]any {
	k.t.Helper()
	return k.must(engines.Update, path, body)
}

func (k *rig) read(path string) map[string]any {
	k.t.Helper()
	return k.must(engines.Read, path, nil)
}

func (k *rig) raw(path string) []byte {
	k.t.Helper()
	resp, err := k.Do(engines.Read, path, nil, nil)
	if err != nil || resp.Raw == nil {
		k.t.Fatalf("%s: %v, %v", path, resp, err)
	}
	return resp.Raw.Body
}

// refused expects a 4xx whose text holds a part.
func (k *rig) refused(op engines.Operation, path string, body any, part string) {
	k.t.Helper()
	_, err := k.Do(op, path, body, url.Values{})
	if kind := engines.KindOf(err); err == nil || kind == engines.KindInternal || !strings.Contains(err.Error(), part) {
		k.t.Errorf("%s %s: %v (kind %d), want %q", op, path, err, kind, part)
	}
}

// root makes a root on P-256.
func (k *rig) root() map[string]any {
	k.t.Helper()
	return k.write("root/generate/internal", m{"common_name": "Test Root", "key_type": "ec", "ttl": "8000h", "issuer_name": "root"})
}

// run does what is due, until nothing is.
func (k *rig) run() {
	k.t.Helper()
	reach := &engines.Reach{Mount: k.Info, Look: k.look, Change: k.change, Now: k.now}
	for range 100 {
		name := ""
		for due, at := range k.Store.Scheduled() {
			if !at.After(k.Now) {
				name = due
			}
		}
		if name == "" {
			return
		}
		if err := k.engine.Due(k.t.Context(), reach, name); err != nil {
			k.t.Fatalf("%s: %v", name, err)
		}
	}
	k.t.Fatal("it does not come to an end")
}

func parse(t testing.TB, text any) *x509.Certificate {
	t.Helper()
	s, _ := text.(string)
	b, _ := pem.Decode([]byte(s))
	if b == nil {
		t.Fatalf("%q is not PEM", s)
	}
	c, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
