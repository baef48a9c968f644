package postgres

import (
	"slices"
	"testing"
)

// TestDoubtsAreSettledSideBySide: of two calls that end the same sessions, the later
// takes none from the list that has come since.
func TestDoubtsAreSettledSideBySide(t *testing.T) {
	t.Parallel()
	f := new(fence)
	f.doubt(1)
	f.doubt(2)
	sessions, first := f.doubts()
	if !slices.Equal(sessions, []int64{1, 2}) {
		t.Fatalf("%v are doubtful", sessions)
	}
	_, second := f.doubts()
	f.settle(first)
	f.doubt(3)
	f.settle(second)
	sessions, third := f.doubts()
	if !slices.Equal(sessions, []int64{3}) {
		t.Errorf("%v are doubtful, not 3 alone", sessions)
	}
	f.doubt(4)
	f.settle(third)
	if sessions, _ = f.doubts(); !slices.Equal(sessions, []int64{4}) {
		t.Errorf("%v are doubtful, not 4 alone", sessions)
	}
}
