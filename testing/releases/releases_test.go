package releases_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/coffer-secrets/coffer/testing/harness"
)

const (
	folder   = "testdata"
	keysFile = "keys.json"
	// unreleased is the folder of what comes next: it is made anew, as no other is.
	unreleased = "unreleased"
	// versions is how many a secret has.
	versions = 3
)

var logStores = []string{"bolt", "wal"}

var makeRelease = flag.String("make", "", "make the data folder of this release, instead of opening those that are there")

// keys are what one archive is opened with, and what parts are in it beside secrets
// and logins.
type keys struct {
	Unseal string   `json:"test_only_unseal_key"`
	Root   string   `json:"test_only_root_token"`
	Parts  []string `json:"parts,omitempty"`
}

// options are those of a server with one kind of log. Its snapshots are so frequent
// that a folder holds one, with some log behind it.
func options(logStore string) harness.Options {
	return harness.Options{Storage: fmt.Sprintf("log_store = %q\nsnapshot_threshold = 20\nsnapshot_interval = \"1s\"\ntrailing_logs = 10", logStore)}
}

func TestReleasesOpen(t *testing.T) {
	t.Parallel()
	if *makeRelease != "" {
		dir := filepath.Join(folder, *makeRelease)
		if *makeRelease == unreleased {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
		write(t, dir)
	}
	releases, err := os.ReadDir(folder)
	if err != nil || len(releases) == 0 {
		t.Fatalf("no release is kept: %v", err)
	}
	for _, release := range releases {
		for _, logStore := range logStores {
			t.Run(release.Name()+"/"+logStore, func(t *testing.T) {
				t.Parallel()
				opens(t, filepath.Join(folder, release.Name()), logStore)
			})
		}
	}
}

// release is how the notes head what a release has changed.
var release = regexp.MustCompile(`(?m)^## (\d+\.\d+\.\d+)`)

// TestEveryReleaseIsKept: each release of the notes has its folder, and what is not
// released yet has one with all parts that there are, to become that of the next.
func TestEveryReleaseIsKept(t *testing.T) {
	t.Parallel()
	if *makeRelease != "" {
		return // it is being made
	}
	notes, err := os.ReadFile(filepath.Join("..", "..", "CHANGELOG.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, found := range release.FindAllSubmatch(notes, -1) {
		_ = keysOf(t, filepath.Join(folder, string(found[1])))
	}
	all := keysOf(t, filepath.Join(folder, unreleased))
	for _, logStore := range logStores {
		for _, p := range parts {
			if !slices.Contains(all[logStore].Parts, p.name) {
				t.Errorf("%s/%s has no %s: make it anew with -make %s", unreleased, logStore, p.name, unreleased)
			}
		}
	}
}

// keysOf reads what the archives of a folder are opened with.
func keysOf(t *testing.T, dir string) map[string]keys {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, keysFile)) // #nosec G304 -- the test's own data
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]keys)
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

// opens starts a server of this release on the data of another.
func opens(t *testing.T, dir, logStore string) {
	t.Helper()
	k := keysOf(t, dir)[logStore]
	o := options(logStore)
	o.Uninitialized = true
	o.Prepare = func(data string) error { return unpack(filepath.Join(dir, logStore+".tar.gz"), data) }
	s := harness.Start(t, o)
	s.Keys, s.RootToken = []string{k.Unseal}, k.Root
	s.Unseal()
	check := func() {
		t.Helper()
		holds(t, s)
		for _, p := range parts {
			if slices.Contains(k.Parts, p.name) {
				p.holds(t, s)
			}
		}
	}
	check()
	want(t, s, "kv1/unsnapshotted", "data", "value", "in the log alone")
	// It goes on from there, also after a restart.
	s.Root(http.MethodPut, "kv1/later", map[string]string{"value": "of this release"})
	s.Root(http.MethodPut, "sys/rotate", nil)
	if err := s.Stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	s.Restart()
	s.Unseal()
	check()
	want(t, s, "kv1/later", "data", "value", "of this release")
}

