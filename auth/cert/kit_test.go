package cert_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/auth/cert"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

// party is a certificate and its key.
type party struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
	// issuer is nil for one that signed itself.
	issuer *party
	serial int64
	now    time.Time
}

// issue makes a certificate of p, or a self-signed one if p is nil.
func issue(t *testing.T, p *party, now time.Time, change func(c *x509.Certificate)) *party {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if p != nil {
		p.serial++
		template.SerialNumber = big.NewInt(p.serial)
	}
	if change != nil {
		change(template)
	}
	out := &party{t: t, key: key, issuer: p, serial: 100, now: now}
	signer := out
	parent := template
	if p != nil {
		signer, parent = p, p.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	if out.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return out
}

func asCA(name string) func(c *x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid = name, true, true
		c.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
}

func asClient(name string, change ...func(c *x509.Certificate)) func(c *x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject.CommonName, c.ExtKeyUsage = name, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		for _, fn := range change {
			fn(c)
		}
	}
}

func newCA(t *testing.T, now time.Time, name string) *party {
	return issue(t, nil, now, asCA(name))
}

func (p *party) client(name string, change ...func(c *x509.Certificate)) *party {
	p.t.Helper()
	return issue(p.t, p, p.now, asClient(name, change...))
}

func (p *party) pem() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw}))
}

// crl is a CRL of p, until an hour from now, with these certificates.
func (p *party) crl(until time.Time, revoked ...*party) string {
	p.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: until.Add(-24 * time.Hour), NextUpdate: until}
	for _, r := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: r.cert.SerialNumber, RevocationTime: list.ThisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, p.cert, p.key)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// tls is p as one end of a connection, with these certificates beside its own.
func (p *party) tls(chain ...*party) tls.Certificate {
	out := tls.Certificate{Certificate: [][]byte{p.cert.Raw}, PrivateKey: p.key}
	for _, c := range chain {
		out.Certificate = append(out.Certificate, c.cert.Raw)
	}
	return out
}

func extension(id []int, value []byte) func(c *x509.Certificate) {
	return func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: id, Value: value})
	}
}

func mount(t *testing.T) *enginetest.Harness { return enginetest.Mount(t, cert.New(), nil) }

// write does what has to succeed.
func write(t *testing.T, h *enginetest.Harness, path string, body any) {
	t.Helper()
	if _, err := h.Do(engines.Update, path, body, nil); err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
}

func read(t *testing.T, h *enginetest.Harness, op engines.Operation, path string) map[string]any {
	t.Helper()
	resp, err := h.Do(op, path, nil, nil)
	if err != nil {
		t.Fatalf("%s %s: %v", op, path, err)
	}
	return enginetest.Data(t, resp)
}

// login logs in with a chain; the error is what it was refused for.
func login(t *testing.T, h *enginetest.Harness, body string, chain ...*party) (*engines.Auth, error) {
	t.Helper()
	h.Caller.PeerCertificates = nil
	for _, p := range chain {
		h.Caller.PeerCertificates = append(h.Caller.PeerCertificates, p.cert)
	}
	resp, err := h.Do(engines.Update, "login", body, nil)
	if err != nil {
		return nil, err
	}
	return resp.Auth, nil
}

func allow(t *testing.T, h *enginetest.Harness, chain ...*party) *engines.Auth {
	t.Helper()
	auth, err := login(t, h, ``, chain...)
	if err != nil {
		t.Fatalf("%s is refused: %v", chain[0].cert.Subject.CommonName, err)
	}
	return auth
}

func deny(t *testing.T, h *enginetest.Harness, text string, chain ...*party) {
	t.Helper()
	if _, err := login(t, h, ``, chain...); err == nil || engines.KindOf(err) != engines.KindInvalid || !strings.Contains(err.Error(), text) {
		t.Errorf("answered %v, want a refusal with %q", err, text)
	}
}

const noMatch = "failed to match all constraints"
