package cluster_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/coffer-secrets/coffer/cluster"
)

// sector is what a disk writes whole or not at all.
const sector = 512

// bolt begins with two pages that say where everything is.
const boltMeta = 2 * 4096

// TestPowerLossOfTheLog drops what was not synced from the files of the log: of
// an append that was under way, any sectors may have been written. What is
// between two copies of a file, made while nothing is written, is what the
// append between them wrote. Bolt syncs its pages, then writes and syncs a meta
// page; raft-wal syncs once. The state is lost altogether, so the log alone has
// to bring it back.
func TestPowerLossOfTheLog(t *testing.T) {
	t.Parallel()
	logStores(t, func(t *testing.T, logStore string) {
		const writes = 30
		c := config(t.TempDir(), logStore)
		n := start(t, c)
		file := cluster.RaftFile
		if logStore == cluster.LogStoreWAL {
			file = newestSegment(t, c.Dir)
		}
		// copies[i] is the log after i acknowledged writes.
		copies := [][]byte{readFile(t, filepath.Join(c.Dir, file))}
		versions := make([]uint64, 1, writes+1)
		for i := 1; i <= writes; i++ {
			// Sizes from a part of a sector to several pages.
			value := bytes.Repeat([]byte{byte(i)}, 1+i*i*13)
			versions = append(versions, propose(t, n, put(key(i), string(value))).Index)
			copies = append(copies, readFile(t, filepath.Join(c.Dir, file)))
		}
		closeNode(t, n)
		if err := os.RemoveAll(filepath.Join(c.Dir, cluster.StateDir)); err != nil {
			t.Fatal(err)
		}
		seed := rand.Uint64()
		var group sync.WaitGroup
		slots := make(chan struct{}, 8)
		for i := 1; i <= writes; i++ {
			for round := range 3 {
				image := tear(copies[i-1], copies[i], logStore, rand.New(rand.NewPCG(seed, uint64(i*10+round))))
				lost := c
				lost.Dir = copyTree(t, c.Dir)
				if err := os.WriteFile(filepath.Join(lost.Dir, file), image, 0o600); err != nil {
					t.Fatal(err)
				}
				slots <- struct{}{}
				group.Go(func() {
					defer func() { <-slots }()
					if err := recoversTo(within(t, patience), lost, versions, i); err != nil {
						t.Errorf("write %d, seed %d: %v", i, seed, err)
					}
				})
			}
		}
		group.Wait()
	})
}

// tear returns what may be left of a file that was being brought from one
// content to the next.
func tear(from, to []byte, logStore string, rng *rand.Rand) []byte {
	image := bytes.Clone(from)
	image = append(image, make([]byte, max(0, len(to)-len(from)))...)
	metaToo, begin := rng.IntN(2) == 0, 0
	if logStore == cluster.LogStoreBolt {
		begin = boltMeta
	}
	keep := rng.Float64()
	for at := begin; at < len(to); at += sector {
		if end := min(at+sector, len(to)); begin > 0 && metaToo || rng.Float64() < keep {
			copy(image[at:end], to[at:end])
		}
	}
	if begin > 0 && metaToo {
		for at := 0; at < begin; at += sector {
			if rng.Float64() < keep {
				copy(image[at:at+sector], to[at:at+sector])
			}
		}
	}
	return image
}

// recoversTo opens a node that may or may not have the last of its writes.
func recoversTo(ctx context.Context, c cluster.Config, versions []uint64, last int) error {
	n, err := cluster.Open(c)
	if err != nil {
		return err
	}
	defer func() { _ = n.Close() }()
	if _, _, err := n.LeadContext(ctx); err != nil {
		return err
	}
	v, err := n.Read(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	for i := 1; i <= last; i++ {
		row, ok, err := v.Get([]byte(key(i)))
		switch {
		case err != nil:
			return err
		case !ok && i == last: // it was not acknowledged
		case !ok || row.Version != versions[i] || len(row.Value) != 1+i*i*13 || row.Value[0] != byte(i):
			return fmt.Errorf("%s is gone or another", key(i))
		}
	}
	_, err = n.Propose(ctx, put("after", "v"))
	return err
}

func newestSegment(t *testing.T, dir string) string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, cluster.LogDir, "*.wal"))
	if err != nil || len(paths) == 0 {
		t.Fatal(paths, err)
	}
	name, err := filepath.Rel(dir, paths[len(paths)-1])
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
