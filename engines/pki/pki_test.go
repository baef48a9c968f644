package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/coffer-secrets/coffer/engines"
)

// csr makes a request with another key each time.
func csr(t testing.TB, template *x509.CertificateRequest) string {
	t.Helper()
	_, key, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

func TestIssueVerifies(t *testing.T) {
	t.Parallel()
	k := mount(t)
	root := parse(t, k.root()["certificate"])
	k.write("roles/app", m{"allowed_domains": "svc.cluster.local", "allow_subdomains": true, "max_ttl": "24h", "key_type": "ec"})
	for _, format := range []string{"pem", "pem_bundle", "der"} {
		got := k.write("issue/app", m{"common_name": "orders.svc.cluster.local", "ttl": "24h", "format": format})
		text := got["certificate"].(string)
		var c *x509.Certificate
		if format == "der" {
			der, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			if c, err = x509.ParseCertificate(der); err != nil {
				t.Fatal(err)
			}
		} else {
			c = parse(t, text[strings.Index(text, "-----BEGIN CERTIFICATE"):])
		}
		roots := x509.NewCertPool()
		roots.AddCert(root)
		if _, err := c.Verify(x509.VerifyOptions{DNSName: "orders.svc.cluster.local", Roots: roots, CurrentTime: k.Now}); err != nil {
			t.Errorf("%s: %v", format, err)
		}
		if got["private_key_type"] != "ec" || got["expiration"] == nil || got["serial_number"] == nil || len(got["ca_chain"].([]any)) != 1 {
			t.Errorf("%s: %v", format, got)
		}
		read := k.read("cert/" + strings.ReplaceAll(got["serial_number"].(string), ":", "-"))
		if !slices.Equal(parse(t, read["certificate"]).Raw, c.Raw) {
			t.Error("another certificate was stored")
		}
	}
	if keys := k.must(engines.List, "certs", nil)["keys"].([]any); len(keys) != 4 {
		t.Errorf("%d certificates, want 4", len(keys))
	}
	k.refused(engines.Update, "issue/app", m{"common_name": "example.com"}, "common name example.com not allowed by this role")
	k.refused(engines.Update, "issue/other", m{"common_name": "example.com"}, "unknown role")
}

func TestKindsOfKeys(t *testing.T) {
	t.Parallel()
	for _, kind := range []m{{"key_type": "rsa"}, {"key_type": "ec", "key_bits": 384}, {"key_type": "ec", "key_bits": 521}, {"key_type": "ed25519"}} {
		k := mount(t)
		kind["common_name"] = "Root"
		root := k.write("root/generate/exported", kind)
		if !strings.Contains(root["private_key"].(string), "PRIVATE KEY") {
			t.Errorf("%v: no key was exported", kind)
		}
		k.write("roles/any", m{"allow_any_name": true, "key_type": kind["key_type"], "ttl": "1h"})
		got := k.write("issue/any", m{"common_name": "a.example.com", "private_key_format": "pkcs8"})
		c, ca := parse(t, got["certificate"]), parse(t, root["certificate"])
		if err := c.CheckSignatureFrom(ca); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		b, _ := pem.Decode([]byte(got["private_key"].(string)))
		if _, err := x509.ParsePKCS8PrivateKey(b.Bytes); err != nil {
			t.Errorf("%v: %v", kind, err)
		}
		k.run()
		if list, err := x509.ParseRevocationList(k.raw("crl")); err != nil || list.CheckSignatureFrom(ca) != nil {
			t.Errorf("%v: list: %v", kind, err)
		}
	}
}

func TestIntermediate(t *testing.T) {
	t.Parallel()
	rootMount, k := mount(t), mount(t)
	root := parse(t, rootMount.root()["certificate"])
	asked := k.write("intermediate/generate/internal", m{"common_name": "Middle", "key_type": "ec"})
	signed := rootMount.write("root/sign-intermediate", m{"csr": asked["csr"], "common_name": "Middle", "ttl": "1000h", "max_path_length": 0})
	got := k.write("intermediate/set-signed", m{"certificate": signed["certificate"].(string) + "\n" + signed["issuing_ca"].(string)})
	if len(got["imported_issuers"].([]any)) != 2 {
		t.Fatalf("imported: %v", got)
	}
	k.write("roles/web", m{"allowed_domains": "example.com", "allow_subdomains": true, "key_type": "ec"})
	leaf := k.write("issue/web", m{"common_name": "www.example.com", "ttl": "1h"})
	if chain := leaf["ca_chain"].([]any); len(chain) != 2 {
		t.Errorf("chain of %d", len(chain))
	}
	short := k.write("issue/web", m{"common_name": "www.example.com", "ttl": "1h", "remove_roots_from_chain": true})
	if chain := short["ca_chain"].([]any); len(chain) != 1 {
		t.Errorf("chain without root of %d", len(chain))
	}
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(root)
	middle.AddCert(parse(t, signed["certificate"]))
	if _, err := parse(t, leaf["certificate"]).Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, CurrentTime: k.Now}); err != nil {
		t.Error(err)
	}
	// The root may not be outlived, and the middle may have none below it.
	k.refused(engines.Update, "root/sign-intermediate", m{"csr": asked["csr"], "common_name": "Lower", "ttl": "10h"}, "allows no CA below it")
	k.refused(engines.Update, "issue/web", m{"common_name": "www.example.com", "not_after": "2099-01-01T00:00:00Z"}, "beyond the expiration of the CA")
	for _, behaviour := range []string{"truncate", "permit"} {
		k.must(engines.Patch, "issuer/default", m{"leaf_not_after_behavior": behaviour})
		long := parse(t, k.write("issue/web", m{"common_name": "www.example.com", "not_after": "2099-01-01T00:00:00Z"})["certificate"])
		if end := parse(t, signed["certificate"]).NotAfter; long.NotAfter.Equal(end) != (behaviour == "truncate") {
			t.Errorf("%s: ends %s", behaviour, long.NotAfter)
		}
	}
}

