package keys_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"testing"

	"github.com/coffer-secrets/coffer/engines/pki/keys"
)

// TestSubjectKeyID: a key is identified by the hash of the bits that stand in its
// certificate (RFC 5280, section 4.2.1.2, method 1), on each curve.
func TestSubjectKeyID(t *testing.T) {
	t.Parallel()
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		var info struct {
			Algorithm pkix.AlgorithmIdentifier
			Key       asn1.BitString
		}
		if _, err := asn1.Unmarshal(der, &info); err != nil {
			t.Fatal(err)
		}
		want := sha1.Sum(info.Key.Bytes)
		if got, err := keys.SubjectKeyID(key.Public()); err != nil || !bytes.Equal(got, want[:]) {
			t.Errorf("%s: %x, %v, want %x", curve.Params().Name, got, err, want)
		}
	}
}
