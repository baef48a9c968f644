package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ocsp"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// files writes what an answer holds to files for other programs.
func files(t *testing.T, list map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range list {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run runs a program in a folder and returns what it says.
func run(t *testing.T, dir, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// data is the data of an answer that has to be good.
func data(t *testing.T, r *kit.Response) map[string]any {
	t.Helper()
	if r.Status != http.StatusOK {
		t.Fatalf("status %d: %s", r.Status, r.Raw)
	}
	return r.Body["data"].(map[string]any)
}

// server has a root, an intermediate of another mount, and a role.
func server(t *testing.T) (s *kit.Server, root, leaf map[string]any) {
	t.Helper()
	s = kit.New(t)
	s.Mount("pki", "pki", nil)
	s.Mount("pki_int", "pki", nil)
	base := s.URL + "/v1/pki_int"
	root = data(t, s.Put("pki/root/generate/internal", m{"common_name": "Root", "key_type": "ec", "ttl": "760h"}))
	asked := data(t, s.Put("pki_int/intermediate/generate/internal", m{"common_name": "Middle", "key_type": "ec"}))
	signed := data(t, s.Put("pki/root/sign-intermediate", m{"csr": asked["csr"], "common_name": "Middle", "ttl": "700h"}))
	s.Put("pki_int/intermediate/set-signed", m{"certificate": signed["certificate"]})
	s.Put("pki_int/config/urls", m{"ocsp_servers": base + "/ocsp", "crl_distribution_points": base + "/crl", "issuing_certificates": base + "/ca"})
	s.Put("pki_int/roles/internal-app", m{"allowed_domains": "svc.cluster.local,localhost", "allow_subdomains": true, "max_ttl": "24h", "key_type": "ec"})
	leaf = data(t, s.Put("pki_int/issue/internal-app", m{"common_name": "orders.svc.cluster.local", "alt_names": "localhost", "ip_sans": "127.0.0.1", "ttl": "24h"}))
	leaf["middle"] = signed["certificate"]
	return s, root, leaf
}

// TestOthersVerify has openssl, curl and Go check what was issued, before and after
// it is revoked.
func TestOthersVerify(t *testing.T) {
	t.Parallel()
	s, root, leaf := server(t)
	dir := files(t, map[string]string{
		"root.pem": root["certificate"].(string), "middle.pem": leaf["middle"].(string), "leaf.pem": leaf["certificate"].(string),
	})
	verify := []string{"verify", "-x509_strict", "-CAfile", "root.pem", "-untrusted", "middle.pem", "-verify_hostname", "orders.svc.cluster.local", "leaf.pem"}
	if out, err := run(t, dir, "openssl", verify...); err != nil {
		t.Errorf("openssl verify: %s", out)
	}
	status := []string{"ocsp", "-issuer", "middle.pem", "-cert", "leaf.pem", "-url", s.URL + "/v1/pki_int/ocsp", "-CAfile", "root.pem", "-verify_other", "middle.pem", "-no_nonce"}
	if out, err := run(t, dir, "openssl", status...); err != nil || !strings.Contains(out, "leaf.pem: good") || !strings.Contains(out, "Response verify OK") {
		t.Errorf("openssl ocsp: %v %s", err, out)
	}
	handshakes(t, dir, leaf)

	s.Put("pki_int/revoke", m{"serial_number": leaf["serial_number"]})
	if got := s.Get("pki_int/crl/rotate"); got.Status != http.StatusOK {
		t.Fatalf("rotate: %s", got.Raw)
	}
	if out, err := run(t, dir, "openssl", status...); err != nil || !strings.Contains(out, "leaf.pem: revoked") {
		t.Errorf("openssl ocsp: %v %s", err, out)
	}
	list := s.Do(kit.Request{Path: "pki_int/crl/pem", Token: kit.NoToken})
	if err := os.WriteFile(filepath.Join(dir, "crl.pem"), list.Raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, dir, "openssl", "verify", "-crl_check", "-CRLfile", "crl.pem", "-CAfile", "root.pem", "-untrusted", "middle.pem", "leaf.pem"); err == nil || !strings.Contains(out, "certificate revoked") {
		t.Errorf("openssl takes what was revoked: %s", out)
	}
	if err := revokedForGo(t, s, leaf); err != nil {
		t.Error(err)
	}
}

// handshakes has a server with the certificate, and clients that trust the root.
func handshakes(t *testing.T, dir string, leaf map[string]any) {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(leaf["certificate"].(string)+"\n"+leaf["middle"].(string)), []byte(leaf["private_key"].(string)))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	pool := x509.NewCertPool()
	text, err := os.ReadFile(filepath.Join(dir, "root.pem"))
	if err != nil || !pool.AppendCertsFromPEM(text) {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if out, err := run(t, dir, "curl", "-sS", "--noproxy", "*", "--cacert", "root.pem", srv.URL); err != nil || out != "hello" {
		t.Errorf("curl: %v %s", err, out)
	}
}

// revokedForGo asks by OCSP as GET, and reads the list, without a token.
func revokedForGo(t *testing.T, s *kit.Server, leaf map[string]any) error {
	t.Helper()
	c, ca := parse(t, leaf["certificate"]), parse(t, leaf["middle"])
	req, err := ocsp.CreateRequest(c, ca, nil)
	if err != nil {
		return err
	}
	got := s.Do(kit.Request{Path: "pki_int/ocsp/" + url.PathEscape(base64.StdEncoding.EncodeToString(req)), Token: kit.NoToken})
	answer, err := ocsp.ParseResponseForCert(got.Raw, c, ca)
	if err != nil || answer.Status != ocsp.Revoked || got.Header.Get("Content-Type") != "application/ocsp-response" {
		return fmt.Errorf("OCSP by GET: %w, %v, %d %.200s", err, answer, got.Status, got.Raw)
	}
	list, err := x509.ParseRevocationList(s.Do(kit.Request{Path: "pki_int/crl", Token: kit.NoToken}).Raw)
	if err != nil || len(list.RevokedCertificateEntries) != 1 || list.CheckSignatureFrom(ca) != nil {
		return fmt.Errorf("list: %w", err)
	}
	return nil
}

// TestBadOCSP sends what is no request.
func TestBadOCSP(t *testing.T) {
	t.Parallel()
	s, _, _ := server(t)
	header := http.Header{"Content-Type": {"application/ocsp-request"}}
	for _, body := range []string{"", "nonsense", strings.Repeat("x", 15<<10)} {
		got := s.Do(kit.Request{Method: http.MethodPost, Path: "pki_int/ocsp", Token: kit.NoToken, Body: body, Header: header})
		if got.Status != http.StatusOK || string(got.Raw) != string(ocsp.MalformedRequestErrorResponse) {
			t.Errorf("%d bytes: %d %q", len(body), got.Status, got.Raw)
		}
	}
	got := s.Do(kit.Request{Method: http.MethodPost, Path: "pki_int/ocsp", Token: kit.NoToken, Body: strings.Repeat("x", 17<<10), Header: header})
	if got.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d", got.Status)
	}
}

// TestIdentityTemplate issues a name that the caller's entity says.
func TestIdentityTemplate(t *testing.T) {
	t.Parallel()
	s, _, _ := server(t)
	s.Put("sys/auth/userpass", m{"type": "userpass"})
	s.Put("sys/policies/acl/issue", m{"policy": `path "pki_int/issue/*" { capabilities = ["update"] }`})
	s.Put("auth/userpass/users/alice", m{"password": "wonderland", "policies": "issue"})
	login := s.Do(kit.Request{Method: http.MethodPost, Path: "auth/userpass/login/alice", Token: kit.NoToken, Body: m{"password": "wonderland"}})
	auth := login.Body["auth"].(map[string]any)
	s.Put("identity/entity/id/"+auth["entity_id"].(string), m{"name": "alice", "metadata": m{"team": "orders", "wide": "*"}})
	s.Put("pki_int/roles/own", m{
		"allowed_domains":          "{{identity.entity.name}}.users.example.com,{{identity.entity.metadata.team}}.teams.example.com,{{identity.entity.metadata.wide}}.wide.example.com,{{identity.entity.metadata.missing}}.example.com",
		"allowed_domains_template": true, "allow_bare_domains": true, "allow_glob_domains": true, "key_type": "ec", "ttl": "1h",
	})
	token := auth["client_token"].(string)
	for name, want := range map[string]int{
		"alice.users.example.com": 200, "orders.teams.example.com": 200, "bob.users.example.com": 400, "any.wide.example.com": 400, ".example.com": 400,
	} {
		got := s.Do(kit.Request{Method: http.MethodPut, Path: "pki_int/issue/own", Token: token, Body: m{"common_name": name}})
		if got.Status != want {
			t.Errorf("%s: %d %s", name, got.Status, got.Raw)
		}
	}
	// Nobody without an identity is given such a name.
	if got := s.Do(kit.Request{Method: http.MethodPut, Path: "pki_int/issue/own", Body: m{"common_name": "alice.users.example.com"}}); got.Status != http.StatusBadRequest {
		t.Errorf("root: %d", got.Status)
	}
}

// TestLeasedOverHTTP revokes by the lease.
func TestLeasedOverHTTP(t *testing.T) {
	t.Parallel()
	s, _, _ := server(t)
	s.Put("pki_int/roles/leased", m{"allow_any_name": true, "key_type": "ec", "generate_lease": true, "ttl": "1h"})
	got := s.Put("pki_int/issue/leased", m{"common_name": "a.example.com"})
	lease, _ := got.Body["lease_id"].(string)
	if lease == "" {
		t.Fatalf("no lease: %s", got.Raw)
	}
	if r := s.Put("sys/leases/revoke", m{"lease_id": lease, "sync": true}); r.Status >= 300 {
		t.Fatalf("revoke: %d %s", r.Status, r.Raw)
	}
	serial := data(t, got)["serial_number"].(string)
	if at := fmt.Sprint(data(t, s.Get("pki_int/cert/"+serial))["revocation_time"]); at == "0" {
		t.Error("the certificate is not revoked")
	}
}

// TestPublic lists the paths that need no token, and some that do.
func TestPublic(t *testing.T) {
	t.Parallel()
	s, _, leaf := server(t)
	s.Get("pki_int/crl/rotate")
	serial := leaf["serial_number"].(string)
	for _, path := range []string{
		"ca", "ca/pem", "ca_chain", "cert/ca", "cert/ca_chain", "cert/crl", "cert/delta-crl", "crl", "crl/pem", "cert/" + serial, "cert/" + serial + "/raw", "cert/" + serial + "/raw/pem",
		"issuer/default/json", "issuer/default/der", "issuer/default/pem", "issuer/default/crl", "issuer/default/crl/der", "issuer/default/crl/pem",
	} {
		if got := s.Do(kit.Request{Path: "pki_int/" + path, Token: kit.NoToken}); got.Status != http.StatusOK || len(got.Raw) == 0 {
			t.Errorf("%s: %d", path, got.Status)
		}
	}
	for _, path := range []string{"certs?list=true", "issuers?list=true", "keys?list=true", "issuer/default", "roles/internal-app", "crl/rotate", "config/urls", "key/default"} {
		if got := s.Do(kit.Request{Path: "pki_int/" + path, Token: kit.NoToken}); got.Status < 400 {
			t.Errorf("%s: %d without a token", path, got.Status)
		}
	}
	if b, _ := pem.Decode(s.Do(kit.Request{Path: "pki_int/crl/pem", Token: kit.NoToken}).Raw); b == nil {
		t.Error("the list is not PEM")
	}
}
