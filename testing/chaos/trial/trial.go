package trial

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/check"
	"github.com/coffer-secrets/coffer/testing/chaos/history"
	"github.com/coffer-secrets/coffer/testing/chaos/nemesis"
	"github.com/coffer-secrets/coffer/testing/chaos/report"
	"github.com/coffer-secrets/coffer/testing/chaos/rig"
	"github.com/coffer-secrets/coffer/testing/chaos/workload"
)

// Config is what a run is.
type Config struct {
	Seed     uint64
	Nodes    int
	Duration time.Duration
	// Faults and Works are names with commas; "all": all of them.
	Faults, Works string
	// Clients is how many each work has.
	Clients int
	// HealWithin bounds how long all may take to be well after the faults end.
	HealWithin time.Duration
	// Loopback has all nodes on loopback, also where they can have hosts.
	Loopback bool
	// Out is where the history, the report and the nodes' folders are put.
	Out string
	// Say is told what happens.
	Say func(text string)
}

// Files in the folder of a run.
const (
	HistoryFile = "history.jsonl"
	nodesDir    = "nodes"
)

// trial is a run under way.
type trial struct {
	Config

	rig    *rig.Rig
	rng    *rand.Rand
	faults []nemesis.Fault
	works  map[string]workload.Work
	target *workload.Target
	report *report.Report
	// packets is nil where none can be seen.
	packets *rig.Capture
	mu      sync.Mutex // of the report
}

// Run runs it. The error is that of a harness that could not; what the cluster
// did wrong is in the report.
func Run(ctx context.Context, c Config) (*report.Report, error) {
	if c.Nodes < 3 || c.Clients < 1 {
		return nil, errors.New("trial: it takes at least 3 nodes and a client")
	}
	nodes := filepath.Join(c.Out, nodesDir)
	if err := os.MkdirAll(nodes, 0o700); err != nil {
		return nil, err
	}
	t := &trial{Config: c, rng: rand.New(rand.NewPCG(c.Seed, 1)), report: &report.Report{Seed: c.Seed, Nodes: c.Nodes}} // #nosec G404 -- repeatable
	var err error
	if t.works, err = workload.Pick(c.Works); err != nil {
		return nil, err
	}
	if t.rig, err = rig.Start(ctx, rig.Options{Nodes: c.Nodes, Dir: nodes, Say: c.Say, Database: t.works[workload.Users] != nil, Loopback: c.Loopback}); err != nil {
		return nil, err
	}
	defer t.rig.Close()
	if t.rig.NoDB != nil {
		delete(t.works, workload.Users)
	}
	if t.faults, t.report.Left, err = nemesis.Pick(c.Faults, t.rig); err != nil {
		return nil, err
	}
	recorder, err := history.Create(filepath.Join(c.Out, HistoryFile))
	if err != nil {
		return nil, err
	}
	t.report.Network = "each node on a host of its own (network namespaces)"
	if t.rig.NoHosts != nil {
		t.report.Network = fmt.Sprintf("all nodes on loopback, with a proxy between them (no hosts: %v)", t.rig.NoHosts)
	}
	if t.rig.NoDB != nil {
		t.report.Left = append(t.report.Left, fmt.Sprintf("users of a database (%v)", t.rig.NoDB))
	}
	t.target = &workload.Target{Token: t.rig.Nodes[0].RootToken, History: recorder, Canary: fmt.Sprintf("canary%xyz", t.rng.Uint64()), Secret: fmt.Sprintf("secret%xyz", t.rng.Uint64()), Seed: c.Seed}
	if t.rig.DB != nil {
		t.target.Database = t.rig.DB
	}
	for _, n := range t.rig.Nodes {
		t.target.Addresses = append(t.target.Addresses, n.Address)
	}
	t.packets = t.rig.Capture(t.target.Canary, t.target.Secret, t.target.Token)
	if err := t.torment(ctx); err != nil {
		return nil, errors.Join(err, recorder.Close())
	}
	ops := recorder.Ops()
	t.report.Duration = time.Duration(recorder.Now())
	t.Say("checking " + fmt.Sprint(len(ops)) + " operations")
	t.report.Violations = append(t.report.Violations, check.History(ops)...)
	t.report.Tally(ops)
	t.inspect()
	return t.report, errors.Join(recorder.Close(), t.report.Save(c.Out, ops))
}

