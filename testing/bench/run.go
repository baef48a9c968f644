package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/testing/bench/load"
	"github.com/coffer-secrets/coffer/testing/bench/report"
)

// rig is all that is under load in a run.
type rig struct {
	options
	http     *target
	raft     *raftFloor
	bare     map[string]bare
	targets  []*target
	report   report.Report
	progress *progress
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "coffer-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &rig{options: o, bare: make(map[string]bare), progress: newProgress(os.Stderr)}
	if r.http, err = startHTTPFloor(ctx); err != nil {
		return err
	}
	defer r.http.stop()
	if r.raft, err = newRaftFloor(dir, o.nodes); err != nil {
		return err
	}
	defer r.raft.close()
	list, stop, err := targets(ctx, o, dir)
	if err != nil {
		return err
	}
	defer stop()
	for _, t := range list {
		t.names = o.names
	}
	r.targets = list
	r.report = report.Report{
		Begun: time.Now().UTC(), CPUs: runtime.NumCPU(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Nodes: o.nodes, Rounds: o.rounds, Round: o.round, OpenRate: o.rate,
	}
	for _, t := range list {
		r.report.Targets = append(r.report.Targets, t.name)
	}
	if err := r.report.Head(os.Stdout); err != nil {
		return err
	}
	return errors.Join(r.all(ctx), r.publish())
}

// all measures the work that was asked for.
func (r *rig) all(ctx context.Context) error {
	var list []work
	for _, w := range works() {
		chosen := len(r.works) == 0 || slices.Contains(r.works, w.name)
		if chosen && (w.node == 0 || len(r.targets[0].nodes) > w.node) {
			list = append(list, w)
		}
	}
	r.progress.total = len(list) * len(r.conns) * (r.rounds + 1) * (len(r.targets) + 1)
	for _, w := range list {
		if err := r.prepared(ctx, w); err != nil {
			r.progress.clear()
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	r.progress.clear()
	for _, l := range r.report.Left {
		fmt.Printf("left out: %s by %s: %s\n", l.Work, l.Target, l.Why)
	}
	return nil
}

// able is a target that can do the work.
type able struct {
	*target
	script script
}

func (r *rig) prepared(ctx context.Context, w work) error {
	var can []able
	for _, t := range r.targets {
		r.progress.say(w.name + ": prepare " + t.name)
		s, err := w.prepare(&admin{ctx: ctx, target: t}, r.most())
		switch {
		case errors.Is(err, errAbsent):
			r.report.Left = append(r.report.Left, report.Left{Work: w.name, Target: t.name, Why: strings.TrimSpace(err.Error())})
		case err != nil:
			return err
		default:
			can = append(can, able{t, s})
		}
	}
	for _, conns := range r.conns {
		if len(can) == 0 {
			return nil
		}
		if err := r.measure(ctx, w, conns, can); err != nil {
			return err
		}
	}
	return nil
}

// crew is who does one kind of work at one place.
type crew struct {
	name    string
	workers []load.Worker
	rounds  []load.Outcome
	// pid is the server's, if it is known, and used what it has used of processors
	// in the rounds that count.
	pid  int
	used time.Duration
}

// round has a crew work for a while. The first is to warm up, and does not count.
func (c *crew) round(ctx context.Context, pace load.Pace, first bool, warmUp time.Duration) error {
	if first {
		if pace.For = warmUp; pace.For == 0 {
			return nil
		}
	}
	before := processorTime(c.pid)
	got, err := load.Run(c.workers, pace)
	if err != nil || first {
		return err
	}
	c.rounds, c.used = append(c.rounds, got), c.used+processorTime(c.pid)-before
	return ctx.Err()
}

// measure alternates rounds of the floor and of the targets.
func (r *rig) measure(ctx context.Context, w work, conns int, can []able) error {
	floor, stopFloor, err := r.floorWorkers(ctx, w, conns, can[0])
	if err != nil {
		return err
	}
	stops := []func(){stopFloor}
	defer func() {
		for _, stop := range stops {
			stop()
		}
	}()
	crews := []*crew{{name: w.floor, workers: floor}}
	for _, t := range can {
		list, stop, err := callers(ctx, t.target, w.node, conns, t.script)
		if err != nil {
			return err
		}
		stops = append(stops, stop)
		crews = append(crews, &crew{name: t.name, workers: list, pid: t.pid})
	}
	for round := range r.rounds + 1 {
		for i, c := range crews {
			r.progress.step(fmt.Sprintf("%s, %d connections: round %d of %s", w.name, conns, round, c.name))
			pace := load.Pace{For: r.round}
			if i > 0 {
				pace.Rate = r.rate // a floor shows what could be done at most
			}
			if err := c.round(ctx, pace, round == 0, r.warmUp); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return r.tell(w, conns, crews)
}

// tell writes the lines of one measurement, of which the first crew is the floor.
func (r *rig) tell(w work, conns int, crews []*crew) error {
	floor, _, _ := load.Merge(crews[0].rounds)
	if w.each > 0 {
		floor.Rate /= w.each
	}
	r.progress.clear()
	var first, firstCPU float64
	for _, c := range crews[1:] {
		got, lowest, highest := load.Merge(c.rounds)
		l := report.Line{
			Work: w.name, Target: c.name, Conns: conns, Rate: got.Rate, Lowest: lowest, Highest: highest,
			Times: report.Times{
				P50: got.Quantile(0.5).Seconds(), P90: got.Quantile(0.9).Seconds(), P99: got.Quantile(0.99).Seconds(),
				P999: got.Quantile(0.999).Seconds(), Max: got.Quantile(1).Seconds(),
			},
			Errors: got.Errors, Late: got.Late,
			Floor: w.floor, FloorRate: floor.Rate, FloorP50: floor.Quantile(0.5).Seconds(), Ratio: got.Rate / floor.Rate, Goal: w.goal,
		}
		if done := len(got.Took) - got.Late; done > 0 {
			l.CPU = c.used.Seconds() / float64(done)
		}
		if got.First != nil {
			l.Error = got.First.Error()
		}
		if first == 0 {
			first, firstCPU = got.Rate, l.CPU
		} else if l.ToFirst = got.Rate / first; firstCPU > 0 {
			l.CPUToFirst = l.CPU / firstCPU
		}
		r.report.Lines = append(r.report.Lines, l)
		if err := l.Row(os.Stdout); err != nil {
			return err
		}
		if l.Error != "" {
			fmt.Printf("    one of the errors: %s\n", l.Error)
		}
	}
	return nil
}

func (r *rig) floorWorkers(ctx context.Context, w work, conns int, first able) ([]load.Worker, func(), error) {
	switch w.floor {
	case floorRaft:
		return r.raft.workers(conns), func() {}, nil
	case floorLeader:
		return callers(ctx, first.target, 0, conns, first.script)
	case floorBcrypt, floorIssue, floorAWS:
		b, err := r.bareOf(ctx, w.floor)
		return b.times(conns), func() {}, err
	}
	path := "/v1/secret/data/app"
	if w.floor == floorPlain {
		path = plainPath
	}
	request := load.Message(http.MethodGet, path, rootToken, "")
	return callers(ctx, r.http, 0, conns, requests(func(int, int) []byte { return request }))
}

// bareOf makes a floor that is not a server, once.
func (r *rig) bareOf(ctx context.Context, name string) (b bare, err error) {
	if b, ok := r.bare[name]; ok {
		return b, nil
	}
	switch name {
	case floorBcrypt:
		b, err = bareBcrypt()
	case floorIssue:
		b, err = bareIssue()
	default:
		b = bareAWS(ctx)
	}
	r.bare[name] = b
	return b, err
}

// publish writes the files that were asked for.
func (r *rig) publish() error {
	var errs []error
	for _, f := range []struct {
		name  string
		write func(w io.Writer) error
	}{{r.out.json, r.report.JSON}, {r.out.markdown, r.report.Markdown}} {
		if f.name != "" {
			errs = append(errs, writeFile(f.name, f.write))
		}
	}
	if r.out.svg != "" {
		errs = append(errs, r.report.Plots(r.out.svg))
	}
	return errors.Join(errs...)
}

func writeFile(name string, write func(w io.Writer) error) error {
	f, err := os.Create(name) // #nosec G304 -- a file that the caller names
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
