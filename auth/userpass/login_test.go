package userpass

import (
	"errors"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// TestNobody: what the passwords of strangers are compared with is a hash of
// the usual cost, or a stranger would be told by the time that it takes.
func TestNobody(t *testing.T) {
	t.Parallel()
	if cost, err := bcrypt.Cost(nobody); err != nil || cost != bcrypt.DefaultCost {
		t.Fatalf("cost %d, %v", cost, err)
	}
	if err := bcrypt.CompareHashAndPassword(nobody, []byte("x")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		t.Fatal(err)
	}
}
