package oidc

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/client"
)

// The ways in which an answer comes back, as callbackmode names them.
const (
	modeClient = "client"
	modeDirect = "direct"
	modeDevice = "device"
)

// patience is how long to wait for the one at the browser.
const patience = 5 * time.Minute

// maxInterval bounds how long to wait between two questions.
const maxInterval = time.Minute

// Login is one login.
type Login struct {
	Client *client.Client
	// Mount is where the way to log in is, below auth/.
	Mount string
	// Params are those of the command line.
	Params map[string]string
	// Tell shows something to the user, and Open a web page.
	Tell func(text string)
	Open func(ctx context.Context, address string) error
}

// params are what may be given.
var params = []string{
	"mount", "role", "callbackmode", "listenaddress", "port", "callbackmethod", "callbackhost", "callbackport", "skip_browser", "abort_on_error",
}

// Usage is an error of the user.
type Usage struct{ text string }

// Error implements error.
func (u *Usage) Error() string { return u.text }

// ExitCode is the code to exit with.
func (*Usage) ExitCode() int { return 1 }

func usagef(format string, args ...any) error { return &Usage{fmt.Sprintf(format, args...)} }

// flow is a login under way.
type flow struct {
	*Login
	mode, nonce string
	listener    net.Listener
	// state is what the answer has to come with.
	state string
}

// Run logs in.
func (l *Login) Run(ctx context.Context) (*client.Secret, error) {
	f := &flow{Login: l, mode: l.param("callbackmode", modeClient), nonce: newNonce()}
	if err := f.check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errors.New("timed out waiting for response from provider"))
	defer cancel()
	if f.mode == modeClient {
		var err error
		address := net.JoinHostPort(l.param("listenaddress", "localhost"), l.param("port", "8250"))
		if f.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
			return nil, usagef("Cannot listen for the browser: %s. Give another port=NUMBER, which the role has to allow.", err)
		}
		defer func() { _ = f.listener.Close() }()
	}
	began, err := f.begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := f.show(ctx, began); err != nil {
		return nil, err
	}
	if f.mode == modeClient {
		return f.serve(ctx)
	}
	return f.poll(ctx, began)
}

