package cli

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

// found turns a missing thing into a nil secret. A 404 with data is an answer:
// a deleted version, say, still has metadata.
func found(s *client.Secret, err error) (*client.Secret, error) {
	if client.StatusOf(err) == http.StatusNotFound {
		return s, nil
	}
	return s, err
}

// missing says that there is nothing at a path.
func missing(path string) error { return failf("No value found at %s", path) }

// sanitize gives a path the form in which it follows /v1/. It is not cleaned:
// the server alone says what a path means.
func sanitize(path string) string { return strings.TrimLeft(strings.TrimSpace(path), "/") }

func (a *app) readCommand() *cobra.Command {
	cmd := a.remote("read [options] PATH [KEY=VALUE...]", "Read data and make credentials", 1, -1,
		func(ctx context.Context, c *client.Client, args []string) error {
			path := sanitize(args[0])
			query, err := a.in.values(args[1:])
			if err != nil {
				return err
			}
			if a.opts.format == formatRaw && a.opts.field == "" {
				return a.readRaw(ctx, c, path, query)
			}
			s, err := found(c.Read(ctx, path, query))
			if err != nil {
				return remotef(err, "Error reading %s", path)
			}
			if s == nil {
				return missing(path)
			}
			return a.secret(s)
		})
	a.completePaths(cmd, listFolder)
	cmd.Example = "Read a secret, or a credential that is made for you:\n  $ coffer read database/creds/app\n" +
		"Read with parameters:\n  $ coffer read aws/sts/s3 ttl=15m"
	return a.withField(cmd)
}

// readRaw prints an answer as it came, JSON or not.
func (a *app) readRaw(ctx context.Context, c *client.Client, path string, query url.Values) error {
	resp, err := c.Do(ctx, &client.Request{Method: http.MethodGet, Path: path, Query: query})
	switch {
	case client.StatusOf(err) == http.StatusNotFound:
		return missing(path)
	case err != nil:
		return remotef(err, "Error reading %s", path)
	}
	return a.text(string(resp.Body))
}

func (a *app) writeCommand() *cobra.Command {
	var force bool
	cmd := a.remote("write [options] PATH [DATA K=V...]", "Write data, configuration and roles", 1, -1,
		func(ctx context.Context, c *client.Client, args []string) error {
			path := sanitize(args[0])
			if len(args) == 1 && !force {
				return usagef("Must supply data or use -force")
			}
			data, err := a.in.data(args[1:])
			if err != nil {
				return err
			}
			s, err := found(c.Write(ctx, path, data))
			if err != nil {
				return remotef(err, "Error writing data to %s", path)
			}
			return a.done(s, "Success! Data written to: %s", path)
		})
	a.completePaths(cmd, listFolder)
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Write without data.")
	cmd.Long = "Write to a path. Data is given as KEY=VALUE; KEY=@FILE and KEY=- take the value from a file or from\n" +
		"standard input, @FILE and - a whole JSON object. Write KEY=\\@TEXT for a value that begins with @."
	cmd.Example = "Write from a file, and without data:\n  $ coffer write auth/userpass/users/bob @bob.json\n  $ coffer write -f transit/keys/app"
	return a.withField(cmd)
}

func (a *app) patchCommand() *cobra.Command {
	cmd := a.remote("patch [options] PATH [DATA K=V...]", "Change a part of what is at a path", 1, -1,
		func(ctx context.Context, c *client.Client, args []string) error {
			path := sanitize(args[0])
			data, err := a.in.data(args[1:])
			if err != nil {
				return err
			}
			if len(data) == 0 {
				return usagef("Must supply data")
			}
			s, err := c.Patch(ctx, path, data)
			if err != nil {
				return remotef(err, "Error patching %s", path)
			}
			return a.done(s, "Success! Data written to: %s", path)
		})
	return a.withField(cmd)
}

func (a *app) deleteCommand() *cobra.Command {
	cmd := a.remote("delete [options] PATH [KEY=VALUE...]", "Delete what is at a path", 1, -1,
		func(ctx context.Context, c *client.Client, args []string) error {
			path := sanitize(args[0])
			query, err := a.in.values(args[1:])
			if err != nil {
				return err
			}
			s, err := found(c.Delete(ctx, path, query))
			if err != nil {
				return remotef(err, "Error deleting %s", path)
			}
			return a.done(s, "Success! Data deleted (if it existed) at: %s", path)
		})
	a.completePaths(cmd, listFolder)
	return a.withField(cmd)
}

// paging are the flags of lists.
type paging struct {
	after string
	limit int
}

func (p *paging) flags(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&p.after, "after", "", "List the names after this one.")
	cmd.Flags().IntVar(&p.limit, "limit", 0, "List so many names at most.")
	return cmd
}

func (p *paging) query() url.Values {
	q := make(url.Values)
	if p.after != "" {
		q.Set("after", p.after)
	}
	if p.limit != 0 {
		q.Set("limit", strconv.Itoa(p.limit))
	}
	return q
}

func (a *app) listCommand() *cobra.Command {
	return a.lister("list [options] PATH [KEY=VALUE...]", "List what is below a path", "listing", (*client.Client).List)
}

func (a *app) scanCommand() *cobra.Command {
	return a.lister("scan [options] PATH [KEY=VALUE...]", "List all that is below a path, folders opened", "scanning", (*client.Client).Scan)
}

type listCall func(c *client.Client, ctx context.Context, path string, query url.Values) (*client.Secret, error)

func (a *app) lister(use, short, doing string, call listCall) *cobra.Command {
	var p paging
	var detailed bool
	cmd := a.remote(use, short, 1, -1, func(ctx context.Context, c *client.Client, args []string) error {
		path := sanitize(args[0])
		query, err := a.in.values(args[1:])
		if err != nil {
			return err
		}
		for name, value := range p.query() {
			query[name] = value
		}
		s, err := found(call(c, ctx, path, query))
		if err != nil {
			return remotef(err, "Error %s %s", doing, path)
		}
		return a.listed(s, path, detailed)
	})
	cmd.Flags().BoolVar(&detailed, "detailed", false, "Also print what is told of each name.")
	a.completePaths(cmd, listFolder)
	return a.withField(p.flags(cmd))
}

// listed prints the names of a list, with -detailed what is told of each.
func (a *app) listed(s *client.Secret, path string, detailed bool) error {
	if a.opts.field != "" && s != nil {
		return a.fieldOf(s)
	}
	if s != nil && s.WrapInfo != nil {
		return a.secret(s)
	}
	keys, ok := keysOf(s)
	if !ok {
		return missing(path)
	}
	if a.opts.format == formatTable {
		a.warnings(s)
	}
	if !detailed {
		return a.names(s, keys)
	}
	return a.show(s.Data, func() string { return detailTable(keys, s.Data["key_info"]) })
}

// detailTable has a column for each thing that is told of some name.
func detailTable(keys []any, info any) string {
	all, _ := info.(map[string]any)
	seen := make(map[string]bool)
	for _, about := range all {
		m, _ := about.(map[string]any)
		for name := range m {
			seen[name] = true
		}
	}
	names := slices.Sorted(maps.Keys(seen))
	rows := make([][]string, len(keys))
	for i, key := range keys {
		about, _ := all[fmt.Sprint(key)].(map[string]any)
		rows[i] = []string{fmt.Sprint(key)}
		for _, name := range names {
			text := "n/a"
			if v, ok := about[name]; ok {
				text = cell(name, v)
			}
			rows[i] = append(rows[i], text)
		}
	}
	return titled(append([]string{"Keys"}, names...), rows)
}