func TestIssuersAndKeys(t *testing.T) {
	t.Parallel()
	k := mount(t)
	first := k.root()
	second := k.write("root/rotate/internal", m{"common_name": "Next Root", "key_type": "ec", "key_name": "next-key"})
	if second["issuer_name"] != "next" {
		t.Errorf("rotated to %v", second["issuer_name"])
	}
	if d := k.read("config/issuers")["default"]; d != first["issuer_id"] {
		t.Errorf("default is %v", d)
	}
	k.write("root/replace", nil)
	if d := k.read("config/issuers")["default"]; d != second["issuer_id"] {
		t.Errorf("default is %v", d)
	}
	info := k.must(engines.List, "issuers", nil)
	if about := info["key_info"].(m)[first["issuer_id"].(string)].(m); about["issuer_name"] != "root" || about["is_default"] != false {
		t.Errorf("info: %v", about)
	}
	k.refused(engines.Update, "issuer/next", m{"issuer_name": "root"}, "the name is in use")
	k.must(engines.Patch, "issuer/next", m{"issuer_name": "newest", "usage": "issuing-certificates"})
	if got := k.read("issuer/newest"); fmt.Sprint(got["usage"]) != "[read-only issuing-certificates]" {
		t.Errorf("usage: %v", got["usage"])
	}
	k.refused(engines.Delete, "key/next-key", nil, "in use by an issuer")
	k.write("keys/generate/internal", m{"key_type": "ed25519", "key_name": "spare"})
	if got := k.read("key/spare"); got["key_type"] != "ed25519" || got["private_key"] != nil {
		t.Errorf("key: %v", got)
	}
	k.must(engines.Delete, "key/spare", nil)
	// The first root is signed by the second too.
	cross := k.write("issuer/newest/sign-self-issued", m{"certificate": first["certificate"]})
	if err := parse(t, cross["certificate"]).CheckSignatureFrom(parse(t, second["certificate"])); err != nil {
		t.Error(err)
	}
	request := k.write("intermediate/cross-sign", m{"common_name": "Test Root", "key_ref": first["key_id"]})
	if !strings.Contains(request["csr"].(string), "CERTIFICATE REQUEST") {
		t.Errorf("cross-sign: %v", request)
	}
	k.must(engines.Patch, "issuer/root", m{"manual_chain": "self,newest"})
	if got := k.read("issuer/root/json"); len(got["ca_chain"].([]any)) != 2 {
		t.Errorf("manual chain: %v", got)
	}
	k.must(engines.Delete, "issuer/newest", nil)
	k.refused(engines.Read, "ca", nil, "no default issuer")
	k.must(engines.Delete, "root", nil)
	if rows := k.Store.Rows(); slices.ContainsFunc(rows, func(p string) bool { return strings.HasPrefix(p, "keys/") }) {
		t.Error("a key is left")
	}
}

