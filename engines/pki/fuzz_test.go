package pki_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
)

type jsonText = json.RawMessage

// FuzzCSR signs whatever comes by a role for one domain: what is signed is never a
// CA, and has no name outside of the domain.
func FuzzCSR(f *testing.F) {
	for _, template := range []*x509.CertificateRequest{
		{Subject: pkix.Name{CommonName: "a.example.com"}},
		{Subject: pkix.Name{CommonName: "a.example.com"}, DNSNames: []string{"*.example.com", "b.example.com"}},
		{DNSNames: []string{"evil.org"}, EmailAddresses: []string{"a@example.com"}},
	} {
		b, _ := pem.Decode([]byte(csr(f, template)))
		f.Add(b.Bytes)
	}
	f.Add([]byte("nonsense"))
	f.Fuzz(func(t *testing.T, der []byte) {
		k := mount(t)
		k.Once = true
		k.root()
		k.write("roles/one", m{"allowed_domains": "example.com", "allow_subdomains": true, "key_type": "any", "require_cn": false, "allow_localhost": false, "allow_ip_sans": false, "ttl": "1h"})
		resp, err := k.Do(engines.Update, "sign/one", m{"csr": base64.StdEncoding.EncodeToString(der)}, nil)
		if err != nil {
			if engines.KindOf(err) == engines.KindInternal {
				t.Fatalf("internal error: %v", err)
			}
			return
		}
		c := parse(t, resp.Data.(map[string]any)["certificate"])
		if c.IsCA || len(c.IPAddresses)+len(c.URIs) > 0 {
			t.Error("more than the role allows")
		}
		for _, name := range append(append([]string{}, c.DNSNames...), c.EmailAddresses...) {
			if !strings.HasSuffix(strings.ToLower(name), ".example.com") {
				t.Errorf("%q is certified", name)
			}
		}
	})
}
