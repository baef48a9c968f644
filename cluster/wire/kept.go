package wire

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/coffer-secrets/coffer/fsm"
)

// keyFile holds the key that a node joins with.
const keyFile = "join.pem"

// KeptKey is the key that the node of a folder joins with. It is made once, so
// that a node which was cut off while it joined is known for the same.
func KeptKey(dir string) (*Key, error) {
	path := filepath.Join(dir, keyFile)
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return makeKept(dir)
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
	private, ok := key.(*ecdsa.PrivateKey)
	if len(certs) != 0 || !ok {
		return nil, fmt.Errorf("wire: %s holds no key", path)
	}
	return &Key{private}, nil
}

func makeKept(dir string) (*Key, error) {
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key.private)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der})
	return key, fsm.WriteFileAtomic(fsm.PrivateFS(), dir, keyFile, text)
}
