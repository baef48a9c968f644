package static

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/coffer-secrets/coffer/seal"
)

const (
	// Type is the name of this wrapper.
	Type = "static"

	// KeySize is the length of a key in bytes.
	KeySize = 32

	maxKeyID = 256
	maxFile  = 1024 // of a key file, in bytes

	label = "coffer/v1/static\x00" // before the caller's additional data
)

// ErrKey says that a key or its identifier cannot be used; the text says which
// and why, without the key.
var ErrKey = errors.New("static seal")

// Config says which keys to use. A key is file:///path, env://NAME, or itself.
// In a file it is 32 bytes, or their hexadecimal or base64 form; elsewhere one
// of the latter two. A file must not be accessible to group or others.
type Config struct {
	CurrentKeyID  string // identifies CurrentKey for ever; at most 256 bytes
	CurrentKey    string
	PreviousKeyID string // together with PreviousKey, or not at all
	PreviousKey   string
}

// A Wrapper implements seal.Wrapper.
type Wrapper struct {
	current string
	aeads   map[string]cipher.AEAD // by key id
	closed  atomic.Bool
}

var _ seal.Wrapper = (*Wrapper)(nil)

// New reads the keys. The error is ErrKey for what is wrong with them.
func New(cfg Config) (*Wrapper, error) {
	w := &Wrapper{current: cfg.CurrentKeyID, aeads: make(map[string]cipher.AEAD, 2)}
	if err := w.add("current_key", cfg.CurrentKeyID, cfg.CurrentKey); err != nil {
		return nil, err
	}
	if cfg.PreviousKeyID == "" && cfg.PreviousKey == "" {
		return w, nil
	}
	if cfg.PreviousKeyID == cfg.CurrentKeyID {
		return nil, fmt.Errorf("%w: current_key_id and previous_key_id must differ", ErrKey)
	}
	if err := w.add("previous_key", cfg.PreviousKeyID, cfg.PreviousKey); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *Wrapper) add(field, id, source string) error {
	if id == "" || len(id) > maxKeyID {
		return fmt.Errorf("%w: %s_id must be 1 to %d bytes long", ErrKey, field, maxKeyID)
	}
	key, err := readKey(source)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrKey, field, err)
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrKey, field, err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrKey, field, err)
	}
	w.aeads[id] = aead
	return nil
}

// Type returns "static".
func (w *Wrapper) Type() string { return Type }

// KeyID returns the identifier of the current key.
func (w *Wrapper) KeyID(context.Context) (string, error) { return w.current, nil }

// Encrypt seals plaintext under the current key.
func (w *Wrapper) Encrypt(_ context.Context, plaintext, aad []byte) (seal.Blob, error) {
	if w.closed.Load() {
		return seal.Blob{}, seal.ErrSealed
	}
	return seal.Blob{
		Type:       Type,
		KeyID:      w.current,
		Ciphertext: w.aeads[w.current].Seal(nil, nil, plaintext, labelled(aad)),
	}, nil
}

// Decrypt opens a blob under the key it names.
func (w *Wrapper) Decrypt(_ context.Context, blob seal.Blob, aad []byte) ([]byte, error) {
	if w.closed.Load() {
		return nil, seal.ErrSealed
	}
	if blob.Type != Type {
		return nil, fmt.Errorf("%w: blob of another type of seal", seal.ErrMalformed)
	}
	aead, ok := w.aeads[blob.KeyID]
	if !ok {
		return nil, fmt.Errorf("%w: sealed under key %q, which is neither current_key_id nor previous_key_id",
			seal.ErrWrongKey, blob.KeyID)
	}
	plaintext, err := aead.Open(nil, nil, blob.Ciphertext, labelled(aad))
	if err != nil {
		return nil, seal.ErrCorrupt
	}
	return plaintext, nil
}

// Close makes further use fail. The keys themselves were zeroed as soon as they
// were expanded.
func (w *Wrapper) Close() error {
	w.closed.Store(true)
	return nil
}

func labelled(aad []byte) []byte { return append([]byte(label), aad...) }

// readKey returns the key that a source names. Its errors show no more of the
// source than its path or variable, since the source may be the key.
func readKey(source string) ([]byte, error) {
	if path, ok := strings.CutPrefix(source, "file://"); ok {
		return readKeyFile(path)
	}
	if name, ok := strings.CutPrefix(source, "env://"); ok {
		value, ok := os.LookupEnv(name)
		if !ok {
			return nil, fmt.Errorf("environment variable %s is not set", name)
		}
		source = value
	}
	key, ok := decodeKey(source)
	if !ok {
		return nil, fmt.Errorf("must be %d bytes in hexadecimal or base64", KeySize)
	}
	return key, nil
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %04o: run chmod 600, so that only its owner can read it", path, mode)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) == KeySize {
		return content, nil
	}
	defer clear(content)
	key, ok := decodeKey(string(content))
	if !ok {
		return nil, fmt.Errorf("%s must hold %d bytes, or their hexadecimal or base64 form", path, KeySize)
	}
	return key, nil
}

// decodeKey decodes hexadecimal, and base64 of either alphabet with or without
// padding; white space around it is ignored.
func decodeKey(text string) ([]byte, bool) {
	text = strings.TrimSpace(text)
	if key, err := hex.DecodeString(text); err == nil {
		return key, len(key) == KeySize
	}
	text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
	key, err := base64.RawStdEncoding.Strict().DecodeString(text)
	return key, err == nil && len(key) == KeySize
}
