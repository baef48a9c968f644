package cli

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

func (a *app) kvCommands() *cobra.Command {
	return group("kv", "Keep secrets as keys and values, with versions",
		a.kvGet(), a.kvPut(), a.kvPatch(), a.kvRollback(), a.kvList(), a.kvDelete(), a.kvUndelete(), a.kvDestroy(), a.kvEnable(),
		group("metadata", "What is kept about a secret beside its data", a.kvMetaGet(), a.kvMetaPut(), a.kvMetaPatch(), a.kvMetaDelete()),
	)
}

// kvPath is where a secret is: its mount, which ends in a slash, and the rest.
type kvPath struct {
	mount, rest string
	v2          bool
}

// at is the API's path of one side of the secret: in version 2 data, metadata
// and so on stand apart.
func (p kvPath) at(side string) string {
	if p.v2 {
		return p.mount + side + "/" + p.rest
	}
	return p.mount + p.rest
}

// versioned refuses what version 1 does not have.
func (p kvPath) versioned(what string) error {
	if !p.v2 {
		return usagef("%s is only there in version 2 of kv, and this mount has version 1.", what)
	}
	return nil
}

// kvMount is the flag that names the mount, so that the path is below it.
type kvMount struct{ mount string }

func (m *kvMount) flag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().StringVar(&m.mount, "mount", "", "Mount that the path is below. Without it, the path begins with the mount.")
	return cmd
}

// find asks the server which mount a path is in and which version that has. The
// question is really asked even where the command is only to be described.
func (a *app) find(ctx context.Context, mount, path string) (kvPath, error) {
	path = strings.TrimSuffix(sanitize(path), "/")
	ask := path
	if mount = strings.Trim(strings.TrimSpace(mount), "/"); mount != "" {
		ask = mount
	}
	c, err := a.newClient(false)
	if err != nil {
		return kvPath{}, err
	}
	defer c.Close()
	m, err := c.UIMount(ctx, ask)
	var refused *client.Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		m = new(client.UIMount) // a server that cannot tell has no versions either
	case err != nil:
		return kvPath{}, remotef(err, "Error finding the mount of %s", ask)
	}
	p := kvPath{v2: m.Options["version"] == "2", mount: m.Path}
	if mount != "" {
		p.mount, p.rest = mount+"/", path
		return p, nil
	}
	if p.rest = strings.TrimPrefix(path+"/", m.Path); p.rest == path+"/" && m.Path != "" {
		return kvPath{}, failf("The server says that %s is in the mount %s, which it is not", path, m.Path)
	}
	p.rest = strings.TrimSuffix(p.rest, "/")
	return p, nil
}

// kvRunner is what a command does with a secret.
type kvRunner func(ctx context.Context, c *client.Client, p kvPath, args []string) error

// kvCommand makes a command on one secret; its runner gets the arguments after
// the path.
func (a *app) kvCommand(use, short string, most int, run kvRunner) *cobra.Command {
	m := new(kvMount)
	cmd := m.flag(a.remote(use, short, 1, most, func(ctx context.Context, c *client.Client, args []string) error {
		p, err := a.find(ctx, m.mount, args[0])
		if err != nil {
			return err
		}
		return run(ctx, c, p, args[1:])
	}))
	a.completePaths(cmd, a.listSecrets)
	return cmd
}

// pathTitled prints a path below a title, as people see it before the data.
func pathTitled(title, path string) string {
	return banner(title, len(path)) + "\n" + path + "\n\n"
}

// mapTable is a table of a map below a title.
func mapTable(title string, m map[string]any) string {
	return mapBanner(title, m) + "\n" + keyValue(mapRows(m))
}

// parseVersions reads -versions=1,2 and the flag given again.
func parseVersions(list []string) ([]string, error) {
	var out []string
	for _, item := range list {
		for text := range strings.SplitSeq(item, ",") {
			text = strings.TrimSpace(text)
			if n, err := strconv.ParseUint(text, 10, 63); err != nil || n == 0 {
				return nil, usagef("-versions: expected version numbers such as 1,2.")
			}
			out = append(out, text)
		}
	}
	return out, nil
}

func (a *app) kvEnable() *cobra.Command {
	return a.remote("enable-versioning [options] KV-PATH", "Make a mount keep versions", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			path := strings.TrimSuffix(sanitize(args[0]), "/") + "/"
			body := map[string]any{"options": map[string]string{"version": "2"}}
			if _, err := c.Write(ctx, "sys/mounts/"+path+"tune", body); err != nil {
				return remotef(err, "Error tuning secrets engine %s", path)
			}
			return a.say("Success! Tuned the secrets engine at: %s", path)
		})
}
