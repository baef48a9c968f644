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
	"github.com/coffer-secrets/coffer/cmd/internal/cli/why"
)

const policiesPath = "sys/policies/acl"

func (a *app) policyCommands() *cobra.Command {
	return group("policy", "Policies: who may do what", a.policyWrite(), a.policyRead(), a.policyList(), a.policyDelete(), a.policyFmt(), a.policyWhy())
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

// policyWhy prints what the server makes of a request, which is not made.
func (a *app) policyWhy() *cobra.Command {
	var accessor, entity string
	var policies []string
	cmd := a.remote("why [options] OPERATION PATH [K=V...]", "Tell what policy decides on a request, and why", 2, -1,
		func(ctx context.Context, c *client.Client, args []string) error {
			parameters, err := a.in.data(args[2:])
			if err != nil {
				return err
			}
			s, err := c.Write(ctx, "sys/policies/explain", map[string]any{
				"operation": args[0], "path": strings.TrimPrefix(args[1], "/"), "parameters": parameters,
				"accessor": accessor, "entity_id": entity, "policies": policies,
			})
			if err != nil {
				return remotef(err, "Error explaining the policy")
			}
			if s == nil || a.opts.field != "" {
				return a.secret(s)
			}
			e, err := why.Parse(s.Data)
			if err != nil {
				return remotef(err, "Error explaining the policy")
			}
			return a.show(s, e.String)
		})
	cmd.Flags().StringVar(&accessor, "token-accessor", "", "Ask for the token with this accessor.")
	cmd.Flags().StringVar(&entity, "entity", "", "Ask for this entity, by id.")
	cmd.Flags().StringSliceVar(&policies, "policy", nil, "Ask for these policies.")
	cmd.Example = "$ coffer policy why read secret/data/app\n$ coffer policy why -policy=app update secret/data/app data=@new.json"
	return cmd
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
