package seal_test

import (
	"testing"
)

func TestNameRoundTrip(t *testing.T) {
	t.Parallel()
	b := newBarrier(t, newKeyring(t))
	for _, path := range []string{"", "a", "a/", "a/b", "a/b/", "a/b/c", "a/b/d", "a/é/\x00", "a/b"} {
		sealed, err := b.SealName([]byte("prefix"), path)
		if err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		opened, err := b.OpenName([]byte("prefix"), sealed)
		if err != nil || opened != path {
			t.Errorf("%q opens as %q: %v", path, opened, err)
		}
	}
}
