package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// TestKill runs itself again as a process that opens a node and writes, kills
// that at random moments, again and again, and checks every acknowledged write.
// Parent and child speak in lines:
//
//	have W N V   the state has write N of writer W, at version V
//	ready        that was all
//	ack W N V    it was acknowledged
//	bad TEXT     something is wrong
const (
	childDir   = "COFFER_TEST_KILL_DIR"
	childStore = "COFFER_TEST_KILL_LOG_STORE"

	writers = 8
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		v := new(victim)
		if err := v.live(dir, os.Getenv(childStore)); err != nil {
			v.say("bad %v", err)
		}
		return
	}
	m.Run()
}

// victim is the child.
type victim struct {
	mu   sync.Mutex
	node *cluster.Node
}

func (v *victim) say(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, _ = io.WriteString(os.Stdout, fmt.Sprintf(format+"\n", args...))
}

// live writes until it is killed, or its parent is gone.
func (v *victim) live(dir, logStore string) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	go func() {
		_, err := io.Copy(io.Discard, os.Stdin)
		cancel(fmt.Errorf("the parent is gone: %w", err))
	}()
	c := config(dir, logStore)
	// As much as possible goes on at the same time.
	c.TickInterval, c.SnapshotInterval, c.SnapshotThreshold, c.TrailingLogs = time.Millisecond, 5*time.Millisecond, 50, 20
	c.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	c.Fatal = func(err error) { v.say("bad halted: %v", err) }
	n, err := cluster.OpenWithSegments(c, 16<<10)
	if err != nil {
		return err
	}
	v.node = n
	if err := n.Bootstrap(); err != nil && !errors.Is(err, cluster.ErrBootstrapped) {
		return err
	}
	if _, _, err := n.LeadContext(ctx); err != nil {
		return err
	}
	have, err := v.report(ctx)
	if err != nil {
		return err
	}
	for w := range writers {
		go func() { cancel(v.write(ctx, w, have[w])) }()
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// report tells what the state has, and returns the last request id of every
// writer.
func (v *victim) report(ctx context.Context) ([writers]written, error) {
	var last [writers]written
	view, err := v.node.Read(ctx)
	if err != nil {
		return last, err
	}
	defer view.Close()
	for w := range writers {
		for n := 1; ; n++ {
			row, ok, err := view.Get([]byte(writeKey(w, n)))
			if err != nil {
				return last, err
			}
			if !ok {
				break
			}
			last[w] = written{n: n, version: row.Version, id: row.Value}
			v.say("have %d %d %d", w, n, row.Version)
		}
	}
	v.say("ready")
	return last, nil
}

// written is one write: the value is its request id.
type written struct {
	n       int
	version uint64
	id      []byte
}

func writeKey(w, n int) string { return fmt.Sprintf("k/%d/%06d", w, n) }

// write first repeats the last write, as a client would that does not know what
// became of it.
func (v *victim) write(ctx context.Context, w int, last written) error {
	if last.n > 0 {
		r, err := v.propose(ctx, w, last)
		if err != nil {
			return err
		}
		if r.Code != fsm.Duplicate || r.Index != last.version || string(r.Reply) != writeKey(w, last.n) {
			return fmt.Errorf("a repeated write of %d: %+v, want a duplicate of %d", w, r, last.version)
		}
	}
	for n := last.n + 1; ; n++ {
		next := written{n: n, id: requestID(v.node.Now())}
		r, err := v.propose(ctx, w, next)
		if err != nil {
			return err
		}
		if r.Code != fsm.OK {
			return fmt.Errorf("write %d of %d: %+v", n, w, r)
		}
		v.say("ack %d %d %d", w, n, r.Index)
	}
}

func (v *victim) propose(ctx context.Context, w int, x written) (fsm.Result, error) {
	return v.node.Propose(ctx, &fsmpb.Command{
		RequestId: x.id, Reply: []byte(writeKey(w, x.n)),
		Checks: []*fsmpb.Check{{Key: []byte(writeKey(w, x.n)), Version: 0}},
		Writes: []*fsmpb.Write{{Key: []byte(writeKey(w, x.n)), Value: x.id}},
	})
}

// requestID is the time, and something that nobody else has.
func requestID(now time.Time) []byte {
	id := make([]byte, 16)
	ms := now.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	for i := 6; i < len(id); i++ {
		id[i] = byte(rand.Uint32())
	}
	return id
}

// ledger is what the parent knows of the writes.
type ledger struct {
	acked, seen [writers]map[int]uint64 // versions by number
	acks        int
}

// life is what one child said.
type life struct {
	have  [writers]map[int]uint64
	ready bool
}

func newMaps() (m [writers]map[int]uint64) {
	for i := range m {
		m[i] = make(map[int]uint64)
	}
	return m
}

// hear takes in one line.
func (l *ledger) hear(t *testing.T, life *life, line string) {
	t.Helper()
	var w, n int
	var version uint64
	switch verb, rest, _ := strings.Cut(line, " "); verb {
	case "ready":
		life.ready = true
		l.compare(t, life.have)
	case "have", "ack":
		if _, err := fmt.Sscanf(rest, "%d %d %d", &w, &n, &version); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if verb == "have" {
			life.have[w][n] = version
			return
		}
		l.acks++
		l.acked[w][n] = version
	default:
		t.Errorf("the node says %q", line)
	}
}

// compare checks the state of a node against what is known.
func (l *ledger) compare(t *testing.T, have [writers]map[int]uint64) {
	t.Helper()
	for w := range writers {
		for n, version := range l.acked[w] {
			if have[w][n] != version {
				t.Errorf("write %d of %d was acknowledged at %d, and is now at %d", n, w, version, have[w][n])
			}
		}
		for n, version := range l.seen[w] {
			if have[w][n] != version {
				t.Errorf("write %d of %d was seen at %d, and is now at %d", n, w, version, have[w][n])
			}
		}
		l.seen[w] = have[w]
	}
}

func TestKill(t *testing.T) {
	t.Parallel()
	logStores(t, func(t *testing.T, logStore string) {
		rounds := 30
		if testing.Short() {
			rounds = 8
		}
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		dir := t.TempDir()
		known := &ledger{acked: newMaps(), seen: newMaps()}
		lived := 0
		for round := range rounds {
			// Every third dies after some time, mostly while it starts; the
			// others after some number of acknowledgements.
			after, acks := time.Duration(-1), rng.IntN(150)
			if round%3 == 2 {
				after = time.Duration(rng.Int64N(int64(150 * time.Millisecond)))
			}
			if lifeOf(t, dir, logStore, known, after, acks).ready {
				lived++
			}
			if t.Failed() {
				t.Fatalf("in round %d of seed %d", round, seed)
			}
		}
		if lived < rounds/2 || known.acks < 20*lived/2 {
			t.Errorf("%d of %d lives, %d acknowledgements: the test is too weak", lived, rounds, known.acks)
		}
		last := lifeOf(t, dir, logStore, known, -1, 1)
		if !last.ready {
			t.Error("the node does not start any more")
		}
		t.Logf("%d acknowledged writes survived %d kills", known.acks, rounds)
	})
}

// lifeOf starts a child and kills it, after a time or a number of
// acknowledgements.
func lifeOf(t *testing.T, dir, logStore string, known *ledger, after time.Duration, acks int) *life {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childDir+"="+dir, childStore+"="+logStore)
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := func() { _ = cmd.Process.Kill() }
	// One that hangs says where.
	defer time.AfterFunc(patience, func() { _ = cmd.Process.Signal(syscall.SIGQUIT) }).Stop()
	if after >= 0 {
		defer time.AfterFunc(after, kill).Stop()
	}
	life := &life{have: newMaps()}
	lines := bufio.NewReader(stdout)
	for heard := 0; ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // what was cut off was not said
		}
		line = strings.TrimSuffix(line, "\n")
		known.hear(t, life, line)
		if strings.HasPrefix(line, "ack ") {
			heard++
		}
		if after < 0 && heard >= acks && life.ready || t.Failed() {
			kill()
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.Exited() {
		t.Errorf("the node ended by itself: %v\n%s", err, stderr.String())
	}
	if after < 0 && !life.ready {
		t.Errorf("the node did not come up: %s", stderr.String())
	}
	return life
}
