package attacks_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// party has a certificate and its key.
type party struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (p *party) issue(change func(c *x509.Certificate)) *party {
	t := p.t
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(template)
	parent, signer := p.cert, p.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &party{t: t, cert: cert, key: key}
}

func (p *party) client(name string) *party {
	return p.issue(func(c *x509.Certificate) { c.Subject = pkix.Name{CommonName: name} })
}

// authority is a CA; two of one name are as alike as strangers can make them.
func authority(t testing.TB, name string) *party {
	return (&party{t: t}).issue(func(c *x509.Certificate) {
		c.Subject, c.IsCA, c.BasicConstraintsValid = pkix.Name{CommonName: name}, true, true
		c.KeyUsage, c.ExtKeyUsage, c.SubjectKeyId = x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature, nil, []byte{1, 2, 3, 4}
	})
}

func (p *party) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
}

// secure is a node behind TLS that asks for certificates and checks none, as a
// listener does: what they are good for is the way's to say.
type secure struct {
	*node
	url  string
	pool *x509.CertPool
}

func behindTLS(t testing.TB) *secure {
	t.Helper()
	s := &secure{node: serving(t), pool: x509.NewCertPool()}
	listener := httptest.NewUnstartedServer(s.Handler)
	listener.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
	listener.StartTLS()
	t.Cleanup(listener.Close)
	s.pool.AddCert(listener.Certificate())
	s.url = listener.URL
	return s
}

// send posts over a connection of its own, with a chain of certificates.
func (s *secure) send(path, token string, header http.Header, chain ...*party) *kit.Response {
	s.t.Helper()
	own := new(tls.Certificate)
	for i, p := range chain {
		if own.Certificate = append(own.Certificate, p.cert.Raw); i == 0 {
			own.PrivateKey = p.key
		}
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		RootCAs: s.pool, MinVersion: tls.VersionTLS12,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return own, nil },
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/v1/"+path, strings.NewReader("{}"))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return kit.NewResponse(resp.StatusCode, resp.Header, raw)
}

// TestAttack47Certificates: a certificate is trusted for its signature or for
// all its bytes, and for nothing that others can write into theirs.
func TestAttack47Certificates(t *testing.T) {
	t.Parallel()
	s := behindTLS(t)
	s.Put("sys/auth/cert", body{"type": "cert"})
	ca, pinnedCA := authority(t, "CA"), authority(t, "CA")
	good, pinned := ca.client("web"), pinnedCA.client("pinned")
	s.Put("auth/cert/certs/web", body{"certificate": ca.pem(), "allowed_common_names": "web", "token_ttl": "1h"})
	s.Put("auth/cert/certs/pinned", body{"certificate": pinned.pem()})
	login := func(chain ...*party) *kit.Response { return s.send("auth/cert/login", "", nil, chain...) }
	r := login(good)
	if r.Status != http.StatusOK || login(pinned).Status != http.StatusOK {
		t.Fatalf("good ones are answered %d %s", r.Status, r.Raw)
	}
	same := func(of *party) func(c *x509.Certificate) {
		return func(c *x509.Certificate) {
			c.Subject, c.SerialNumber, c.SubjectKeyId, c.AuthorityKeyId = of.cert.Subject, of.cert.SerialNumber, of.cert.SubjectKeyId, of.cert.AuthorityKeyId
		}
	}
	usage := func(list ...x509.ExtKeyUsage) *party {
		return ca.issue(func(c *x509.Certificate) { c.Subject, c.ExtKeyUsage = pkix.Name{CommonName: "web"}, list })
	}
	forged := authority(t, "CA")
	leafCA := ca.issue(func(c *x509.Certificate) { c.Subject, c.KeyUsage = pkix.Name{CommonName: "web"}, x509.KeyUsageCertSign })
	for what, chain := range map[string][]*party{
		"none":                                    {},
		"its names, another CA's signature":       {forged.client("web")},
		"the same, with its CA":                   {forged.client("web"), forged},
		"the same, with the CA that is trusted":   {forged.client("web"), ca},
		"serial, name and key ids of a good one":  {forged.issue(same(good))},
		"the same, followed by the good one":      {forged.issue(same(good)), good},
		"a pinned one's twin by its CA":           {pinnedCA.issue(same(pinned))},
		"the twin, followed by the pinned one":    {pinnedCA.issue(same(pinned)), pinned},
		"another of the pinned one's CA":          {pinnedCA.client("web")},
		"one issued by the pinned one":            {pinned.client("web"), pinned},
		"the CA itself":                           {ca},
		"the pinned one's CA":                     {pinnedCA},
		"one issued by a certificate of no CA":    {good.client("web"), good},
		"one issued by what only says that it is": {leafCA.client("web"), leafCA},
		"another name":                            {ca.client("db")},
		"another case of the name":                {ca.client("WEB")},
		"a name with a NUL":                       {ca.client("web\x00.evil")},
		"for servers only":                        {usage(x509.ExtKeyUsageServerAuth)},
		"for code only":                           {usage(x509.ExtKeyUsageCodeSigning)},
		"expired":                                 {ca.issue(func(c *x509.Certificate) { c.Subject, c.NotAfter = good.cert.Subject, time.Now().Add(-time.Minute) })},
		"not yet good":                            {ca.issue(func(c *x509.Certificate) { c.Subject, c.NotBefore = good.cert.Subject, time.Now().Add(30*time.Minute) })},
	} {
		s.untouched(what, func() {
			if r := login(chain...); r.Status != http.StatusBadRequest || r.At("auth") != nil {
				t.Errorf("%s: %d %s", what, r.Status, r.Raw)
			}
		})
	}
	for _, name := range []string{"X-Forwarded-Client-Cert", "X-Ssl-Cert", "X-Client-Cert", "Ssl-Client-Cert"} {
		for _, value := range []string{strings.ReplaceAll(good.pem(), "\n", ""), "Cert=\"" + strings.ReplaceAll(good.pem(), "\n", "%0A") + "\""} {
			s.expect(name, s.send("auth/cert/login", "", http.Header{name: {value}}), 400, "client certificate must be supplied")
		}
	}
	token := r.Text("auth", "client_token")
	for what, chain := range map[string][]*party{
		"a sibling": {ca.client("web")}, "nothing": {}, "a twin": {forged.issue(same(good))}, "the pinned one": {pinned}, "a sibling before it": {ca.client("web"), good},
	} {
		if r := s.send("auth/token/renew-self", token, nil, chain...); r.Status != http.StatusBadRequest {
			t.Errorf("renewed with %s: %d %s", what, r.Status, r.Raw)
		}
	}
	if r := s.send("auth/token/renew-self", token, nil, good); r.Status != http.StatusOK {
		t.Errorf("renewed with its own: %d %s", r.Status, r.Raw)
	}
}
