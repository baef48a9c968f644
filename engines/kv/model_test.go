package kv_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
	"github.com/coffer-secrets/coffer/engines/kv"
)

func itoa(n int) string { return strconv.Itoa(n) }

// model is version 2 written down as naively as it can be.
type model struct {
	secrets map[string]*modelSecret
	max     int
	cas     bool
}

type modelSecret struct {
	versions map[int]*modelVersion
	current  int
	max      int
	cas      bool
	after    time.Duration
}

type modelVersion struct {
	value              string
	deleted, destroyed bool
	deleteAt           time.Time
}

func (v *modelVersion) gone(now time.Time) bool {
	return v.destroyed || v.deleted || !v.deleteAt.IsZero() && !now.Before(v.deleteAt)
}

// write returns the new version's number, 0 if it is refused.
func (m *model) write(path, value string, cas int, now time.Time) int {
	s := m.secrets[path]
	if s == nil {
		s = &modelSecret{versions: map[int]*modelVersion{}}
	}
	if cas >= 0 && cas != s.current || cas < 0 && (m.cas || s.cas) {
		return 0
	}
	m.secrets[path] = s
	s.current++
	v := &modelVersion{value: value}
	if s.after > 0 {
		v.deleteAt = now.Add(s.after)
	}
	s.versions[s.current] = v
	limit := max(m.max, s.max)
	if limit == 0 {
		limit = 10
	}
	for n := range s.versions {
		if n <= s.current-limit {
			delete(s.versions, n)
		}
	}
	return s.current
}

func (m *model) each(path string, versions []int, change func(v *modelVersion)) {
	s := m.secrets[path]
	if s == nil {
		return
	}
	for _, n := range versions {
		if v := s.versions[n]; v != nil && !v.destroyed {
			change(v)
		}
	}
}

// TestModel takes random steps on a mount and on the model and compares all
// that can be read after each.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 7))
		k := mount(t, "2")
		m := &model{secrets: map[string]*modelSecret{}}
		for step := range 120 {
			k.after(time.Duration(random.IntN(3)) * time.Second)
			what := modelStep(t, k, m, random, step)
			compare(t, k, m, fmt.Sprintf("seed %d step %d %s", seed, step, what))
			if t.Failed() {
				return
			}
		}
	}
}

var modelPaths = []string{"a", "a/1", "a/1/2", "b"}

// modelStep makes one change on both sides.
func modelStep(t *testing.T, k *kit, m *model, random *rand.Rand, step int) string {
	t.Helper()
	path := modelPaths[random.IntN(len(modelPaths))]
	versions := []int{1 + random.IntN(14), 1 + random.IntN(14)}
	list := fmt.Sprintf(`{"versions":[%d,%d]}`, versions[0], versions[1])
	switch n := random.IntN(20); {
	case n < 9:
		cas := random.IntN(30) - 20
		value := fmt.Sprintf(`{"step":%d}`, step)
		body := `{"data":` + value + `}`
		if s := m.secrets[path]; s != nil && random.IntN(3) == 0 {
			cas = s.current
		}
		if cas >= 0 {
			body = fmt.Sprintf(`{"data":%s,"options":{"cas":%d}}`, value, cas)
		}
		want := m.write(path, value, cas, k.Now)
		resp, err := k.Do(engines.Update, "data/"+path, body, nil)
		if (err == nil) != (want > 0) {
			t.Errorf("write %s: %v, want version %d", body, err, want)
		} else if err == nil {
			same(t, "version", enginetest.Data(t, resp)["version"], itoa(want))
		}
		return "write " + path + body
	case n < 11:
		if s := m.secrets[path]; s != nil {
			m.each(path, []int{s.current}, func(v *modelVersion) { v.deleted = v.deleted || !v.gone(k.Now) })
		}
		k.write(engines.Delete, "data/"+path, "")
		return "delete " + path
	case n < 13:
		m.each(path, versions, func(v *modelVersion) { v.deleted = true })
		k.write(engines.Update, "delete/"+path, list)
		return "delete " + path + list
	case n < 15:
		m.each(path, versions, func(v *modelVersion) {
			v.deleted, v.deleteAt = false, time.Time{}
			if after := m.secrets[path].after; after > 0 {
				v.deleteAt = k.Now.Add(after)
			}
		})
		k.write(engines.Update, "undelete/"+path, list)
		return "undelete " + path + list
	case n < 16:
		m.each(path, versions, func(v *modelVersion) { v.destroyed, v.value = true, "" })
		k.write(engines.Update, "destroy/"+path, list)
		return "destroy " + path + list
	case n < 17:
		delete(m.secrets, path)
		k.write(engines.Delete, "metadata/"+path, "")
		return "remove " + path
	}
	return modelSettings(k, m, random, path)
}

