package sim_test

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// bubble runs f in simulated time, and fails if goroutines of it stay, but for
// those that Raft leaves behind when a leader is lost while it hands over, or
// before it begins to (hashicorp/raft#696).
func bubble(t *testing.T, f func()) {
	t.Helper()
	var id string
	defer func() {
		if p := recover(); p != nil && (id == "" || !strayTransfers(stacks(id))) {
			panic(p)
		}
	}()
	synctest.Test(t, func(*testing.T) {
		own := make([]byte, 1<<10)
		_, id, _ = strings.Cut(header(string(own[:runtime.Stack(own, false)])), "synctest bubble ")
		f()
	})
}

// header is the first line of a goroutine's stack, without what ends it.
func header(stack string) string {
	line, _, _ := strings.Cut(stack, "]:")
	return line
}

// stacks are those of the goroutines in a bubble.
func stacks(id string) []string {
	all := make([]byte, 16<<20)
	var out []string
	for _, stack := range strings.Split(string(all[:runtime.Stack(all, true)]), "\n\n") {
		if strings.HasSuffix(header(stack), "synctest bubble "+id) {
			out = append(out, stack)
		}
	}
	return out
}

// strayTransfers tells whether all stacks are those of a transfer of leadership,
// of the goroutine that waits for it, and of who asked for it.
func strayTransfers(stacks []string) bool {
	const lib = "github.com/hashicorp/raft."
	for _, stack := range stacks {
		_, frames, _ := strings.Cut(stack, "\n")
		if !slices.ContainsFunc([]string{lib + "(*Raft).leadershipTransfer(", lib + "(*Raft).leaderLoop.func", lib + "(*deferError).Error("},
			func(frame string) bool { return strings.HasPrefix(frames, frame) }) {
			return false
		}
	}
	return len(stacks) > 0
}

// TestBubbleSeesWhatStays: what stays of a schedule, but for transfers, fails it.
func TestBubbleSeesWhatStays(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("a goroutine may stay")
		}
	}()
	bubble(t, func() { go func() { <-make(chan struct{}) }() })
}

func TestStrayTransfers(t *testing.T) {
	t.Parallel()
	const head = "goroutine 7 [chan send (durable), synctest bubble 1]:\n"
	transfer := head + "github.com/hashicorp/raft.(*Raft).leadershipTransfer(0x1)\n\t/raft.go:1003 +0x129"
	waiter := head + "github.com/hashicorp/raft.(*Raft).leaderLoop.func2()\n\t/raft.go:734 +0x90a"
	asker := head + "github.com/hashicorp/raft.(*deferError).Error(...)\n\t/future.go:113\ngithub.com/coffer-secrets/coffer/cluster.(*Node).await.func1()"
	other := head + "github.com/coffer-secrets/coffer/cluster.(*Node).follow(0x1)\n\t/lead.go:1 +0x1"
	if !strayTransfers([]string{transfer, waiter, asker}) {
		t.Error("a transfer may not stay")
	}
	for _, stacks := range [][]string{nil, {other}, {transfer, other}} {
		if strayTransfers(stacks) {
			t.Errorf("these may stay: %q", stacks)
		}
	}
}