// fill writes what holds looks for.
func fill(s *harness.Server) {
	s.Root(http.MethodPost, "sys/mounts/kv1", map[string]any{"type": "kv"})
	s.Root(http.MethodPost, "sys/mounts/kv2", map[string]any{"type": "kv", "options": map[string]string{"version": "2"}})
	s.Root(http.MethodPost, "sys/auth/userpass", map[string]any{"type": "userpass"})
	s.Root(http.MethodPost, "sys/auth/approle", map[string]any{"type": "approle"})
	s.Root(http.MethodPut, "sys/policies/acl/reader", map[string]string{"policy": `path "kv1/*" { capabilities = ["read"] }`})
	s.Root(http.MethodPost, "auth/userpass/users/ada", map[string]string{"password": "made-up-password", "policies": "reader"})
	s.Root(http.MethodPost, "auth/approle/role/app", map[string]any{"role_id": "made-up-role", "token_policies": []string{"reader"}})
	s.Root(http.MethodPost, "auth/approle/role/app/custom-secret-id", map[string]string{"secret_id": "made-up-secret-id"})
	for i := range 30 {
		if i == 20 {
			s.Root(http.MethodPut, "sys/rotate", nil)
		}
		s.Root(http.MethodPut, fmt.Sprintf("kv1/folder/secret-%02d", i), map[string]string{"value": fmt.Sprintf("value %d", i)})
	}
	for i := range versions {
		s.Root(http.MethodPut, "kv2/data/app/config", map[string]any{"data": map[string]string{"value": fmt.Sprintf("version %d", i+1)}})
	}
	s.Root(http.MethodPost, "kv2/delete/app/config", map[string]any{"versions": []int{1}})
	s.Root(http.MethodPost, "kv2/metadata/app/config", map[string]any{"custom_metadata": map[string]string{"owner": "ada"}})
	s.Root(http.MethodPut, "kv1/gone", map[string]string{"value": "deleted"})
	s.Root(http.MethodDelete, "kv1/gone", nil)
}

// holds checks that a server has what fill wrote.
func holds(t *testing.T, s *harness.Server) {
	t.Helper()
	for i := range 30 {
		want(t, s, fmt.Sprintf("kv1/folder/secret-%02d", i), "data", "value", fmt.Sprintf("value %d", i))
	}
	for i := 2; i <= versions; i++ {
		want(t, s, fmt.Sprintf("kv2/data/app/config?version=%d", i), "data", "data", "value", fmt.Sprintf("version %d", i))
	}
	want(t, s, "kv2/metadata/app/config", "data", "custom_metadata", "owner", "ada")
	for _, gone := range []string{"kv1/gone", "kv2/data/app/config?version=1"} {
		if status, answer := s.Do(http.MethodGet, gone, s.RootToken, nil); status != http.StatusNotFound {
			t.Errorf("%s: status %d: %s", gone, status, answer)
		}
	}
	for path, body := range map[string]map[string]string{
		"auth/userpass/login/ada": {"password": "made-up-password"},
		"auth/approle/login":      {"role_id": "made-up-role", "secret_id": "made-up-secret-id"},
	} {
		auth, ok := s.Root(http.MethodPost, path, body)["auth"].(map[string]any)
		if !ok {
			t.Fatalf("%s: no token", path)
		}
		token, _ := auth["client_token"].(string)
		if status, answer := s.Do(http.MethodGet, "kv1/folder/secret-07", token, nil); status != http.StatusOK {
			t.Errorf("read with a token of %s: status %d: %s", path, status, answer)
		}
		if status, _ := s.Do(http.MethodGet, "kv2/data/app/config", token, nil); status != http.StatusForbidden {
			t.Errorf("read what policy denies with a token of %s: status %d", path, status)
		}
	}
}

// want checks one text of an answer: the names that lead to it, and then the text.
func want(t *testing.T, s *harness.Server, path string, names ...string) {
	t.Helper()
	var at any = s.Root(http.MethodGet, path, nil)
	for _, name := range names[:len(names)-1] {
		object, ok := at.(map[string]any)
		if !ok {
			t.Fatalf("%s: no %s in the answer", path, name)
		}
		at = object[name]
	}
	if at != names[len(names)-1] {
		t.Errorf("%s is %v, want %s", path, at, names[len(names)-1])
	}
}
