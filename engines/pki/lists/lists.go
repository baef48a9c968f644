package lists

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	_ "crypto/sha1"   // #nosec G505 -- requests name issuers by it
	_ "crypto/sha256" // as above
	_ "crypto/sha512" // as above
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"time"

	"golang.org/x/crypto/ocsp"
)

// List is a revocation list to be signed.
type List struct {
	Entries []x509.RevocationListEntry
	Number  *big.Int
	// Base is the number of the list that a delta adds to; nil for a whole list.
	Base       *big.Int
	This, Next time.Time
	// Extra are further extensions.
	Extra []pkix.Extension
}

var oidDelta = asn1.ObjectIdentifier{2, 5, 29, 27}

// Sign signs a list and returns its DER.
func (l *List) Sign(issuer *x509.Certificate, key crypto.Signer, algorithm x509.SignatureAlgorithm) ([]byte, error) {
	template := &x509.RevocationList{
		RevokedCertificateEntries: l.Entries, Number: l.Number, ThisUpdate: l.This, NextUpdate: l.Next,
		SignatureAlgorithm: algorithm, ExtraExtensions: l.Extra,
	}
	if l.Base != nil {
		der, err := asn1.Marshal(l.Base)
		if err != nil {
			return nil, err
		}
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: oidDelta, Critical: true, Value: der})
	}
	// Issuers that others made may lack what crypto/x509 wants of one that signs
	// lists, which does not change what is signed.
	with := *issuer
	with.KeyUsage |= x509.KeyUsageCRLSign
	if len(with.SubjectKeyId) == 0 {
		with.SubjectKeyId = []byte{0}
	}
	return x509.CreateRevocationList(rand.Reader, template, &with, key)
}

// MaxRequest bounds a request for a status, in bytes.
const MaxRequest = 16 << 10

// Question is what a request asks.
type Question struct{ request *ocsp.Request }

// Read reads a request.
func Read(der []byte) (*Question, bool) {
	if len(der) == 0 || len(der) > MaxRequest {
		return nil, false
	}
	r, err := ocsp.ParseRequest(der)
	if err != nil || !r.HashAlgorithm.Available() || r.SerialNumber == nil || r.SerialNumber.Sign() < 0 {
		return nil, false
	}
	return &Question{r}, true
}

// Serial is whose status is asked.
func (q *Question) Serial() *big.Int { return q.request.SerialNumber }

// Names reports whether the question is about certificates of an issuer.
func (q *Question) Names(issuer *x509.Certificate) bool {
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(issuer.RawSubjectPublicKeyInfo, &info); err != nil {
		return false
	}
	return bytes.Equal(q.hash(issuer.RawSubject), q.request.IssuerNameHash) && bytes.Equal(q.hash(info.Key.RightAlign()), q.request.IssuerKeyHash)
}

func (q *Question) hash(b []byte) []byte {
	h := q.request.HashAlgorithm.New()
	h.Write(b)
	return h.Sum(nil)
}

// Answer says what became of the certificate: revoked, if it was, at a time.
func (q *Question) Answer(issuer *x509.Certificate, key crypto.Signer, algorithm x509.SignatureAlgorithm, revoked, now time.Time, good time.Duration) ([]byte, error) {
	template := ocsp.Response{
		Status: ocsp.Good, SerialNumber: q.request.SerialNumber, ThisUpdate: now, ProducedAt: now,
		IssuerHash: q.request.HashAlgorithm, SignatureAlgorithm: algorithm,
	}
	if good > 0 {
		template.NextUpdate = now.Add(good)
	}
	if !revoked.IsZero() {
		template.Status, template.RevokedAt, template.RevocationReason = ocsp.Revoked, revoked, ocsp.Unspecified
	}
	if ed, ok := key.(ed25519.PrivateKey); ok {
		return answerEd25519(issuer, template, ed)
	}
	return ocsp.CreateResponse(issuer, issuer, template, key)
}

// The answers without a signature, which say why there is none.
var (
	Malformed    = ocsp.MalformedRequestErrorResponse
	Unauthorized = ocsp.UnauthorizedErrorResponse
	Failed       = ocsp.InternalErrorErrorResponse
)
