package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/check"
	"github.com/coffer-secrets/coffer/testing/chaos/history"
	"github.com/coffer-secrets/coffer/testing/chaos/nemesis"
	"github.com/coffer-secrets/coffer/testing/chaos/trial"
	"github.com/coffer-secrets/coffer/testing/chaos/workload"
)

func main() {
	violations, err := run()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	case violations:
		os.Exit(1)
	}
}

// run reports whether something must not have happened.
func run() (violations bool, err error) {
	var c trial.Config
	flag.DurationVar(&c.Duration, "duration", 10*time.Minute, "for how long faults happen")
	flag.Uint64Var(&c.Seed, "seed", 0, "what all choices follow from; 0: another one each time")
	flag.IntVar(&c.Nodes, "nodes", 3, "how many nodes")
	flag.IntVar(&c.Clients, "clients", 5, "how many clients each workload has")
	flag.StringVar(&c.Faults, "faults", "all", "which faults, by name or group, with commas: "+faults())
	flag.StringVar(&c.Works, "workloads", "all", "which workloads, with commas: "+strings.Join(workload.Names(), " "))
	flag.DurationVar(&c.HealWithin, "heal", 10*time.Second, "within which all must be well once the faults end")
	flag.BoolVar(&c.Loopback, "loopback", false, "all nodes on loopback, with a proxy between them, as it is where no hosts can be made")
	flag.StringVar(&c.Out, "out", "", "the folder of what is kept; \"\": a new one below the temporary folder")
	saved := flag.String("check", "", "a saved history to check, and nothing else")
	flag.Parse()
	if *saved != "" {
		return recheck(*saved)
	}
	if c.Seed == 0 {
		c.Seed = uint64(time.Now().UnixNano()) // #nosec G115 -- any number does
	}
	if c.Out == "" {
		if c.Out, err = os.MkdirTemp("", "coffer-chaos-"); err != nil {
			return false, err
		}
	}
	fmt.Printf("seed %d, what is kept goes to %s\n", c.Seed, c.Out)
	c.Say = func(text string) { fmt.Println(text) }
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := trial.Run(ctx, c)
	if err != nil {
		return false, err
	}
	fmt.Print(r.Text())
	fmt.Printf("\nhistory, report and plot: %s\nagain: make chaos SEED=%d NODES=%d DURATION=%s FAULTS=%s WORKLOADS=%s\n",
		filepath.Join(c.Out, "*"), c.Seed, c.Nodes, c.Duration, c.Faults, c.Works)
	return len(r.Violations) > 0, nil
}

func faults() string {
	var names []string
	for _, f := range nemesis.Faults() {
		names = append(names, f.Name+" ("+f.Group+")")
	}
	return strings.Join(names, " ")
}

// recheck checks a saved history again.
func recheck(path string) (violations bool, err error) {
	ops, err := history.Load(path)
	if err != nil {
		return false, err
	}
	found := check.History(ops)
	fmt.Printf("%d operations, violations: %d\n", len(ops), len(found))
	for _, v := range found {
		fmt.Println(" ", v)
	}
	return len(found) > 0, nil
}
