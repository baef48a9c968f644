package cli

import (
	"context"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

func (a *app) tokenCommands() *cobra.Command {
	return group("token", "Tokens: make, look up, renew, revoke", a.tokenCreate(), a.tokenLookup(), a.tokenRenew(), a.tokenRevoke(), a.tokenCapabilities())
}

// tokenFlags are the properties of a new token.
type tokenFlags struct {
	id, role, displayName, typ, alias string
	policies, metadata                []string
	ttl, explicitMax, period          durationValue
	renewable, orphan, noDefault      bool
	uses                              int
}

func (f *tokenFlags) body() (map[string]any, error) {
	meta, err := pairs("metadata", f.metadata)
	if err != nil {
		return nil, err
	}
	switch f.typ {
	case "", "service", "batch":
	default:
		return nil, usagef("-type must be service or batch.")
	}
	body := make(map[string]any)
	for name, set := range map[string]bool{"no_parent": f.orphan, "no_default_policy": f.noDefault} {
		if set {
			body[name] = true
		}
	}
	if !f.renewable {
		body["renewable"] = false
	}
	for name, text := range map[string]string{
		"id": f.id, "display_name": f.displayName, "type": f.typ, "entity_alias": f.alias,
		"ttl": string(f.ttl), "explicit_max_ttl": string(f.explicitMax), "period": string(f.period),
	} {
		if text != "" {
			body[name] = text
		}
	}
	if len(f.policies) > 0 {
		body["policies"] = f.policies
	}
	if len(meta) > 0 {
		body["meta"] = meta
	}
	if f.uses != 0 {
		body["num_uses"] = f.uses
	}
	return body, nil
}

func (a *app) tokenCreate() *cobra.Command {
	var f tokenFlags
	cmd := a.remote("create [options]", "Make a token", 0, 0, func(ctx context.Context, c *client.Client, _ []string) error {
		body, err := f.body()
		if err != nil {
			return err
		}
		path := "auth/token/create"
		if f.role != "" {
			path += "/" + f.role
		}
		s, err := c.Write(ctx, path, body)
		if err != nil {
			return remotef(err, "Error creating token")
		}
		return a.secret(s)
	})
	set := cmd.Flags()
	set.StringVar(&f.id, "id", "", "The token itself, for callers with sudo. It is seen in the list of processes: better leave it out.")
	set.StringVar(&f.role, "role", "", "Role to make it through.")
	set.StringVar(&f.displayName, "display-name", "", "Name to show for it.")
	set.StringVar(&f.typ, "type", "", "service, or batch; service if neither this nor the role says.")
	set.StringVar(&f.alias, "entity-alias", "", "Alias of the entity that it belongs to; needs -role.")
	set.StringArrayVar(&f.policies, "policy", nil, "A policy of the token; your own if none is given. May be repeated.")
	set.StringArrayVar(&f.metadata, "metadata", nil, "Something to note about it, as key=value. May be repeated.")
	set.Var(&f.ttl, "ttl", "How long it lives.")
	set.Var(&f.explicitMax, "explicit-max-ttl", "How long it can live, renewed or not.")
	set.Var(&f.period, "period", "How long it lives after each renewal, without end.")
	set.BoolVar(&f.renewable, "renewable", true, "Whether it can be renewed.")
	set.BoolVar(&f.orphan, "orphan", false, "Make it without a parent, so that it does not end with yours.")
	set.BoolVar(&f.noDefault, "no-default-policy", false, "Leave out the policy default.")
	set.IntVar(&f.uses, "use-limit", 0, "How often it can be used; 0 for any number.")
	return a.withField(cmd)
}

// tokenArg is the token that is given, or the caller's own for none. For "-"
// it is read from where nobody sees it.
func (a *app) tokenArg(ctx context.Context, args []string) (string, error) {
	if len(args) == 0 {
		return "", nil
	}
	if args[0] == "-" {
		return a.secretInput(ctx, "Token")
	}
	return strings.TrimSpace(args[0]), nil
}

// accessorFlag lets a command take an accessor in the token's place.
func accessorFlag(cmd *cobra.Command, accessor *bool) {
	cmd.Flags().BoolVar(accessor, "accessor", false, "The argument is an accessor and no token.")
}

func (a *app) tokenLookup() *cobra.Command {
	var accessor bool
	cmd := a.remote("lookup [options] [TOKEN | ACCESSOR]", "Tell of a token; of your own if none is given", 0, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			token, err := a.tokenArg(ctx, args)
			if err != nil {
				return err
			}
			req := &client.Request{Method: http.MethodPut, Path: "auth/token/lookup", Body: map[string]string{"token": token}}
			switch {
			case accessor && token == "":
				return usagef("Not enough arguments with -accessor: expected 1, got 0")
			case accessor:
				req.Path, req.Body = "auth/token/lookup-accessor", map[string]string{"accessor": token}
			case token == "":
				req = &client.Request{Method: http.MethodGet, Path: "auth/token/lookup-self"}
			}
			s, err := c.Call(ctx, req)
			if err != nil {
				return remotef(err, "Error looking up token")
			}
			return a.secret(s)
		})
	accessorFlag(cmd, &accessor)
	return a.withField(cmd)
}

