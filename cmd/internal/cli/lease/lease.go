package lease

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/coffer-secrets/coffer/client"
)

// Env is the command line that the commands are part of.
type Env struct {
	// Remote makes a command that calls the server, Group one that only has others
	// below it, and WithField adds the flag -field.
	Remote    func(use, short string, least, most int, run func(ctx context.Context, c *client.Client, args []string) error) *cobra.Command
	Group     func(use, short string, children ...*cobra.Command) *cobra.Command
	WithField func(cmd *cobra.Command) *cobra.Command
	// Duration makes a flag's value that is a time.
	Duration func() pflag.Value
	// Secret prints an answer, Say a line for people.
	Secret func(s *client.Secret) error
	Say    func(format string, args ...any) error
	// Failed is an error that comes from the server, Usage one of the user's.
	Failed func(err error, format string, args ...any) error
	Usage  func(format string, args ...any) error
}

const base = "sys/leases/"

type commands struct{ Env }

// Commands makes them.
func Commands(env Env) *cobra.Command {
	c := commands{env}
	return c.Group("lease", "Leases of secrets: look up, renew, revoke", c.lookup(), c.renew(), c.revoke(), c.release())
}

func (c commands) lookup() *cobra.Command {
	return c.WithField(c.Remote("lookup [options] ID", "Tell of a lease, and of what was made for it", 1, 1,
		func(ctx context.Context, cl *client.Client, args []string) error {
			s, err := cl.Write(ctx, base+"lookup", map[string]string{"lease_id": args[0]})
			if err != nil {
				return c.Failed(err, "Error looking up lease %s", args[0])
			}
			return c.Secret(s)
		}))
}

func (c commands) renew() *cobra.Command {
	increment := c.Duration()
	cmd := c.Remote("renew [options] ID", "Let a lease live longer", 1, 1,
		func(ctx context.Context, cl *client.Client, args []string) error {
			body := map[string]string{"lease_id": args[0]}
			if text := increment.String(); text != "" {
				body["increment"] = text
			}
			s, err := cl.Write(ctx, base+"renew", body)
			if err != nil {
				return c.Failed(err, "Error renewing lease %s", args[0])
			}
			return c.Secret(s)
		})
	cmd.Flags().VarP(increment, "increment", "i", "How much longer, from now; the server may give less.")
	return c.WithField(cmd)
}

// revokeFlags are those of lease revoke.
type revokeFlags struct{ prefix, force, sync bool }

func (c commands) revoke() *cobra.Command {
	var f revokeFlags
	cmd := c.Remote("revoke [options] ID", "End a lease, or those below a path", 1, 1,
		func(ctx context.Context, cl *client.Client, args []string) error {
			return c.runRevoke(ctx, cl, args[0], f)
		})
	set := cmd.Flags()
	set.BoolVar(&f.prefix, "prefix", false, "ID is a path: end all leases below it.")
	set.BoolVar(&f.force, "force", false, "With -prefix: forget the leases even if what they are for cannot be removed.")
	set.BoolVar(&f.sync, "sync", false, "Wait until it is removed.")
	return cmd
}

func (c commands) runRevoke(ctx context.Context, cl *client.Client, id string, f revokeFlags) error {
	path, body := base+"revoke", map[string]any{"lease_id": id, "sync": f.sync}
	switch {
	case f.force && !f.prefix:
		return c.Usage("Specifying -force also requires specifying -prefix")
	case f.force:
		path, body = base+"revoke-force/"+id, map[string]any{}
	case f.prefix:
		path, body = base+"revoke-prefix/"+id, map[string]any{"sync": f.sync}
	}
	_, err := cl.Write(ctx, path, body)
	if err != nil {
		return c.Failed(err, "Error revoking %s", id)
	}
	switch {
	case f.force:
		return c.Say("Success! Force revoked any leases with prefix: %s", id)
	case !f.sync:
		return c.Say("All revocation operations queued successfully!")
	case f.prefix:
		return c.Say("Success! Revoked any leases with prefix: %s", id)
	}
	return c.Say("Success! Revoked lease: %s", id)
}

func (c commands) release() *cobra.Command {
	dry := false
	cmd := c.Remote("release [options]", "Let leases end that are held since a snapshot was restored", 0, 0,
		func(ctx context.Context, cl *client.Client, _ []string) error {
			s, err := cl.Write(ctx, base+"release", map[string]any{"dry_run": dry})
			if err != nil {
				return c.Failed(err, "Error releasing leases")
			}
			return c.Secret(s)
		})
	cmd.Flags().BoolVar(&dry, "dry-run", false, "Only tell which would end, and why.")
	return c.WithField(cmd)
}
