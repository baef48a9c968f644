package kv_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

// listed are the paths of both versions' listings.
func listed(version string) (put, list func(path string) string) {
	if version == "1" {
		same := func(path string) string { return path }
		return same, same
	}
	return func(path string) string { return "data/" + path }, func(path string) string { return strings.TrimSuffix("metadata/"+path, "/") }
}

func TestList(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"1", "2"} {
		k := mount(t, version)
		put, list := listed(version)
		k.absent(engines.List, list(""), "")
		for _, path := range []string{"a", "a/b", "a/c/d", "a-b", "z/1", "z/2", "m"} {
			k.do(engines.Update, put(path), `{"data":{"a":1}}`, "")
		}
		for ask, want := range map[string]string{
			"":                 `["a","a-b","a/","m","z/"]`,
			"?limit=2":         `["a","a-b"]`,
			"?limit=-1":        `["a","a-b","a/","m","z/"]`,
			"?after=a":         `["a-b","a/","m","z/"]`,
			"?after=a/":        `["m","z/"]`,
			"?after=b&limit=1": `["m"]`,
			"a":                `["b","c/"]`,
			"a/":               `["b","c/"]`,
			"a/c":              `["d"]`,
		} {
			path, query, _ := strings.Cut(ask, "?")
			same(t, version+" "+ask, k.keys(engines.List, list(path), query), want)
		}
		for _, ask := range []string{"q", "m", "a/b/", "?after=zz"} {
			path, query, _ := strings.Cut(ask, "?")
			k.absent(engines.List, list(path), query)
			k.absent(engines.Scan, list(path), query)
		}
		k.fails(engines.KindInvalid, `field "limit": expected an integer`, engines.List, list(""), "", "limit=x")
	}
}

func TestExcludeDeleted(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	for i := range 9 {
		path := fmt.Sprint("f/", i)
		k.do(engines.Update, "data/"+path, `{"data":{}}`, "")
		k.do(engines.Update, "data/"+path, `{"data":{}}`, "")
		switch i % 3 {
		case 1:
			k.write(engines.Delete, "data/"+path, "")
		case 2:
			k.write(engines.Update, "destroy/"+path, `{"versions":[1]}`) // not the newest
		}
	}
	k.write(engines.Update, "destroy/f/0", `{"versions":[2]}`)
	k.write(engines.Update, "metadata/f/x", `{"max_versions":1}`)
	k.do(engines.Update, "data/f/g/deep", `{"data":{}}`, "")
	same(t, "all", len(k.keys(engines.List, "metadata/f", "")), `11`)
	for _, c := range []struct{ query, want string }{
		{"exclude_deleted=true", `["2","3","5","6","8","g/","x"]`},
		{"exclude_deleted=true&limit=3", `["2","3","5"]`},
		{"exclude_deleted=true&limit=3&after=5", `["6","8","g/"]`},
		{"exclude_deleted=1&after=g/", `["x"]`},
	} {
		same(t, c.query, k.keys(engines.List, "metadata/f/", c.query), c.want)
	}
	same(t, "scan", k.keys(engines.Scan, "metadata/f/", "exclude_deleted=true"), `["2","3","5","6","8","g/deep","x"]`)
}

func TestDetailedMetadata(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	k.absent(engines.List, "detailed-metadata", "")
	k.do(engines.Update, "data/f/a", `{"data":{}}`, "")
	k.do(engines.Update, "data/f/g/b", `{"data":{}}`, "")
	k.do(engines.Update, "data/f/g/b", `{"data":{}}`, "")
	for _, c := range []struct {
		op   engines.Operation
		path string
		keys string
		info map[string]string // key to current version
	}{
		{engines.List, "detailed-metadata/f", `["a","g/"]`, map[string]string{"a": "1"}},
		{engines.Scan, "detailed-metadata/f", `["a","g/b"]`, map[string]string{"a": "1", "g/b": "2"}},
		{engines.Scan, "detailed-metadata", `["f/a","f/g/b"]`, map[string]string{"f/a": "1", "f/g/b": "2"}},
		{engines.List, "detailed-metadata", `["f/"]`, nil},
	} {
		answer := k.data(c.op, c.path, "", "")
		same(t, c.path, answer["keys"], c.keys)
		info, _ := answer["key_info"].(map[string]any)
		if len(info) != len(c.info) {
			t.Errorf("%s: key_info %v", c.path, info)
		}
		for key, version := range c.info {
			same(t, key, info[key].(map[string]any)["current_version"], version)
			same(t, key, info[key], encode(t, k.data(engines.Read, strings.TrimSuffix("metadata/"+strings.TrimPrefix(c.path+"/"+key, "detailed-metadata/"), "/"), "", "")))
		}
	}
	same(t, "page", k.keys(engines.Scan, "detailed-metadata", "limit=1&after=f/a"), `["f/g/b"]`)
}

