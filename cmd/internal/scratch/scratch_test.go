package scratch_test

import (
	"errors"
	"testing"

	"github.com/coffer-secrets/coffer/cmd/internal/scratch"
)

func TestStart(t *testing.T) {
	t.Parallel()
	p, err := scratch.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Use(t.Context(), scratch.Admin, p.Password(), "CREATE TABLE orders (n int)"); err != nil {
		t.Error(err)
	}
	if err := p.Use(t.Context(), scratch.Admin, "wrong", "SELECT 1"); err == nil {
		t.Error("takes a wrong password")
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Use(t.Context(), scratch.Admin, p.Password(), "SELECT 1"); err == nil || errors.Is(err, scratch.ErrNone) {
		t.Error("still there")
	}
}
