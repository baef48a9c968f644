package wire

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/coffer-secrets/coffer/fsm"
)

// identityFile holds a node's certificate, its authority's and its key.
const identityFile = "node.pem"

// maxIdentityBytes bounds the file.
const maxIdentityBytes = 64 << 10

// Errors of the handshake.
var (
	errStranger = errors.New("wire: the peer's certificate is not one of this cluster's")
	errOther    = errors.New("wire: another node than the one that was dialled")
	errRemoved  = errors.New("wire: the peer is not a member of this cluster")
)

// Key is a node's private key, for which a certificate is asked.
type Key struct{ private *ecdsa.PrivateKey }

// NewKey makes a key.
func NewKey() (*Key, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &Key{private}, err
}

// Public is the public half in PKIX form.
func (k *Key) Public() ([]byte, error) { return x509.MarshalPKIXPublicKey(k.private.Public()) }

// Identity is a node's certificate with its key, and whom it believes. It does
// not change.
type Identity struct {
	Cluster, Node string

	cert  tls.Certificate
	roots *x509.CertPool
	// authority is in DER.
	authority []byte
}

// NewIdentity is the identity of a key that a certificate was issued for.
// Certificate and authority are in DER.
func NewIdentity(key *Key, certificate, authority []byte) (*Identity, error) {
	return newIdentity(key.private, certificate, authority)
}

// Public is the public half of the node's key in PKIX form.
func (i *Identity) Public() ([]byte, error) { return x509.MarshalPKIXPublicKey(i.cert.Leaf.PublicKey) }

// Renewed is the identity with a later certificate for the same key.
func (i *Identity) Renewed(certificate, authority []byte) (*Identity, error) {
	key, ok := i.cert.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errStranger
	}
	next, err := newIdentity(key, certificate, authority)
	if err != nil {
		return nil, err
	}
	if next.Cluster != i.Cluster || next.Node != i.Node {
		return nil, errOther
	}
	return next, nil
}

func newIdentity(key crypto.Signer, certificate, authority []byte) (*Identity, error) {
	leaf, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(authority)
	if err != nil {
		return nil, err
	}
	if public, ok := key.Public().(*ecdsa.PublicKey); !ok || !public.Equal(leaf.PublicKey) {
		return nil, errors.New("wire: the certificate is of another key")
	}
	if err := leaf.CheckSignatureFrom(root); err != nil {
		return nil, err
	}
	cluster, node, ok := nodeOf(leaf)
	if !ok {
		return nil, errStranger
	}
	roots := x509.NewCertPool()
	roots.AddCert(root)
	return &Identity{
		Cluster: cluster, Node: node, roots: roots, authority: authority,
		cert: tls.Certificate{Certificate: [][]byte{certificate}, PrivateKey: key, Leaf: leaf},
	}, nil
}

// nodeOf reads which node a certificate is of.
func nodeOf(c *x509.Certificate) (cluster, node string, ok bool) {
	if len(c.URIs) != 1 || c.URIs[0].Scheme != uriScheme {
		return "", "", false
	}
	node, ok = strings.CutPrefix(c.URIs[0].Path, "/")
	return c.URIs[0].Host, node, ok && node != "" && c.URIs[0].Host != ""
}

// Due reports whether the certificate is to be renewed.
func (i *Identity) Due(now time.Time) bool {
	return now.After(i.cert.Leaf.NotAfter.Add(-Lifetime / 2))
}

// NotAfter is when the certificate ends.
func (i *Identity) NotAfter() time.Time { return i.cert.Leaf.NotAfter }

// verify accepts a peer's chain and returns its node.
func (i *Identity) verify(state *tls.ConnectionState, now time.Time) (node string, err error) {
	if len(state.PeerCertificates) == 0 {
		return "", errStranger
	}
	leaf := state.PeerCertificates[0]
	_, err = leaf.Verify(x509.VerifyOptions{Roots: i.roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return "", fmt.Errorf("%w: %w", errStranger, err)
	}
	cluster, node, ok := nodeOf(leaf)
	if !ok || cluster != i.Cluster {
		return "", errStranger
	}
	return node, nil
}

// Save writes the identity into a folder, for this node alone to read.
func (i *Identity) Save(dir string) error {
	key, err := x509.MarshalPKCS8PrivateKey(i.cert.PrivateKey)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	for _, block := range []*pem.Block{
		{Type: pemCertificate, Bytes: i.cert.Certificate[0]}, {Type: pemCertificate, Bytes: i.authority}, {Type: pemKey, Bytes: key},
	} {
		if err := pem.Encode(&text, block); err != nil {
			return err
		}
	}
	return fsm.WriteFileAtomic(fsm.PrivateFS(), dir, identityFile, text.Bytes())
}

// Load reads what Save wrote; nil if there is nothing.
func Load(dir string) (*Identity, error) {
	path := vfs.Default.PathJoin(dir, identityFile)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxIdentityBytes {
		return nil, fmt.Errorf("wire: %s is too large", path)
	}
	text, err := os.ReadFile(path) // #nosec G304 -- in the node's own folder
	if err != nil {
		return nil, err
	}
	certs, key, err := parsePEM(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(certs) != 2 || key == nil {
		return nil, fmt.Errorf("wire: %s holds no identity", path)
	}
	return newIdentity(key, certs[0].Raw, certs[1].Raw)
}
