package cli

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coffer-secrets/coffer/client"
	"github.com/coffer-secrets/coffer/cmd/internal/cli/lease"
)

func (a *app) leaseCommands() *cobra.Command {
	return lease.Commands(lease.Env{
		Remote: func(use, short string, least, most int, run func(ctx context.Context, c *client.Client, args []string) error) *cobra.Command {
			return a.remote(use, short, least, most, run)
		},
		Group: group, WithField: a.withField, Duration: func() pflag.Value { return new(durationValue) },
		Secret: a.secret, Say: a.say, Failed: remotef, Usage: usagef,
	})
}
