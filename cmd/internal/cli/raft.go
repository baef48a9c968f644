package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
	"github.com/coffer-secrets/coffer/cmd/internal/cli/raft"
)

func (a *app) raftCommands() *cobra.Command {
	return raft.Commands(raft.Env{
		Remote: func(use, short string, least, most int, run func(ctx context.Context, c *client.Client, args []string) error) *cobra.Command {
			return a.remote(use, short, least, most, run)
		},
		Local: func(use, short string, least, most int, run func(ctx context.Context, args []string) error) *cobra.Command {
			cmd := local(use, short, least, most, func(ctx context.Context, args []string) error {
				if err := a.opts.check(); err != nil {
					return err
				}
				return run(ctx, args)
			})
			cmd.Flags().AddFlagSet(a.shared)
			return cmd
		},
		Group: group, Show: a.show, Say: a.say, Titled: titled, Failed: remotef, Usage: usagef,
	})
}
