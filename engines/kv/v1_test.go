package kv_test

import (
	"errors"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
	"github.com/coffer-secrets/coffer/engines/kv"
)

func TestV1(t *testing.T) {
	t.Parallel()
	k := mount(t, "")
	k.absent(engines.Read, "a/b", "")
	k.absent(engines.Read, "", "")
	k.write(engines.Update, "a/b", `{"z":1.50,"a":"é","path":"kept","limit":3,"nested":{"k":[null]}}`)
	same(t, "read", k.data(engines.Read, "a/b", "", ""), `{"z":1.50,"a":"é","path":"kept","limit":3,"nested":{"k":[null]}}`)
	k.write(engines.Update, "a/b", `{"only":true}`)
	same(t, "replaced", k.data(engines.Read, "a/b", "", ""), `{"only":true}`)
	for _, body := range []string{"", "{}", "null"} {
		k.fails(engines.KindInvalid, "missing data fields", engines.Update, "a/b", body, "")
	}
	k.fails(engines.KindInvalid, "missing path", engines.Update, "", `{"a":1}`, "")
	k.fails(engines.KindMethod, "unsupported operation", engines.Patch, "a/b", `{"a":1}`, "")
	k.fails(engines.KindMethod, "unsupported operation", engines.Read, "a/b/", "", "")
	k.write(engines.Delete, "a/b", "")
	k.write(engines.Delete, "a/b", "")
	k.absent(engines.Read, "a/b", "")
	same(t, "rows", k.Store.Rows(), `null`)
	// Names of version 2 mean nothing here.
	for _, path := range []string{"config", "data/x", "metadata/x", "v1/x"} {
		k.write(engines.Update, path, `{"p":1}`)
		same(t, path, k.data(engines.Read, path, "", ""), `{"p":1}`)
	}
	same(t, "scan", k.keys(engines.Scan, "", ""), `["config","data/x","metadata/x","v1/x"]`)
}

func TestV1TTL(t *testing.T) {
	t.Parallel()
	const mountTTL = 768 * time.Hour
	for body, want := range map[string]time.Duration{
		`{"a":1}`:                     mountTTL,
		`{"ttl":"1h"}`:                time.Hour,
		`{"ttl":60}`:                  time.Minute,
		`{"ttl":"60"}`:                time.Minute,
		`{"ttl":"2d"}`:                48 * time.Hour,
		`{"lease":"30s"}`:             30 * time.Second,
		`{"ttl":"1m","lease":"2m"}`:   time.Minute,
		`{"ttl":"soon","lease":"2m"}`: mountTTL,
		`{"ttl":"-5s"}`:               mountTTL,
		`{"ttl":{}}`:                  mountTTL,
		`{"ttl":true}`:                mountTTL,
		`{"ttl":0}`:                   0,
		`{"ttl":99999999999999}`:      mountTTL,
	} {
		k := mount(t, "1")
		k.write(engines.Update, "x", body)
		resp := k.do(engines.Read, "x", "", "")
		if resp.Secret == nil || resp.Secret.TTL != want || resp.Secret.Renewable {
			t.Errorf("%s: %+v, want %v", body, resp.Secret, want)
		}
	}
	k := mount(t, "1")
	k.Info.DefaultTTL = 0
	k.write(engines.Update, "x", `{"a":1}`)
	if ttl := k.do(engines.Read, "x", "", "").Secret.TTL; ttl != 2764800*time.Second {
		t.Errorf("without the mount's default: %v", ttl)
	}
}

func TestVersionOption(t *testing.T) {
	t.Parallel()
	e := kv.New()
	for option, routes := range map[string]int{"": 1, "1": 1, "2": 9} {
		table, err := e.Table(engines.Mount{Options: map[string]string{"version": option}})
		if err != nil || len(table.Routes) != routes {
			t.Errorf("version %q: %v, %v", option, table, err)
		}
	}
	for _, option := range []string{"0", "3", "v2", " 2"} {
		if _, err := e.Table(engines.Mount{Options: map[string]string{"version": option}}); engines.KindOf(err) != engines.KindInvalid {
			t.Errorf("version %q: %v", option, err)
		}
	}
}

func TestTune(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	for _, version := range []string{"1", ""} {
		err := k.Tune(map[string]string{"version": version})
		if engines.KindOf(err) != engines.KindInvalid || err.Error() != "cannot downgrade mount from version 2" {
			t.Errorf("2 to %q: %v", version, err)
		}
	}
	if err := errors.Join(k.Tune(map[string]string{"version": "2", "other": "x"}), mount(t, "").Tune(map[string]string{"version": "1"})); err != nil {
		t.Error(err)
	}
	if err := k.Tune(map[string]string{"version": "9"}); engines.KindOf(err) != engines.KindInvalid {
		t.Errorf("2 to 9: %v", err)
	}
	same(t, "rows", k.Store.Rows(), `null`)
}

// upgraded is a mount that has become version 2 with secrets of version 1.
func upgraded(t *testing.T, secrets map[string]string) *kit {
	t.Helper()
	k := mount(t, "1")
	for path, body := range secrets {
		k.write(engines.Update, path, body)
	}
	k.after(time.Second)
	if err := k.Tune(map[string]string{"version": "2"}); err != nil {
		t.Fatal(err)
	}
	k.after(time.Second)
	return k
}

const upgradedMeta = `{"created_time":` + t0 + `,"custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}`

// TestUpgradeIsLazy reads everything before anything moves.
func TestUpgradeIsLazy(t *testing.T) {
	t.Parallel()
	k := upgraded(t, map[string]string{"a": `{"k":1}`, "a/b": `{"k":2}`, "c/d": `{"k":3}`})
	same(t, "read", k.data(engines.Read, "data/a/b", "", ""), `{"data":{"k":2},"metadata":`+upgradedMeta+`}`)
	same(t, "version 1", k.data(engines.Read, "data/a", "", "version=1")["data"], `{"k":1}`)
	k.absent(engines.Read, "data/a", "version=2")
	k.absent(engines.Read, "data/c", "")
	same(t, "subkeys", k.data(engines.Read, "subkeys/c/d", "", "")["subkeys"], `{"k":null}`)
	same(t, "metadata", k.data(engines.Read, "metadata/a", "", "")["versions"], `{"1":{"created_time":`+t0+`,"deletion_time":"","destroyed":false}}`)
	k.do(engines.Update, "data/b", `{"data":{}}`, "")
	k.do(engines.Update, "data/c/a", `{"data":{}}`, "")
	same(t, "list", k.keys(engines.List, "metadata", ""), `["a","a/","b","c/"]`)
	same(t, "list", k.keys(engines.List, "metadata/c", ""), `["a","d"]`)
	same(t, "page", k.keys(engines.List, "metadata", "limit=2&after=a"), `["a/","b"]`)
	same(t, "scan", k.keys(engines.Scan, "metadata", ""), `["a","a/b","b","c/a","c/d"]`)
	same(t, "live", k.keys(engines.Scan, "metadata", "exclude_deleted=true"), `["a","a/b","b","c/a","c/d"]`)
	info := k.data(engines.List, "detailed-metadata/c", "", "")["key_info"].(map[string]any)
	same(t, "detailed", info["d"].(map[string]any)["current_version"], `1`)
	same(t, "rows", k.Store.Rows(), `["config","data/b/1","data/c/a/1","meta/b","meta/c/a","v1/a","v1/a/b","v1/c/d"]`)
}

// TestUpgradeMoves changes an old secret in each way there is.
func TestUpgradeMoves(t *testing.T) {
	t.Parallel()
	moved := `["config","data/x/1","meta/x"]`
	for _, c := range []struct {
		name, path, body, rows string
		op                     engines.Operation
		value                  string // of the newest version, if it can be read
	}{
		{"write", "data/x", `{"data":{"k":2},"options":{"cas":1}}`, `["config","data/x/1","data/x/2","meta/x"]`, engines.Update, `{"k":2}`},
		{"patch", "data/x", `{"data":{"m":2}}`, `["config","data/x/1","data/x/2","meta/x"]`, engines.Patch, `{"k":1,"m":2}`},
		{"delete", "data/x", ``, moved, engines.Delete, `null`},
		{"delete version", "delete/x", `{"versions":[1]}`, moved, engines.Update, `null`},
		{"undelete", "undelete/x", `{"versions":[1]}`, moved, engines.Update, `{"k":1}`},
		{"destroy", "destroy/x", `{"versions":[1]}`, `["config","meta/x"]`, engines.Update, `null`},
		{"destroy none", "destroy/x", `{"versions":[2]}`, `["config","v1/x"]`, engines.Update, `{"k":1}`},
		{"metadata", "metadata/x", `{"max_versions":3}`, moved, engines.Update, `{"k":1}`},
		{"patch metadata", "metadata/x", `{"max_versions":3}`, moved, engines.Patch, `{"k":1}`},
		{"remove", "metadata/x", ``, `["config"]`, engines.Delete, ``},
	} {
		k := upgraded(t, map[string]string{"x": `{"k":1}`})
		k.do(c.op, c.path, c.body, "")
		same(t, c.name, k.Store.Rows(), c.rows)
		if c.value == "" {
			k.absent(engines.Read, "data/x", "")
			k.absent(engines.List, "metadata", "")
			continue
		}
		same(t, c.name, k.data(engines.Read, "data/x", "", "")["data"], c.value)
		same(t, c.name, k.data(engines.Read, "metadata/x", "", "")["created_time"], t0)
		same(t, c.name, k.keys(engines.List, "metadata", ""), `["x"]`)
	}
	k := upgraded(t, map[string]string{"x": `{"k":1}`})
	k.fails(engines.KindInvalid, "check-and-set parameter did not match the current version",
		engines.Update, "data/x", `{"data":{},"options":{"cas":0}}`, "")
}

// TestUpgradeEnds stops looking for old rows once there are none.
func TestUpgradeEnds(t *testing.T) {
	t.Parallel()
	k := upgraded(t, map[string]string{"x": `{"k":1}`})
	k.write(engines.Update, "config", `{"max_versions":4}`)
	same(t, "read", k.data(engines.Read, "data/x", "", "")["data"], `{"k":1}`)
	k.do(engines.Update, "data/x", `{"data":{}}`, "")
	k.write(engines.Update, "config", `{}`)
	entry, err := k.Store.Begin().Get("config")
	if err != nil || string(entry.Value) != `{"max_versions":4}` {
		t.Errorf("config %v, %v", entry, err)
	}
}

// TestUpgradeDuringWrite tunes the mount between a version 1 handler and its
// commit: the write must not land where version 2 would not find it.
func TestUpgradeDuringWrite(t *testing.T) {
	t.Parallel()
	for _, op := range []engines.Operation{engines.Update, engines.Delete} {
		k := mount(t, "1")
		k.write(engines.Update, "x", `{"k":1}`)
		k.Interleave = func() {
			if err := k.Tune(map[string]string{"version": "2"}); err != nil {
				t.Error(err)
			}
			k.do(engines.Update, "data/x", `{"data":{"k":2}}`, "")
		}
		k.fails(engines.KindUnavailable, "the mount has just become version 2: try again", op, "x", `{"k":3}`, "")
		same(t, "read", k.data(engines.Read, "data/x", "", ""), `{"data":{"k":2},"metadata":{"created_time":`+t0+`,"custom_metadata":null,"deletion_time":"","destroyed":false,"version":2}}`)
	}
}

// TestUpgradeManyKeys takes ten thousand secrets over without losing one.
func TestUpgradeManyKeys(t *testing.T) {
	t.Parallel()
	const n = 10_000
	k := mount(t, "1")
	k.Once = true
	name := func(i int) string { return "folder" + itoa(i%7) + "/secret" + itoa(i) }
	for i := range n {
		k.write(engines.Update, name(i), `{"n":`+itoa(i)+`}`)
	}
	if err := k.Tune(map[string]string{"version": "2"}); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i += 3 {
		k.do(engines.Update, "data/"+name(i), `{"data":{"n":`+itoa(i)+`,"new":true}}`, "")
	}
	if keys := k.keys(engines.Scan, "metadata", ""); len(keys) != n {
		t.Fatalf("%d keys, want %d", len(keys), n)
	}
	for i := range n {
		answer := k.do(engines.Read, "data/"+name(i), "", "version=1")
		data := enginetest.Data(t, answer)
		same(t, name(i), data["data"], `{"n":`+itoa(i)+`}`)
	}
}
