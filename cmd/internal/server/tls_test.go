package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority is a CA of the test's own.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate for the loopback address.
func (a *authority) issue(serial int64) (certPEM, keyPEM []byte) {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return pemOf("CERTIFICATE", der), pemOf("PRIVATE KEY", keyDER)
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// write puts files into a folder.
func write(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// serial is the number of the certificate that a new connection is shown.
func (r *running) serial(cfg *tls.Config) (int64, error) {
	conn, err := tls.Dial("tcp", strings.TrimPrefix(r.Address(), "https://"), cfg)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(), nil
}

func tlsListener(dir, more string) string {
	return withStorage(dir, fmt.Sprintf("listener \"tcp\" {\n address = \"127.0.0.1:0\"\n tls_cert_file = \"%[1]s/cert\"\n tls_key_file = \"%[1]s/key\"\n%[2]s\n}\n", dir, more))
}

func TestTLSAndReload(t *testing.T) {
	dir, ca := t.TempDir(), newAuthority(t)
	cert, key := ca.issue(10)
	write(t, dir, map[string][]byte{"cert": cert, "key": key})
	r := start(t, tlsListener(dir, ""))
	trust := &tls.Config{RootCAs: ca.pool()}
	r.client = &http.Client{Transport: &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}}
	k := r.init(map[string]int{"secret_shares": 1, "secret_threshold": 1})
	r.unseal(k, 1)
	_, header, _ := r.do(http.MethodGet, "sys/health", "", nil)
	if header.Get("Strict-Transport-Security") == "" {
		t.Error("browsers are not told to stay with TLS")
	}
	resp, err := r.client.Get(r.Address() + "/v1/sys/health")
	if err != nil {
		t.Fatal(err)
	}
	if resp.ProtoMajor != 2 {
		t.Errorf("the server speaks %s", resp.Proto)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	shows := func(want int64) {
		t.Helper()
		if got, err := r.serial(trust); err != nil || got != want {
			t.Errorf("the certificate is %d (%v), not %d", got, err, want)
		}
	}
	shows(10)
	cert, key = ca.issue(11)
	write(t, dir, map[string][]byte{"cert": cert, "key": key})
	shows(10)
	if err := r.Reload(); err != nil {
		t.Fatal(err)
	}
	shows(11)
	cert, key = ca.issue(12)
	write(t, dir, map[string][]byte{"cert": cert, "key": key})
	r.ok(http.MethodPost, "sys/config/reload/listener", k.RootToken, nil)
	shows(12)
	// A certificate that cannot be used leaves the old one in place.
	write(t, dir, map[string][]byte{"cert": []byte("nonsense")})
	if err := r.Reload(); err == nil {
		t.Error("nonsense was loaded")
	}
	r.wantStatus(http.StatusInternalServerError, http.MethodPost, "sys/config/reload/listener", k.RootToken)
	r.wantStatus(http.StatusBadRequest, http.MethodPost, "sys/config/reload/nothing", k.RootToken)
	shows(12)
	old := &tls.Config{RootCAs: ca.pool(), MaxVersion: tls.VersionTLS11} // #nosec G402 -- to be refused
	if _, err := r.serial(old); err == nil {
		t.Error("TLS 1.1 was spoken")
	}
}

func TestClientCertificates(t *testing.T) {
	dir, ca := t.TempDir(), newAuthority(t)
	cert, key := ca.issue(10)
	write(t, dir, map[string][]byte{"cert": cert, "key": key, "ca": pemOf("CERTIFICATE", ca.cert.Raw)})
	r := start(t, tlsListener(dir, fmt.Sprintf(" tls_client_ca_file = \"%s/ca\"\n tls_require_and_verify_client_cert = true\n tls_min_version = \"tls13\"", dir)))
	get := func(certs ...tls.Certificate) error {
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.pool(), Certificates: certs}}}
		defer client.CloseIdleConnections()
		resp, err := client.Get(r.Address() + "/v1/sys/seal-status")
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	pair := func(a *authority) tls.Certificate {
		certPEM, keyPEM := a.issue(20)
		p, err := tls.X509KeyPair(certPEM, keyPEM)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := get(pair(ca)); err != nil {
		t.Errorf("a good certificate was refused: %s", err)
	}
	if err := get(); err == nil {
		t.Error("a client without a certificate was let in")
	}
	if err := get(pair(newAuthority(t))); err == nil {
		t.Error("a client with a stranger's certificate was let in")
	}
}
