package cli

import (
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp/armor"
)

// maxKeyFile bounds the file of a PGP key.
const maxKeyFile = 1 << 20

func pgpKeys(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		key, err := pgpKey(name)
		if err != nil {
			return nil, err
		}
		if key == "" {
			return nil, usagef("The list of PGP keys has an empty name.")
		}
		out = append(out, key)
	}
	return out, nil
}

// pgpKey reads a public key from a file (binary, armoured, or base64) and gives
// it the API's form, base64 of the binary one.
func pgpKey(name string) (string, error) {
	name = strings.TrimPrefix(strings.TrimSpace(name), "@")
	if name == "" {
		return "", nil
	}
	if strings.HasPrefix(name, "keybase:") {
		return "", usagef("Keys are not fetched from Keybase: give the key in a file.")
	}
	f, err := os.Open(name)
	if err != nil {
		return "", usagef("Error reading a PGP key: %w", err)
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return "", usagef("Error reading a PGP key: %w", err)
	}
	text := bytes.TrimSpace(raw)
	if block, err := armor.Decode(bytes.NewReader(text)); err == nil {
		if raw, err = io.ReadAll(block.Body); err != nil {
			return "", usagef("Error reading a PGP key: %w", err)
		}
	} else if _, err := base64.StdEncoding.DecodeString(string(text)); err == nil && len(text) > 0 {
		return string(text), nil
	}
	return base64.StdEncoding.EncodeToString(raw), nil
}
