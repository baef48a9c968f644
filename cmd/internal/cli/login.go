package cli

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

// loginMethod is a way to log in.
type loginMethod struct {
	help string
	// mount is where it is if nobody says, below auth/.
	mount string
	// login answers with a secret that carries a token.
	login func(ctx context.Context, a *app, l loginCall) (*client.Secret, error)
}

// loginCall is what a way to log in gets.
type loginCall struct {
	client *client.Client
	mount  string
	params map[string]string
	// bare is the argument that has no name.
	bare string
}

// loginMethods are the ways to log in by the name that -method takes: one line
// for each.
func loginMethods() map[string]loginMethod {
	return map[string]loginMethod{
		"token": {mount: "token", login: tokenLogin, help: `Log in with a token that you have:
  $ coffer login
It is asked for without echo, or read from standard input. For scripts:
  $ coffer login - < token.txt
With lookup=false the server is not asked about it.`},
		"userpass": {mount: "userpass", login: userpassLogin, help: `Log in with a name and a password:
  $ coffer login -method=userpass username=alice
The password is asked for without echo, or read from standard input.`},
		"cert": {mount: "cert", login: certLogin, help: `Log in with a client certificate:
  $ coffer login -method=cert -client-cert=me.pem -client-key=me-key.pem
With name=ROLE by that role alone.`},
		"oidc": {mount: "oidc", login: oidcLogin, help: `Log in at an OpenID Connect provider, with the browser:
  $ coffer login -method=oidc role=engineering
The browser comes back to port=8250 of this machine (listenaddress, callbackmethod, callbackhost and callbackport say otherwise),
with callbackmode=direct to the server, and with callbackmode=device it may be another machine's. skip_browser=true opens none.`},
		"jwt": {mount: "jwt", login: tokenFileLogin(""), help: `Log in with a JSON Web Token:
  $ coffer login -method=jwt role=ci jwt=@token.txt
It is asked for without echo, or read from standard input, unless it is given.`},
		"kubernetes": {mount: "kubernetes", login: tokenFileLogin(podToken), help: `Log in with the token of the pod's service account:
  $ coffer login -method=kubernetes role=app
With jwt=@FILE with another one.`},
	}
}

// loginFlags are the flags of login.
type loginFlags struct {
	method, path              string
	noStore, noPrint, onlyOne bool
}

func (a *app) loginCommand() *cobra.Command {
	var f loginFlags
	cmd := a.remote("login [options] [AUTH K=V...]", "Log in, and keep the token for later commands", 0, -1,
		func(ctx context.Context, c *client.Client, args []string) error {
			return a.runLogin(ctx, c, args, &f)
		})
	cmd.Flags().StringVar(&f.method, "method", "token", "Way to log in: "+strings.Join(slices.Sorted(maps.Keys(loginMethods())), ", ")+".")
	cmd.Flags().StringVar(&f.path, "path", "", "Where it is mounted, below auth/; its usual place if not given.")
	cmd.Flags().BoolVar(&f.noStore, "no-store", false, "Do not keep the token.")
	cmd.Flags().BoolVar(&f.noPrint, "no-print", false, "Do not print the token.")
	cmd.Flags().BoolVar(&f.onlyOne, "token-only", false, "Print the token alone, and do not keep it.")
	return a.withField(cmd)
}

func (a *app) runLogin(ctx context.Context, c *client.Client, args []string, f *loginFlags) error {
	method, ok := loginMethods()[strings.ToLower(strings.TrimSpace(f.method))]
	if !ok {
		return usagef("There is no way to log in named %q. There are: %s.", f.method, strings.Join(slices.Sorted(maps.Keys(loginMethods())), ", "))
	}
	if f.onlyOne {
		if a.opts.field != "" || f.noPrint {
			return usagef("-token-only stands without -field and -no-print.")
		}
		a.opts.field, f.noStore = "token", true
	}
	call := loginCall{client: c, mount: method.mount}
	if f.path != "" {
		call.mount = strings.Trim(f.path, "/")
	}
	var err error
	if call.params, call.bare, err = a.loginArgs(args); err != nil {
		return err
	}
	s, err := method.login(ctx, a, call)
	if err != nil {
		return err
	}
	if s != nil && s.WrapInfo != nil && s.Auth == nil {
		return a.secret(s) // whoever unwraps it has the token
	}
	if r := waiting(s); r != nil {
		done, err := a.secondFactor(ctx, c, r)
		if err != nil {
			return err
		}
		if done == nil {
			return a.stillWaiting(s, r)
		}
		s = done
	}
	if s == nil || s.Auth == nil || s.Auth.ClientToken == "" {
		return failf("The server answered the login without a token.")
	}
	return a.loggedIn(s, f)
}

