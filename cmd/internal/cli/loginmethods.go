package cli

import (
	"context"
	"net/http"

	"github.com/coffer-secrets/coffer/client"
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

// send sends a login to the mount, without the token of an earlier one.
func (l *loginCall) send(ctx context.Context, path string, body any) (*client.Secret, error) {
	mount := l.mount
	if given := l.params["mount"]; given != "" {
		mount = given
	}
	s, err := l.client.Call(ctx, &client.Request{Method: http.MethodPut, Path: "auth/" + mount + "/" + path, Body: body, Anonymous: true})
	if err != nil {
		return nil, remotef(err, "Error authenticating")
	}
	return s, nil
}