// TestScanPages compares scans in pages with a sorted list of what is there.
func TestScanPages(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for _, version := range []string{"1", "2", "upgraded"} {
		first := version
		if version == "upgraded" {
			first = "1"
		}
		k := mount(t, first)
		k.Once = true
		put, list := listed(first)
		paths := map[string]bool{}
		for i := range 400 {
			if version == "upgraded" && i == 200 {
				if err := k.Tune(map[string]string{"version": "2"}); err != nil {
					t.Fatal(err)
				}
				put, list = listed("2")
			}
			var path []string
			for range 1 + random.IntN(4) {
				path = append(path, []string{"a", "a-", "a.b", "b", "é", "0"}[random.IntN(6)])
			}
			paths[strings.Join(path, "/")] = true
			k.do(engines.Update, put(strings.Join(path, "/")), `{"data":{"a":1}}`, "")
		}
		for _, folder := range []string{"", "a/", "a-/b/", "none/"} {
			var want []string
			for _, path := range slices.Sorted(maps.Keys(paths)) {
				if rest, ok := strings.CutPrefix(path, folder); ok {
					want = append(want, rest)
				}
			}
			for _, limit := range []int{0, 1, 7, 100} {
				checkPages(t, k, list(folder), limit, want)
			}
			for range 50 {
				checkAfter(t, k, list(folder), random, want)
			}
		}
	}
}

func checkPages(t *testing.T, k *kit, path string, limit int, want []string) {
	t.Helper()
	var got []string
	for {
		after := ""
		if len(got) > 0 {
			after = got[len(got)-1]
		}
		resp, err := k.Do(engines.Scan, path, nil, map[string][]string{"after": {after}, "limit": {fmt.Sprint(limit)}})
		if engines.KindOf(err) == engines.KindNotFound {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		page := keysOf(t, resp)
		if limit > 0 && len(page) > limit {
			t.Fatalf("a page of %d for limit %d", len(page), limit)
		}
		got = append(got, page...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("scan of %q in pages of %d: got %d %q\nwant %d %q", path, limit, len(got), got, len(want), want)
	}
}

// checkAfter begins after names that need not exist.
func checkAfter(t *testing.T, k *kit, path string, random *rand.Rand, want []string) {
	t.Helper()
	after := ""
	for range 1 + random.IntN(5) {
		after += []string{"a", "-", "/", "b", "é", "//", "0", ".", "zz"}[random.IntN(9)]
	}
	var rest []string
	for _, name := range want {
		if name > after {
			rest = append(rest, name)
		}
	}
	var got []string
	resp, err := k.Do(engines.Scan, path, nil, map[string][]string{"after": {after}})
	if err == nil {
		got = keysOf(t, resp)
	} else if engines.KindOf(err) != engines.KindNotFound {
		t.Fatalf("after %q: %v", after, err)
	}
	if !slices.Equal(got, rest) {
		t.Errorf("scan of %q after %q: got %q\nwant %q", path, after, got, rest)
	}
}

// lister counts how often each folder is listed, which costs the opening of all
// of its names each time.
type lister struct {
	engines.Tx
	lists map[string]int
}

func (l *lister) List(dir string, page engines.Page) ([]string, error) {
	l.lists[dir]++
	return l.Tx.List(dir, page)
}

// TestFoldersAreReadOnce: one request lists no folder twice, however many names
// it has and however many of them are left out.
func TestFoldersAreReadOnce(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	k.Once = true
	const flat = 1_100
	for i := range flat {
		path := fmt.Sprintf("data/f/%04d", i)
		k.do(engines.Update, path, `{"data":{}}`, "")
		if i < 20 {
			k.write(engines.Delete, path, "")
		}
	}
	k.do(engines.Update, "data/f/g/deep", `{"data":{}}`, "")
	for _, c := range []struct {
		op    engines.Operation
		query url.Values
		names int
		lists map[string]int
	}{
		{engines.Scan, nil, flat + 1, map[string]int{"meta/f/": 1, "meta/f/g/": 1}},
		{engines.Scan, url.Values{"limit": {"1050"}, "after": {"0002"}}, 1050, map[string]int{"meta/f/": 1}},
		{engines.List, url.Values{"limit": {"2"}, "exclude_deleted": {"true"}}, 2, map[string]int{"meta/f/": 1}},
		{engines.Scan, url.Values{"limit": {"2"}, "exclude_deleted": {"true"}}, 2, map[string]int{"meta/f/": 1, "meta/f/g/": 1}},
	} {
		match, _ := k.Compiled().Match("metadata/f/")
		op, _ := match.Op(c.op)
		fields, _, err := match.Decode(c.op, c.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		tx := &lister{k.Store.Begin(), map[string]int{}}
		resp, err := op.Handler(t.Context(), &engines.Request{Op: c.op, Path: "metadata/f/", Fields: fields, Mount: k.Info, Now: k.Now}, tx)
		if err != nil {
			t.Fatal(err)
		}
		keys := enginetest.Data(t, resp)["keys"].([]any)
		if len(keys) != c.names || !maps.Equal(tx.lists, c.lists) {
			t.Errorf("%v %v: %d names of lists %v, want %d of %v", c.op, c.query, len(keys), tx.lists, c.names, c.lists)
		}
	}
}
