package certs

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/coffer-secrets/coffer/engines"
)

// Make signs a certificate of a public key. A root has itself as the parent. The
// key must be one of the standard library's: what it signs is not verified, which
// for EC takes longer than to sign.
func Make(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	unsigned := &reader{Signer: key}
	_, err := x509.CreateCertificate(rand.Reader, template, parent, public, unsigned)
	if !errors.Is(err, errRead) {
		return nil, engines.Invalidf("the certificate cannot be made of what was asked for: a name or value in it has no form in X.509")
	}
	der, err := unsigned.sign()
	if err != nil {
		return nil, engines.Internal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, engines.Invalidf("the certificate cannot be made of what was asked for: a name in it is malformed")
	}
	return c, nil
}

// reader is a key that crypto/x509 believes to sign with, and that takes what is to
// be signed: signing ourselves saves the verification that comes behind it.
type reader struct {
	crypto.Signer
	tbs  []byte
	opts crypto.SignerOpts
}

var errRead = errors.New("certs: what is to be signed has been read")

// SignMessage implements crypto.MessageSigner.
func (r *reader) SignMessage(_ io.Reader, tbs []byte, opts crypto.SignerOpts) ([]byte, error) {
	r.tbs, r.opts = tbs, opts
	return nil, errRead
}

// sign makes the certificate (RFC 5280, section 4.1): what is signed, the algorithm
// that it names, and the signature.
func (r *reader) sign() ([]byte, error) {
	signature, err := crypto.SignMessage(r.Signer, rand.Reader, r.tbs, r.opts)
	if err != nil {
		return nil, err
	}
	algorithm, err := algorithmIn(r.tbs)
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(r.tbs)
		b.AddBytes(algorithm)
		b.AddASN1BitString(signature)
	})
	return b.Bytes()
}

// algorithmIn is the signature's algorithm as what is signed names it, behind the
// version and the serial number.
func algorithmIn(tbs []byte) ([]byte, error) {
	var body, algorithm cryptobyte.String
	in := cryptobyte.String(tbs)
	if !in.ReadASN1(&body, cbasn1.SEQUENCE) || !body.SkipOptionalASN1(cbasn1.Tag(0).Constructed().ContextSpecific()) ||
		!body.SkipASN1(cbasn1.INTEGER) || !body.ReadASN1Element(&algorithm, cbasn1.SEQUENCE) {
		return nil, asn1.SyntaxError{Msg: "what is to be signed is no certificate"}
	}
	return algorithm, nil
}
