package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RFC 5280 names keys by it; nothing rests on its strength
	"crypto/x509"
	"encoding/asn1"

	"github.com/coffer-secrets/coffer/engines"
)

// The types of keys.
const (
	RSA     = "rsa"
	EC      = "ec"
	Ed25519 = "ed25519"
	// Any is what a role takes of a CSR.
	Any = "any"
)

// Kind is what a key is: its type, and its size where the type has several.
type Kind struct {
	Type string
	Bits int
}

// Of settles what a caller asks for; no bits are the type's usual ones.
func Of(typ string, bits int64) (Kind, error) {
	switch typ {
	case RSA:
		switch bits {
		case 0:
			return Kind{RSA, 2048}, nil
		case 2048, 3072, 4096, 8192:
			return Kind{RSA, int(bits)}, nil
		}
		return Kind{}, engines.Invalidf("key_bits: RSA keys have 2048, 3072, 4096 or 8192 bits")
	case EC:
		switch bits {
		case 0:
			return Kind{EC, 256}, nil
		case 256, 384, 521:
			return Kind{EC, int(bits)}, nil
		}
		return Kind{}, engines.Invalidf("key_bits: EC keys have 256, 384 or 521 bits")
	case Ed25519:
		return Kind{Type: Ed25519}, nil
	}
	return Kind{}, engines.Invalidf("key_type: expected rsa, ec or ed25519")
}

// Slow reports whether making such a key takes longer than a transaction may.
func (k Kind) Slow() bool { return k.Type == RSA }

// Generate makes a key.
func (k Kind) Generate() (crypto.Signer, error) {
	switch k.Type {
	case RSA:
		return rsa.GenerateKey(rand.Reader, k.Bits)
	case EC:
		return ecdsa.GenerateKey(curve(k.Bits), rand.Reader)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

func curve(bits int) elliptic.Curve {
	switch bits {
	case 384:
		return elliptic.P384()
	case 521:
		return elliptic.P521()
	}
	return elliptic.P256()
}

// KindOf tells what a public key is. It is false for one that is not taken.
func KindOf(public crypto.PublicKey) (Kind, bool) {
	switch key := public.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return Kind{RSA, bits}, bits >= 2048 && bits <= 8192
	case *ecdsa.PublicKey:
		bits := key.Curve.Params().BitSize
		return Kind{EC, bits}, bits >= 256
	case ed25519.PublicKey:
		return Kind{Type: Ed25519}, true
	}
	return Kind{}, false
}

// SubjectKeyID is the identifier of RFC 5280, section 4.2.1.2, method 1.
func SubjectKeyID(public crypto.PublicKey) ([]byte, error) {
	if ec, ok := public.(*ecdsa.PublicKey); ok { // the most common one, without a detour
		point, err := ec.Bytes()
		if err != nil {
			return nil, err
		}
		sum := sha1.Sum(point) //nolint:gosec // as above
		return sum[:], nil
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, err
	}
	sum := sha1.Sum(info.Key.Bytes) //nolint:gosec // as above
	return sum[:], nil
}

// Same reports whether two public keys are one.
func Same(a, b crypto.PublicKey) bool {
	eq, ok := a.(interface{ Equal(x crypto.PublicKey) bool })
	return ok && eq.Equal(b)
}

// SignatureAlgorithm is what a key signs with: bits choose the hash, 0 the one
// that fits the key. EC and Ed25519 keys have theirs, whatever was asked for.
func SignatureAlgorithm(public crypto.PublicKey, bits int64, pss bool) (x509.SignatureAlgorithm, error) {
	kind, _ := KindOf(public)
	switch kind.Type {
	case EC:
		switch kind.Bits {
		case 384:
			return x509.ECDSAWithSHA384, nil
		case 521:
			return x509.ECDSAWithSHA512, nil
		}
		return x509.ECDSAWithSHA256, nil
	case Ed25519:
		return x509.PureEd25519, nil
	}
	algorithms := map[int64][2]x509.SignatureAlgorithm{
		0:   {x509.SHA256WithRSA, x509.SHA256WithRSAPSS},
		256: {x509.SHA256WithRSA, x509.SHA256WithRSAPSS},
		384: {x509.SHA384WithRSA, x509.SHA384WithRSAPSS},
		512: {x509.SHA512WithRSA, x509.SHA512WithRSAPSS},
	}
	pair, ok := algorithms[bits]
	if !ok {
		return 0, engines.Invalidf("signature_bits: expected 0, 256, 384 or 512")
	}
	if pss {
		return pair[1], nil
	}
	return pair[0], nil
}
