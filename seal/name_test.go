package seal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/coffer-secrets/coffer/seal"
)

func sealName(t testing.TB, b *seal.Barrier, prefix, path string) []byte {
	t.Helper()
	sealed, err := b.SealName([]byte(prefix), path)
	if err != nil {
		t.Fatalf("%q: %v", path, err)
	}
	return sealed
}

// randomPath returns a path of up to five segments from a small alphabet, so
// that paths often share segments and directories.
func randomPath(r *rand.Rand) string {
	segments := []string{"a", "b", "foo", "foo ", "é", "0123456789abcde", "0123456789abcdef", "0123456789abcdefg"}
	var path strings.Builder
	for n := r.IntN(5); n >= 0; n-- {
		path.WriteString(segments[r.IntN(len(segments))])
		if n > 0 || r.IntN(3) == 0 {
			path.WriteByte('/')
		}
	}
	return path.String()
}

// The package agrees with the reference on random paths, and its cache changes
// nothing: each path is sealed cold and again hot, in random order.
func TestNamesAgreeWithReference(t *testing.T) {
	t.Parallel()
	rootKey, ring := newRootKey(t), referenceKeyring()
	k, err := seal.OpenKeyring(rootKey, ring.seal(rootKey, make([]byte, 12)))
	if err != nil {
		t.Fatal(err)
	}
	b, r := newBarrier(t, k), rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		prefix, path := []string{"", "p", "pa", "other"}[r.IntN(4)], randomPath(r)
		sealed := sealName(t, b, prefix, path)
		if want := refName(ring.NameKey, []byte(prefix), path); !bytes.Equal(sealed, want) {
			t.Fatalf("%q: got %x, want %x", path, sealed, want)
		}
		if opened, err := b.OpenName([]byte(prefix), sealed); err != nil || opened != path {
			t.Fatalf("%q opens as %q: %v", path, opened, err)
		}
	}
}

// Sealed names are prefixes of each other exactly where a directory is above
// what is in it, and equal exactly where paths are.
func TestPrefixProperty(t *testing.T) {
	t.Parallel()
	b, r := newBarrier(t, newKeyring(t)), rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		one, two := randomPath(r), randomPath(r)
		isPrefix := bytes.HasPrefix(sealName(t, b, "p", two), sealName(t, b, "p", one))
		want := one == two || strings.HasSuffix(one, "/") && strings.HasPrefix(two, one)
		if isPrefix != want {
			t.Fatalf("%q is a prefix of %q: %v, sealed: %v", one, two, want, isPrefix)
		}
	}
}

// One segment under two parents, as leaf and directory, below two prefixes and
// under two keyrings: all its sealed forms differ.
func TestSegmentsAreBoundToTheirPlace(t *testing.T) {
	t.Parallel()
	b, other := newBarrier(t, newKeyring(t)), newBarrier(t, newKeyring(t))
	seen := make(map[string]string)
	for place, sealed := range map[string][]byte{
		"a/":           sealName(t, b, "p", "a/x")[len(sealName(t, b, "p", "a/")):],
		"b/":           sealName(t, b, "p", "b/x")[len(sealName(t, b, "p", "b/")):],
		"x/":           sealName(t, b, "p", "x/x")[len(sealName(t, b, "p", "x/")):],
		"root":         sealName(t, b, "p", "x")[1:],
		"directory":    sealName(t, b, "p", "x/")[1:],
		"other prefix": sealName(t, b, "q", "x")[1:],
		"other key":    sealName(t, other, "p", "x")[1:],
	} {
		siv := string(sealed[2:18])
		if before, ok := seen[siv]; ok {
			t.Errorf("sealed alike at %q and %q", before, place)
		}
		seen[siv] = place
	}
}

// A listing by components alone: read one, skip what is below it, go on.
func TestEnumerateChildren(t *testing.T) {
	t.Parallel()
	b := newBarrier(t, newKeyring(t))
	parent := sealName(t, b, "p", "dir/")
	var rows [][]byte
	for _, path := range []string{"dir/foo", "dir/foo/bar", "dir/foo/baz/qux", "dir/leaf"} {
		rows = append(rows, sealName(t, b, "p", path))
	}
	got := make(map[string]int)
	for _, row := range rows {
		segment, dir, n, err := b.OpenComponent(parent, row)
		if err != nil {
			t.Fatal(err)
		}
		if dir {
			segment += "/"
		}
		got[segment]++
		if want := sealName(t, b, "p", "dir/"+segment); !bytes.Equal(row[:len(parent)+n], want) {
			t.Errorf("%q: the name of what was opened is %x, want %x", segment, row[:len(parent)+n], want)
		}
	}
	if want := "map[foo:1 foo/:2 leaf:1]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, _, _, err := b.OpenComponent(parent, parent); !errors.Is(err, seal.ErrMalformed) {
		t.Errorf("a component where none is: %v", err)
	}
	for _, other := range [][]byte{rows[1], sealName(t, b, "q", "dir/")} {
		if _, _, _, err := b.OpenComponent(other, rows[0]); !errors.Is(err, seal.ErrMalformed) {
			t.Errorf("a component of another parent: %v", err)
		}
	}
}

