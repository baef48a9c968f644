package core_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// mark begins every name and value that the canary stores.
const mark = "kAnArYq7"

// load stores marked names and values in all the ways there are, some of which
// are refused, and returns what else must be found nowhere.
func load(t *testing.T, s *kit.Server) []string {
	t.Helper()
	m := func(name string) string { return mark + name }
	low := func(name string) string { return strings.ToLower(mark) + name }
	s.Mount(m("one"), "kv", map[string]string{"version": "1"})
	s.Mount(m("two"), "kv", map[string]string{"version": "2"})
	s.Put("sys/mounts/"+m("one")+"/tune", body{"description": m("description")})
	s.Put(m("one")+"/"+m("dir")+"/"+m("name"), body{m("field"): m("value")})
	path := m("two") + "/data/" + m("dir") + "/" + m("name")
	s.Put(path, body{"data": body{m("field"): m("value")}})
	s.Put(path, body{"data": body{m("field"): m("value2")}})
	s.Put(m("two")+"/metadata/"+m("dir")+"/"+m("name"), body{"custom_metadata": body{m("meta"): m("metavalue")}})
	s.Policy(low("policy"), `path "`+m("one")+`/*" { capabilities = ["read"] }`)
	r := s.Put("auth/token/create", body{
		"policies": low("policy"), "meta": body{m("meta"): m("metavalue")}, "display_name": m("display"), "no_parent": true,
	})
	token, accessor := r.Text("auth", "client_token"), r.Text("auth", "accessor")
	s.Put("auth/token/create", body{"id": m("chosen")})
	s.Put("auth/token/roles/"+m("role"), body{"allowed_policies": low("policy"), "path_suffix": m("suffix")})
	s.Put("cubbyhole/"+m("cubby"), body{m("field"): m("value")})
	wrapped := s.Must(http.StatusOK, kit.Request{
		Method: http.MethodPut, Path: "sys/wrapping/wrap", Body: body{m("field"): m("value")}, Header: http.Header{"X-Vault-Wrap-Ttl": {"1h"}},
	}).Text("wrap_info", "token")
	s.Put("sys/config/ui/headers/"+m("header"), body{"values": m("value")})
	s.Put("sys/config/cors", body{"allowed_origins": "https://" + low("origin")})
	s.Put("sys/remount", body{"from": m("one"), "to": m("three")})
	misuse(s, m)
	return []string{token, accessor, wrapped, s.Root}
}

// misuse sends what is refused, with marks wherever they can stand.
func misuse(s *kit.Server, m func(string) string) {
	for _, r := range []kit.Request{
		{Path: m("none") + "/x"},
		{Path: m("two") + "/data/" + m("absent"), Token: m("token")},
		{Path: m("two") + "/data//" + m("absent")},
		{Path: m("two") + "/data/%ff" + m("absent")},
		{Path: m("two") + "/nothing?" + m("query") + "=" + m("value")},
		{Method: "LIST", Path: m("two") + "/metadata/" + m("absent")},
		{Method: m("method"), Path: "sys/mounts"},
		{Method: http.MethodPut, Path: m("two") + "/data/" + m("bad"), Body: `{"data": {"` + m("field") + `": `},
		{Method: http.MethodPut, Path: m("two") + "/data/" + m("bad"), Body: body{"data": m("text")}},
		{Method: http.MethodPut, Path: m("two") + "/data/" + m("big"), Body: body{"data": body{"x": strings.Repeat(m("value"), 200_000)}}},
		{Method: http.MethodPut, Path: "sys/policies/acl/" + m("policy"), Body: body{"policy": `path "` + m("path") + `" {`}},
		{Method: http.MethodPut, Path: "sys/mounts/" + m("five"), Body: body{"type": m("type")}},
		{Method: http.MethodPut, Path: "sys/unseal", Body: body{"key": m("key")}},
		{Method: http.MethodPut, Path: "sys/generate-root/update", Body: body{"key": m("key"), "nonce": m("nonce")}},
		{Method: http.MethodPut, Path: "auth/token/lookup", Body: body{"token": m("token")}},
		{Path: "sys/mounts", Header: http.Header{"X-Vault-Wrap-Ttl": {m("ttl")}, "X-Vault-Namespace": {m("namespace")}}},
		{Path: "sys/wrapping/unwrap", Token: m("token")},
	} {
		s.Do(r)
	}
}

