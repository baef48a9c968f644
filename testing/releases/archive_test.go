package releases_test

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness"
)

const (
	// maxArchive bounds what an archive holds, and maxRelease what a release adds
	// to the repository.
	maxArchive = 1 << 30
	maxRelease = 300 << 10
)

// write makes the folder of a release.
func write(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]keys)
	size := int64(0)
	for _, logStore := range logStores {
		s := harness.Start(t, options(logStore))
		k := keys{Unseal: s.Keys[0], Root: s.RootToken}
		fill(s)
		for _, p := range parts {
			p.fill(s)
			k.Parts = append(k.Parts, p.name)
		}
		all[logStore] = k
		awaitSnapshot(t, s)
		s.Root(http.MethodPut, "kv1/unsnapshotted", map[string]string{"value": "in the log alone"})
		s.Kill() // what is kept has to do without an orderly end
		path := filepath.Join(dir, logStore+".tar.gz")
		if err := pack(path, s.DataDir()); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > maxRelease {
		t.Errorf("the archives have %d bytes, the limit is %d", size, maxRelease)
	}
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, keysFile), append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}

// awaitSnapshot waits until the server has taken a snapshot by itself.
func awaitSnapshot(t *testing.T, s *harness.Server) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if list, err := os.ReadDir(filepath.Join(s.DataDir(), "snapshots")); err == nil && len(list) > 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatal("no snapshot is taken")
		case <-tick.C:
		}
	}
}

// pack writes the files of a folder to an archive.
func pack(path, dir string) (err error) {
	file, err := os.Create(path) // #nosec G304 -- the test's own data
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	zip, err := gzip.NewWriterLevel(file, gzip.BestCompression)
	if err != nil {
		return err
	}
	out := tar.NewWriter(zip)
	if err := out.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return errors.Join(out.Close(), zip.Close())
}

// unpack makes a folder of an archive.
func unpack(path, dir string) error {
	file, err := os.Open(path) // #nosec G304 -- the test's own data
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	zip, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	in := tar.NewReader(io.LimitReader(zip, maxArchive))
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if !filepath.IsLocal(h.Name) {
			return errors.New("a name in the archive leads out of it")
		}
		if err := extract(h, in, filepath.Join(dir, h.Name)); err != nil { // #nosec G305 -- checked above
			return err
		}
	}
}

func extract(h *tar.Header, in io.Reader, to string) (err error) {
	if h.Typeflag == tar.TypeDir {
		return os.MkdirAll(to, 0o700)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // #nosec G304 -- the test's own data
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(file, in) // #nosec G110 -- bounded by the reader
	return err
}