func (a *app) tokenRenew() *cobra.Command {
	var accessor bool
	var increment durationValue
	cmd := a.remote("renew [options] [TOKEN | ACCESSOR]", "Let a token live longer; your own if none is given", 0, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			token, err := a.tokenArg(ctx, args)
			if err != nil {
				return err
			}
			path, body := "auth/token/renew", map[string]string{"token": token}
			switch {
			case accessor && token == "":
				return usagef("Not enough arguments with -accessor: expected 1, got 0")
			case accessor:
				path, body = "auth/token/renew-accessor", map[string]string{"accessor": token}
			case token == "":
				path, body = "auth/token/renew-self", map[string]string{}
			}
			if increment != "" {
				body["increment"] = string(increment)
			}
			s, err := c.Write(ctx, path, body)
			if err != nil {
				return remotef(err, "Error renewing token")
			}
			return a.secret(s)
		})
	accessorFlag(cmd, &accessor)
	cmd.Flags().VarP(&increment, "increment", "i", "How much longer, from now; the server may give less.")
	return a.withField(cmd)
}

func (a *app) tokenRevoke() *cobra.Command {
	var accessor, self bool
	var mode string
	cmd := a.remote("revoke [options] [TOKEN | ACCESSOR]", "End a token and all that were made with it", 0, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			token, err := a.tokenArg(ctx, args)
			if err != nil {
				return err
			}
			path, body, err := revocation(token, mode, accessor, self)
			if err != nil {
				return err
			}
			s, err := found(c.Write(ctx, path, body))
			if err != nil {
				return remotef(err, "Error revoking token")
			}
			return a.done(s, "Success! Revoked token (if it existed)")
		})
	accessorFlag(cmd, &accessor)
	cmd.Flags().BoolVar(&self, "self", false, "End your own token.")
	cmd.Flags().StringVar(&mode, "mode", "", "orphan to leave those made with it; path to end all tokens below a path.")
	return cmd
}

func revocation(token, mode string, accessor, self bool) (path string, body any, err error) {
	switch {
	case self && (token != "" || accessor || mode != ""):
		return "", nil, usagef("-self stands alone.")
	case self:
		return "auth/token/revoke-self", nil, nil
	case token == "":
		return "", nil, usagef("Which token? Give it, or its accessor with -accessor, or -self.")
	case accessor && mode != "":
		return "", nil, usagef("-accessor and -mode do not go together.")
	case accessor:
		return "auth/token/revoke-accessor", map[string]string{"accessor": token}, nil
	case mode == "orphan":
		return "auth/token/revoke-orphan", map[string]string{"token": token}, nil
	case mode == "path":
		return "sys/revoke-prefix/" + sanitize(token), nil, nil
	case mode != "":
		return "", nil, usagef("-mode must be orphan or path.")
	}
	return "auth/token/revoke", map[string]string{"token": token}, nil
}

func (a *app) tokenCapabilities() *cobra.Command {
	var accessor bool
	cmd := a.remote("capabilities [options] [TOKEN | ACCESSOR] PATH", "Tell what a token may do on a path; your own if none is given", 1, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			path := args[len(args)-1]
			token, err := a.tokenArg(ctx, args[:len(args)-1])
			if err != nil {
				return err
			}
			at, body := "sys/capabilities-self", map[string]any{"paths": []string{path}}
			switch {
			case accessor && token == "":
				return usagef("Not enough arguments with -accessor: expected 2, got 1")
			case accessor:
				at, body["accessor"] = "sys/capabilities-accessor", token
			case token != "":
				at, body["token"] = "sys/capabilities", token
			}
			s, err := c.Write(ctx, at, body)
			if err != nil {
				return remotef(err, "Error listing capabilities")
			}
			list, ok := capabilitiesIn(s, path)
			if !ok {
				return a.secret(s)
			}
			return a.show(list, func() string { return strings.Join(texts(list), ", ") + "\n" })
		})
	accessorFlag(cmd, &accessor)
	return cmd
}

func capabilitiesIn(s *client.Secret, path string) ([]any, bool) {
	if s == nil {
		return nil, false
	}
	for _, name := range []string{path, "capabilities"} {
		if list, ok := s.Data[name].([]any); ok {
			return list, true
		}
	}
	return nil, false
}
