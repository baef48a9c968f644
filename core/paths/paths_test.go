package paths_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/coffer-secrets/coffer/core/paths"
	"github.com/coffer-secrets/coffer/engines"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct {
		in, want string
		dir      bool
	}{
		{"kv/a", "kv/a", false},
		{"kv/a/", "kv/a", true},
		{"kv", "kv", false},
		{"a b/c", "a b/c", false},
		{"kv/.a", "kv/.a", false},
		{"kv/a.", "kv/a.", false},
		{"kv/...", "kv/...", false},
		{"kv/+/*", "kv/+/*", false},
		{"kv/%2e%2e", "kv/%2e%2e", false}, // decoded once already: these are letters
		{"kv/\u00e9", "kv/\u00e9", false},
		{"kv/e\u0301", "kv/e\u0301", false}, // another name than the one before
		{"KV/A", "KV/A", false},
		{"kv/\u202e\u200b", "kv/\u202e\u200b", false},
		{" kv / a ", " kv / a ", false},
		{strings.Repeat("a", paths.MaxBytes), strings.Repeat("a", paths.MaxBytes), false},
	} {
		got, dir, err := paths.Canonical(c.in)
		if err != nil || got != c.want || dir != c.dir {
			t.Errorf("%q: %q, %v, %v", c.in, got, dir, err)
		}
	}
}

func TestRefused(t *testing.T) {
	empty := `the path contains an empty segment, "." or ".."`
	control := `the path contains a control character or a backslash`
	for _, c := range []struct{ in, want string }{
		{"/kv", empty}, {"//", empty}, {"kv//a", empty}, {"kv/a//", empty}, {"kv/./a", empty}, {"./kv", empty}, {"kv/.", empty},
		{"kv/../sys", empty}, {"..", empty}, {"kv/..", empty}, {"kv/../", empty}, {"../", empty},
		{"kv\\a", control}, {"kv/..\\sys", control}, {"kv/\x00", control}, {"kv/a\n", control}, {"\x7f", control}, {"kv/\x1b[0m", control},
		{"kv/\xff", "the path is not valid UTF-8"}, {"kv/\xc0\xaf", "the path is not valid UTF-8"}, {"\xed\xa0\x80", "the path is not valid UTF-8"},
		{strings.Repeat("a", paths.MaxBytes+1), "the path is longer than the limit of 2048 bytes"},
	} {
		_, _, err := paths.Canonical(c.in)
		if err == nil || err.Error() != c.want || engines.KindOf(err) != engines.KindInvalid {
			t.Errorf("%q: %v, want %s", c.in, err, c.want)
		}
	}
	for _, in := range []string{"", "/"} {
		if _, _, err := paths.Canonical(in); engines.KindOf(err) != engines.KindNotFound || err == nil {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzCanonical: the canonical form is what came in but for one slash at the
// end, is its own canonical form, and has nothing in it that could be spelled
// in two ways.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"", "/", "a", "a/", "a//", "a/../b", "a/./b", "a\\b", "\xff", "\x00", "é/e\u0301", "..", "...", "a/%2e%2e/b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, dir, err := paths.Canonical(in)
		if err != nil {
			if err.Error() == "" || strings.Contains(in, err.Error()) || engines.KindOf(err) == engines.KindInternal {
				t.Errorf("%q is refused with %q", in, err)
			}
			return
		}
		if want := got + strings.Repeat("/", map[bool]int{true: 1}[dir]); want != in {
			t.Errorf("%q became %q", in, got)
		}
		if again, dir, err := paths.Canonical(got); err != nil || again != got || dir {
			t.Errorf("%q is not its own canonical form: %q, %v, %v", got, again, dir, err)
		}
		if len(got) > paths.MaxBytes || !utf8.ValidString(got) {
			t.Errorf("%q is out of bounds", got)
		}
		for segment := range strings.SplitSeq(got, "/") {
			if segment == "" || segment == "." || segment == ".." {
				t.Errorf("%q holds the segment %q", got, segment)
			}
		}
		if strings.ContainsFunc(got, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }) {
			t.Errorf("%q holds a control character", got)
		}
	})
}
