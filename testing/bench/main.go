package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	binary string
	conns  int
	nodes  int
	rounds int
	round  time.Duration
	// secrets, if set, measures what so many cost instead.
	secrets int
	// profile, if set, is where a profile of the server goes instead.
	profile string
	timing  bool
}

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/coffer", "the server to measure")
	flag.IntVar(&o.conns, "conns", 32, "connections")
	flag.IntVar(&o.nodes, "nodes", 1, "nodes of the cluster to measure, and of the floor of writes")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each measurement; the median counts")
	flag.DurationVar(&o.round, "round", 3*time.Second, "length of a round")
	flag.IntVar(&o.secrets, "secrets", 0, "measure what it costs to hold so many secrets, instead of rates")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of the server under each load to this file, instead of rates")
	flag.BoolVar(&o.timing, "timing", false, "compare how long failed logins take with names that exist and with others, instead of rates")
	floor := flag.Bool("serve-floor", false, "serve the floor of reads, for another process of this program")
	flag.Parse()
	work := run
	switch {
	case *floor:
		work = func(ctx context.Context, _ options) error { return serveHTTPFloor(ctx) }
	case o.secrets > 0:
		work = measureSize
	case o.timing:
		work = measureTiming
	case o.profile != "":
		work = writeProfile
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	if err := work(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the context is nobody's any more
	}
}

// rig is all that is under load in a run.
type rig struct {
	options
	http   *target
	raft   *raftFloor
	server *target
}

func run(ctx context.Context, o options) error {
	if o.conns < 1 || o.nodes < 1 || o.rounds < 1 || o.round <= 0 {
		return errors.New("conns, nodes, rounds and round must be positive")
	}
	dir, err := os.MkdirTemp("", "coffer-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r := &rig{options: o}
	if r.http, err = startHTTPFloor(ctx); err != nil {
		return err
	}
	defer r.http.stop()
	if r.raft, err = newRaftFloor(dir, o.nodes); err != nil {
		return err
	}
	defer r.raft.close()
	if r.server, err = startServer(ctx, o); err != nil {
		return err
	}
	defer r.server.stop()
	fmt.Printf("%d CPUs, %d nodes, %d connections, %d rounds of %s; rates are medians, in answers a second\n\n",
		runtime.NumCPU(), o.nodes, o.conns, o.rounds, o.round)
	fmt.Printf("%-24s %10s %10s %10s %10s   %-20s %10s %7s %6s\n", "work", "rate", "p50", "p99", "max", "floor", "rate", "ratio", "goal")
	login, err := appRoleLogin(ctx, r.server.addr, o.conns)
	if err != nil {
		return err
	}
	list := append(works(), login)
	if o.nodes > 1 {
		list = append(list, byFollower()...)
	}
	for _, w := range list {
		if err := r.measure(ctx, w); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	return nil
}

// measure alternates rounds of the floor and of the server.
func (r *rig) measure(ctx context.Context, w work) error {
	floor, stopFloor, err := r.floorWorkers(ctx, w)
	if err != nil {
		return err
	}
	defer stopFloor()
	list, stop, err := clients(ctx, r.server.node(w.node), r.conns, w.want, w.request)
	if err != nil {
		return err
	}
	defer stop()
	var below, got []outcome
	for range r.rounds {
		f, err := load(floor, r.round)
		if err != nil {
			return err
		}
		s, err := load(list, r.round)
		if err != nil {
			return err
		}
		below, got = append(below, f), append(got, s)
	}
	f, s := median(below), median(got)
	fmt.Printf("%-24s %10.0f %10s %10s %10s   %-20s %10.0f %7.2f %6.2f\n",
		w.name, s.rate, short(s.p50), short(s.p99), short(s.most), w.floor, f.rate, s.rate/f.rate, w.goal)
	return nil
}

func (r *rig) floorWorkers(ctx context.Context, w work) ([]worker, func(), error) {
	switch w.floor {
	case floorRaft:
		return r.raft.workers(r.conns), func() {}, nil
	case floorLeader:
		return clients(ctx, r.server.addr, r.conns, w.want, w.request)
	}
	request := message(http.MethodGet, "/v1/secret/data/app", rootToken, "")
	return clients(ctx, r.http.addr, r.conns, http.StatusOK, func(int, int) []byte { return request })
}

// median is the round with the median rate.
func median(list []outcome) outcome {
	slices.SortFunc(list, func(a, b outcome) int {
		if a.rate < b.rate {
			return -1
		}
		return 1
	})
	return list[len(list)/2]
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }
