package kv_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	t0 = `"2025-01-02T03:04:05.6789Z"`
	t1 = `"2025-01-02T03:04:06.6789Z"`
)

func TestWriteAndRead(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	k.absent(engines.Read, "data/a/b", "")
	same(t, "write", k.data(engines.Update, "data/a/b", `{"data":{"x":1}}`, ""),
		`{"created_time":`+t0+`,"custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}`)
	k.after(time.Second)
	same(t, "write", k.data(engines.Update, "data/a/b", `{"data":{"x":2},"options":{}}`, ""),
		`{"created_time":`+t1+`,"custom_metadata":null,"deletion_time":"","destroyed":false,"version":2}`)
	want := `{"data":{"x":%d},"metadata":{"created_time":%s,"custom_metadata":null,"deletion_time":"","destroyed":false,"version":%d}}`
	for query, answer := range map[string]string{
		"":           fmt.Sprintf(want, 2, t1, 2),
		"version=0":  fmt.Sprintf(want, 2, t1, 2),
		"version=-4": fmt.Sprintf(want, 2, t1, 2),
		"version=1":  fmt.Sprintf(want, 1, t0, 1),
		"version=2":  fmt.Sprintf(want, 2, t1, 2),
	} {
		same(t, "read "+query, k.data(engines.Read, "data/a/b", "", query), answer)
	}
	k.absent(engines.Read, "data/a/b", "version=3")
	k.absent(engines.Read, "data/a", "")
	k.fails(engines.KindInvalid, `field "version": expected an integer`, engines.Read, "data/a/b", "", "version=x")
}

// TestTextIsKept checks that what came in goes out byte for byte.
func TestTextIsKept(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	const text = `{ "b" : 1.0e2, "a":"\u00e9<&>", "n": 12345678901234567890.5 }`
	k.do(engines.Update, "data/x", `{"data":`+text+`}`, "")
	resp := k.do(engines.Read, "data/x", "", "")
	entry, err := k.Store.Begin().Get("data/x/1")
	if err != nil || entry == nil || string(entry.Value) != text {
		t.Fatalf("stored %v, %v", entry, err)
	}
	encoded, err := json.Marshal(resp.Data)
	if err != nil || !strings.Contains(string(encoded), "12345678901234567890.5") {
		t.Errorf("answer %s, %v", encoded, err)
	}
}

func TestBadWrites(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	const object = `field "data": expected an object`
	for body, text := range map[string]string{
		``:                                  "no data provided",
		`{}`:                                "no data provided",
		`{"data":null}`:                     "no data provided",
		`{"data":"x"}`:                      object,
		`{"data":[1]}`:                      object,
		`{"data":{},"options":[]}`:          `field "options": expected an object`,
		`{"data":{},"options":{"cas":1}}`:   "check-and-set parameter did not match the current version",
		`{"data":{},"options":{"cas":-1}}`:  "check-and-set parameter did not match the current version",
		`{"data":{},"options":{"cas":"x"}}`: "error parsing check-and-set parameter",
		`{"data":{},"options":{"cas":[]}}`:  "error parsing check-and-set parameter",
	} {
		k.fails(engines.KindInvalid, text, engines.Update, "data/x", body, "")
	}
	if rows := k.Store.Rows(); len(rows) != 0 {
		t.Errorf("refused writes left %q", rows)
	}
	k.fails(engines.KindMethod, "unsupported operation", engines.List, "data/x", "", "")
	k.fails(engines.KindMethod, "unsupported operation", engines.Update, "data/x/", `{"data":{}}`, "")
	resp := k.do(engines.Update, "data/x", `{"data":{},"dta":1}`, "")
	same(t, "warnings", resp.Warnings, `["Endpoint ignored these unrecognized parameters: [dta]"]`)
}