func TestImport(t *testing.T) {
	t.Parallel()
	from, k := mount(t), mount(t)
	root := from.write("root/generate/exported", m{"common_name": "Root", "key_type": "ec"})
	bundle := root["certificate"].(string) + "\n" + root["private_key"].(string)
	k.refused(engines.Update, "issuers/import/cert", m{"pem_bundle": bundle}, "private keys cannot be imported")
	got := k.write("issuers/import/bundle", m{"pem_bundle": bundle})
	if len(got["imported_issuers"].([]any)) != 1 || len(got["imported_keys"].([]any)) != 1 || len(got["mapping"].(m)) != 1 {
		t.Errorf("import: %v", got)
	}
	got = k.write("config/ca", m{"pem_bundle": bundle})
	if len(got["imported_issuers"].([]any)) != 0 || len(got["existing_issuers"].([]any)) != 1 || len(got["existing_keys"].([]any)) != 1 {
		t.Errorf("import again: %v", got)
	}
	k.write("roles/any", m{"allow_any_name": true, "key_type": "ec"})
	k.write("issue/any", m{"common_name": "a.example.com"})
	k.refused(engines.Update, "config/ca", m{"pem_bundle": "nonsense"}, "pem_bundle: expected certificates")
}

func (k *rig) ocsp(serial, issuer *x509.Certificate) *ocsp.Response {
	k.t.Helper()
	req, err := ocsp.CreateRequest(serial, issuer, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	resp, err := k.Do(engines.Update, "ocsp", m{"req": base64.StdEncoding.EncodeToString(req)}, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	got, err := ocsp.ParseResponseForCert(resp.Raw.Body, serial, issuer)
	if err != nil {
		k.t.Fatal(err)
	}
	return got
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	k := mount(t)
	root := parse(t, k.root()["certificate"])
	k.write("roles/any", m{"allow_any_name": true, "key_type": "ec"})
	got := k.write("issue/any", m{"common_name": "a.example.com", "ttl": "10h"})
	leaf := parse(t, got["certificate"])
	k.run()
	if list, err := x509.ParseRevocationList(k.raw("crl")); err != nil || len(list.RevokedCertificateEntries) != 0 {
		t.Fatalf("first list: %v", err)
	}
	if status := k.ocsp(leaf, root).Status; status != ocsp.Good {
		t.Errorf("status %d", status)
	}
	k.refused(engines.Update, "revoke-with-key", m{"serial_number": got["serial_number"], "private_key": k.write("issue/any", m{"common_name": "b.example.com"})["private_key"]}, "not the key")
	revoked := k.write("revoke-with-key", m{"serial_number": got["serial_number"], "private_key": got["private_key"]})
	again := k.write("revoke", m{"serial_number": got["serial_number"]})
	if revoked["revocation_time"] != again["revocation_time"] || again["state"] != "revoked" {
		t.Errorf("revoked %v, then %v", revoked, again)
	}
	if status := k.ocsp(leaf, root).Status; status != ocsp.Revoked {
		t.Errorf("status %d", status)
	}
	k.run()
	list, err := x509.ParseRevocationList(k.raw("crl"))
	if err != nil || len(list.RevokedCertificateEntries) != 1 || list.CheckSignatureFrom(root) != nil ||
		list.RevokedCertificateEntries[0].SerialNumber.Cmp(leaf.SerialNumber) != 0 {
		t.Fatalf("list: %v, %v", list, err)
	}
	b, _ := pem.Decode(k.raw("issuer/default/crl/pem"))
	if !slices.Equal(b.Bytes, list.Raw) || k.read("cert/" + got["serial_number"].(string))["revocation_time"] == fmt.Sprint(0) {
		t.Error("the list is not the same in PEM, or the certificate does not say that it is revoked")
	}
	if k.read("crl/rotate")["success"] != true {
		t.Error("no rotation")
	}
	if next, err := x509.ParseRevocationList(k.raw("crl")); err != nil || next.Number.Cmp(list.Number) <= 0 {
		t.Errorf("rotated: %v", err)
	}
	k.refused(engines.Update, "revoke", m{"certificate": k.read("cert/ca")["certificate"]}, "its own CRL")
	k.refused(engines.Update, "revoke", m{"serial_number": "01:02"}, "not found")
	k.refused(engines.Update, "revoke", m{}, "not provided")
}

func TestDelta(t *testing.T) {
	t.Parallel()
	k := mount(t)
	k.root()
	k.write("roles/any", m{"allow_any_name": true, "key_type": "ec"})
	k.refused(engines.Update, "config/crl", m{"enable_delta": true}, "auto rebuilding is disabled")
	k.write("config/crl", m{"auto_rebuild": true, "enable_delta": true})
	first := k.write("issue/any", m{"common_name": "a.example.com", "ttl": "100h"})
	k.write("revoke", m{"serial_number": first["serial_number"]})
	k.run()
	second := k.write("issue/any", m{"common_name": "b.example.com", "ttl": "100h"})
	k.write("revoke", m{"serial_number": second["serial_number"]})
	k.Now = k.Now.Add(16 * time.Minute)
	k.run()
	full, err := x509.ParseRevocationList(k.raw("crl"))
	if err != nil || len(full.RevokedCertificateEntries) != 1 {
		t.Fatalf("full: %v", err)
	}
	delta, err := x509.ParseRevocationList(k.raw("crl/delta"))
	if err != nil || len(delta.RevokedCertificateEntries) != 1 || delta.Number.Cmp(full.Number) <= 0 {
		t.Fatalf("delta: %v", err)
	}
	if delta.RevokedCertificateEntries[0].SerialNumber.Cmp(parse(t, second["certificate"]).SerialNumber) != 0 {
		t.Error("the delta has another line")
	}
	k.Now = k.Now.Add(61 * time.Hour)
	k.run()
	if full, err = x509.ParseRevocationList(k.raw("crl")); err != nil || len(full.RevokedCertificateEntries) != 2 {
		t.Errorf("the list was not signed anew in time: %v", err)
	}
}

func TestLease(t *testing.T) {
	t.Parallel()
	k := mount(t)
	root := parse(t, k.root()["certificate"])
	k.write("roles/leased", m{"allow_any_name": true, "key_type": "ec", "generate_lease": true})
	resp, err := k.Do(engines.Update, "issue/leased", m{"common_name": "a.example.com", "ttl": "10h"}, nil)
	if err != nil || resp.Grant == nil || resp.Grant.TTL < 10*time.Hour-time.Second {
		t.Fatalf("no grant: %v, %v", resp, err)
	}
	data, err := resp.Grant.Create(t.Context(), &engines.Granted{})
	if err != nil {
		t.Fatal(err)
	}
	leaf := parse(t, data.(map[string]any)["certificate"])
	reach := &engines.Reach{Mount: k.Info, Look: k.look, Change: k.change, Now: k.now}
	for range 2 {
		for _, err := range k.engine.Revoke(t.Context(), reach, []engines.Revocation{{Undo: resp.Grant.Undo}}) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if status := k.ocsp(leaf, root).Status; status != ocsp.Revoked {
		t.Errorf("status %d", status)
	}
	k.refused(engines.Update, "roles/both", m{"generate_lease": true, "no_store": true}, "exclude each other")
}

func TestNoStore(t *testing.T) {
	t.Parallel()
	k := mount(t)
	root := parse(t, k.root()["certificate"])
	k.write("roles/brief", m{"allow_any_name": true, "key_type": "ec", "no_store": true})
	got := k.write("issue/brief", m{"common_name": "a.example.com"})
	k.refused(engines.Update, "revoke", m{"serial_number": got["serial_number"]}, "not found")
	k.write("revoke", m{"certificate": got["certificate"]})
	if status := k.ocsp(parse(t, got["certificate"]), root).Status; status != ocsp.Revoked {
		t.Errorf("status %d", status)
	}
}

func TestTidy(t *testing.T) {
	t.Parallel()
	k := mount(t)
	k.root()
	k.write("roles/any", m{"allow_any_name": true, "key_type": "ec"})
	for i := range 7 {
		got := k.write("issue/any", m{"common_name": fmt.Sprintf("n%d.example.com", i), "ttl": "1h"})
		if i < 3 {
			k.write("revoke", m{"serial_number": got["serial_number"]})
		}
	}
	k.refused(engines.Update, "tidy", m{}, "no tidy operation was requested")
	k.Now = k.Now.Add(100 * time.Hour)
	k.write("tidy", m{"tidy_cert_store": true, "tidy_revoked_certs": true, "page_size": 2})
	if state := k.read("tidy-status")["state"]; state != "Running" {
		t.Errorf("state %v", state)
	}
	k.run()
	status := k.read("tidy-status")
	if status["state"] != "Finished" || fmt.Sprint(status["cert_store_deleted_count"]) != "4" || fmt.Sprint(status["revoked_cert_deleted_count"]) != "3" {
		t.Errorf("status %v", status)
	}
	if keys := k.must(engines.List, "certs", nil)["keys"].([]any); len(keys) != 1 { // the root's
		t.Errorf("%d certificates are left", len(keys))
	}
	if list, err := x509.ParseRevocationList(k.raw("crl")); err != nil || len(list.RevokedCertificateEntries) != 0 {
		t.Errorf("list: %v", err)
	}
	k.write("config/auto-tidy", m{"enabled": true, "tidy_cert_store": true, "interval_duration": "1h"})
	k.write("issue/any", m{"common_name": "z.example.com", "ttl": "1h"})
	k.Now = k.Now.Add(90 * time.Hour)
	k.run()
	if status := k.read("tidy-status"); fmt.Sprint(status["cert_store_deleted_count"]) != "1" || status["last_auto_tidy_finished"] == nil {
		t.Errorf("auto: %v", status)
	}
}

// TestTidyCounts: a run tells what is left when it is asked to, whatever it removes.
func TestTidyCounts(t *testing.T) {
	t.Parallel()
	k := mount(t)
	k.root() // is a certificate, too
	k.write("roles/any", m{"allow_any_name": true, "key_type": "ec"})
	issue := func(n, revoked int, ttl string) {
		for i := range n {
			got := k.write("issue/any", m{"common_name": "a.example.com", "ttl": ttl})
			if i < revoked {
				k.write("revoke", m{"serial_number": got["serial_number"]})
			}
		}
	}
	counts := func(tidy m) string {
		k.write("tidy", tidy)
		k.run()
		status := k.read("tidy-status")
		return fmt.Sprint(status["state"], " ", status["current_cert_store_count"], " ", status["current_revoked_cert_count"])
	}
	issue(5, 2, "1h")
	issue(4, 1, "700h")
	if got := counts(m{"tidy_cert_store": true}); got != "Finished <nil> <nil>" {
		t.Errorf("unasked: %s", got)
	}
	k.write("config/auto-tidy", m{"maintain_stored_certificate_counts": true})
	k.Now = k.Now.Add(100 * time.Hour)
	for _, c := range []struct {
		tidy m
		want string
	}{
		{m{"tidy_expired_issuers": true, "page_size": 3}, "Finished 10 3"},
		{m{"tidy_cert_store": true, "page_size": 3}, "Finished 7 3"},
		{m{"tidy_revoked_certs": true, "page_size": 3}, "Finished 5 1"},
		{m{"tidy_revoked_certs": true, "tidy_cert_store": true}, "Finished 5 1"},
	} {
		if got := counts(c.tidy); got != c.want {
			t.Errorf("%v: %s, want %s", c.tidy, got, c.want)
		}
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	k := mount(t)
	root := k.root()
	k.write("config/cluster", m{"path": "https://pki.example.com/v1/pki", "aia_path": "http://pki.example.com/v1/pki"})
	k.write("config/urls", m{
		"enable_templating": true, "issuing_certificates": "{{cluster_aia_path}}/issuer/{{issuer_id}}/der",
		"crl_distribution_points": "{{cluster_aia_path}}/issuer/{{issuer_id}}/crl/der", "ocsp_servers": "{{cluster_path}}/ocsp",
		"delta_crl_distribution_points": "http://pki.example.com/delta",
	})
	k.write("roles/any", m{"allow_any_name": true, "key_type": "ec"})
	c := parse(t, k.write("issue/any", m{"common_name": "a.example.com"})["certificate"])
	id := root["issuer_id"].(string)
	if c.IssuingCertificateURL[0] != "http://pki.example.com/v1/pki/issuer/"+id+"/der" || c.OCSPServer[0] != "https://pki.example.com/v1/pki/ocsp" {
		t.Errorf("URLs: %v %v", c.IssuingCertificateURL, c.OCSPServer)
	}
	if !slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.String() == "2.5.29.46" }) {
		t.Error("the certificate does not tell of delta lists")
	}
	k.refused(engines.Update, "config/urls", m{"enable_templating": false, "ocsp_servers": "nonsense"}, "is not a URL")
}

func TestSignLists(t *testing.T) {
	t.Parallel()
	k := mount(t)
	root := parse(t, k.root()["certificate"])
	one := k.write("issuer/root/sign-revocation-list", m{"crl_number": 4, "revoked_certs": []m{{"serial_number": "01:02:03", "revocation_time": "2024-01-02T03:04:05Z"}}})
	two := k.write("issuer/root/sign-revocation-list", m{"crl_number": 5, "revoked_certs": []m{{"serial_number": "01:02:04"}}})
	got := k.write("issuer/root/resign-crls", m{"crl_number": 6, "crls": []any{one["crl"], two["crl"]}})
	b, _ := pem.Decode([]byte(got["crl"].(string)))
	list, err := x509.ParseRevocationList(b.Bytes)
	if err != nil || list.CheckSignatureFrom(root) != nil || len(list.RevokedCertificateEntries) != 2 {
		t.Errorf("list: %v", err)
	}
}

func TestVerbatim(t *testing.T) {
	t.Parallel()
	k := mount(t)
	k.root()
	request := csr(t, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "whatever", Organization: []string{"Acme"}}, DNSNames: []string{"any.thing"},
		ExtraExtensions: []pkix.Extension{
			{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}},    // a CA
			{Id: []int{2, 5, 29, 15}, Critical: true, Value: []byte{0x03, 0x02, 0x01, 0x06}}, // that signs
		},
	})
	c := parse(t, k.write("sign-verbatim", m{"csr": request, "ttl": "1h"})["certificate"])
	if c.IsCA || c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		t.Error("whoever signs verbatim is made a CA")
	}
	if c.Subject.CommonName != "whatever" || c.Subject.Organization[0] != "Acme" || c.DNSNames[0] != "any.thing" {
		t.Errorf("it is not as the CSR: %v", c.Subject)
	}
}

func generate() (int, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return 256, key, err
}
