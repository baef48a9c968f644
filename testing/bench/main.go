package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	binary string
	conns  []int
	nodes  int
	rounds int
	round  time.Duration
	warmUp time.Duration
	names  int
	rate   float64
	works  []string
	given  given
	// variants also measure servers with TLS, or with an audit device.
	tls, audit bool
	out        outputs
	// secrets, if set, measures what so many cost instead.
	secrets int
	// profile, if set, is where a profile of the server goes instead.
	profile string
	timing  bool
	// database measures the users of a database instead.
	database bool
}

// given are servers that run already.
type given struct {
	addresses, tokens []string
	caFile            string
}

// outputs are the files that a run leaves.
type outputs struct{ json, svg, markdown string }

// most is the largest number of connections.
func (o *options) most() int { return slices.Max(o.conns) }

func main() {
	work, o, err := parse()
	if err == nil {
		ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer cancel()
		err = work(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1) //nolint:gocritic // the context is nobody's any more
	}
}

func parse() (func(context.Context, options) error, options, error) {
	o := options{conns: []int{32}}
	flag.StringVar(&o.binary, "binary", "bin/coffer", "the server to measure, if no target is given")
	flag.Func("conns", "connections; several numbers, with commas, are measured in turn (default 32)", o.readConns)
	flag.IntVar(&o.nodes, "nodes", 1, "nodes of the cluster to start, and of the floor of writes")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds of each measurement; the median counts")
	flag.DurationVar(&o.round, "round", 3*time.Second, "length of a round")
	flag.DurationVar(&o.warmUp, "warm-up", time.Second, "load before the first round, which does not count")
	flag.IntVar(&o.names, "names", 10000, "how many names a list has")
	flag.Float64Var(&o.rate, "rate", 0, "operations a second to begin, whatever they take (open loop), instead of the next when one is done")
	flag.Func("work", "which work, with commas; all by default (see -list)", func(text string) error {
		o.works = append(o.works, strings.Split(text, ",")...)
		return nil
	})
	flag.Func("target", "a server that runs, as [name=]http[s]://host:port[,host:port ...], the leader first; may be given again", func(text string) error {
		o.given.addresses = append(o.given.addresses, text)
		return nil
	})
	flag.Func("token", "its token; once for each target, in their order (default $VAULT_TOKEN)", func(text string) error {
		o.given.tokens = append(o.given.tokens, text)
		return nil
	})
	flag.StringVar(&o.given.caFile, "ca-cert", "", "a file of the certificates that vouch for targets (default $VAULT_CACERT)")
	flag.BoolVar(&o.tls, "tls", false, "also measure a server with TLS")
	flag.BoolVar(&o.audit, "audit", false, "also measure a server with a file audit device")
	flag.StringVar(&o.out.json, "json", "", "write the results to this file")
	flag.StringVar(&o.out.svg, "svg", "", "write plots to this folder")
	flag.StringVar(&o.out.markdown, "markdown", "", "write the table to this file")
	flag.IntVar(&o.secrets, "secrets", 0, "measure what it costs to hold so many secrets, instead of rates")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of the server under each load to this file, instead of rates, or beside them with -database")
	flag.BoolVar(&o.timing, "timing", false, "compare how long failed logins take with names that exist and with others, instead of rates")
	flag.BoolVar(&o.database, "database", false, "measure credentials of a PostgreSQL beside its own CREATE ROLE, and revoking them, instead")
	list := flag.Bool("list", false, "list the kinds of work")
	floor := flag.Bool("serve-floor", false, "serve the floor of reads, for another process of this program")
	flag.Parse()
	switch {
	case *floor:
		return func(ctx context.Context, _ options) error { return serveHTTPFloor(ctx) }, o, nil
	case *list:
		return listWorks, o, nil
	case o.secrets > 0:
		return measureSize, o, nil
	case o.database:
		return measureDatabase, o, nil
	case o.timing:
		return measureTiming, o, nil
	case o.profile != "":
		return writeProfile, o, nil
	}
	return run, o, o.check()
}

func (o *options) readConns(text string) error {
	o.conns = nil
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return errors.New("expected numbers above 0, with commas")
		}
		o.conns = append(o.conns, n)
	}
	return nil
}

func (o *options) check() error {
	if o.nodes < 1 || o.rounds < 1 || o.round <= 0 || o.names < 1 || o.warmUp < 0 || o.rate < 0 {
		return errors.New("nodes, rounds, round and names must be positive, warm-up and rate not negative")
	}
	if len(o.given.addresses) > 0 && (o.tls || o.audit) {
		return errors.New("-tls and -audit are for servers that this program starts")
	}
	if o.tls && o.nodes > 1 {
		return errors.New("-tls is for one node")
	}
	all := works()
	for _, name := range o.works {
		if !slices.ContainsFunc(all, func(w work) bool { return w.name == name }) {
			return fmt.Errorf("there is no work %q: see -list", name)
		}
	}
	return nil
}

func listWorks(context.Context, options) error {
	for _, w := range works() {
		fmt.Println(w.name)
	}
	return nil
}