func TestCheckAndSet(t *testing.T) {
	t.Parallel()
	const required = "check-and-set parameter required for this call"
	const mismatch = "check-and-set parameter did not match the current version"
	k := mount(t, "2")
	k.do(engines.Update, "data/x", `{"data":{},"options":{"cas":0}}`, "")
	k.fails(engines.KindInvalid, mismatch, engines.Update, "data/x", `{"data":{},"options":{"cas":0}}`, "")
	k.fails(engines.KindInvalid, mismatch, engines.Update, "data/x", `{"data":{},"options":{"cas":null}}`, "")
	k.do(engines.Update, "data/x", `{"data":{},"options":{"cas":"1"}}`, "")
	k.write(engines.Update, "config", `{"cas_required":true}`)
	k.fails(engines.KindInvalid, required, engines.Update, "data/x", `{"data":{}}`, "")
	k.fails(engines.KindInvalid, required, engines.Update, "data/new", `{"data":{}}`, "")
	k.fails(engines.KindInvalid, required, engines.Patch, "data/x", `{"data":{}}`, "")
	k.do(engines.Patch, "data/x", `{"data":{},"options":{"cas":2}}`, "")
	k.write(engines.Update, "config", `{"cas_required":false}`)
	k.write(engines.Update, "metadata/x", `{"cas_required":true}`)
	k.fails(engines.KindInvalid, required, engines.Update, "data/x", `{"data":{}}`, "")
	k.do(engines.Update, "data/new", `{"data":{}}`, "")
	// A deleted version still counts.
	k.write(engines.Delete, "data/x", "")
	k.do(engines.Update, "data/x", `{"data":{},"options":{"cas":3}}`, "")
}

// TestCheckAndSetRace lets a second writer in between handler and commit.
func TestCheckAndSetRace(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	k.do(engines.Update, "data/x", `{"data":{"n":1}}`, "")
	k.Interleave = func() { k.do(engines.Update, "data/x", `{"data":{"n":2},"options":{"cas":1}}`, "") }
	k.fails(engines.KindInvalid, "check-and-set parameter did not match the current version",
		engines.Update, "data/x", `{"data":{"n":3},"options":{"cas":1}}`, "")
	same(t, "winner", k.data(engines.Read, "data/x", "", "")["data"], `{"n":2}`)
	// Without cas both are kept, one after the other.
	k.Interleave = func() { k.do(engines.Update, "data/x", `{"data":{"n":4}}`, "") }
	same(t, "second", k.data(engines.Update, "data/x", `{"data":{"n":5}}`, "")["version"], `4`)
	same(t, "first", k.data(engines.Read, "data/x", "", "version=3")["data"], `{"n":4}`)
	// A change of the settings counts for a write that is under way.
	k.Interleave = func() { k.write(engines.Update, "config", `{"cas_required":true}`) }
	k.fails(engines.KindInvalid, "check-and-set parameter required for this call", engines.Update, "data/x", `{"data":{}}`, "")
}

func TestCreateOrUpdate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ version, path string }{{"1", "x"}, {"2", "data/x"}, {"2", "metadata/x"}} {
		k := mount(t, c.version)
		match, _ := k.Compiled().Match(c.path)
		op, _ := match.Op(engines.Update)
		ask := func() bool {
			tx := k.Store.Begin()
			fields := engines.NewValues(map[string]any{"path": "x"}, nil)
			there, err := op.Exists(t.Context(), &engines.Request{Op: engines.Update, Fields: fields}, tx)
			if err != nil {
				t.Fatal(err)
			}
			return there
		}
		if ask() {
			t.Errorf("%s exists before it is written", c.path)
		}
		k.do(engines.Update, c.path, `{"data":{},"max_versions":1}`, "")
		if !ask() {
			t.Errorf("%s does not exist after it is written", c.path)
		}
	}
}

