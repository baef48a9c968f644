package server

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

// TestScheduledSnapshots: each is written whole or not at all, as many are kept
// as are asked for, and nothing else in the folder is touched.
func TestScheduledSnapshots(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fail := error(nil)
	s := &snapshots{
		Snapshots: config.Snapshots{Path: filepath.Join(t.TempDir(), "snapshots"), Interval: time.Hour, Retain: 2},
		now:       func() time.Time { return now },
		write: func(_ context.Context, w io.Writer) error {
			_, err := io.WriteString(w, "state at "+now.Format(time.RFC3339))
			return errors.Join(err, fail)
		},
	}
	if got := s.due(); got != 0 {
		t.Errorf("the first is due in %s", got)
	}
	other := filepath.Join(s.Path, "coffer-of-mine.snap")
	for range 4 {
		name, err := s.take(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil || info.Mode().Perm() != 0o600 || info.Size() == 0 {
			t.Errorf("%v, %v", info, err)
		}
		if err := os.WriteFile(other, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		now = now.Add(20 * time.Minute)
		if got := s.due(); got != 40*time.Minute {
			t.Errorf("the next is due in %s", got)
		}
		now = now.Add(40 * time.Minute)
	}
	names, err := s.taken()
	if err != nil || len(names) != 2 || names[0] != "coffer-20260101T030000.000Z.snap" {
		t.Errorf("%v, %v", names, err)
	}
	fail = errors.New("the disk is full")
	if _, err := s.take(t.Context()); !errors.Is(err, fail) {
		t.Errorf("wrote it all the same: %v", err)
	}
	entries, err := os.ReadDir(s.Path)
	if err != nil || len(entries) != 3 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	now = now.Add(-48 * time.Hour) // a clock that was ahead
	if got := s.due(); got > s.Interval {
		t.Errorf("the next is due in %s", got)
	}
}