// TestOpenedBefore: what has been opened is remembered for just those bytes below
// just that parent.
func TestOpenedBefore(t *testing.T) {
	t.Parallel()
	b := newBarrier(t, newKeyring(t))
	parent, name := sealName(t, b, "p", "dir/"), sealName(t, b, "p", "dir/leaf")
	for range 2 {
		if segment, dir, n, err := b.OpenComponent(parent, name); segment != "leaf" || dir || n != len(name)-len(parent) || err != nil {
			t.Errorf("opened %q, %v, %d, %v", segment, dir, n, err)
		}
		if path, err := b.OpenName([]byte("p"), name); path != "dir/leaf" || err != nil {
			t.Errorf("opened %q, %v", path, err)
		}
	}
	for i := len(parent) + 2; i < len(name); i++ {
		other := bytes.Clone(name)
		other[i] ^= 1
		if segment, _, _, err := b.OpenComponent(parent, other); !errors.Is(err, seal.ErrCorrupt) {
			t.Errorf("with byte %d changed: %q, %v", i, segment, err)
		}
	}
	b.Close()
	if _, _, _, err := b.OpenComponent(parent, name); !errors.Is(err, seal.ErrSealed) {
		t.Errorf("a sealed barrier: %v", err)
	}
}

func TestSealSegment(t *testing.T) {
	t.Parallel()
	b := newBarrier(t, newKeyring(t))
	dir, err := b.SealSegment([]byte("p"), "dir", true)
	if err != nil {
		t.Fatal(err)
	}
	parent := append([]byte("p"), dir...)
	leaf, err := b.SealSegment(parent, "leaf", false)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := append(parent, leaf...), sealName(t, b, "p", "dir/leaf"); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
	for segment, want := range map[string]error{
		"":                       seal.ErrInvalidName,
		"a/b":                    seal.ErrInvalidName,
		"/":                      seal.ErrInvalidName,
		strings.Repeat("s", 513): seal.ErrNameTooLong,
	} {
		if _, err := b.SealSegment(nil, segment, false); !errors.Is(err, want) {
			t.Errorf("segment of %d bytes: %v", len(segment), err)
		}
	}
	long := make([]byte, seal.MaxSealedName-18)
	if _, err := b.SealSegment(long, "ab", false); !errors.Is(err, seal.ErrNameTooLong) {
		t.Errorf("below a long parent: %v", err)
	}
}

// The limits are exact: the longest names are sealed and opened, and one byte
// more is refused.
func TestNameLimits(t *testing.T) {
	t.Parallel()
	b := newBarrier(t, newKeyring(t))
	segment := strings.Repeat("s", seal.MaxSegment)
	path := strings.Repeat(segment+"/", 7)
	prefix := strings.Repeat("p", seal.MaxSealedName-len(sealName(t, b, "", path)))
	sealed := sealName(t, b, prefix, path)
	if len(sealed) != seal.MaxSealedName {
		t.Errorf("the longest name is %d bytes long", len(sealed))
	}
	if got, err := b.OpenName([]byte(prefix), sealed); err != nil || got != path {
		t.Errorf("the longest name does not open: %v", err)
	}
	if _, err := b.SealName([]byte(prefix+"p"), path); !errors.Is(err, seal.ErrNameTooLong) {
		t.Errorf("a longer name: %v", err)
	}
	if _, err := b.SealName(nil, segment+"s"); !errors.Is(err, seal.ErrNameTooLong) {
		t.Errorf("a longer segment: %v", err)
	}
}

// What SealName returns is the caller's: changing it changes no later result.
func TestSealedNamesAreCopies(t *testing.T) {
	t.Parallel()
	b := newBarrier(t, newKeyring(t))
	want := bytes.Clone(sealName(t, b, "p", "a/b"))
	for range 3 {
		got := sealName(t, b, "p", "a/b")
		if !bytes.Equal(got, want) {
			t.Fatal("a caller's change reached the cache")
		}
		clear(got)
		_ = append(sealName(t, b, "p", "a/"), "garbage"...)
	}
}

func TestNamesConcurrently(t *testing.T) {
	t.Parallel()
	ring, rootKey := referenceKeyring(), newRootKey(t)
	k, err := seal.OpenKeyring(rootKey, ring.seal(rootKey, make([]byte, 12)))
	if err != nil {
		t.Fatal(err)
	}
	b := newBarrier(t, k)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(5, uint64(w)))
			for range 500 {
				path := randomPath(r)
				got, err := b.SealName([]byte("p"), path)
				if err != nil || !bytes.Equal(got, refName(ring.NameKey, []byte("p"), path)) {
					t.Errorf("%q is sealed wrongly: %v", path, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// Where a prefix ends and a path begins is part of what the cache knows.
func TestPrefixAndPathAreNotConfused(t *testing.T) {
	t.Parallel()
	b := newBarrier(t, newKeyring(t))
	for _, heat := range []string{"cold", "hot"} {
		seen := make(map[string]string)
		for _, name := range [][2]string{{"", "ab/c"}, {"a", "b/c"}, {"ab", ""}, {"a", "b"}, {"", "ab"}, {"\x01a", "b"}} {
			sealed := string(sealName(t, b, name[0], name[1]))
			if before, ok := seen[sealed]; ok {
				t.Errorf("%s: %q below %q is sealed as %s", heat, name[1], name[0], before)
			}
			seen[sealed] = fmt.Sprintf("%q below %q", name[1], name[0])
		}
	}
}
