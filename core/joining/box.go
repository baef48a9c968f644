package joining

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
)

// Label names the key of the ceremony, which is derived from the keyring.
const Label = "coffer/v1/join"

// KeyBytes is the length of that key.
const KeyBytes = 32

// What a sealed message is. It is the additional data: one cannot be taken for
// another.
const (
	aboutChallenge = "coffer/v1/join/challenge"
	aboutProof     = "coffer/v1/join/proof"
	aboutAdmission = "coffer/v1/join/admission"
)

// maxSealed bounds a message.
const maxSealed = 256 << 10

// errSealed is a message that the key does not open.
var errSealed = errors.New("joining: a message was sealed under another key, or changed")

// box seals the messages of the ceremony.
type box struct{ aead cipher.AEAD }

func newBox(key []byte) (box, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return box{}, err
	}
	aead, err := cipher.NewGCM(block)
	return box{aead}, err
}

func (b box) seal(about string, message any) ([]byte, error) {
	text, err := json.Marshal(message)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, b.aead.NonceSize())
	_, _ = rand.Read(nonce)
	return b.aead.Seal(nonce, nonce, text, []byte(about)), nil
}

func (b box) open(about string, sealed []byte, into any) error {
	n := b.aead.NonceSize()
	if len(sealed) < n || len(sealed) > maxSealed {
		return errSealed
	}
	text, err := b.aead.Open(nil, sealed[:n], sealed[n:], []byte(about))
	if err != nil {
		return errSealed
	}
	return json.Unmarshal(text, into)
}
