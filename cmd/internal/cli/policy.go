package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/hcl/hcl/printer"
	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

const policiesPath = "sys/policies/acl"

func (a *app) policyCommands() *cobra.Command {
	return group("policy", "Policies: who may do what", a.policyWrite(), a.policyRead(), a.policyList(), a.policyDelete(), a.policyFmt())
}

// policyName is the form that the server keeps names in.
func policyName(arg string) string { return strings.ToLower(strings.TrimSpace(arg)) }

func (a *app) policyWrite() *cobra.Command {
	cmd := a.remote("write [options] NAME PATH", "Write a policy from a file, or from standard input for -", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			name := policyName(args[0])
			text, err := a.in.file(args[1])
			if err != nil {
				return err
			}
			s, err := c.Write(ctx, policiesPath+"/"+name, map[string]string{"policy": string(text)})
			if err != nil {
				return remotef(err, "Error uploading policy")
			}
			return a.done(s, "Success! Uploaded policy: %s", name)
		})
	cmd.Example = "$ coffer policy write app app.hcl\n" +
		"$ coffer policy write app - <<< 'path \"secret/data/app/*\" { capabilities = [\"read\"] }'"
	return cmd
}

func (a *app) policyRead() *cobra.Command {
	return a.remote("read [options] NAME", "Print a policy", 1, 1, func(ctx context.Context, c *client.Client, args []string) error {
		name := policyName(args[0])
		s, err := found(c.Read(ctx, policiesPath+"/"+name, nil))
		if err != nil {
			return remotef(err, "Error reading policy named %s", name)
		}
		if s == nil {
			return failf("No policy named: %s", name)
		}
		text, ok := s.Data["policy"].(string)
		if !ok || a.opts.format == formatRaw {
			return a.secret(s)
		}
		return a.show(map[string]string{"policy": text}, func() string { return strings.TrimRight(text, "\n") + "\n" })
	})
}

func (a *app) policyList() *cobra.Command {
	var page paging
	return page.flags(a.remote("list [options]", "List the policies", 0, 0, func(ctx context.Context, c *client.Client, _ []string) error {
		s, err := found(c.List(ctx, policiesPath, page.query()))
		if err != nil {
			return remotef(err, "Error listing policies")
		}
		keys, ok := keysOf(s)
		if !ok {
			return a.secret(s)
		}
		return a.show(keys, func() string { return strings.Join(texts(keys), "\n") + "\n" })
	}))
}

func (a *app) policyDelete() *cobra.Command {
	return a.remote("delete [options] NAME", "Delete a policy", 1, 1, func(ctx context.Context, c *client.Client, args []string) error {
		name := policyName(args[0])
		s, err := found(c.Delete(ctx, policiesPath+"/"+name, nil))
		if err != nil {
			return remotef(err, "Error deleting %s", name)
		}
		return a.done(s, "Success! Deleted policy: %s", name)
	})
}

// policyFmt rewrites a file in place, whose name and mode stay.
func (a *app) policyFmt() *cobra.Command {
	return local("fmt PATH", "Format a policy file, in place", 1, 1, func(_ context.Context, args []string) error {
		text, err := a.in.file(args[0])
		if err != nil {
			return err
		}
		out, err := printer.Format(text)
		if err != nil {
			return usagef("Error formatting: %w", err)
		}
		out = append(bytes.TrimRight(out, "\n"), '\n')
		if args[0] == "-" {
			return a.text(string(out))
		}
		info, err := os.Stat(args[0])
		if err == nil {
			err = os.WriteFile(args[0], out, info.Mode().Perm())
		}
		if err != nil {
			return usagef("Error writing the policy: %w", err)
		}
		_, err = fmt.Fprintf(a.out, "Success! Formatted policy: %s\n", args[0])
		return err
	})
}
