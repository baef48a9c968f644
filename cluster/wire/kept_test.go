package wire_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/coffer-secrets/coffer/cluster/wire"
)

func TestKeptKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	public := func() []byte {
		key, err := wire.KeptKey(dir)
		if err != nil {
			t.Fatal(err)
		}
		out, err := key.Public()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if a, b := public(), public(); !bytes.Equal(a, b) {
		t.Error("another key the second time")
	}
	path := filepath.Join(dir, "join.pem")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for _, bad := range []string{"", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"} {
		if err := os.WriteFile(path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := wire.KeptKey(dir); err == nil {
			t.Errorf("took %q for a key", bad)
		}
	}
}
