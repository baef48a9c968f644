package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

const (
	scheduledPrefix = "coffer-"
	scheduledSuffix = ".snap"
	// scheduledTime is how the time stands in a name, so that names sort by it.
	scheduledTime    = "20060102T150405.000Z"
	unfinishedSuffix = ".part"
	// scheduledRetry is how soon a snapshot that failed is tried again.
	scheduledRetry = time.Minute
	keepByDefault  = 7
)

// snapshots writes snapshots to a folder while the node leads.
type snapshots struct {
	config.Snapshots
	write func(ctx context.Context, w io.Writer) error
	now   func() time.Time
}

// scheduleSnapshots writes snapshots until ctx ends, whenever the node leads.
func (s *Server) scheduleSnapshots(ctx context.Context) {
	work := &snapshots{Snapshots: s.cfg.Snapshots, write: s.core.Snapshot, now: time.Now}
	for {
		led, err := s.node.Lead(ctx)
		if err != nil {
			return
		}
		for pause := work.due(); wait(led, pause); pause = work.due() {
			name, err := work.take(led)
			if err == nil {
				s.log.Info("a snapshot was written", "file", name)
				continue
			}
			s.log.Error("the scheduled snapshot was not written", "folder", work.Path, "error", err, "cause", errors.Unwrap(err))
			if !wait(led, min(scheduledRetry, work.Interval)) {
				break
			}
		}
	}
}

// wait returns false if ctx ended meanwhile.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// taken lists the snapshots of the folder, the latest first.
func (s *snapshots) taken() ([]string, error) {
	entries, err := os.ReadDir(s.Path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if _, ok := timeOf(e.Name()); ok {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	slices.Reverse(names)
	return names, nil
}

// timeOf is when a snapshot was taken, if a file is one of ours.
func timeOf(name string) (time.Time, bool) {
	text, ours := strings.CutPrefix(name, scheduledPrefix)
	text, whole := strings.CutSuffix(text, scheduledSuffix)
	if !ours || !whole {
		return time.Time{}, false
	}
	at, err := time.Parse(scheduledTime, text)
	return at, err == nil
}

// due is how long it is to the next one: an interval after the latest in the
// folder, whoever wrote that.
func (s *snapshots) due() time.Duration {
	names, err := s.taken()
	if err != nil || len(names) == 0 {
		return 0
	}
	last, _ := timeOf(names[0])
	return max(0, min(s.Interval, last.Add(s.Interval).Sub(s.now())))
}

// take writes a snapshot, durably under its name or not at all, and removes
// those that are too many.
func (s *snapshots) take(ctx context.Context) (name string, err error) {
	if err := os.MkdirAll(s.Path, 0o700); err != nil {
		return "", err
	}
	name = filepath.Join(s.Path, scheduledPrefix+s.now().UTC().Format(scheduledTime)+scheduledSuffix)
	part := name + unfinishedSuffix
	file, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // #nosec G304 -- in the folder that was configured
	if err != nil {
		return "", err
	}
	err = s.write(ctx, file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(part))
	}
	if err := syncFolder(s.Path); err != nil {
		return "", err
	}
	return name, s.prune()
}

func syncFolder(path string) error {
	dir, err := os.Open(path) // #nosec G304 -- as above
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (s *snapshots) prune() error {
	names, err := s.taken()
	if err != nil {
		return err
	}
	keep := s.Retain
	if keep == 0 {
		keep = keepByDefault
	}
	for _, name := range names[min(len(names), keep):] {
		if err := os.Remove(filepath.Join(s.Path, name)); err != nil {
			return fmt.Errorf("remove a snapshot that is too many: %w", err)
		}
	}
	return nil
}
