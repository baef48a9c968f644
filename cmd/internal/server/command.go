package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

// failure is an error that ends the process with code 1, as operators know it
// from Vault's server.
type failure struct{ error }

// ExitCode is the code to exit with.
func (failure) ExitCode() int { return 1 }

func (f failure) Unwrap() error { return f.error }

func failed(err error) error {
	if err == nil {
		return nil
	}
	return failure{err}
}

// Commands are those that start a server.
func Commands(build Build) []*cobra.Command {
	build.Version = semver(build.Version)
	return []*cobra.Command{serverCommand(build), devCommand()}
}

// flags are those of the server command.
type flags struct {
	configs   []string
	logLevel  string
	logFormat string
	logFile   string
	recovery  bool
	testOnly  bool
	exitOnEnd bool
	ephemeral bool
	dev       devFlags
}

func serverCommand(build Build) *cobra.Command {
	f := new(flags)
	cmd := &cobra.Command{
		Use:   "server [options]",
		Short: "Start a server.",
		Long: `Starts a server that answers the API. It starts sealed: unless the
configuration says how it unseals itself, unseal it with "coffer operator
unseal". A server that has never run is initialised with "coffer operator init".`,
		Example: `coffer server -config=/etc/coffer.d/coffer.hcl
coffer server -dev -dev-root-token-id=root`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return failed(f.run(cmd.Context(), build, cmd.OutOrStdout(), cmd.ErrOrStderr()))
		},
	}
	set := cmd.Flags()
	set.StringArrayVar(&f.configs, "config", nil, "A file, or a folder of .hcl and .json files; may be given again.")
	set.StringVar(&f.logLevel, "log-level", "", "trace, debug, info, warn, error or off.")
	set.StringVar(&f.logFormat, "log-format", "", "standard or json.")
	set.StringVar(&f.logFile, "log-file", "", "A file that gets a copy of the log.")
	set.BoolVar(&f.recovery, "recovery", false, "Not offered: restore a snapshot instead.")
	set.BoolVar(&f.testOnly, "test-config", false, "Check the configuration and exit.")
	set.BoolVar(&f.exitOnEnd, "exit-on-core-shutdown", false, "Accepted: the process always ends with its node.")
	set.BoolVar(&f.ephemeral, ephemeralFlag, false, "The node is of a dev cluster and removes its folder at the end.")
	_ = set.MarkHidden(ephemeralFlag)
	f.dev.define(set)
	return cmd
}

func (f *flags) run(ctx context.Context, build Build, stdout, stderr io.Writer) error {
	if f.recovery {
		return errors.New("-recovery is not offered: a store that cannot be opened is restored from a snapshot")
	}
	tuneMemory()
	tuneProcessors()
	if err := harden(); err != nil {
		return err
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	if f.testOnly {
		if err := cfg.Runnable(); err != nil {
			return err
		}
		_, err := fmt.Fprintln(stdout, "The configuration is good.")
		return err
	}
	if f.dev.on {
		return f.dev.run(ctx, build, cfg, stdout, stderr)
	}
	s, err := New(ctx, Options{Config: cfg, Build: build, Log: stderr, Load: f.load})
	if err != nil {
		return err
	}
	if err := s.banner(stdout); err != nil {
		return errors.Join(err, s.Close())
	}
	if err := s.runUntilSignal(ctx); err != nil || !f.ephemeral {
		return err
	}
	return removeDevNode(filepath.Dir(cfg.Storage.Path))
}

// load reads the configuration. What flags say stands over it.
func (f *flags) load() (*config.Config, error) {
	if len(f.configs) == 0 && !f.dev.on {
		return nil, errors.New("give the configuration's file with -config, or start a dev server with -dev")
	}
	cfg, err := config.Load(f.configs, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	for _, override := range []struct {
		name, value string
		into        *string
		allowed     []string
	}{
		{"-log-level", f.logLevel, &cfg.Log.Level, config.LogLevels()},
		{"-log-format", f.logFormat, &cfg.Log.Format, []string{"standard", "json"}},
		{"-log-file", f.logFile, &cfg.Log.File, nil},
	} {
		if override.value == "" {
			continue
		}
		if override.allowed != nil && !slices.Contains(override.allowed, override.value) {
			return nil, fmt.Errorf("%s: unknown value %q", override.name, override.value)
		}
		*override.into = override.value
	}
	return cfg, nil
}

// runUntilSignal runs until the process is told to end. SIGHUP reloads.
func (s *Server) runUntilSignal(ctx context.Context) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	reloads := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(reloads)
		for {
			select {
			case <-hangup:
				if err := s.Reload(); err != nil {
					s.log.Error("the configuration was not reloaded", "error", err)
				}
			case <-ended:
				return
			}
		}
	}()
	err := s.Run(ctx)
	signal.Stop(hangup)
	close(ended)
	<-reloads
	return err
}
