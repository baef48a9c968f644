package lists

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"io"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
	"golang.org/x/crypto/ocsp"
)

// The library makes no answers of Ed25519 keys. So it is given a key of a kind that
// it knows, and what it wants signed is put together with the signature anew.

var (
	oidEd25519 = asn1.ObjectIdentifier{1, 3, 101, 112}
	errAnswer  = errors.New("lists: the answer is not of the form that it should have")
)

// standIn is a key that signs nothing.
type standIn struct{}

func (standIn) Public() crypto.PublicKey { return &ecdsa.PublicKey{Curve: elliptic.P256()} }

func (standIn) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return []byte{0}, nil }

// answerEd25519 signs an answer (RFC 6960, section 4.2.1) with an Ed25519 key (RFC
// 8410).
func answerEd25519(issuer *x509.Certificate, template ocsp.Response, key ed25519.PrivateKey) ([]byte, error) {
	template.SignatureAlgorithm = 0
	der, err := ocsp.CreateResponse(issuer, issuer, template, standIn{})
	if err != nil {
		return nil, err
	}
	tbs, err := toBeSigned(der)
	if err != nil {
		return nil, err
	}
	var basic cryptobyte.Builder
	basic.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidEd25519) })
		b.AddASN1BitString(ed25519.Sign(key, tbs))
	})
	inner, err := basic.Bytes()
	if err != nil {
		return nil, err
	}
	var out cryptobyte.Builder
	out.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(int64(ocsp.Success))
		b.AddASN1(cbasn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidBasic)
				b.AddASN1OctetString(inner)
			})
		})
	})
	return out.Bytes()
}

var oidBasic = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}

// toBeSigned is the part of an answer that is signed.
func toBeSigned(der []byte) ([]byte, error) {
	var response, wrapped, bytes, basic, signed, tbs cryptobyte.String
	var status int
	in := cryptobyte.String(der)
	if !in.ReadASN1(&response, cbasn1.SEQUENCE) || !response.ReadASN1Enum(&status) || status != int(ocsp.Success) ||
		!response.ReadASN1(&wrapped, cbasn1.Tag(0).Constructed().ContextSpecific()) || !wrapped.ReadASN1(&bytes, cbasn1.SEQUENCE) ||
		!bytes.SkipASN1(cbasn1.OBJECT_IDENTIFIER) || !bytes.ReadASN1(&basic, cbasn1.OCTET_STRING) ||
		!basic.ReadASN1(&signed, cbasn1.SEQUENCE) || !signed.ReadASN1Element(&tbs, cbasn1.SEQUENCE) {
		return nil, errAnswer
	}
	return tbs, nil
}