func newNonce() string {
	b := make([]byte, 20)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func (l *Login) param(name, standard string) string {
	if given, ok := l.Params[name]; ok && given != "" {
		return given
	}
	return standard
}

func (l *Login) flag(name string) (bool, error) {
	on, err := strconv.ParseBool(l.param(name, "false"))
	if err != nil {
		return false, usagef("%s is true or false.", name)
	}
	return on, nil
}

func (f *flow) check() error {
	for name := range f.Params {
		if !slices.Contains(params, name) {
			return usagef("There is no parameter %s. There are: %s.", name, strings.Join(params, ", "))
		}
	}
	if f.mode != modeClient && f.mode != modeDirect && f.mode != modeDevice {
		return usagef("callbackmode is client, direct or device.")
	}
	for _, name := range []string{"skip_browser", "abort_on_error"} {
		if _, err := f.flag(name); err != nil {
			return err
		}
	}
	return nil
}

// began is what the server answers to a login's beginning.
type began struct {
	URL      string `json:"auth_url"`
	State    string `json:"state"`
	UserCode string `json:"user_code"`
	Interval string `json:"poll_interval"`
}

// redirect is where the browser is sent back to.
func (f *flow) redirect() (string, error) {
	at, path := &url.URL{Scheme: "http", Host: "localhost"}, "/oidc/callback"
	if f.mode == modeDirect {
		server, err := url.Parse(f.Client.Config().Address)
		if err != nil || server.Host == "" {
			return "", usagef("The server's address is none that a browser could go to: give callbackmethod, callbackhost and callbackport.")
		}
		at, path = &url.URL{Scheme: server.Scheme, Host: server.Host}, "/v1/auth/"+f.Mount+"/oidc/callback"
	} else if f.listener != nil {
		if _, port, err := net.SplitHostPort(f.listener.Addr().String()); err == nil {
			at.Host += ":" + port
		}
	}
	host := f.param("callbackhost", at.Hostname())
	if strings.Contains(host, ":") {
		host = "[" + strings.Trim(host, "[]") + "]"
	}
	if port := f.param("callbackport", at.Port()); port != "" {
		host += ":" + port
	}
	return f.param("callbackmethod", at.Scheme) + "://" + host + path, nil
}

func (f *flow) begin(ctx context.Context) (*began, error) {
	body := map[string]string{"client_nonce": f.nonce, "role": f.param("role", "")}
	if f.mode != modeDevice {
		var err error
		if body["redirect_uri"], err = f.redirect(); err != nil {
			return nil, err
		}
	}
	s, err := f.Client.Call(ctx, &client.Request{Method: http.MethodPut, Path: f.path("auth_url"), Body: body, Anonymous: true, Plain: true})
	if err != nil {
		return nil, err
	}
	b := new(began)
	if s == nil {
		return nil, errors.New("the server does not say where to go")
	}
	if err := s.Decode(b); err != nil {
		return nil, err
	}
	u, err := url.Parse(b.URL)
	switch {
	case b.URL == "":
		return nil, fmt.Errorf("unable to authorize role %q with redirect_uri %q", body["role"], body["redirect_uri"])
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return nil, errors.New("the server says to go where no browser can")
	case f.mode == modeClient && b.State != "":
		return nil, usagef("The role is for another callbackmode: try callbackmode=direct or callbackmode=device.")
	case f.mode != modeClient && b.State == "":
		return nil, usagef("The role is for callbackmode=client.")
	}
	if f.state = b.State; f.state == "" {
		f.state = u.Query().Get("state")
	}
	return b, nil
}

func (f *flow) path(end string) string { return "auth/" + f.Mount + "/oidc/" + end }

// show sends the user to the provider.
func (f *flow) show(ctx context.Context, b *began) error {
	skip, _ := f.flag("skip_browser")
	abort, _ := f.flag("abort_on_error")
	how := "Launching browser to:"
	if skip {
		how = "Open the following link in your browser:"
	}
	f.Tell("Complete the login via your OIDC provider. " + how + "\n\n    " + b.URL + "\n")
	if b.UserCode != "" {
		f.Tell("The code that you are asked for, or that is shown to you, is:\n\n    " + b.UserCode + "\n")
	}
	if !skip {
		if err := f.Open(ctx, b.URL); err != nil {
			if abort {
				return fmt.Errorf("open the browser: %w", err)
			}
			f.Tell("The browser cannot be opened (" + err.Error() + "). Open the link yourself.")
		}
	}
	f.Tell("Waiting for OIDC authentication to complete...")
	return nil
}

// poll asks until the one at the browser is done.
func (f *flow) poll(ctx context.Context, b *began) (*client.Secret, error) {
	seconds, err := strconv.Atoi(b.Interval)
	if err != nil || seconds < 1 {
		return nil, errors.New("the server does not say how often to ask")
	}
	interval := min(time.Duration(seconds)*time.Second, maxInterval)
	for {
		wait := time.NewTimer(interval)
		select {
		case <-wait.C:
		case <-ctx.Done():
			wait.Stop()
			return nil, context.Cause(ctx)
		}
		s, err := f.Client.Call(ctx, &client.Request{
			Method: http.MethodPut, Path: f.path("poll"), Anonymous: true, Once: true, Body: map[string]string{"state": f.state, "client_nonce": f.nonce},
		})
		switch {
		case err == nil:
			return s, nil
		case says(err, "slow_down"):
			interval = min(interval+5*time.Second, maxInterval) // RFC 8628, section 3.5
		case !says(err, "authorization_pending"):
			return nil, err
		}
	}
}

// says reports whether a refusal is one of those words, which are a protocol's.
func says(err error, word string) bool {
	var e *client.Error
	return errors.As(err, &e) && slices.Contains(e.Messages, word)
}
