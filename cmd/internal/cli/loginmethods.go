package cli

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/coffer-secrets/coffer/client"
	"github.com/coffer-secrets/coffer/cmd/internal/cli/oidc"
)

// userpassLogin logs in with a name and a password, which is asked for unless it
// is given.
func userpassLogin(ctx context.Context, a *app, l loginCall) (*client.Secret, error) {
	name := l.params["username"]
	if name == "" {
		return nil, usagef("Say who logs in: username=NAME.")
	}
	password, given := l.params["password"]
	if !given {
		password = l.bare
	}
	if password == "" {
		var err error
		if password, err = a.secretInput(ctx, "Password"); err != nil {
			return nil, err
		}
	}
	return l.send(ctx, "login/"+name, map[string]string{"password": password})
}

// certLogin logs in with the certificate that the connection is made with.
func certLogin(ctx context.Context, _ *app, l loginCall) (*client.Secret, error) {
	body := map[string]string{}
	if name := l.params["name"]; name != "" {
		body["name"] = name
	}
	return l.send(ctx, "login", body)
}

// podToken is where a pod finds the token of its service account.
const podToken = "/var/run/secrets/kubernetes.io/serviceaccount/token" //nolint:gosec // it is a path

// tokenFileLogin logs in by a role with a signed token, which is in a file
// unless it is given.
func tokenFileLogin(file string) func(ctx context.Context, a *app, l loginCall) (*client.Secret, error) {
	return func(ctx context.Context, a *app, l loginCall) (*client.Secret, error) {
		token := l.params["jwt"]
		if token == "" {
			token = l.bare
		}
		if token == "" && file != "" {
			text, err := a.in.file(file)
			if err != nil {
				return nil, usagef("This is no pod, or it has no service account: give jwt=@FILE.")
			}
			token = string(text)
		}
		if token == "" {
			var err error
			if token, err = a.secretInput(ctx, "Token"); err != nil {
				return nil, err
			}
		}
		body := map[string]string{"jwt": strings.TrimSpace(token)}
		if role := l.params["role"]; role != "" {
			body["role"] = role
		}
		return l.send(ctx, "login", body)
	}
}

// oidcLogin logs in at a provider.
func oidcLogin(ctx context.Context, a *app, l loginCall) (*client.Secret, error) {
	login := oidc.Login{Client: l.client, Mount: l.at(), Params: l.params, Tell: a.warn, Open: oidc.OpenBrowser}
	s, err := login.Run(ctx)
	var usage *oidc.Usage
	if err != nil && !errors.As(err, &usage) {
		return nil, remotef(err, "Error authenticating")
	}
	return s, err
}

// at is where the way to log in is mounted.
func (l *loginCall) at() string {
	if given := l.params["mount"]; given != "" {
		return given
	}
	return l.mount
}

// send sends a login to the mount, without the token of an earlier one.
func (l *loginCall) send(ctx context.Context, path string, body any) (*client.Secret, error) {
	s, err := l.client.Call(ctx, &client.Request{Method: http.MethodPut, Path: "auth/" + l.at() + "/" + path, Body: body, Anonymous: true})
	if err != nil {
		return nil, remotef(err, "Error authenticating")
	}
	return s, nil
}