// torment has clients work and faults happen.
func (t *trial) torment(ctx context.Context) error {
	number := 0
	client := func() *workload.Client {
		number++
		return workload.NewClient(t.target, number-1)
	}
	last := workload.NewClient(t.target, 1<<20)
	for name, w := range t.works {
		if err := w.Setup(ctx, last); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	var clients sync.WaitGroup
	for _, w := range t.works {
		number = 0
		for range t.Clients {
			c := client()
			clients.Go(func() { workload.Run(working, w, c) })
		}
	}
	t.disturb(ctx)
	stop()
	clients.Wait()
	if ctx.Err() != nil {
		return nil // whoever stops a run wants to see what it found
	}
	for name, w := range t.works {
		t.found(name, w.Finish(ctx, last))
	}
	return nil
}

// disturb has faults happen until the time is over.
func (t *trial) disturb(ctx context.Context) {
	end := time.Now().Add(t.Duration)
	for round := 1; ctx.Err() == nil; round++ {
		if !t.healed(ctx, round) {
			return
		}
		if time.Now().After(end) || len(t.faults) == 0 {
			return
		}
		t.round(ctx, round)
	}
}

// round has one to three faults happen at once.
func (t *trial) round(ctx context.Context, round int) {
	count := 1
	for count < 3 && t.rng.IntN(3) == 0 {
		count++
	}
	var names []string
	var all sync.WaitGroup
	for range count {
		f, seed := t.faults[t.rng.IntN(len(t.faults))], t.rng.Uint64()
		names = append(names, f.Name)
		all.Go(func() {
			span := report.Span{Name: f.Name, From: t.target.History.Now()}
			err := f.Do(ctx, t.rig, seed)
			span.To = t.target.History.Now()
			t.mu.Lock()
			t.report.Faults = append(t.report.Faults, span)
			t.mu.Unlock()
			t.found("a fault that was not survived", err)
		})
	}
	t.Say(fmt.Sprintf("%8s  round %d: %s", time.Duration(t.target.History.Now()).Round(time.Second), round, strings.Join(names, " + ")))
	all.Wait()
}

// healed ends all faults and waits until all is well; false: it is not.
func (t *trial) healed(ctx context.Context, round int) bool {
	if err := t.rig.Heal(); err != nil {
		t.found("nodes that end", err)
	}
	if err := t.rig.UnsealAll(); err != nil {
		t.found("nodes that stay sealed", err)
		return false
	}
	// The bound is for the verdict; what comes later is waited for nevertheless, to
	// tell the slow from the stuck.
	within, cancel := context.WithTimeout(ctx, 6*t.HealWithin)
	defer cancel()
	took, err := t.rig.Alive(within, round)
	if ctx.Err() != nil {
		return false
	}
	t.mu.Lock()
	t.report.Heals = append(t.report.Heals, took)
	t.mu.Unlock()
	if err != nil {
		t.found("stuck", fmt.Errorf("after round %d: %w", round-1, err))
		return false
	}
	if round > 1 {
		t.found("an audit device stays", t.rig.UnblockAudit(ctx))
	}
	if took > t.HealWithin {
		t.found("slow to heal", fmt.Errorf("after round %d: it took %s", round-1, took.Round(time.Millisecond)))
	}
	return true
}

// inspect looks at the nodes at the end.
func (t *trial) inspect() {
	t.found("states differ", t.rig.Equal())
	for _, text := range t.rig.Panics() {
		t.found("a node panicked", errors.New(text))
	}
	if t.packets != nil {
		for _, text := range t.packets.Found() {
			t.found("a secret, or its name, was sent in the clear", errors.New(text))
		}
		if t.report.Captured = t.packets.Bytes.Load(); t.report.Captured == 0 || t.packets.Plain.Load() == 0 {
			t.found("nothing was captured", errors.New("neither what nodes said, nor what clients said in the clear"))
		}
	}
	secrets := append(t.target.Given.Words(), t.target.Secret, t.target.Token)
	for _, path := range t.rig.Find(secrets, []string{t.target.Canary}) {
		t.found("a secret, or its name, is readable", errors.New(path))
	}
}

func (t *trial) found(rule string, err error) {
	if err == nil {
		return
	}
	t.Say("VIOLATION: " + rule + ": " + err.Error())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Found(rule, err)
}
