package wire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"
)

const (
	// Lifetime is how long a node's certificate holds; it is renewed when half
	// of that is over.
	Lifetime = 30 * 24 * time.Hour
	// authorityLifetime is that of the authority.
	authorityLifetime = 20 * 365 * 24 * time.Hour
	// clockSlack is how far the clocks of two nodes may be apart: a certificate
	// holds from that long before it was made.
	clockSlack = 24 * time.Hour

	uriScheme    = "coffer"
	maxNodeBytes = 256
	serialBits   = 127
)

// The types of PEM blocks.
const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

// Authority issues the certificates of a cluster's nodes.
type Authority struct {
	cluster string
	cert    *x509.Certificate
	key     crypto.Signer
}

// NewAuthority makes the authority of a cluster.
func NewAuthority(cluster string, now time.Time) (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Coffer cluster " + cluster},
		NotBefore: now.Add(-clockSlack), NotAfter: now.Add(authorityLifetime),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	return &Authority{cluster: cluster, cert: cert, key: key}, err
}

// ParseAuthority reads what Marshal wrote.
func ParseAuthority(cluster string, text []byte) (*Authority, error) {
	certs, key, err := parsePEM(text)
	if err != nil {
		return nil, err
	}
	if len(certs) != 1 || key == nil || !certs[0].IsCA {
		return nil, errors.New("wire: not an authority")
	}
	return &Authority{cluster: cluster, cert: certs[0], key: key}, nil
}

// Marshal returns certificate and key as PEM. It is secret.
func (a *Authority) Marshal() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: a.cert.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: key})...), nil
}

// Certificate is the authority's own, in DER.
func (a *Authority) Certificate() []byte { return a.cert.Raw }

// Issue makes the certificate of a node with a public key in PKIX form, and
// returns it in DER.
func (a *Authority) Issue(node string, public []byte, now time.Time) ([]byte, error) {
	if node == "" || len(node) > maxNodeBytes {
		return nil, fmt.Errorf("wire: a node's name has 1 to %d bytes", maxNodeBytes)
	}
	key, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("wire: the node's public key: %w", err)
	}
	if k, ok := key.(*ecdsa.PublicKey); !ok || k.Curve != elliptic.P256() {
		return nil, errors.New("wire: the node's public key is not of P-256")
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	return x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: node}, URIs: []*url.URL{nodeURI(a.cluster, node)},
		NotBefore: now.Add(-clockSlack), NotAfter: now.Add(Lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}, a.cert, key, a.key)
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
}

func nodeURI(cluster, node string) *url.URL {
	return &url.URL{Scheme: uriScheme, Host: cluster, Path: "/" + node}
}

// parsePEM reads certificates and at most one key.
func parsePEM(text []byte) (certs []*x509.Certificate, key crypto.Signer, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return certs, key, nil
		}
		switch block.Type {
		case pemCertificate:
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			certs = append(certs, cert)
		case pemKey:
			parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				return nil, nil, err
			}
			signer, ok := parsed.(crypto.Signer)
			if !ok || key != nil {
				return nil, nil, errors.New("wire: not the key of a node")
			}
			key = signer
		default:
			return nil, nil, fmt.Errorf("wire: unexpected PEM block %q", block.Type)
		}
	}
}
