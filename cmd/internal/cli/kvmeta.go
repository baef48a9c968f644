package cli

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

func (a *app) kvMetaGet() *cobra.Command {
	return a.withField(a.kvCommand("get [options] KEY", "Read what is kept about a secret and its versions", 1,
		func(ctx context.Context, c *client.Client, p kvPath, _ []string) error {
			if err := p.versioned("Metadata"); err != nil {
				return err
			}
			s, err := a.meta(ctx, c, p)
			if err != nil {
				return err
			}
			if a.opts.field != "" || s.WrapInfo != nil {
				return a.secret(s)
			}
			return a.show(s, func() string {
				a.warnings(s)
				return metaTables(s, p.at("metadata"))
			})
		}))
}

func metaTables(s *client.Secret, path string) string {
	about := maps.Clone(s.Data)
	versions, _ := about["versions"].(map[string]any)
	delete(about, "versions")
	out := pathTitled("Metadata Path", path) + mapTable("Metadata", about)
	byNumber := func(a, b string) int {
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return cmp.Compare(x, y)
	}
	for _, n := range slices.SortedFunc(maps.Keys(versions), byNumber) {
		if v, ok := versions[n].(map[string]any); ok {
			out += "\n" + mapTable("Version "+n, v)
		}
	}
	return out
}

// metaFlags are what can be set about a secret.
type metaFlags struct {
	maxVersions  int
	cas          bool
	deleteAfter  string
	custom       []string
	removeCustom []string
	metadataCAS  int
}

func (f *metaFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&f.maxVersions, "max-versions", 0, "How many versions to keep; 0 for the mount's own number.")
	cmd.Flags().BoolVar(&f.cas, "cas-required", false, "Have every write name the version that it follows.")
	cmd.Flags().Var((*durationValue)(&f.deleteAfter), "delete-version-after", "How long a new version lives, such as 24h; 0s for ever.")
	cmd.Flags().StringArrayVar(&f.custom, "custom-metadata", nil, "Something to note about the secret, as key=value. May be repeated.")
	cmd.Flags().IntVar(&f.metadataCAS, "metadata-cas", anyVersion, "Write only if the metadata has this version.")
}

// body has what was given, so that the rest stays as it is.
func (f *metaFlags) body(cmd *cobra.Command) (map[string]any, error) {
	custom, err := pairs("custom-metadata", f.custom)
	if err != nil {
		return nil, err
	}
	body := make(map[string]any)
	for name, set := range map[string]any{
		"max-versions": f.maxVersions, "cas-required": f.cas, "delete-version-after": f.deleteAfter, "metadata-cas": f.metadataCAS,
	} {
		if cmd.Flags().Changed(name) {
			body[underscored(name)] = set
		}
	}
	notes := make(map[string]any, len(custom))
	for name, value := range custom {
		notes[name] = value
	}
	for _, name := range f.removeCustom {
		if _, both := notes[name]; both {
			return nil, usagef("%q is both set and removed.", name)
		}
		notes[name] = nil
	}
	if len(notes) > 0 {
		body["custom_metadata"] = notes
	}
	return body, nil
}

func (a *app) kvMetaPut() *cobra.Command {
	var f metaFlags
	var cmd *cobra.Command
	cmd = a.kvCommand("put [options] KEY", "Set what is kept about a secret", 1,
		func(ctx context.Context, c *client.Client, p kvPath, _ []string) error {
			return a.writeMeta(ctx, c.Write, cmd, p, &f)
		})
	f.add(cmd)
	return cmd
}

func (a *app) kvMetaPatch() *cobra.Command {
	var f metaFlags
	var cmd *cobra.Command
	cmd = a.kvCommand("patch [options] KEY", "Change a part of what is kept about a secret", 1,
		func(ctx context.Context, c *client.Client, p kvPath, _ []string) error {
			return a.writeMeta(ctx, c.Patch, cmd, p, &f)
		})
	f.add(cmd)
	cmd.Flags().StringArrayVar(&f.removeCustom, "remove-custom-metadata", nil, "A note to remove, by its key. May be repeated.")
	return cmd
}

type metaWriter func(ctx context.Context, path string, data any) (*client.Secret, error)

func (a *app) writeMeta(ctx context.Context, write metaWriter, cmd *cobra.Command, p kvPath, f *metaFlags) error {
	if err := p.versioned("Metadata"); err != nil {
		return err
	}
	body, err := f.body(cmd)
	if err != nil {
		return err
	}
	path := p.at("metadata")
	s, err := write(ctx, path, body)
	if err != nil {
		return remotef(err, "Error writing %s", path)
	}
	return a.done(s, "Success! Data written to: %s", path)
}

func (a *app) kvMetaDelete() *cobra.Command {
	return a.kvCommand("delete [options] KEY", "Remove a secret whole: all versions and what is kept about it", 1,
		func(ctx context.Context, c *client.Client, p kvPath, _ []string) error {
			if err := p.versioned("Metadata"); err != nil {
				return err
			}
			path := p.at("metadata")
			s, err := found(c.Delete(ctx, path, nil))
			if err != nil {
				return remotef(err, "Error deleting %s", path)
			}
			return a.done(s, "Success! Data deleted (if it existed) at: %s", path)
		})
}
