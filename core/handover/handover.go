package handover

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
)

// Label names the key that both nodes derive from the keyring, KeyBytes long.
const (
	Label    = "coffer/v1/root-key-handover"
	KeyBytes = 32
)

// QuestionBytes is the length of a question: random, so that no answer can be given
// a second time.
const QuestionBytes = 32

// MaxAnswer bounds an answer.
const MaxAnswer = 256

const about = "coffer/v1/root-key-handover/answer"

// ErrAnswer is an answer to another question, or sealed under another key.
var ErrAnswer = errors.New("handover: the answer is not one to this question")

// Question is asked once.
func Question() []byte {
	q := make([]byte, QuestionBytes)
	_, _ = rand.Read(q)
	return q
}

// Answer seals a root key for who asked.
func Answer(key, question, rootKey []byte) ([]byte, error) {
	if len(question) != QuestionBytes {
		return nil, ErrAnswer
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce)
	return aead.Seal(nonce, nonce, rootKey, append([]byte(about), question...)), nil
}

// Open returns the root key of an answer.
func Open(key, question, answer []byte) ([]byte, error) {
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	n := aead.NonceSize()
	if len(question) != QuestionBytes || len(answer) < n || len(answer) > MaxAnswer {
		return nil, ErrAnswer
	}
	rootKey, err := aead.Open(nil, answer[:n], answer[n:], append([]byte(about), question...))
	if err != nil {
		return nil, ErrAnswer
	}
	return rootKey, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