func TestDeleteUndeleteDestroy(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	for n := 1; n <= 3; n++ {
		k.do(engines.Update, "data/x", fmt.Sprintf(`{"data":{"n":%d}}`, n), "")
	}
	k.after(time.Second)
	k.write(engines.Delete, "data/x", "")
	resp := k.do(engines.Read, "data/x", "", "")
	gone := `{"data":null,"metadata":{"created_time":` + t0 + `,"custom_metadata":null,"deletion_time":` + t1 + `,"destroyed":%v,"version":3}}`
	if !resp.Missing {
		t.Error("a deleted version is not answered as missing")
	}
	same(t, "deleted", resp.Data, fmt.Sprintf(gone, false))
	k.after(time.Second)
	k.write(engines.Delete, "data/x", "") // again: the time stays
	same(t, "deleted again", k.data(engines.Read, "data/x", "", ""), fmt.Sprintf(gone, false))
	k.write(engines.Update, "undelete/x", `{"versions":"3"}`)
	same(t, "undeleted", k.data(engines.Read, "data/x", "", "")["data"], `{"n":3}`)
	k.write(engines.Update, "delete/x", `{"versions":[1,"2",77,-1,0]}`)
	for n, missing := range map[int]bool{1: true, 2: true, 3: false} {
		if resp := k.do(engines.Read, "data/x", "", fmt.Sprint("version=", n)); resp.Missing != missing {
			t.Errorf("version %d: missing %v, want %v", n, resp.Missing, missing)
		}
	}
	k.write(engines.Update, "destroy/x", `{"versions":[1,3,9]}`)
	k.write(engines.Update, "undelete/x", `{"versions":[1,2,3]}`)
	for n, missing := range map[int]bool{1: true, 2: false, 3: true} {
		if resp := k.do(engines.Read, "data/x", "", fmt.Sprint("version=", n)); resp.Missing != missing {
			t.Errorf("version %d: missing %v, want %v", n, resp.Missing, missing)
		}
	}
	same(t, "rows", k.Store.Rows(), `["data/x/2","meta/x"]`)
	k.write(engines.Delete, "data/x", "") // destroyed: nothing to do
	for _, verb := range []string{"delete", "undelete", "destroy"} {
		k.fails(engines.KindInvalid, "No version number provided", engines.Update, verb+"/x", `{}`, "")
		k.fails(engines.KindInvalid, "No version number provided", engines.Update, verb+"/x", `{"versions":[]}`, "")
		k.fails(engines.KindInvalid, `field "versions": expected a list of integers`, engines.Update, verb+"/x", `{"versions":["a"]}`, "")
		k.write(engines.Update, verb+"/none", `{"versions":[1]}`)
	}
	k.write(engines.Delete, "data/none", "")
	same(t, "rows", k.Store.Rows(), `["data/x/2","meta/x"]`)
}

func TestPatchData(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	k.fails(engines.KindNotFound, "", engines.Patch, "data/x", `{"data":{"a":1}}`, "")
	k.do(engines.Update, "data/x", `{"data":{"a":1,"b":{"c":2,"d":3}}}`, "")
	k.fails(engines.KindInvalid, "no data provided", engines.Patch, "data/x", `{}`, "")
	k.fails(engines.KindInvalid, `field "data": expected an object`, engines.Patch, "data/x", `{"data":1}`, "")
	same(t, "version", k.data(engines.Patch, "data/x", `{"data":{"a":null,"b":{"c":9},"e":[null]}}`, "")["version"], `2`)
	same(t, "patched", k.data(engines.Read, "data/x", "", "")["data"], `{"b":{"c":9,"d":3},"e":[null]}`)
	k.write(engines.Delete, "data/x", "")
	resp := k.do(engines.Patch, "data/x", `{"data":{"a":1}}`, "")
	if !resp.Missing {
		t.Error("a patch of a deleted version is not answered as missing")
	}
	same(t, "deleted", resp.Data, `{"created_time":`+t0+`,"custom_metadata":null,"deletion_time":`+t0+`,"destroyed":false,"version":2}`)
	k.write(engines.Update, "metadata/y", `{"max_versions":3}`)
	k.fails(engines.KindNotFound, "", engines.Patch, "data/y", `{"data":{"a":1}}`, "")
}

// TestMergePatch holds patches to the examples of RFC 7396, appendix A, where
// both sides are objects.
func TestMergePatch(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ target, patch, want string }{
		{`{"a":"b"}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"b"}`, `{"b":"c"}`, `{"a":"b","b":"c"}`},
		{`{"a":"b"}`, `{"a":null}`, `{}`},
		{`{"a":"b","b":"c"}`, `{"a":null}`, `{"b":"c"}`},
		{`{"a":["b"]}`, `{"a":"c"}`, `{"a":"c"}`},
		{`{"a":"c"}`, `{"a":["b"]}`, `{"a":["b"]}`},
		{`{"a":{"b":"c"}}`, `{"a":{"b":"d","c":null}}`, `{"a":{"b":"d"}}`},
		{`{"a":[{"b":"c"}]}`, `{"a":[1]}`, `{"a":[1]}`},
		{`{"e":null}`, `{"a":1}`, `{"e":null,"a":1}`},
		{`{}`, `{"a":{"bb":{"ccc":null}}}`, `{"a":{"bb":{}}}`},
		{`{"a":"foo"}`, `{"a":{"b":{"x":null,"y":1}}}`, `{"a":{"b":{"y":1}}}`},
		{`{"b":1.0,"a":"\u00e9"}`, `{"c":1e2}`, `{"b":1.0,"a":"\u00e9","c":1e2}`},
	} {
		k := mount(t, "2")
		k.do(engines.Update, "data/x", `{"data":`+c.target+`}`, "")
		k.do(engines.Patch, "data/x", `{"data":`+c.patch+`}`, "")
		entry, err := k.Store.Begin().Get("data/x/2")
		if err != nil || entry == nil || string(entry.Value) != c.want {
			t.Errorf("%s + %s: got %v %v, want %s", c.target, c.patch, entry, err, c.want)
		}
	}
}

