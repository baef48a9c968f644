package seal_test

import (
	"bytes"
	"crypto/rand"
	"testing"

	"github.com/coffer-secrets/coffer/seal"
)

func TestSplitCombine(t *testing.T) {
	t.Parallel()
	secret := []byte("thirty-two bytes of root key ...")
	shares, err := seal.Split(secret, 5, 3, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	got, err := seal.Combine(shares[1:4])
	if err != nil || !bytes.Equal(got, secret) {
		t.Errorf("three of five do not combine: %v", err)
	}
	if got, err := seal.Combine(shares[:2]); err != nil || bytes.Equal(got, secret) {
		t.Errorf("two of five combine: %v", err)
	}
}
