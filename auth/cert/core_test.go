package cert_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestHandshakes logs in over TLS, with the certificates that handshakes bring.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := kit.New(t, kit.At(clock))
	listener := httptest.NewUnstartedServer(s.Handler)
	listener.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	listener.StartTLS()
	t.Cleanup(listener.Close)
	now := time.Now()
	ca := newCA(t, now, "CA")
	between := issue(t, ca, now, asCA("between"))
	s.Put("sys/auth/cert", body{"type": "cert"})
	s.Put("auth/cert/certs/web", body{"certificate": ca.pem(), "allowed_common_names": "web*", "token_policies": "web", "token_ttl": "1h"})

	post := func(path, token string, certs ...tls.Certificate) *kit.Response {
		t.Helper()
		transport := &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(certs) == 0 {
					return new(tls.Certificate), nil
				}
				return &certs[0], nil
			},
		}}
		transport.TLSClientConfig.RootCAs.AddCert(listener.Certificate())
		defer transport.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, listener.URL+"/v1/"+path, bytes.NewReader([]byte(`{}`)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Vault-Token", token)
		resp, err := (&http.Client{Transport: transport}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return kit.NewResponse(resp.StatusCode, resp.Header, raw)
	}
	login := func(certs ...tls.Certificate) *kit.Response { return post("auth/cert/login", "", certs...) }
	refused := func(text string, certs ...tls.Certificate) {
		t.Helper()
		if r := login(certs...); r.Status != http.StatusBadRequest || !strings.Contains(string(r.Raw), text) {
			t.Errorf("answered %d %s, want %q", r.Status, r.Raw, text)
		}
	}

	good := ca.client("web1")
	r := login(good.tls())
	if r.Status != http.StatusOK || r.Text("auth", "metadata", "common_name") != "web1" || r.At("auth", "lease_duration") != json.Number("3600") {
		t.Fatalf("answered %d %s", r.Status, r.Raw)
	}
	look := s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: r.Text("auth", "client_token")})
	if look.Text("data", "display_name") != "cert-web" || look.Text("data", "entity_id") == "" {
		t.Errorf("looked up %s", look.Raw)
	}
	renewals(t, s, r.Text("auth", "client_token"), good.tls(), ca.client("web1").tls(), post)
	if r := login(between.client("web2").tls(between)); r.Status != http.StatusOK {
		t.Errorf("by way of an intermediate: %d %s", r.Status, r.Raw)
	}
	refused("client certificate must be supplied")
	refused(noMatch, ca.client("db").tls())
	refused(noMatch, newCA(t, now, "CA").client("web1").tls())
	refused(noMatch, ca.tls())
	refused(noMatch, ca.client("web1", func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Minute) }).tls())
	revoked := ca.client("web3")
	if r := login(revoked.tls()); r.Status != http.StatusOK {
		t.Errorf("before it is revoked: %d %s", r.Status, r.Raw)
	}
	s.Put("auth/cert/crls/ca", body{"crl": ca.crl(now.Add(30*time.Minute), revoked)})
	refused(noMatch, revoked.tls())
	if r := login(good.tls()); r.Status != http.StatusOK {
		t.Errorf("while another is revoked: %d %s", r.Status, r.Raw)
	}
	clock.Advance(45 * time.Minute)
	refused("has expired", good.tls())
	s.Put("auth/cert/crls/ca", body{"crl": ca.crl(now.Add(3*time.Hour), revoked)})
	if r := login(good.tls()); r.Status != http.StatusOK {
		t.Errorf("with a new CRL: %d %s", r.Status, r.Raw)
	}
	clock.Advance(time.Hour)
	refused(noMatch, good.tls())
}

// renewals: a token is bound to the key that logged in, unless the mount says
// otherwise.
func renewals(t *testing.T, s *kit.Server, token string, same, other tls.Certificate, post func(path, token string, certs ...tls.Certificate) *kit.Response) {
	t.Helper()
	renew := func(want int, certs ...tls.Certificate) {
		t.Helper()
		if r := post("auth/token/renew-self", token, certs...); r.Status != want {
			t.Errorf("answered %d %s, want %d", r.Status, r.Raw, want)
		}
	}
	renew(http.StatusOK, same)
	renew(http.StatusBadRequest, other)
	renew(http.StatusBadRequest)
	s.Put("auth/cert/config", body{"disable_binding": true})
	renew(http.StatusOK, other)
	renew(http.StatusOK)
	s.Put("auth/cert/certs/web", body{"token_policies": "db"})
	renew(http.StatusBadRequest, same)
	s.Put("auth/cert/certs/web", body{"token_policies": "web"})
	s.Put("auth/cert/config", body{"disable_binding": false})
}

// FuzzLogin: whatever a caller with a certificate that nobody trusts sends, it
// is refused.
func FuzzLogin(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"name":"r"}`, `{"name":["r"]}`, `{"name":"../r"}`, `{"name":"\u0000"}`, `[`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h := mount(t)
		write(t, h, "certs/r", body{"certificate": newCA(t, h.Now, "CA").pem()})
		if auth, err := login(t, h, text, newCA(t, h.Now, "CA").client("r")); err == nil {
			t.Errorf("%q logs in as %+v", text, auth)
		} else if engines.KindOf(err) == engines.KindInternal {
			t.Errorf("%q: %v", text, err)
		}
	})
}
