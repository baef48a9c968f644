package client

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	tokenFile      = ".coffer-token"
	vaultTokenFile = ".vault-token"
	maxTokenFile   = 64 << 10
)

// TokenFile is a token kept in a folder, usually the user's home.
type TokenFile struct{ Dir string }

// Read returns the token that is kept, or "" if there is none. A token that
// Vault's own command line keeps is taken if there is no other.
func (f TokenFile) Read() (string, error) {
	for _, name := range []string{tokenFile, vaultTokenFile} {
		file, err := os.Open(filepath.Join(f.Dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("client: read the token that is kept: %w", err)
		}
		text, err := io.ReadAll(io.LimitReader(file, maxTokenFile))
		_ = file.Close()
		if err != nil {
			return "", fmt.Errorf("client: read the token that is kept: %w", err)
		}
		if token := strings.TrimSpace(string(text)); token != "" {
			return token, nil
		}
	}
	return "", nil
}

// Write keeps a token for nobody but the user. A reader sees the old token or
// the new one, whole.
func (f TokenFile) Write(token string) error {
	if err := checkToken(token); err != nil {
		return err
	}
	if err := f.write(token); err != nil {
		return fmt.Errorf("client: keep the token: %w", err)
	}
	return nil
}

func (f TokenFile) write(token string) (err error) {
	temp, err := os.CreateTemp(f.Dir, tokenFile+".*") // made with mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temp.Name())
		}
	}()
	if _, err = temp.WriteString(token); err != nil {
		_ = temp.Close()
		return err
	}
	if err = errors.Join(temp.Sync(), temp.Close()); err != nil {
		return err
	}
	return os.Rename(temp.Name(), filepath.Join(f.Dir, tokenFile))
}

// Erase forgets the token that Write kept.
func (f TokenFile) Erase() error {
	err := os.Remove(filepath.Join(f.Dir, tokenFile))
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return fmt.Errorf("client: forget the token that is kept: %w", err)
}
