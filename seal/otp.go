package seal

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
)

const (
	base62    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	maxOTPLen = 1024
)

// NewOTP returns a one-time password of n characters of [0-9A-Za-z], for a token
// of n bytes.
func NewOTP(rand io.Reader, n int) (string, error) {
	if n < 1 || n > maxOTPLen {
		return "", fmt.Errorf("%w: length must be 1 to %d", ErrInvalidOTP, maxOTPLen)
	}
	otp := make([]byte, n)
	for i := range otp {
		at, err := uniform(rand, len(base62))
		if err != nil {
			return "", fmt.Errorf("seal: make a one-time password: %w", err)
		}
		otp[i] = base62[at]
	}
	return string(otp), nil
}

// EncodeToken hides a token under a one-time password of the same length:
// unpadded base64 of their XOR.
func EncodeToken(token, otp string) (string, error) {
	if token == "" || len(token) != len(otp) {
		return "", fmt.Errorf("%w: it must be as long as the token", ErrInvalidOTP)
	}
	hidden := make([]byte, len(token))
	subtle.XORBytes(hidden, []byte(token), []byte(otp))
	return base64.RawStdEncoding.EncodeToString(hidden), nil
}

// DecodeToken reverses EncodeToken. Padding at the end is accepted.
func DecodeToken(encoded, otp string) (string, error) {
	for len(encoded) > 0 && encoded[len(encoded)-1] == '=' {
		encoded = encoded[:len(encoded)-1]
	}
	hidden, err := base64.RawStdEncoding.DecodeString(encoded)
	if err != nil {
		return "", fmt.Errorf("%w: the encoded token is not base64", ErrInvalidOTP)
	}
	if len(hidden) == 0 || len(hidden) != len(otp) {
		return "", fmt.Errorf("%w: it must be as long as the encoded token", ErrInvalidOTP)
	}
	subtle.XORBytes(hidden, hidden, []byte(otp))
	return string(hidden), nil
}