func TestSubkeys(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	k.absent(engines.Read, "subkeys/x", "")
	k.do(engines.Update, "data/x", `{"data":{"a":1,"b":{"c":"s","d":{"e":[1]},"f":{}},"g":[{"h":1}],"i":null}}`, "")
	for query, want := range map[string]string{
		"":         `{"a":null,"b":{"c":null,"d":{"e":null},"f":null},"g":null,"i":null}`,
		"depth=0":  `{"a":null,"b":{"c":null,"d":{"e":null},"f":null},"g":null,"i":null}`,
		"depth=1":  `{"a":null,"b":null,"g":null,"i":null}`,
		"depth=2":  `{"a":null,"b":{"c":null,"d":null,"f":null},"g":null,"i":null}`,
		"depth=99": `{"a":null,"b":{"c":null,"d":{"e":null},"f":null},"g":null,"i":null}`,
	} {
		answer := k.data(engines.Read, "subkeys/x", "", query)
		same(t, query, answer["subkeys"], want)
		same(t, query, answer["metadata"], `{"created_time":`+t0+`,"custom_metadata":null,"deletion_time":"","destroyed":false,"version":1}`)
	}
	k.do(engines.Update, "data/x", `{"data":{}}`, "")
	same(t, "empty", k.data(engines.Read, "subkeys/x", "", "")["subkeys"], `{}`)
	k.write(engines.Delete, "data/x", "")
	if resp := k.do(engines.Read, "subkeys/x", "", ""); !resp.Missing {
		t.Error("deleted subkeys are not missing")
	}
	same(t, "deleted", k.data(engines.Read, "subkeys/x", "", "")["subkeys"], `null`)
	same(t, "version 1", k.data(engines.Read, "subkeys/x", "", "version=1&depth=1")["subkeys"], `{"a":null,"b":null,"g":null,"i":null}`)
}

func TestMaxVersions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mount, secret, want int }{{0, 0, 10}, {3, 0, 3}, {0, 2, 2}, {3, 5, 5}, {5, 3, 5}, {1, 0, 1}} {
		k := mount(t, "2")
		k.write(engines.Update, "config", fmt.Sprintf(`{"max_versions":%d}`, c.mount))
		k.write(engines.Update, "metadata/x", fmt.Sprintf(`{"max_versions":%d}`, c.secret))
		for range 13 {
			k.do(engines.Update, "data/x", `{"data":{}}`, "")
		}
		meta := k.data(engines.Read, "metadata/x", "", "")
		if got := len(meta["versions"].(map[string]any)); got != c.want {
			t.Errorf("mount %d, secret %d: %d versions, want %d", c.mount, c.secret, got, c.want)
		}
		same(t, "oldest", meta["oldest_version"], fmt.Sprint(14-c.want))
		same(t, "current", meta["current_version"], `13`)
		if rows := len(k.Store.Rows()); rows != c.want+2 && c.mount > 0 || rows != c.want+1 && c.mount == 0 {
			t.Errorf("mount %d, secret %d: %d rows", c.mount, c.secret, rows)
		}
		k.absent(engines.Read, "data/x", fmt.Sprint("version=", 13-c.want))
		k.do(engines.Read, "data/x", "", fmt.Sprint("version=", 14-c.want))
	}
}

