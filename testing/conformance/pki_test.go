package conformance_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// authority mounts a PKI engine with a root and a role, and removes it at the end.
func authority(t *testing.T, c *api.Client, kind object) (path string) {
	t.Helper()
	path = strings.ToLower(strings.NewReplacer("/", "-", "_", "-", " ", "-").Replace(t.Name()))
	check(t, c.Sys().Mount(path, &api.MountInput{Type: "pki", Config: api.MountConfigInput{MaxLeaseTTL: "87600h"}}))
	t.Cleanup(func() { check(t, c.Sys().Unmount(path)) })
	root := object{"common_name": "Root of " + path, "ttl": "87600h", "organization": "Coffer", "country": "DE"}
	for name, value := range kind {
		root[name] = value
	}
	must(c.Logical().Write(path+"/root/generate/internal", root))(t)
	return path
}

func text(t testing.TB, s *api.Secret, field string) string {
	t.Helper()
	if s == nil {
		t.Fatalf("%s: the answer is empty", field)
	}
	out, ok := s.Data[field].(string)
	if !ok {
		t.Fatalf("%s: got %#v, want text", field, s.Data[field])
	}
	return out
}

func certificate(t testing.TB, text string) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatalf("no PEM: %s", text)
	}
	return must(x509.ParseCertificate(block.Bytes))(t)
}

// request makes a CSR for names.
func request(t testing.TB, names ...string) string {
	t.Helper()
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	der := must(x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: names[0]}, DNSNames: names}, key))(t)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// raw reads what is served without an envelope, without a token.
func raw(t testing.TB, c *api.Client, path string) []byte {
	t.Helper()
	resp := must(as(t, c, "").Logical().ReadRaw(path))(t)
	defer func() { check(t, resp.Body.Close()) }()
	return must(io.ReadAll(resp.Body))(t)
}

// revokedIn tells whether a list that an issuer has signed holds a serial number.
func revokedIn(t testing.TB, der []byte, issuer, c *x509.Certificate) bool {
	t.Helper()
	list := must(x509.ParseRevocationList(der))(t)
	check(t, list.CheckSignatureFrom(issuer))
	for i := range list.RevokedCertificateEntries {
		if list.RevokedCertificateEntries[i].SerialNumber.Cmp(c.SerialNumber) == 0 {
			return true
		}
	}
	return false
}

func TestPKI(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	l := c.Logical()
	path := authority(t, c, object{"key_type": "ec"})
	role := object{"allowed_domains": []string{"example.com"}, "allow_subdomains": true, "key_type": "ec", "max_ttl": "72h", "ttl": "24h"}
	must(l.Write(path+"/roles/web", role))(t)
	equal(t, "max_ttl", number(t, must(l.Read(path + "/roles/web"))(t).Data["max_ttl"]), int64(72*3600))
	must(l.JSONMergePatch(t.Context(), path+"/roles/web", object{"max_ttl": "48h"}))(t)
	equal(t, "roles", list(t, must(l.List(path+"/roles"))(t), "keys"), []string{"web"})
	root := certificate(t, string(raw(t, c, path+"/ca/pem")))
	equal(t, "der", must(x509.ParseCertificate(raw(t, c, path+"/ca")))(t).Equal(root), true)

	issued := must(l.Write(path+"/issue/web", object{"common_name": "a.example.com", "alt_names": "b.example.com", "ttl": "1h"}))(t)
	leaf := certificate(t, text(t, issued, "certificate"))
	check(t, leaf.CheckSignatureFrom(root))
	slices.Sort(leaf.DNSNames)
	equal(t, "names", leaf.DNSNames, []string{"a.example.com", "b.example.com"})
	holds(t, "a private key", strings.Contains(text(t, issued, "private_key"), "PRIVATE KEY"))
	equal(t, "the chain", list(t, issued, "ca_chain"), []string{text(t, issued, "issuing_ca")})
	equal(t, "expiration", number(t, issued.Data["expiration"]), leaf.NotAfter.Unix())
	_, err := l.Write(path+"/issue/web", object{"common_name": "a.example.org"})
	refused(t, err, 400, "not allowed by this role")
	signed := must(l.Write(path+"/sign/web", object{"csr": request(t, "c.example.com")}))(t)
	equal(t, "names", certificate(t, text(t, signed, "certificate")).DNSNames, []string{"c.example.com"})
	must(l.Write(path+"/sign-verbatim/web", object{"csr": request(t, "d.example.net")}))(t)

	serials := list(t, must(l.List(path+"/certs"))(t), "keys")
	holds(t, "all certificates are listed", len(serials) >= 3)
	var paged []string
	for after := ""; ; {
		page, err := l.ReadWithData(path+"/certs", url.Values{"list": {"true"}, "limit": {"2"}, "after": {after}})
		check(t, err)
		if page == nil {
			break
		}
		keys := list(t, page, "keys")
		holds(t, "a page is as long as asked for", len(keys) <= 2)
		paged, after = append(paged, keys...), keys[len(keys)-1]
	}
	slices.Sort(paged)
	equal(t, "the pages", paged, serials)
	detailed := must(l.List(path + "/certs/detailed"))(t)
	holds(t, "details", detailed.Data["key_info"].(object)[text(t, issued, "serial_number")].(object)["common_name"] == "a.example.com")

	must(l.Read(path + "/crl/rotate"))(t)
	listed(t, c, path, root, leaf, false)
	revoked := must(l.Write(path+"/revoke", object{"serial_number": text(t, issued, "serial_number")}))(t)
	holds(t, "a time", number(t, revoked.Data["revocation_time"]) > 0)
	must(l.Read(path + "/crl/rotate"))(t)
	listed(t, c, path, root, leaf, true)
	equal(t, "revoked", list(t, must(l.List(path+"/certs/revoked"))(t), "keys"), []string{text(t, issued, "serial_number")})
	stored := must(as(t, c, "").Logical().Read(path + "/cert/" + text(t, issued, "serial_number")))(t)
	equal(t, "the stored certificate", certificate(t, text(t, stored, "certificate")).Equal(leaf), true)
	withKey := must(l.Write(path+"/issue/web", object{"common_name": "e.example.com"}))(t)
	must(l.Write(path+"/revoke-with-key", object{"certificate": text(t, withKey, "certificate"), "private_key": text(t, withKey, "private_key")}))(t)
	equal(t, "no certificate", must(l.Read(path+"/cert/00:11"))(t) == nil, true)
}

