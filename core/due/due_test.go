package due_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// works is an engine that does what was scheduled, as a test has it.
type works struct {
	mu    sync.Mutex
	calls map[string]int
	// do, if set, is what Due does; otherwise it cancels the name.
	do func(ctx context.Context, r *engines.Reach, name string) error
}

func (w *works) engine() *engines.Engine {
	return &engines.Engine{
		Type: "works", Class: engines.ClassSecret, Help: "Does what is scheduled.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{Help: "Work.", Routes: []engines.Route{{
				Pattern: "at/{name}", Help: "Schedule.", Fields: []engines.Field{
					{Name: "name", Help: "What."}, {Name: "in", Type: engines.Seconds, Help: "When."},
				},
				Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
					return nil, tx.Schedule("some/"+req.Fields.String("name"), req.Now.Add(req.Fields.Duration("in")))
				}}},
			}}}, nil
		},
		Due: w.due,
	}
}

func (w *works) due(ctx context.Context, r *engines.Reach, name string) error {
	name = strings.TrimPrefix(name, "some/")
	w.mu.Lock()
	w.calls[r.Mount.Path+name]++
	w.mu.Unlock()
	if w.do != nil {
		return w.do(ctx, r, name)
	}
	return again(ctx, r, name, time.Time{})
}

// again schedules a name anew, or cancels it.
func again(ctx context.Context, r *engines.Reach, name string, at time.Time) error {
	return r.Change(ctx, func(tx engines.Tx) error { return tx.Schedule("some/"+name, at) })
}

func (w *works) count(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[name]
}

func newWorks() *works { return &works{calls: make(map[string]int)} }

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline:
			t.Fatalf("not so in time: %s", what)
		case <-tick.C:
		}
	}
}

// looked waits until the runner has surely looked: until it has done something
// that is scheduled for now.
func looked(t *testing.T, s *kit.Server, w *works, mount, name string) {
	t.Helper()
	n := w.count(mount + "/" + name)
	s.Put(mount+"/at/"+name, body{})
	eventually(t, name+" is done", func() bool { return w.count(mount+"/"+name) > n })
}

func start(t *testing.T, w *works, list ...kit.Option) *kit.Server {
	t.Helper()
	s := kit.New(t, append(list, kit.Engines(w.engine()))...)
	s.Put("sys/mounts/one", body{"type": "works"})
	return s
}

// TestInTime does what is scheduled when its time has come and not before, again
// and again, and no more once the mount is gone.
func TestInTime(t *testing.T) {
	t.Parallel()
	w, clock := newWorks(), kit.NewClock()
	w.do = func(ctx context.Context, r *engines.Reach, name string) error {
		if name != "later" {
			return again(ctx, r, name, time.Time{})
		}
		return again(ctx, r, name, r.Now().Add(time.Hour))
	}
	s := start(t, w, kit.At(clock))
	s.Put("one/at/later", body{"in": "1h"})
	for want := range 3 {
		looked(t, s, w, "one", "now")
		looked(t, s, w, "one", "now")
		if n := w.count("one/later"); n != want {
			t.Fatalf("done %d times, want %d", n, want)
		}
		clock.Advance(61 * time.Minute)
		eventually(t, "it is done", func() bool { return w.count("one/later") > want })
	}
	s.Put("sys/mounts/two", body{"type": "works"})
	s.Delete("sys/mounts/one")
	clock.Advance(2 * time.Hour)
	looked(t, s, w, "two", "now")
	looked(t, s, w, "two", "now")
	if n := w.count("one/later"); n != 3 {
		t.Errorf("done %d times for a mount that is gone", n)
	}
}

// TestFailure pauses for longer and longer after what fails, after what leaves its
// time as it was and after a fault, unless it is scheduled anew meanwhile.
func TestFailure(t *testing.T) {
	t.Parallel()
	w, clock := newWorks(), kit.NewClock()
	w.do = func(ctx context.Context, r *engines.Reach, name string) error {
		switch name {
		case "failing":
			return errors.New("down")
		case "idle":
			return nil
		case "faulty":
			panic("fault")
		case "eager":
			return errors.Join(again(ctx, r, name, r.Now()), errors.New("down"))
		}
		return again(ctx, r, name, time.Time{})
	}
	s := start(t, w, kit.At(clock))
	names := []string{"failing", "idle", "faulty", "eager"}
	for _, name := range names {
		looked(t, s, w, "one", name)
	}
	for round := 1; round < 4; round++ {
		looked(t, s, w, "one", "now")
		looked(t, s, w, "one", "now")
		for _, name := range names {
			if n := w.count("one/" + name); n != round {
				t.Fatalf("%s is called %d times before its pause is over, want %d", name, n, round)
			}
		}
		clock.Advance(time.Second << round)
		for _, name := range names {
			eventually(t, name+" is called again", func() bool { return w.count("one/"+name) > round })
		}
	}
	looked(t, s, w, "one", "failing") // scheduled anew: at once
}

// TestSlow has other mounts, and another name of the same one, not wait for what
// does not answer, and calls nothing twice at once.
func TestSlow(t *testing.T) {
	t.Parallel()
	w := newWorks()
	w.do = func(ctx context.Context, r *engines.Reach, name string) error {
		if strings.HasPrefix(name, "slow") && r.Mount.Path == "one/" {
			<-ctx.Done()
			return ctx.Err()
		}
		return again(ctx, r, name, time.Time{})
	}
	s := start(t, w)
	s.Put("sys/mounts/two", body{"type": "works"})
	looked(t, s, w, "one", "slow")
	looked(t, s, w, "one", "other")
	for _, name := range strings.Split("bcdefghijk", "") {
		s.Put("one/at/slow-"+name, body{})
	}
	looked(t, s, w, "two", "slow")
	looked(t, s, w, "two", "other")
	s.Put("one/at/slow", body{})
	looked(t, s, w, "two", "other")
	if n := w.count("one/slow"); n != 1 {
		t.Errorf("called %d times at once", n)
	}
}

// TestLeaderChange ends the calls of a leader with its lead, and has the next one
// do what is due.
func TestLeaderChange(t *testing.T) {
	t.Parallel()
	w := newWorks()
	entered, ended := make(chan struct{}, 8), make(chan error, 8)
	var once sync.Once
	w.do = func(ctx context.Context, r *engines.Reach, name string) error {
		first := false
		once.Do(func() { first = true })
		if !first {
			return again(ctx, r, name, time.Time{})
		}
		entered <- struct{}{}
		<-ctx.Done()
		ended <- again(context.WithoutCancel(ctx), r, name, time.Time{})
		return ctx.Err()
	}
	c := kit.NewCluster(t, 3, kit.Engines(w.engine()))
	leader := c.Leader()
	leader.Put("sys/mounts/one", body{"type": "works"})
	leader.Put("one/at/it", body{})
	<-entered
	c.StepDown()
	if err := <-ended; err == nil {
		t.Error("a node that leads no more commits")
	}
	eventually(t, "the next leader does it", func() bool { return w.count("one/it") == 2 })
}
