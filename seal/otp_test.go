package seal_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"regexp"
	"testing"

	"github.com/coffer-secrets/coffer/seal"
)

func TestTokenUnderOTP(t *testing.T) {
	t.Parallel()
	const token = "s.0123456789abcdefghijklmn"
	otp, err := seal.NewOTP(rand.Reader, len(token))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[0-9A-Za-z]{26}$`).MatchString(otp) {
		t.Errorf("one-time password %q", otp)
	}
	encoded, err := seal.EncodeToken(token, otp)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{encoded, encoded + "="} {
		if got, err := seal.DecodeToken(form, otp); err != nil || got != token {
			t.Errorf("got %q: %v", got, err)
		}
	}
}

func TestEncodeTokenFormat(t *testing.T) {
	t.Parallel()
	got, err := seal.EncodeToken("\x00\x01\x02\x03", "abcd")
	if want := base64.RawStdEncoding.EncodeToString([]byte("acag")); err != nil || got != want {
		t.Errorf("got %q, want %q: %v", got, want, err)
	}
}

func TestOTPErrors(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func() (string, error){
		"no length":       func() (string, error) { return seal.NewOTP(rand.Reader, 0) },
		"negative length": func() (string, error) { return seal.NewOTP(rand.Reader, -1) },
		"huge length":     func() (string, error) { return seal.NewOTP(rand.Reader, 1<<30) },
		"encode short":    func() (string, error) { return seal.EncodeToken("token", "otp") },
		"encode nothing":  func() (string, error) { return seal.EncodeToken("", "") },
		"decode short":    func() (string, error) { return seal.DecodeToken("YWJjZA", "otp") },
		"decode nothing":  func() (string, error) { return seal.DecodeToken("", "") },
		"decode no text":  func() (string, error) { return seal.DecodeToken("!!!!", "otp") },
	} {
		if got, err := do(); got != "" || !errors.Is(err, seal.ErrInvalidOTP) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
