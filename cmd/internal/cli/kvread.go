package cli

import (
	"context"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

func (a *app) kvGet() *cobra.Command {
	var version int
	cmd := a.kvCommand("get [options] KEY", "Read a secret", 1, func(ctx context.Context, c *client.Client, p kvPath, _ []string) error {
		query := make(url.Values)
		if version != 0 {
			if err := p.versioned("A version"); err != nil {
				return err
			}
			query.Set("version", strconv.Itoa(version))
		}
		path := p.at("data")
		s, err := found(c.Read(ctx, path, query))
		if err != nil {
			return remotef(err, "Error reading %s", path)
		}
		if s.Empty() {
			return missing(path)
		}
		return a.kvSecret(s, p)
	})
	cmd.Flags().IntVar(&version, "version", 0, "Version to read; the newest if not given.")
	cmd.Example = "Read the newest version, an older one, or one field:\n  $ coffer kv get secret/app\n" +
		"  $ coffer kv get -version=1 secret/app\n  $ coffer kv get -field=password secret/app"
	return a.withField(cmd)
}

// kvSecret prints a secret: of version 2, path, metadata and data apart.
func (a *app) kvSecret(s *client.Secret, p kvPath) error {
	if !p.v2 || s.WrapInfo != nil {
		if a.opts.field != "" || s.WrapInfo != nil || a.opts.format != formatTable {
			return a.secret(s)
		}
		a.warnings(s)
		return a.text(mapTable("Data", s.Data))
	}
	data, _ := s.Data["data"].(map[string]any)
	if a.opts.field != "" {
		if data == nil {
			return failf("No data found at %s", p.at("data"))
		}
		return a.fieldIn(data)
	}
	return a.show(s, func() string {
		a.warnings(s)
		out := pathTitled("Secret Path", p.at("data"))
		if metadata, ok := s.Data["metadata"].(map[string]any); ok {
			out += mapTable("Metadata", metadata)
		}
		if data != nil {
			out += "\n" + mapTable("Data", data)
		}
		return out
	})
}

func (a *app) kvList() *cobra.Command {
	var page paging
	var detailed bool
	m := new(kvMount)
	run := func(ctx context.Context, c *client.Client, args []string) error {
		if len(args) == 0 && m.mount == "" {
			return usagef("Give a path, or -mount.")
		}
		path := ""
		if len(args) > 0 {
			path = args[0]
		}
		p, err := a.find(ctx, m.mount, path)
		if err != nil {
			return err
		}
		at := p.at("metadata")
		s, err := found(c.List(ctx, at, page.query()))
		if err != nil {
			return remotef(err, "Error listing %s", at)
		}
		return a.listed(s, at, detailed)
	}
	cmd := m.flag(page.flags(a.remote("list [options] PATH", "List the secrets below a path", 0, 1, run)))
	a.completePaths(cmd, a.listSecrets)
	cmd.Flags().BoolVar(&detailed, "detailed", false, "Also print what is told of each name.")
	return cmd
}

// meta is the metadata of a secret of version 2.
func (a *app) meta(ctx context.Context, c *client.Client, p kvPath) (*client.Secret, error) {
	path := p.at("metadata")
	s, err := found(c.Read(ctx, path, nil))
	if err != nil {
		return nil, remotef(err, "Error reading %s", path)
	}
	if s.Empty() {
		return nil, missing(path)
	}
	return s, nil
}
