package database

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// skew is how much earlier than now certificates are good, for clocks that are
// behind.
const skew = 30 * time.Second

// authority signs the certificates of a role's users.
type authority struct {
	cert      *x509.Certificate
	key       crypto.Signer
	typ       string
	bits      string
	algorithm x509.SignatureAlgorithm
}

// newAuthority reads the settings of certificates.
func newAuthority(config map[string]string) (*authority, error) {
	pair, err := tls.X509KeyPair([]byte(config["ca_cert"]), []byte(config["ca_private_key"]))
	if err != nil {
		return nil, engines.Invalidf("credential_config: ca_cert and ca_private_key have to be a certificate and its key in PEM")
	}
	a := &authority{cert: pair.Leaf, typ: cmp.Or(config["key_type"], "rsa"), bits: config["key_bits"]}
	if !a.cert.IsCA || !a.cert.BasicConstraintsValid {
		return nil, engines.Invalidf("credential_config: ca_cert is not the certificate of an authority")
	}
	a.key, _ = pair.PrivateKey.(crypto.Signer)
	ok := a.key != nil
	switch a.typ {
	case "rsa":
		a.bits = cmp.Or(a.bits, "2048")
		ok = ok && (a.bits == "2048" || a.bits == "3072" || a.bits == "4096")
	case "ec":
		a.bits = cmp.Or(a.bits, "256")
		ok = ok && (a.bits == "256" || a.bits == "384" || a.bits == "521")
	case "ed25519":
		ok = ok && (a.bits == "" || a.bits == "0")
	default:
		return nil, engines.Invalidf("credential_config: key_type has to be rsa, ec or ed25519")
	}
	if !ok {
		return nil, engines.Invalidf("credential_config: key_bits is not one of key_type %s", a.typ)
	}
	if a.algorithm, ok = signatures(a.key, cmp.Or(config["signature_bits"], "0")); !ok {
		return nil, engines.Invalidf("credential_config: signature_bits has to be 256, 384 or 512")
	}
	return a, nil
}

// signatures is the algorithm for a key and a length of hashes, 0 for the usual.
func signatures(key crypto.Signer, bits string) (x509.SignatureAlgorithm, bool) {
	var list map[string]x509.SignatureAlgorithm
	switch key.(type) {
	case *rsa.PrivateKey:
		list = map[string]x509.SignatureAlgorithm{"256": x509.SHA256WithRSA, "384": x509.SHA384WithRSA, "512": x509.SHA512WithRSA}
	case *ecdsa.PrivateKey:
		list = map[string]x509.SignatureAlgorithm{"256": x509.ECDSAWithSHA256, "384": x509.ECDSAWithSHA384, "512": x509.ECDSAWithSHA512}
	}
	found, ok := list[bits]
	return found, ok || bits == "0"
}

func (a *authority) newKey() (crypto.Signer, error) {
	switch a.typ + a.bits {
	case "ec256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ec384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ec521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "rsa3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "rsa4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "rsa2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// issue makes a key and a certificate that are good until a time, or until the
// authority's own is not.
func (a *authority) issue(name string, now, until time.Time) (map[string]any, error) {
	if !now.Before(a.cert.NotAfter) {
		return nil, engines.Invalidf("the certificate of the role's authority (ca_cert) has expired")
	}
	key, err := a.newKey()
	if err != nil {
		return nil, engines.Internal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, engines.Internal(err)
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)), Subject: pkix.Name{CommonName: name}, SignatureAlgorithm: a.algorithm,
		NotBefore: now.Add(-skew), NotAfter: earlier(until, a.cert.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, engines.Internal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return map[string]any{
		"username": name, "client_certificate": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})), "private_key_type": a.typ,
	}, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
