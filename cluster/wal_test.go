package cluster_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/cluster"
)

// smallSegment is full after a few appends.
const smallSegment = 8 << 10

// walEntry is an entry whose size and content follow from its index.
func walEntry(index uint64) *raft.Log {
	return &raft.Log{Index: index, Term: 1, Type: raft.LogCommand, Data: bytes.Repeat([]byte{byte(index) | 1}, int(index*37%900))}
}

// openWAL opens a log, and verifies everything in it. It returns the last index.
func openWAL(dir string) (*cluster.WALLog, uint64, error) {
	w, err := cluster.OpenWAL(config(dir, cluster.LogStoreWAL), smallSegment)
	if err != nil {
		return nil, 0, err
	}
	last, err := w.LastIndex()
	for i := uint64(1); i <= last && err == nil; i++ {
		var e raft.Log
		if err = w.GetLog(i, &e); err == nil && !bytes.Equal(e.Data, walEntry(i).Data) {
			err = fmt.Errorf("entry %d is another one", i)
		}
	}
	return w, last, err
}

// appendTo opens the log of a folder, appends entries up to an index, and
// closes it, mostly before a full segment was followed by another.
func appendTo(dir string, to uint64) error {
	w, last, err := openWAL(dir)
	if err != nil {
		return err
	}
	var batch []*raft.Log
	for i := last + 1; i <= to; i++ {
		batch = append(batch, walEntry(i))
	}
	if err := w.StoreLogs(batch); err != nil {
		return err
	}
	return w.Close()
}

// TestWALPowerLoss cuts off every append, of one entry or several, also those
// that seal a segment: any of the sectors it wrote may be there. What was there
// before is, the whole of the append or nothing, and the log goes on, also
// after it was opened once more.
func TestWALPowerLoss(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	taken, lost := 0, 0
	for from := uint64(0); from < 120; {
		if err := appendTo(dir, from); from > 0 && err != nil {
			t.Fatal(err)
		}
		to := from + 1 + rng.Uint64N(3)
		before := copyTree(t, dir)
		if err := appendTo(dir, to); err != nil {
			t.Fatalf("after %d: %v", from, err)
		}
		if from == 0 {
			from = to // the file was made, too
			continue
		}
		written := newestSegment(t, before)
		next := readFile(t, filepath.Join(dir, written))
		for range 6 {
			torn := copyTree(t, before)
			image := tear(readFile(t, filepath.Join(before, written)), next, cluster.LogStoreWAL, rng)
			if err := os.WriteFile(filepath.Join(torn, written), image, 0o600); err != nil {
				t.Fatal(err)
			}
			w, last, err := openWAL(torn)
			if err != nil || last != from && last != to {
				t.Fatalf("an append of %d to %d was cut off: at %d, %v", from+1, to, last, err)
			}
			if last == from {
				lost++
			} else {
				taken++
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			// Shorter appends than the one that was cut off, over its remains.
			for again := from + 1; again <= to+3; again++ {
				if err := appendTo(torn, max(again, last)); err != nil {
					t.Fatalf("append %d after one of %d to %d was cut off: %v", again, from+1, to, err)
				}
			}
		}
		from = to
	}
	if taken < 20 || lost < 20 {
		t.Errorf("%d appends were whole, %d were not: the test is too weak", taken, lost)
	}
}

// TestWALFlipped flips bits of the last segment, in frames and between: all but
// damage to the last append, which looks as if it had been cut off, is told.
func TestWALFlipped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range uint64(10) {
		if err := appendTo(dir, i+1); err != nil {
			t.Fatal(err)
		}
	}
	name := newestSegment(t, dir)
	sound := readFile(t, filepath.Join(dir, name))
	end := len(bytes.TrimRight(sound, "\x00"))
	told := 0
	for at := 0; at < end; at += 3 {
		damaged := slices.Clone(sound)
		damaged[at] ^= 1 << (at % 8)
		if err := os.WriteFile(filepath.Join(dir, name), damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		w, last, err := openWAL(dir)
		switch {
		case err != nil:
			told++
		case last < 9:
			t.Errorf("byte %d of %d: the log ends at %d", at, end, last)
		}
		if w != nil {
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if told < end/6 {
		t.Errorf("%d damages told: the test is too weak", told)
	}
}
