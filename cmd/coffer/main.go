package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/cmd/internal/cli"
	"github.com/coffer-secrets/coffer/cmd/internal/server"
)

// version is set when a release is built.
var version = "dev"

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, commands()...)
}

// commands are those beside the command line's own.
func commands() []*cobra.Command {
	return append(server.Commands(server.Build{Version: version}), cli.Version(version))
}
