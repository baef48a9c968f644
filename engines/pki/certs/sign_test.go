package certs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
)

// TestMake: what is signed verifies, with each algorithm, and is what crypto/x509
// makes but for the signature.
func TestMake(t *testing.T) {
	t.Parallel()
	key := func(k crypto.Signer, err error) crypto.Signer {
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	p256 := key(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	p521 := key(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))
	rsaKey := key(rsa.GenerateKey(rand.Reader, 2048))
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for algorithm, key := range map[x509.SignatureAlgorithm]crypto.Signer{
		x509.ECDSAWithSHA256: p256, x509.ECDSAWithSHA512: p521, x509.SHA256WithRSA: rsaKey, x509.SHA512WithRSA: rsaKey,
		x509.SHA256WithRSAPSS: rsaKey, x509.SHA384WithRSAPSS: rsaKey, x509.PureEd25519: edKey,
	} {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(12345), Subject: pkix.Name{CommonName: "Root"}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SubjectKeyId: []byte{1}, SignatureAlgorithm: algorithm,
		}
		root, err := certs.Make(template, template, key.Public(), key)
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		leaf := &x509.Certificate{
			SerialNumber: certs.NewSerial(), Subject: pkix.Name{CommonName: "a.example.com"}, DNSNames: []string{"a.example.com"},
			NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<31, 0), SignatureAlgorithm: algorithm,
		}
		made, err := certs.Make(leaf, root, p256.Public(), key)
		if err != nil {
			t.Errorf("%s: %v", algorithm, err)
			continue
		}
		if err := made.CheckSignatureFrom(root); err != nil || made.SignatureAlgorithm != algorithm {
			t.Errorf("%s: the signature is of %s: %v", algorithm, made.SignatureAlgorithm, err)
		}
		der, err := x509.CreateCertificate(rand.Reader, leaf, root, p256.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := x509.ParseCertificate(der); err != nil || string(same.RawTBSCertificate) != string(made.RawTBSCertificate) {
			t.Errorf("%s: something else was signed: %v", algorithm, err)
		}
	}
	_, err = certs.Make(&x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"ü"}}, &x509.Certificate{}, p256.Public(), p256)
	if engines.KindOf(err) != engines.KindInvalid {
		t.Errorf("what has no form in X.509: %v", err)
	}
	if _, err := certs.Make(&x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{PublicKey: p521.Public()}, p256.Public(), p256); err == nil {
		t.Error("an issuer's certificate is taken for a key that is not its own")
	}
}
