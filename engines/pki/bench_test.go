package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
)

// BenchmarkIssue is all that a request for a stored certificate on P-256 costs but
// for the log.
func BenchmarkIssue(b *testing.B) {
	k := mount(b)
	k.Once = true
	k.root()
	k.write("roles/any", m{"allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec", "ttl": "1h"})
	match, _ := k.Compiled().Match("issue/any")
	op, _ := match.Op(engines.Update)
	fields, _, err := match.Decode(engines.Update, url.Values{}, map[string]jsonText{"common_name": jsonText(`"a.example.com"`)})
	if err != nil {
		b.Fatal(err)
	}
	req := &engines.Request{Op: engines.Update, Path: "issue/any", Fields: fields, Mount: k.Info, Now: k.Now}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := op.Handler(b.Context(), req, k.Store.Begin()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBare is to make a key and to sign a certificate of it, and nothing else.
func BenchmarkBare(b *testing.B) {
	ca, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	parent := &x509.Certificate{Subject: pkix.Name{CommonName: "Root"}, IsCA: true, BasicConstraintsValid: true, SubjectKeyId: []byte{1}}
	for b.Loop() {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: certs.NewSerial(), Subject: pkix.Name{CommonName: "a.example.com"}, NotAfter: time.Unix(1<<31, 0), DNSNames: []string{"a.example.com"}}
		if _, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), ca); err != nil {
			b.Fatal(err)
		}
	}
}