// listed reads an authority's list in each way that it is served.
func listed(t *testing.T, c *api.Client, path string, root, leaf *x509.Certificate, in bool) {
	t.Helper()
	for _, at := range []string{"/crl", "/issuer/default/crl/der"} {
		t.Log(at)
		equal(t, at, revokedIn(t, raw(t, c, path+at), root, leaf), in)
	}
	for _, at := range []string{"/crl/pem", "/issuer/default/crl/pem"} {
		block, _ := pem.Decode(raw(t, c, path+at))
		holds(t, at+" is PEM", block != nil && block.Type == "X509 CRL")
		equal(t, at, revokedIn(t, block.Bytes, root, leaf), in)
	}
	block, _ := pem.Decode([]byte(text(t, must(as(t, c, "").Logical().Read(path+"/cert/crl"))(t), "certificate")))
	holds(t, "cert/crl is PEM", block != nil)
	equal(t, "cert/crl", revokedIn(t, block.Bytes, root, leaf), in)
}

// TestPKIIntermediate has one mount sign the CA of another.
func TestPKIIntermediate(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	l := c.Logical()
	above := authority(t, c, object{"key_type": "rsa", "key_bits": 2048})
	below := above + "-below"
	check(t, c.Sys().Mount(below, &api.MountInput{Type: "pki"}))
	t.Cleanup(func() { check(t, c.Sys().Unmount(below)) })
	asked := must(l.Write(below+"/intermediate/generate/internal", object{"common_name": "Below", "key_type": "ec"}))(t)
	signed := must(l.Write(above+"/root/sign-intermediate", object{"csr": text(t, asked, "csr"), "common_name": "Below", "ttl": "43800h", "format": "pem_bundle"}))(t)
	made := must(l.Write(below+"/intermediate/set-signed", object{"certificate": text(t, signed, "certificate")}))(t)
	issuers := list(t, made, "imported_issuers")
	holds(t, "an issuer", len(issuers) > 0)
	equal(t, "issuers", len(list(t, must(l.List(below+"/issuers"))(t), "keys")), len(issuers))
	own := text(t, must(l.Read(below+"/config/issuers"))(t), "default")
	must(l.Write(below+"/issuer/"+own, object{"issuer_name": "first", "leaf_not_after_behavior": "truncate"}))(t)
	equal(t, "name", text(t, must(l.Read(below+"/issuer/first"))(t), "issuer_name"), "first")
	equal(t, "keys", len(list(t, must(l.List(below+"/keys"))(t), "keys")), 1)
	must(l.Write(below+"/config/urls", object{"issuing_certificates": []string{"https://ca.example.com/ca"}, "crl_distribution_points": []string{"https://ca.example.com/crl"}, "ocsp_servers": []string{"https://ca.example.com/ocsp"}}))(t)
	must(l.Write(below+"/config/crl", object{"expiry": "96h", "auto_rebuild": true}))(t)
	equal(t, "expiry", text(t, must(l.Read(below+"/config/crl"))(t), "expiry"), "96h")
	must(l.Write(below+"/roles/any", object{"allow_any_name": true, "key_type": "ec", "generate_lease": true, "ttl": "1h"}))(t)
	issued := must(l.Write(below+"/issuer/first/issue/any", object{"common_name": "a.example.com", "ip_sans": "127.0.0.1", "remove_roots_from_chain": true}))(t)
	holds(t, "a lease", strings.HasPrefix(issued.LeaseID, below+"/issue/any/") || strings.HasPrefix(issued.LeaseID, below+"/issuer/first/issue/any/"))
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(certificate(t, string(raw(t, c, above+"/ca/pem"))))
	between.AddCert(certificate(t, string(raw(t, c, below+"/issuer/first/pem"))))
	leaf := certificate(t, text(t, issued, "certificate"))
	chains := must(leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: "127.0.0.1"}))(t)
	equal(t, "the length of the chain", len(chains[0]), 3)
	holds(t, "its address", leaf.IPAddresses[0].Equal(net.IPv4(127, 0, 0, 1)))
	check(t, c.Sys().Revoke(issued.LeaseID))
	equal(t, "revoked with the lease", list(t, must(l.List(below+"/certs/revoked"))(t), "keys"), []string{text(t, issued, "serial_number")})
	must(l.Write(below+"/tidy", object{"tidy_cert_store": true, "safety_buffer": "1h"}))(t)
	holds(t, "tidy-status", must(l.Read(below + "/tidy-status"))(t).Data["state"] != nil)
	must(l.Delete(below + "/roles/any"))(t)
	equal(t, "no roles", must(l.List(below+"/roles"))(t) == nil, true)
}
