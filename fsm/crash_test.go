package fsm_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
	"github.com/coffer-secrets/coffer/fsm/fsmtest"
)

// reference returns the checksum of the state after every entry, by its index.
func reference(t *testing.T, entries []fsm.Entry) map[uint64][32]byte {
	t.Helper()
	s := open(t, nil)
	sums := map[uint64][32]byte{0: checksum(t, s)}
	for i := range entries {
		s.ApplyBatch(entries[i : i+1])
		sums[entries[i].Index] = checksum(t, s)
	}
	return sums
}

// recovers opens the store on what a loss of power left. It must stand exactly
// where some index left it, at or above least, and the log must bring it to
// the end.
func recovers(t *testing.T, fs vfs.FS, entries []fsm.Entry, sums map[uint64][32]byte, least uint64, step string) {
	t.Helper()
	s, err := fsm.Open(fsm.Options{Dir: "state", FS: fs, CacheBytes: 1 << 20, MemTableBytes: 256 << 10})
	if err != nil {
		t.Fatalf("after %s: %v", step, err)
	}
	at := s.AppliedIndex()
	if at < least {
		t.Fatalf("after %s: at %d, %d was durable", step, at, least)
	}
	if want, ok := sums[at]; !ok || checksum(t, s) != want {
		t.Fatalf("after %s: the state is not that of index %d", step, at)
	}
	s.ApplyBatch(entries)
	if last := entries[len(entries)-1].Index; checksum(t, s) != sums[last] {
		t.Fatalf("after %s and the log: another state", step)
	}
	names, err := fs.List("state")
	if err != nil || len(names) != 2 {
		t.Fatalf("after %s: %q, %v", step, names, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func create(t *testing.T, fs vfs.FS) *fsm.Store {
	t.Helper()
	s, err := fsm.Open(fsm.Options{Dir: "state", FS: fs, CacheBytes: 1 << 20, MemTableBytes: 256 << 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestPowerLoss loses power at random moments: unsynced blocks and names are
// there or not. Each time the log is applied again, as after a restart, and
// the store is used on.
func TestPowerLoss(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			entries, _, _ := history(t, seed, 3000)
			sums := reference(t, entries)
			disk := fsmtest.NewDisk(seed)
			s := create(t, disk)
			durable, moved := uint64(0), false
			for i := 0; i < len(entries); {
				n := min(i+1+int(entries[i].Index%97), len(entries))
				s.ApplyBatch(entries[i:n])
				i = n
				if entries[i-1].Index%3 == 0 {
					held, err := s.Snapshot()
					if err != nil {
						t.Fatal(err)
					}
					if err := held.Checkpoint(fmt.Sprintf("checkpoint-%d", i)); err != nil {
						t.Fatal(err)
					}
					held.Release()
					durable = entries[i-1].Index
				}
				if entries[i-1].Index%5 != 0 {
					continue
				}
				image := disk.Crash()
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				disk = fsmtest.DiskOf(image, seed+uint64(i))
				s = create(t, disk)
				at := s.AppliedIndex()
				if at < durable || checksum(t, s) != sums[at] {
					t.Fatalf("at %d after a loss of power, durable up to %d", at, durable)
				}
				moved = moved || at > 0 && at < entries[i-1].Index
				s.ApplyBatch(entries[:i])
			}
			if checksum(t, s) != sums[entries[len(entries)-1].Index] {
				t.Fatal("another state at the end")
			}
			if !moved {
				t.Error("no crash lost anything: the test is too weak")
			}
		})
	}
}

// TestCutWhileApplying cuts the power after every step on disk while entries
// are applied and the store is made durable, and at its creation and closing.
func TestCutWhileApplying(t *testing.T) {
	t.Parallel()
	entries, _, _ := history(t, 3, 400)
	sums := reference(t, entries)
	disk := fsmtest.NewDisk(3)
	disk.Record(true)
	s := create(t, disk)
	for i := 0; i < len(entries); i += 100 {
		s.ApplyBatch(entries[i : i+100])
		held, err := s.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if err := held.Checkpoint(fmt.Sprintf("checkpoint-%d", i)); err != nil {
			t.Fatal(err)
		}
		held.Release()
		disk.Mark(entries[i+99].Index)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	images := disk.Images()
	if len(images) < 100 {
		t.Fatalf("%d steps only", len(images))
	}
	for _, image := range images {
		recovers(t, image.FS, entries, sums, image.Mark, image.Step)
	}
}

// TestCutWhileCheckpointing: a checkpoint whose making was not cut holds what
// it promised, whatever happens to the store.
func TestCutWhileCheckpointing(t *testing.T) {
	t.Parallel()
	entries, _, _ := history(t, 4, 300)
	sums := reference(t, entries)
	disk := fsmtest.NewDisk(4)
	s := create(t, disk)
	s.ApplyBatch(entries[:200])
	held, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Checkpoint("checkpoint"); err != nil {
		t.Fatal(err)
	}
	held.Release()
	disk.Record(true)
	s.ApplyBatch(entries[200:])
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, image := range append(disk.Images(), fsmtest.Image{Step: "all", FS: disk.Crash()}) {
		c, err := fsm.OpenCheckpoint(image.FS, "checkpoint")
		if err != nil {
			t.Fatalf("after %s: %v", image.Step, err)
		}
		stream, err := c.Stream(nil)
		if err != nil {
			t.Fatal(err)
		}
		restored := open(t, nil)
		if err := errors.Join(restored.Restore(stream), stream.Close(), c.Close()); err != nil {
			t.Fatal(err)
		}
		if checksum(t, restored) != sums[entries[199].Index] {
			t.Fatalf("after %s: another state", image.Step)
		}
	}
}

// TestCutWhileRestoring cuts the power after every step of a restore: the
// store is whole, the old one or the new one, and after the restore returned
// the new one.
func TestCutWhileRestoring(t *testing.T) {
	t.Parallel()
	entries, _, _ := history(t, 5, 600)
	sums := reference(t, entries)
	ahead := open(t, nil)
	ahead.ApplyBatch(entries[:500])
	stream := snapshot(t, ahead)

	disk := fsmtest.NewDisk(5)
	s := create(t, disk)
	s.ApplyBatch(entries[:100])
	disk.Record(true)
	if err := s.Restore(bytes.NewReader(stream)); err != nil {
		t.Fatal(err)
	}
	disk.Mark(entries[499].Index)
	s.ApplyBatch(entries[500:])
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	old, swapped := 0, 0
	for _, image := range disk.Images() {
		if image.Mark == 0 {
			peek := create(t, image.FS)
			switch at := peek.AppliedIndex(); {
			case at == entries[499].Index:
				swapped++
			case at <= entries[99].Index:
				old++
			default:
				t.Fatalf("after %s: at %d", image.Step, at)
			}
			if err := peek.Close(); err != nil {
				t.Fatal(err)
			}
		}
		recovers(t, image.FS, entries, sums, image.Mark, image.Step)
	}
	if old == 0 || swapped == 0 {
		t.Errorf("%d cuts left the old state, %d the new one: the test is too weak", old, swapped)
	}
}

// TestRefusedRestoreLeavesNothing looks at the folder after a restore that
// failed late.
func TestRefusedRestoreLeavesNothing(t *testing.T) {
	t.Parallel()
	fs := vfs.NewMem()
	s := open(t, fs)
	_, data := small(t)
	data[len(data)-1] ^= 1
	if err := s.Restore(bytes.NewReader(data)); !errors.Is(err, fsm.ErrSnapshot) {
		t.Fatal(err)
	}
	names, err := fs.List("state")
	if err != nil || len(names) != 2 {
		t.Errorf("%q, %v", names, err)
	}
}

// TestDamagedCurrent refuses to guess which state is in use.
func TestDamagedCurrent(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", "state-000001", "../state\n", "state-x\n", strings.Repeat("x", 100)} {
		fs := vfs.NewMem()
		s := open(t, fs)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := fsm.WriteFileAtomic(fs, "state", fsm.CurrentFile, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if _, err := fsm.Open(fsm.Options{Dir: "state", FS: fs}); err == nil {
			t.Errorf("%q is accepted", content)
		}
	}
}

// TestRemovedFolder: a store whose folder is taken away says so, once, instead of
// trying to write there for ever.
func TestRemovedFolder(t *testing.T) {
	t.Parallel()
	mem, told := vfs.NewMem(), make(chan error, 100)
	s, err := fsm.Open(fsm.Options{Dir: "state", FS: mem, Fatal: func(err error) { told <- err }})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, s, 1, 1, &fsmpb.Command{Writes: []*fsmpb.Write{put("k", "v")}})
	if err := mem.RemoveAll("state/state-000001"); err != nil {
		t.Fatal(err)
	}
	hold, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = hold.Checkpoint("checkpoint")
	}()
	if err := <-told; !strings.Contains(err.Error(), "removed") {
		t.Errorf("told %v", err)
	}
	if err := mem.MkdirAll("state/state-000001", 0o700); err != nil { // to be done with it
		t.Fatal(err)
	}
	<-ended
	hold.Release()
	_ = s.Close()
	if len(told) > 0 {
		t.Errorf("told again: %v", <-told)
	}
}

// TestDamagedTable flips one byte after the other in a table of the store.
// Either nothing shows, or the store says that it is damaged: it never answers
// wrongly.
func TestDamagedTable(t *testing.T) {
	t.Parallel()
	entries, _, _ := history(t, 6, 300)
	mem := vfs.NewMem()
	s := create(t, mem)
	s.ApplyBatch(entries)
	want := checksum(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	names, err := mem.List("state/state-000001")
	if err != nil {
		t.Fatal(err)
	}
	path := ""
	for _, name := range names {
		if strings.HasSuffix(name, ".sst") {
			path = "state/state-000001/" + name
		}
	}
	data, err := mem.UnsafeGetFileDataBuffer(path)
	if err != nil {
		t.Fatal(err)
	}
	detected := 0
	for at := 0; at < len(data); at += 1 + at%37 {
		data[at] ^= 0x10
		var told error
		s, err := fsm.Open(fsm.Options{Dir: "state", FS: mem, Fatal: func(err error) { told = err }})
		if err != nil {
			detected++
			data[at] ^= 0x10
			continue
		}
		v := s.View()
		sum, err := v.Checksum()
		v.Close()
		switch {
		case err == nil && sum != want:
			t.Errorf("byte %d of %d: another state without an error", at, len(data))
		case err != nil && !errors.Is(told, fsm.ErrDamaged):
			t.Errorf("byte %d: %v, but told %v", at, err, told)
		case err != nil:
			detected++
		}
		if err := s.Close(); err != nil {
			t.Logf("byte %d: close: %v", at, err)
		}
		data[at] ^= 0x10
	}
	if detected < 10 {
		t.Errorf("%d damages detected: the test is too weak", detected)
	}
}
