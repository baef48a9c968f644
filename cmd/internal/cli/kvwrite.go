package cli

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

// anyVersion is -cas not given.
const anyVersion = -1

// kvBody is what is written to a secret of version 2.
type kvBody struct {
	Data    map[string]any `json:"data"`
	Options map[string]any `json:"options"`
}

func newKVBody(data map[string]any, cas int) kvBody {
	b := kvBody{Data: data, Options: map[string]any{}}
	if cas > anyVersion {
		b.Options["cas"] = cas
	}
	return b
}

func casFlag(cmd *cobra.Command, cas *int) {
	cmd.Flags().IntVar(cas, "cas", anyVersion, "Write only if this is the newest version; 0 if there must be none.")
}

func (a *app) kvPut() *cobra.Command {
	var cas int
	cmd := a.kvCommand("put [options] KEY [DATA]", "Write a secret, or a new version of it", -1,
		func(ctx context.Context, c *client.Client, p kvPath, args []string) error {
			data, err := a.kvData(args)
			if err != nil {
				return err
			}
			path := p.at("data")
			if !p.v2 {
				if cas > anyVersion {
					return p.versioned("-cas")
				}
				s, err := c.Write(ctx, path, data)
				if err != nil {
					return remotef(err, "Error writing data to %s", path)
				}
				return a.done(s, "Success! Data written to: %s", path)
			}
			s, err := c.Write(ctx, path, newKVBody(data, cas))
			if err != nil {
				return remotef(err, "Error writing data to %s", path)
			}
			return a.kvWritten(s, path)
		})
	casFlag(cmd, &cas)
	cmd.Example = "Write values, one of them from a file, or a whole JSON object:\n" +
		"  $ coffer kv put secret/app user=app password=@password.txt\n  $ coffer kv put secret/app @app.json"
	return a.withField(cmd)
}

func (a *app) kvData(args []string) (map[string]any, error) {
	if len(args) == 0 {
		return nil, usagef("Must supply data")
	}
	return a.in.data(args)
}

// kvWritten prints what a write to a secret of version 2 made.
func (a *app) kvWritten(s *client.Secret, path string) error {
	if s.Empty() || s.WrapInfo != nil {
		return a.done(s, "Success! Data written to: %s", path)
	}
	if a.opts.field != "" {
		return a.fieldOf(s)
	}
	return a.show(s, func() string {
		a.warnings(s)
		return pathTitled("Secret Path", path) + mapTable("Metadata", s.Data)
	})
}

// patching are the flags of kv patch.
type patching struct {
	cas    int
	method string
	remove []string
}

func (a *app) kvPatch() *cobra.Command {
	var f patching
	cmd := a.kvCommand("patch [options] KEY [DATA]", "Change a part of a secret, as a new version", -1,
		func(ctx context.Context, c *client.Client, p kvPath, args []string) error {
			if err := p.versioned("Patching"); err != nil {
				return err
			}
			if len(args) == 0 && len(f.remove) == 0 {
				return usagef("Must supply data")
			}
			data, err := a.in.data(args)
			if err != nil {
				return err
			}
			for _, name := range f.remove {
				data[name] = nil
			}
			return a.patchSecret(ctx, c, p, data, f)
		})
	casFlag(cmd, &f.cas)
	cmd.Flags().StringVar(&f.method, "method", "", "patch to have the server merge, rw to read and write here; both in turn if not given.")
	cmd.Flags().StringArrayVar(&f.remove, "remove-data", nil, "Remove this key. May be repeated.")
	return a.withField(cmd)
}

func (a *app) patchSecret(ctx context.Context, c *client.Client, p kvPath, data map[string]any, f patching) error {
	path := p.at("data")
	switch f.method {
	case "", "patch":
		s, err := c.Patch(ctx, path, newKVBody(data, f.cas))
		switch status := client.StatusOf(err); {
		case err == nil:
			return a.kvWritten(s, path)
		case status == http.StatusNotFound:
			return missing(path)
		case f.method == "patch", status != http.StatusMethodNotAllowed && status != http.StatusForbidden:
			return remotef(err, "Error patching %s", path)
		}
		// An older server, or a policy without "patch", may still allow this.
		return a.readThenWrite(ctx, c, p, data, f.cas)
	case "rw":
		return a.readThenWrite(ctx, c, p, data, f.cas)
	}
	return usagef("-method must be patch or rw.")
}

// readThenWrite merges here. It writes only if the version that it read is still
// the newest.
func (a *app) readThenWrite(ctx context.Context, c *client.Client, p kvPath, change map[string]any, cas int) error {
	data, version, err := a.readVersion(ctx, c, p, 0)
	if err != nil {
		return err
	}
	if cas > anyVersion && cas != version {
		return failf("Error patching %s: the newest version is %d, and not %d as -cas says", p.at("data"), version, cas)
	}
	maps.Copy(data, change)
	maps.DeleteFunc(data, func(_ string, v any) bool { return v == nil })
	s, err := c.Write(ctx, p.at("data"), newKVBody(data, version))
	if err != nil {
		return remotef(err, "Error writing data to %s", p.at("data"))
	}
	return a.kvWritten(s, p.at("data"))
}

// readVersion reads a version's data and number; 0 is the newest. A wrapped
// answer would have neither.
func (a *app) readVersion(ctx context.Context, c *client.Client, p kvPath, version int) (map[string]any, int, error) {
	path, query := p.at("data"), make(url.Values)
	if version > 0 {
		query.Set("version", strconv.Itoa(version))
	}
	s, err := found(c.Call(ctx, &client.Request{Method: http.MethodGet, Path: path, Query: query, Plain: true}))
	if err != nil {
		return nil, 0, remotef(err, "Error reading %s", path)
	}
	if s.Empty() {
		return nil, 0, missing(path)
	}
	data, _ := s.Data["data"].(map[string]any)
	if data == nil {
		return nil, 0, failf("No data found at %s: the version was deleted", path)
	}
	metadata, _ := s.Data["metadata"].(map[string]any)
	n, err := number(metadata["version"])
	if err != nil {
		return nil, 0, failf("The answer for %s has no version", path)
	}
	return data, n, nil
}

func number(v any) (int, error) {
	text, _ := v.(json.Number)
	return strconv.Atoi(text.String())
}

func (a *app) kvRollback() *cobra.Command {
	var version int
	cmd := a.kvCommand("rollback [options] KEY", "Make an older version the newest again", 1,
		func(ctx context.Context, c *client.Client, p kvPath, _ []string) error {
			if err := p.versioned("Rolling back"); err != nil {
				return err
			}
			if version <= 0 {
				return usagef("Which version? Give -version.")
			}
			meta, err := a.meta(ctx, c, p)
			if err != nil {
				return err
			}
			newest, err := number(meta.Data["current_version"])
			if err != nil {
				return failf("The answer for %s has no version", p.at("metadata"))
			}
			data, _, err := a.readVersion(ctx, c, p, version)
			if err != nil {
				return err
			}
			s, err := c.Write(ctx, p.at("data"), newKVBody(data, newest))
			if err != nil {
				return remotef(err, "Error writing data to %s", p.at("data"))
			}
			return a.kvWritten(s, p.at("data"))
		})
	cmd.Flags().IntVar(&version, "version", 0, "Version to go back to.")
	return a.withField(cmd)
}