// needles are the forms in which something could stand in a file.
func needles(list []string) map[string][]byte {
	out := make(map[string][]byte)
	for _, text := range append(list, mark, strings.ToLower(mark)) {
		out[text] = []byte(text)
		out["hex of "+text] = []byte(hex.EncodeToString([]byte(text)))
		for shift := range 3 { // base64 depends on where in three bytes it begins
			encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), text...))
			out[fmt.Sprintf("base64/%d of %s", shift, text)] = []byte(encoded[(shift*8+5)/6 : len(encoded)-1])
		}
	}
	return out
}

// search looks for needles in all files below a folder.
func search(t *testing.T, dir string, want map[string][]byte) (files int, found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		for name, needle := range want {
			if bytes.Contains(text, needle) || strings.Contains(path, string(needle)) {
				found = append(found, name+" in "+filepath.Base(path))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, found
}

// Nothing secret, and no secret's name, is in the log, the store, a snapshot or
// what the node has logged.
func TestNothingStandsInPlain(t *testing.T) {
	t.Parallel()
	for store, file := range map[string]string{cluster.LogStoreBolt: cluster.RaftFile, cluster.LogStoreWAL: cluster.LogDir} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			nothingStandsInPlain(t, store, file)
		})
	}
}

func nothingStandsInPlain(t *testing.T, store, file string) {
	t.Helper()
	dir := t.TempDir()
	s := kit.New(t, kit.Dir(dir), kit.Shares(3, 2), kit.LogStore(store))
	secrets := load(t, s)
	secrets = append(secrets, s.Keys...)
	if err := s.Node.ForceSnapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	log := s.Log()
	want := needles(secrets)
	for name, needle := range want {
		if strings.Contains(log, string(needle)) {
			t.Errorf("%s is in the node's log", name)
		}
	}
	searchRows(t, s, want)
	s.Close() // flushes what is in memory
	files, found := search(t, dir, want)
	for _, f := range found {
		t.Error(f)
	}
	if files < 5 {
		t.Errorf("only %d files were searched", files)
	}
	for _, part := range []string{file, cluster.StateDir, cluster.SnapshotDir} {
		if _, err := os.Stat(filepath.Join(dir, part)); err != nil {
			t.Error(err)
		}
	}
}

// searchRows looks in the rows themselves: files may be compressed.
func searchRows(t *testing.T, s *kit.Server, want map[string][]byte) {
	t.Helper()
	view := s.Node.Local()
	defer view.Close()
	err := view.Scan([]byte{fsm.MinTable}, nil, func(key []byte, row fsm.Row) (bool, []byte, error) {
		for name, needle := range want {
			if bytes.Contains(key, needle) || bytes.Contains(row.Value, needle) || bytes.Contains(row.Owner, needle) {
				t.Errorf("%s is in a row of table %q", name, key[0])
			}
		}
		return true, nil, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The search would find what it looks for.
func TestCanaryIsFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain := "xx" + mark + "value"
	for name, text := range map[string]string{
		"plain": plain, "hex": hex.EncodeToString([]byte(plain)),
		"base64-0": base64.StdEncoding.EncodeToString([]byte(mark + "value")),
		"base64-1": base64.StdEncoding.EncodeToString([]byte("x" + mark + "value")),
		"base64-2": base64.StdEncoding.EncodeToString([]byte("xx" + mark + "value")),
	} {
		sub := filepath.Join(dir, name)
		if err := os.Mkdir(sub, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(sub, "file"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, found := search(t, sub, needles(nil)); len(found) == 0 {
			t.Errorf("%s was not found", name)
		}
	}
}
