package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

// Bounds of what comes from outside.
const (
	MaxPEM      = 512 << 10
	maxBlocks   = 64
	MaxCSR      = 64 << 10
	maxExponent = 1 << 31
)

// Certificate writes a certificate as PEM without the last newline, as answers
// have it.
func Certificate(der []byte) string { return block("CERTIFICATE", der) }

// Block writes DER of a kind as PEM without the last newline.
func block(kind string, der []byte) string {
	return strings.TrimSuffix(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})), "\n")
}

// CSR writes a request as PEM.
func CSR(der []byte) string { return block("CERTIFICATE REQUEST", der) }

// CRL writes a list as PEM.
func CRL(der []byte) string { return block("X509 CRL", der) }

// Marshal is the form in which keys are stored.
func Marshal(key crypto.Signer) ([]byte, error) { return x509.MarshalPKCS8PrivateKey(key) }

// Parse reads a stored key.
func Parse(der []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	return signer(key)
}

func signer(key any) (crypto.Signer, error) {
	s, ok := key.(crypto.Signer)
	if !ok {
		return nil, engines.Invalidf("a private key is not one to sign with")
	}
	if _, ok := KindOf(s.Public()); !ok {
		return nil, engines.Invalidf("a private key is of a kind that is not taken: expected RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519")
	}
	return s, nil
}

// Encode writes a private key for an answer: as PEM or, for the format "der", as
// base64 of DER; PKCS #8 if pkcs8, and else in the traditional form of its type.
func Encode(key crypto.Signer, format string, pkcs8 bool) (string, error) {
	kind, der, err := traditional(key, pkcs8)
	if err != nil {
		return "", err
	}
	if format == "der" {
		return base64.StdEncoding.EncodeToString(der), nil
	}
	return block(kind, der), nil
}

func traditional(key crypto.Signer, pkcs8 bool) (kind string, der []byte, err error) {
	switch k := key.(type) {
	case *rsa.PrivateKey:
		if !pkcs8 {
			return "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k), nil
		}
	case *ecdsa.PrivateKey:
		if !pkcs8 {
			der, err = x509.MarshalECPrivateKey(k)
			return "EC PRIVATE KEY", der, err
		}
	}
	der, err = x509.MarshalPKCS8PrivateKey(key)
	return "PRIVATE KEY", der, err
}

// Bundle is what a PEM bundle held.
type Bundle struct {
	Certificates []*x509.Certificate
	Keys         []crypto.Signer
}

// ParseBundle reads certificates and unencrypted keys in any order.
func ParseBundle(field, text string) (*Bundle, error) {
	bad := func(what string) (*Bundle, error) { return nil, engines.Invalidf("%s: %s", field, what) }
	if len(text) > MaxPEM {
		return bad("larger than the limit of 512 KiB")
	}
	out, blocks := new(Bundle), 0
	for rest := bytes.TrimSpace([]byte(text)); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return bad("expected certificates and private keys in PEM")
		}
		if blocks++; blocks > maxBlocks {
			return bad("more than 64 certificates and keys")
		}
		if err := out.add(b); err != nil {
			return bad(err.Error())
		}
	}
	if blocks == 0 {
		return bad("expected certificates and private keys in PEM")
	}
	return out, nil
}

func (b *Bundle) add(in *pem.Block) error {
	switch in.Type {
	case "CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE":
		c, err := ParseCertificate(in.Bytes)
		if err != nil {
			return err
		}
		b.Certificates = append(b.Certificates, c)
		return nil
	case "EC PARAMETERS":
		return nil // openssl writes it before a key, which says the same
	}
	var key any
	var err error
	switch in.Type {
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(in.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(in.Bytes)
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(in.Bytes)
	default:
		return engines.Invalidf("a PEM block is neither a certificate nor an unencrypted private key")
	}
	if err != nil {
		return engines.Invalidf("a private key cannot be read")
	}
	s, err := signer(key)
	if err == nil {
		b.Keys = append(b.Keys, s)
	}
	return err
}

// ParseCertificate reads one certificate whose key may be checked with.
func ParseCertificate(der []byte) (*x509.Certificate, error) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, engines.Invalidf("a certificate cannot be read")
	}
	if key, ok := c.PublicKey.(*rsa.PublicKey); ok && (key.N.BitLen() > 16384 || key.E >= maxExponent) {
		return nil, engines.Invalidf("the key of a certificate is too large")
	}
	return c, nil
}

// ParseOne reads exactly one certificate in PEM.
func ParseOne(field, text string) (*x509.Certificate, error) {
	b, err := ParseBundle(field, text)
	if err != nil {
		return nil, err
	}
	if len(b.Certificates) != 1 || len(b.Keys) > 0 {
		return nil, engines.Invalidf("%s: expected one certificate in PEM", field)
	}
	return b.Certificates[0], nil
}

// ParseCSR reads a request in PEM, or in base64 without the lines around it, and
// checks that whoever made it has the key.
func ParseCSR(text string) (*x509.CertificateRequest, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, engines.Invalidf(`"csr" is empty`)
	case len(text) > MaxCSR:
		return nil, engines.Invalidf("csr: larger than the limit of 64 KiB")
	}
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		b, _ := pem.Decode([]byte(text))
		if b == nil || b.Type != "CERTIFICATE REQUEST" && b.Type != "NEW CERTIFICATE REQUEST" {
			return nil, engines.Invalidf("csr contains no data: expected a certificate request in PEM")
		}
		der = b.Bytes
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, engines.Invalidf("certificate request could not be parsed")
	}
	if _, ok := KindOf(csr.PublicKey); !ok {
		return nil, engines.Invalidf("csr: the key is of a kind that is not taken: expected RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519")
	}
	if key, ok := csr.PublicKey.(*rsa.PublicKey); ok && key.E >= maxExponent {
		return nil, engines.Invalidf("csr: the exponent of the key is too large")
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, engines.Invalidf("request signature invalid")
	}
	return csr, nil
}
