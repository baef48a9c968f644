package nemesis

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"time"
)

// rots damage what a node has on its disk while it is down.
var rots = []Fault{
	{Name: "rot-log", Group: "rot", do: func(ctx context.Context, s *Scene) error { return s.rot(ctx, "raft.db") }},
	{Name: "rot-store", Group: "rot", do: func(ctx context.Context, s *Scene) error { return s.rot(ctx, "state/*/*") }},
	{Name: "rot-snapshot", Group: "rot", do: func(ctx context.Context, s *Scene) error { return s.rot(ctx, "snapshots/*/*", "snapshots/*/*/*") }},
}

// spared is the beginning of the log's file, where bbolt keeps which of two states
// counts: without the newer one it goes back by one append, which nothing can notice,
// and a node that forgets what it has said is beyond Raft.
const spared = 8 << 10

// rot damages files of a node. It must not start, or not do anything wrong until
// it is removed and joins again with an empty folder, as operators are told to
// have it do. All nodes are claimed, since the others have to be able to remove it.
func (s *Scene) rot(ctx context.Context, patterns ...string) error {
	if err := s.everybody(); err != nil {
		return err
	}
	i := 1 + s.rng.IntN(len(s.Nodes)-1) // the first is the one that the others join by
	s.Kill(i)
	if err := s.spoil(s.Nodes[i].DataDir(), patterns); err != nil {
		return err
	}
	if s.Restart(i) == nil { // or it has noticed at once
		s.MayEnd(i)
		life, cancel := context.WithTimeout(ctx, s.hold)
		for !s.TryUnseal(life, i) && life.Err() == nil {
			wait(life, 50*time.Millisecond)
		}
		wait(life, s.hold)
		cancel()
		s.Kill(i)
	}
	s.Forgive(i) // the library of the log may end with a fault of memory
	if err := s.remove(ctx, i); err != nil {
		return err
	}
	if err := os.RemoveAll(s.Nodes[i].DataDir()); err != nil {
		return err
	}
	return s.back(i)
}

// spoil flips bits, or loses a piece, of some of the files.
func (s *Scene) spoil(dir string, patterns []string) error {
	var files []string
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
				files = append(files, path)
			}
		}
	}
	if len(files) == 0 {
		return nil
	}
	for range 1 + s.rng.IntN(3) {
		if err := s.spoilFile(files[s.rng.IntN(len(files))]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Scene) spoilFile(path string) error {
	text, err := os.ReadFile(path) // #nosec G304 -- a node's own
	if err != nil {
		return err
	}
	from := 0
	if filepath.Base(path) == "raft.db" {
		from = spared
	}
	sound := text[from:]
	if len(sound) == 0 {
		return nil
	}
	if s.rng.IntN(3) > 0 {
		for range 1 + s.rng.IntN(1+len(sound)/1024) {
			sound[s.rng.IntN(len(sound))] ^= 1 << s.rng.IntN(8)
		}
	} else { // a piece was never written, or was something else's
		begin := s.rng.IntN(len(sound))
		piece := sound[begin:min(len(sound), begin+512+s.rng.IntN(4096))]
		clear(piece)
		if s.rng.IntN(2) == 0 {
			_, _ = rand.Read(piece) // never fails
		}
	}
	return os.WriteFile(path, text, 0o600) // #nosec G703 -- a node's own
}
