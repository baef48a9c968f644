package cluster_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmtest"
)

// cutConfig is for a node in memory that takes snapshots when the test does.
func cutConfig() cluster.Config {
	c := config("node", "")
	c.ElectionTimeout, c.TrailingLogs = 20*time.Millisecond, 3
	return c
}

// TestCut cuts the power between each pair of durable steps of a node: of its
// log, its state, its snapshots, its term and vote, while it is founded, writes,
// takes snapshots, cuts its log and closes. Every image is started: it must have
// what was acknowledged by then, each write at its version, and go on.
func TestCut(t *testing.T) {
	t.Parallel()
	disk, j := fsmtest.NewDisk(7), newJournal()
	disk.Beside(func() any { return j.clone() })
	j.step = disk.Step
	disk.Record(true)
	n, err := cluster.OpenOn(cutConfig(), disk, j)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	if err := n.Bootstrap(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := n.LeadContext(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	const writes = 40
	versions := make([]uint64, writes+1)
	for i := 1; i <= writes; i++ {
		versions[i] = propose(t, n, put(key(i), "v")).Index
		disk.Mark(uint64(i))
		if i%12 == 0 {
			if err := n.ForceSnapshot(within(t, patience)); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeNode(t, n)
	disk.Record(false)

	images := disk.Images()
	steps := make(map[string]int)
	for _, image := range images {
		steps[image.Step]++
	}
	if len(images) < 200 || steps["truncation"] == 0 {
		t.Fatalf("%d images, %d of the log being cut: the test is too weak", len(images), steps["truncation"])
	}
	if testing.Short() {
		images = images[len(images)*3/4:]
	}
	t.Logf("%d cuts", len(images))
	var group sync.WaitGroup
	slots := make(chan struct{}, 32) // most of the time they wait for an election
	for i, image := range images {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := survives(t, image, versions); err != nil {
				t.Errorf("cut %d, after %s, with %d acknowledged: %v", i, image.Step, image.Mark, err)
			}
		})
	}
	group.Wait()
}

// survives starts a node on what was left.
func survives(t *testing.T, image fsmtest.Image, versions []uint64) error {
	j, ok := image.Beside.(*journal)
	if !ok {
		return errors.New("an image without a journal")
	}
	n, err := cluster.OpenOn(cutConfig(), image.FS, j.clone()) // another image has it too
	if err != nil {
		return err
	}
	defer func() { _ = n.Close() }()
	if err := n.Bootstrap(); err != nil && !errors.Is(err, cluster.ErrBootstrapped) {
		return err
	}
	ctx := within(t, patience)
	if _, _, err := n.LeadContext(ctx); err != nil {
		return err
	}
	v, err := n.Read(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	gone := false
	for i := 1; i < len(versions); i++ {
		row, ok, err := v.Get([]byte(key(i)))
		switch {
		case err != nil:
			return err
		case !ok && uint64(i) <= image.Mark:
			return fmt.Errorf("%s is gone", key(i))
		case ok && row.Version != versions[i]:
			return fmt.Errorf("%s is at %d instead of %d", key(i), row.Version, versions[i])
		case ok && gone:
			return fmt.Errorf("%s is there, and what was before it is not", key(i))
		}
		gone = !ok
	}
	r, err := n.Propose(ctx, put("after", "v"))
	if err == nil && r.Code != fsm.OK {
		err = fmt.Errorf("a write ends with %s", r.Code)
	}
	return err
}

// TestGroupedCommits holds the log up during one append: all that is proposed
// meanwhile is in the next one.
func TestGroupedCommits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		c := cutConfig()
		c.StallTimeout = time.Hour
		n, err := cluster.OpenOn(c, vfs.NewMem(), j)
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Bootstrap(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := n.LeadContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		before := len(j.clone().appends)
		gate := make(chan struct{})
		j.step = func(string) { <-gate }
		const clients = 200
		var group sync.WaitGroup
		results := make([]fsm.Result, clients)
		for i := range clients {
			if i == 1 {
				synctest.Wait() // the first is being appended
			}
			group.Go(func() { results[i] = propose(t, n, put(key(i), "v")) })
		}
		synctest.Wait()
		close(gate)
		group.Wait()
		for i, r := range results {
			if r.Code != fsm.OK {
				t.Errorf("%d: %+v", i, r)
			}
		}
		j.mu.Lock()
		appends := j.appends[before:]
		j.mu.Unlock()
		if len(appends) != 2 || appends[0] != 1 || appends[1] != clients-1 {
			t.Errorf("appends of %v entries, want 1 and %d", appends, clients-1)
		}
		closeNode(t, n)
	})
}
