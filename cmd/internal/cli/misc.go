package cli

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

// Version makes the command that prints the program's version; the program
// hands it to Run.
func Version(version string) *cobra.Command {
	cmd := local("version", "Print the version", 0, 0, nil)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "Coffer %s (%s/%s, %s)\n", version, runtime.GOOS, runtime.GOARCH, runtime.Version())
		return err
	}
	return cmd
}

func (a *app) printCommand() *cobra.Command {
	token := local("token", "Print the token that commands use", 0, 0, func(context.Context, []string) error {
		cfg, err := a.config()
		if err != nil {
			return err
		}
		if cfg.Token == "" {
			return failf("There is no token: log in, or set COFFER_TOKEN.")
		}
		return a.text(cfg.Token + "\n")
	})
	return group("print", "Print what commands use", token)
}

func (a *app) unwrapCommand() *cobra.Command {
	cmd := a.remote("unwrap [options] [TOKEN]", "Print what a wrapping token keeps, once; your own token's if none is given", 0, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			token, err := a.tokenArg(ctx, args)
			if err != nil {
				return err
			}
			s, err := c.Unwrap(ctx, token)
			if err != nil {
				return remotef(err, "Error unwrapping")
			}
			if s == nil {
				return failf("Could not find wrapped response")
			}
			return a.unwrapped(s)
		})
	return a.withField(cmd)
}

// unwrapped prints an answer. A field of a secret of version 2 is found where kv
// get finds it.
func (a *app) unwrapped(s *client.Secret) error {
	if a.opts.field == "" || s.Auth != nil {
		return a.secret(s)
	}
	if _, ok := s.Data[a.opts.field]; !ok {
		if data, nested := s.Data["data"].(map[string]any); nested {
			return a.fieldIn(data)
		}
	}
	return a.secret(s)
}

func (a *app) pathHelpCommand() *cobra.Command {
	return a.remote("path-help [options] PATH", "Print what the server says of a path", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			return a.pathHelp(ctx, c, sanitize(args[0]))
		})
}

func (a *app) pathHelp(ctx context.Context, c *client.Client, path string) error {
	text, err := c.Help(ctx, path)
	if err != nil {
		return remotef(err, "Error retrieving help")
	}
	return a.show(map[string]string{"help": text}, func() string { return strings.TrimRight(text, "\n") + "\n" })
}

// authHelp prints this program's help for a way to log in, or the server's help
// for where one is mounted.
func (a *app) authHelp() *cobra.Command {
	return a.remote("help [options] TYPE | PATH", "Print how to log in", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			if m, ok := loginMethods()[strings.ToLower(args[0])]; ok {
				return a.text(m.help + "\n")
			}
			return a.pathHelp(ctx, c, "auth/"+strings.Trim(sanitize(args[0]), "/")+"/")
		})
}
