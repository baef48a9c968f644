package cli

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

// completeWithin bounds how long a user who types waits for the server.
const completeWithin = 2 * time.Second

// completePaths completes the path that is a command's first argument by asking
// the server, as the user. What cannot be asked is not completed, in silence.
func (a *app) completePaths(cmd *cobra.Command, list func(ctx context.Context, c *client.Client, folder string) (*client.Secret, error)) {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		c, err := a.newClient(false)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
		defer cancel()
		names, err := pathsBelow(ctx, c, typed, list)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return names, cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
	}
}

// pathsBelow are the paths that begin as what was typed: mounts first, then what
// is in the folder.
func pathsBelow(ctx context.Context, c *client.Client, typed string, list func(context.Context, *client.Client, string) (*client.Secret, error)) ([]string, error) {
	at := strings.LastIndex(typed, "/") + 1
	folder := typed[:at]
	var names []string
	if folder == "" {
		s, err := c.Read(ctx, "sys/internal/ui/mounts", nil)
		if err != nil || s == nil {
			return nil, err
		}
		mounts, _ := s.Data["secret"].(map[string]any)
		names = slices.Sorted(maps.Keys(mounts))
	} else {
		s, err := list(ctx, c, folder)
		if err != nil {
			return nil, err
		}
		keys, _ := keysOf(s)
		names = texts(keys)
	}
	var out []string
	for _, name := range names {
		if path := folder + name; strings.HasPrefix(path, typed) {
			out = append(out, path)
		}
	}
	return out, nil
}

// listFolder lists a folder of any engine.
func listFolder(ctx context.Context, c *client.Client, folder string) (*client.Secret, error) {
	return c.List(ctx, folder, nil)
}

// listSecrets lists a folder of secrets, wherever the version keeps their names.
func (a *app) listSecrets(ctx context.Context, c *client.Client, folder string) (*client.Secret, error) {
	p, err := a.find(ctx, "", folder)
	if err != nil {
		return nil, err
	}
	return c.List(ctx, p.at("metadata"), nil)
}
