package pki_test

import (
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestEd25519Answers has openssl ask a root of Ed25519, whose answers the library
// cannot make, what became of a certificate.
func TestEd25519Answers(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Mount("pki", "pki", nil)
	root := data(t, s.Put("pki/root/generate/internal", m{"common_name": "Root", "key_type": "ed25519", "ttl": "760h"}))
	s.Put("pki/roles/any", m{"allow_any_name": true, "key_type": "ed25519"})
	leaf := data(t, s.Put("pki/issue/any", m{"common_name": "a.example.com", "ttl": "1h"}))
	dir := files(t, map[string]string{"root.pem": root["certificate"].(string), "leaf.pem": leaf["certificate"].(string)})
	status := []string{"ocsp", "-issuer", "root.pem", "-cert", "leaf.pem", "-url", s.URL + "/v1/pki/ocsp", "-CAfile", "root.pem", "-no_nonce"}
	if out, err := run(t, dir, "openssl", status...); err != nil || !strings.Contains(out, "leaf.pem: good") || !strings.Contains(out, "Response verify OK") {
		t.Errorf("openssl ocsp: %v %s", err, out)
	}
	s.Put("pki/revoke", m{"serial_number": leaf["serial_number"]})
	if out, err := run(t, dir, "openssl", status...); err != nil || !strings.Contains(out, "leaf.pem: revoked") || !strings.Contains(out, "Response verify OK") {
		t.Errorf("openssl ocsp: %v %s", err, out)
	}
}