func modelSettings(k *kit, m *model, random *rand.Rand, path string) string {
	limit, cas := random.IntN(5), random.IntN(4) == 0
	if random.IntN(3) == 0 {
		m.max, m.cas = limit, cas
		k.write(engines.Update, "config", fmt.Sprintf(`{"max_versions":%d,"cas_required":%v}`, limit, cas))
		return "config"
	}
	s := m.secrets[path]
	if s == nil {
		s = &modelSecret{versions: map[int]*modelVersion{}}
		m.secrets[path] = s
	}
	s.max, s.cas, s.after = limit, cas, time.Duration(random.IntN(2)*random.IntN(5))*time.Second
	k.do(engines.Update, "metadata/"+path, fmt.Sprintf(`{"max_versions":%d,"cas_required":%v,"delete_version_after":"%s"}`, limit, cas, s.after), "")
	return "metadata " + path
}

func compare(t *testing.T, k *kit, m *model, what string) {
	t.Helper()
	wantRows := 0
	for _, path := range modelPaths {
		s := m.secrets[path]
		if s == nil {
			k.absent(engines.Read, "metadata/"+path, "")
			k.absent(engines.Read, "data/"+path, "")
			continue
		}
		wantRows++
		same(t, what, k.data(engines.Read, "metadata/"+path, "", "")["current_version"], itoa(s.current))
		for n := 1; n <= s.current+1; n++ {
			resp, err := k.Do(engines.Read, "data/"+path, nil, map[string][]string{"version": {itoa(n)}})
			v := s.versions[n]
			switch {
			case v == nil:
				if engines.KindOf(err) != engines.KindNotFound || err.Error() != "" {
					t.Errorf("%s: version %d of %s: %v, want none", what, n, path, err)
				}
				continue
			case err != nil:
				t.Errorf("%s: version %d of %s: %v", what, n, path, err)
				continue
			case resp.Missing != v.gone(k.Now):
				t.Errorf("%s: version %d of %s: missing %v", what, n, path, resp.Missing)
			}
			want := "null"
			if !v.gone(k.Now) {
				want = v.value
			}
			same(t, what, enginetest.Data(t, resp)["data"], want)
			if !v.destroyed {
				wantRows++
			}
		}
	}
	rows := slices.DeleteFunc(k.Store.Rows(), func(path string) bool { return path == "config" })
	if len(rows) != wantRows {
		t.Errorf("%s: %d rows, want %d: %s", what, len(rows), wantRows, strings.Join(rows, " "))
	}
}

// FuzzMetadataRow checks that no row panics, and that what decodes is stable.
func FuzzMetadataRow(f *testing.F) {
	k := mount(f, "2")
	k.do(engines.Update, "data/x", `{"data":{}}`, "")
	k.write(engines.Update, "metadata/x", `{"custom_metadata":{"a":"b","c":"d"},"delete_version_after":"1h","cas_required":true}`)
	for range 3 {
		k.do(engines.Update, "data/x", `{"data":{},"options":{"cas":`+enginetest.Data(f, k.do(engines.Read, "metadata/x", "", ""))["current_version"].(interface{ String() string }).String()+`}}`, "")
	}
	k.write(engines.Update, "destroy/x", `{"versions":[2]}`)
	entry, err := k.Store.Begin().Get("meta/x")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(entry.Value)
	for i := range entry.Value {
		f.Add(entry.Value[:i])
	}
	f.Fuzz(func(t *testing.T, row []byte) {
		once, err := kv.Recode(row)
		if err != nil {
			return
		}
		twice, err := kv.Recode(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%x became %x, then %x, %v", row, once, twice, err)
		}
	})
}

// TestCorruptRow answers an internal error and tells nothing.
func TestCorruptRow(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	tx := k.Store.Begin()
	for path, row := range map[string]string{"meta/x": "\x02", "meta/y": "\x01", "meta/z": ""} {
		if err := tx.Put(path, []byte(row)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"x", "y", "z"} {
		k.fails(engines.KindInternal, "internal error", engines.Read, "data/"+path, "", "")
		k.fails(engines.KindInternal, "internal error", engines.Update, "data/"+path, `{"data":{}}`, "")
	}
}
