package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

func (a *app) kvDelete() *cobra.Command {
	var list []string
	cmd := a.kvCommand("delete [options] KEY", "Delete the newest version, or those named; they can be undeleted", 1,
		func(ctx context.Context, c *client.Client, p kvPath, _ []string) error {
			versions, err := parseVersions(list)
			if err != nil {
				return err
			}
			if len(versions) > 0 {
				if err := p.versioned("A version"); err != nil {
					return err
				}
				return a.onVersions(ctx, c, p, "delete", "deleting", "Success! Data deleted (if it existed) at: %s", versions)
			}
			s, err := found(c.Delete(ctx, p.at("data"), nil))
			if err != nil {
				return remotef(err, "Error deleting %s", p.at("data"))
			}
			return a.done(s, "Success! Data deleted (if it existed) at: %s", p.at("data"))
		})
	cmd.Flags().StringArrayVar(&list, "versions", nil, "Versions to delete, such as 1,2.")
	return cmd
}

func (a *app) kvUndelete() *cobra.Command {
	return a.versionsCommand("undelete", "Bring deleted versions back", "undeleting", "Success! Data written to: %s")
}

func (a *app) kvDestroy() *cobra.Command {
	return a.versionsCommand("destroy", "Remove versions for ever", "destroying", "Success! Data written to: %s")
}

func (a *app) versionsCommand(verb, short, doing, success string) *cobra.Command {
	var list []string
	cmd := a.kvCommand(verb+" [options] KEY", short, 1, func(ctx context.Context, c *client.Client, p kvPath, _ []string) error {
		if err := p.versioned("A version"); err != nil {
			return err
		}
		versions, err := parseVersions(list)
		if err != nil {
			return err
		}
		if len(versions) == 0 {
			return usagef("No versions provided, use the -versions flag to specify the versions to %s.", verb)
		}
		return a.onVersions(ctx, c, p, verb, doing, success, versions)
	})
	cmd.Flags().StringArrayVar(&list, "versions", nil, "Versions, such as 1,2.")
	return cmd
}

func (a *app) onVersions(ctx context.Context, c *client.Client, p kvPath, side, doing, success string, versions []string) error {
	path := p.at(side)
	s, err := found(c.Write(ctx, path, map[string]any{"versions": versions}))
	if err != nil {
		return remotef(err, "Error %s %s", doing, path)
	}
	return a.done(s, success, path)
}
