package seal

import (
	"context"
	"encoding/binary"
	"fmt"
)

// A Wrapper encrypts the root key under a key that is kept elsewhere, so that a
// server can unseal itself. It is safe for concurrent use.
type Wrapper interface {
	// Type names the kind of wrapper, as in the configuration: "static".
	Type() string

	// KeyID identifies the key that Encrypt uses now. What was encrypted under
	// another should be encrypted again.
	KeyID(ctx context.Context) (string, error)

	// Encrypt seals plaintext together with aad, which is authenticated only.
	Encrypt(ctx context.Context, plaintext, aad []byte) (Blob, error)

	// Decrypt opens what Encrypt sealed with the same aad. The error is
	// ErrWrongKey if the key is not at hand, ErrCorrupt if the blob does not
	// authenticate, and ErrMalformed if it is of another type of wrapper.
	Decrypt(ctx context.Context, blob Blob, aad []byte) ([]byte, error)

	// Close releases what the wrapper holds and zeroes its keys.
	Close() error
}

const (
	blobVersion = 1

	maxBlobType       = 32
	maxBlobKeyID      = 256
	maxBlobCiphertext = 64 << 10

	rootKeyLabel = "coffer/v1/root-key"
)

// A Blob is what a Wrapper made. It holds no secret in the clear.
type Blob struct {
	Type       string // of the wrapper, 1 to 32 bytes
	KeyID      string // 1 to 256 bytes
	Ciphertext []byte // 1 to 65536 bytes
}

// Marshal returns the blob as bytes. The error is ErrMalformed if a part is
// empty or over its limit.
func (b Blob) Marshal() ([]byte, error) {
	if !within(len(b.Type), maxBlobType) || !within(len(b.KeyID), maxBlobKeyID) ||
		!within(len(b.Ciphertext), maxBlobCiphertext) {
		return nil, fmt.Errorf("%w: blob part is empty or too long", ErrMalformed)
	}
	out := make([]byte, 0, 1+1+2+4+len(b.Type)+len(b.KeyID)+len(b.Ciphertext))
	out = append(out, blobVersion, byte(len(b.Type)))
	out = append(out, b.Type...)
	out = binary.BigEndian.AppendUint16(out, uint16(len(b.KeyID)))
	out = append(out, b.KeyID...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(b.Ciphertext)))
	return append(out, b.Ciphertext...), nil
}

// ParseBlob reverses Marshal. The error is ErrMalformed.
func ParseBlob(data []byte) (Blob, error) {
	if len(data) == 0 || data[0] != blobVersion {
		return Blob{}, fmt.Errorf("%w: blob version", ErrMalformed)
	}
	kind, rest, err := cutPart(data[1:], 1, maxBlobType)
	if err != nil {
		return Blob{}, err
	}
	keyID, rest, err := cutPart(rest, 2, maxBlobKeyID)
	if err != nil {
		return Blob{}, err
	}
	ciphertext, rest, err := cutPart(rest, 4, maxBlobCiphertext)
	if err != nil {
		return Blob{}, err
	}
	if len(rest) != 0 {
		return Blob{}, fmt.Errorf("%w: blob goes on after its end", ErrMalformed)
	}
	return Blob{Type: string(kind), KeyID: string(keyID), Ciphertext: append([]byte(nil), ciphertext...)}, nil
}

// cutPart cuts a length of width bytes and as many bytes as it says.
func cutPart(data []byte, width, limit int) (part, rest []byte, err error) {
	if len(data) < width {
		return nil, nil, fmt.Errorf("%w: blob is truncated", ErrMalformed)
	}
	length := 0
	for _, b := range data[:width] {
		length = length<<8 | int(b)
	}
	data = data[width:]
	if !within(length, limit) || length > len(data) {
		return nil, nil, fmt.Errorf("%w: blob part length", ErrMalformed)
	}
	return data[:length], data[length:], nil
}

func within(length, limit int) bool { return length >= 1 && length <= limit }

// WrapRootKey encrypts the root key with w and returns the blob as bytes.
func WrapRootKey(ctx context.Context, w Wrapper, rootKey []byte) ([]byte, error) {
	if len(rootKey) != RootKeySize {
		return nil, fmt.Errorf("seal: root key is not %d bytes long", RootKeySize)
	}
	blob, err := w.Encrypt(ctx, rootKey, []byte(rootKeyLabel))
	if err != nil {
		return nil, fmt.Errorf("seal: wrap the root key with %s: %w", w.Type(), err)
	}
	return blob.Marshal()
}

// UnwrapRootKey decrypts what WrapRootKey returned. The caller zeroes the key.
func UnwrapRootKey(ctx context.Context, w Wrapper, wrapped []byte) ([]byte, error) {
	blob, err := ParseBlob(wrapped)
	if err != nil {
		return nil, err
	}
	if blob.Type != w.Type() {
		return nil, fmt.Errorf("%w: the root key was wrapped by another type of seal", ErrWrongKey)
	}
	rootKey, err := w.Decrypt(ctx, blob, []byte(rootKeyLabel))
	if err != nil {
		return nil, fmt.Errorf("seal: unwrap the root key with %s: %w", w.Type(), err)
	}
	if len(rootKey) != RootKeySize {
		clear(rootKey)
		return nil, fmt.Errorf("%w: wrapped root key", ErrMalformed)
	}
	return rootKey, nil
}

// NeedsRewrap reports whether a root key was wrapped under another key than w
// uses now, and should be wrapped again.
func NeedsRewrap(ctx context.Context, w Wrapper, wrapped []byte) (bool, error) {
	blob, err := ParseBlob(wrapped)
	if err != nil {
		return false, err
	}
	current, err := w.KeyID(ctx)
	if err != nil {
		return false, fmt.Errorf("seal: key of %s: %w", w.Type(), err)
	}
	return blob.Type != w.Type() || blob.KeyID != current, nil
}