// loginArgs reads key=value arguments and one without a name, for which - is
// standard input.
func (a *app) loginArgs(args []string) (params map[string]string, bare string, err error) {
	params = make(map[string]string)
	for _, arg := range args {
		switch {
		case arg == "-":
			bare, err = a.in.line()
		case !strings.Contains(arg, "="):
			if bare != "" {
				return nil, "", usagef("Too many arguments: all but one must be key=value.")
			}
			bare = arg
		default:
			var key, value string
			key, value, err = a.in.pair(arg)
			params[key] = value
		}
		if err != nil {
			return nil, "", err
		}
	}
	return params, strings.TrimSpace(bare), nil
}

func (a *app) loggedIn(s *client.Secret, f *loginFlags) error {
	if !f.noStore {
		file, err := tokenFile()
		if err == nil {
			err = file.Write(s.Auth.ClientToken)
		}
		if err != nil {
			return failf("Logged in, but the token is not kept: %w", err)
		}
		if value, variable := client.Env("TOKEN"); value != "" && value != s.Auth.ClientToken {
			a.warn("WARNING! " + variable + " is set, and is used by later commands in the place of the token that was now kept.\nUnset it first.\n")
		}
	}
	if f.noPrint {
		return nil
	}
	if a.opts.field == "" && a.opts.format == formatTable {
		kept := "The token below is kept: later commands use it."
		if f.noStore {
			kept = "The token below is not kept: later commands need it in COFFER_TOKEN."
		}
		if err := a.say("Success! You are now authenticated. %s\n", kept); err != nil {
			return err
		}
	}
	return a.secret(s)
}

// tokenLogin checks a token by asking the server about it.
func tokenLogin(ctx context.Context, a *app, l loginCall) (*client.Secret, error) {
	token := l.bare
	if token == "" {
		token = l.params["token"]
	}
	if token == "" {
		var err error
		if token, err = a.secretInput(ctx, "Token"); err != nil {
			return nil, err
		}
	}
	if token == "" {
		return nil, usagef("No token was given.")
	}
	c := l.client.With(func(cfg *client.Config) { cfg.Token = token })
	if l.params["lookup"] == "false" {
		return &client.Secret{Auth: &client.Auth{ClientToken: token}}, nil
	}
	s, err := c.Call(ctx, &client.Request{Method: http.MethodGet, Path: "auth/token/lookup-self", Plain: true})
	if err != nil {
		return nil, remotef(err, "Error authenticating")
	}
	var about struct {
		Accessor  string            `json:"accessor"`
		Policies  []string          `json:"policies"`
		Identity  []string          `json:"identity_policies"`
		Meta      map[string]string `json:"meta"`
		TTL       int64             `json:"ttl"`
		Renewable bool              `json:"renewable"`
		EntityID  string            `json:"entity_id"`
	}
	if s == nil {
		return nil, failf("The server tells nothing of the token.")
	}
	if err := s.Decode(&about); err != nil {
		return nil, remotef(err, "Error authenticating")
	}
	return &client.Secret{Warnings: s.Warnings, Auth: &client.Auth{
		ClientToken: token, Accessor: about.Accessor, Policies: slices.Concat(about.Policies, about.Identity), TokenPolicies: about.Policies,
		IdentityPolicies: about.Identity, Metadata: about.Meta, LeaseDuration: about.TTL, Renewable: about.Renewable, EntityID: about.EntityID,
	}}, nil
}