// TestLoweredMaxVersions prunes all at once with the next write.
func TestLoweredMaxVersions(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	for range 9 {
		k.do(engines.Update, "data/x", `{"data":{}}`, "")
	}
	k.write(engines.Update, "metadata/x", `{"max_versions":2}`)
	k.do(engines.Read, "data/x", "", "version=1")
	k.do(engines.Update, "data/x", `{"data":{}}`, "")
	same(t, "rows", k.Store.Rows(), `["data/x/10","data/x/9","meta/x"]`)
	k.fails(engines.KindInvalid, `field "max_versions": expected 0 to 10000`, engines.Update, "metadata/x", `{"max_versions":-1}`, "")
	k.fails(engines.KindInvalid, `field "max_versions": expected 0 to 10000`, engines.Update, "config", `{"max_versions":4294967297}`, "")
}

func TestDeleteVersionAfter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ mount, secret, want string }{
		{"0", "0", ``}, {"10s", "0", `10`}, {"0", "10s", `10`}, {"20s", "10s", `10`}, {"10s", "20s", `10`},
		{"-1s", "10s", ``}, {"1d", "0", `86400`}, {"2562047h", "0", ``},
	} {
		k := mount(t, "2")
		k.write(engines.Update, "config", `{"delete_version_after":"`+c.mount+`"}`)
		k.write(engines.Update, "metadata/x", `{"delete_version_after":"`+c.secret+`"}`)
		got := k.data(engines.Update, "data/x", `{"data":{}}`, "")["deletion_time"]
		want := ""
		if c.want != "" {
			d, err := time.ParseDuration(c.want + "s")
			if err != nil {
				t.Fatal(err)
			}
			want = k.Now.Add(d).Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("mount %s, secret %s: deletion_time %v, want %v", c.mount, c.secret, got, want)
		}
	}
	k := mount(t, "2")
	k.fails(engines.KindInvalid, `field "delete_version_after": expected a duration that is not negative, such as 3600 or "1h30m"`,
		engines.Update, "metadata/x", `{"delete_version_after":"-1s"}`, "")
}

func TestDeletionTimeComes(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	k.write(engines.Update, "metadata/x", `{"delete_version_after":"10s"}`)
	k.do(engines.Update, "data/x", `{"data":{"a":1}}`, "")
	k.after(9999 * time.Millisecond)
	if k.do(engines.Read, "data/x", "", "").Missing {
		t.Error("deleted too early")
	}
	k.after(time.Millisecond)
	if !k.do(engines.Read, "data/x", "", "").Missing {
		t.Error("not deleted in time")
	}
	// Undelete gives it another ten seconds.
	k.write(engines.Update, "undelete/x", `{"versions":[1]}`)
	if k.do(engines.Read, "data/x", "", "").Missing {
		t.Error("not undeleted")
	}
	k.after(10 * time.Second)
	if !k.do(engines.Read, "data/x", "", "").Missing {
		t.Error("undeleted for ever")
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	same(t, "default", k.data(engines.Read, "config", "", ""), `{"cas_required":false,"delete_version_after":"0s","max_versions":0,"metadata_cas_required":false}`)
	k.write(engines.Update, "config", `{"max_versions":7,"delete_version_after":"1h"}`)
	k.write(engines.Update, "config", `{"cas_required":"true"}`)
	same(t, "set", k.data(engines.Read, "config", "", ""), `{"cas_required":true,"delete_version_after":"1h0m0s","max_versions":7,"metadata_cas_required":false}`)
	k.write(engines.Update, "config", `{"delete_version_after":-30,"metadata_cas_required":true}`)
	same(t, "off", k.data(engines.Read, "config", "", ""), `{"cas_required":true,"delete_version_after":"-1s","max_versions":7,"metadata_cas_required":true}`)
	k.write(engines.Update, "config", `{"delete_version_after":0}`)
	same(t, "cleared", k.data(engines.Read, "config", "", "")["delete_version_after"], `"0s"`)
}

// TestStray answers what would be right on version 1.
func TestStray(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	for op, word := range map[engines.Operation]string{engines.Read: "data/", engines.Update: "data/", engines.List: "metadata/"} {
		resp := k.do(op, "app/password", `{"a":1}`, "")
		if !resp.Missing || len(resp.Warnings) != 1 || !strings.Contains(resp.Warnings[0], word) || strings.Contains(resp.Warnings[0], "password") {
			t.Errorf("%s: %+v", op, resp)
		}
	}
}
