package oidc

import (
	"context"
	"crypto/subtle"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/client"
)

// maxForm bounds what a browser posts.
const maxForm = 256 << 10

// result is how a login ended.
type result struct {
	secret *client.Secret
	err    error
}

// serve waits for the browser to come back.
func (f *flow) serve(ctx context.Context) (*client.Secret, error) {
	done := make(chan result, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/oidc/callback", func(w http.ResponseWriter, r *http.Request) {
		answer, ok := f.answer(w, r)
		if !ok {
			show(w, http.StatusBadRequest, "This is not the answer to a login", "Nothing was done. Begin the login again if you did not get here by it.")
			return
		}
		s, err := f.finish(ctx, r.Method == http.MethodPost, answer)
		if err != nil {
			show(w, http.StatusBadRequest, "You are not logged in", "The command line says why.")
		} else {
			show(w, http.StatusOK, "You are logged in", "You can close this window.")
		}
		select {
		case done <- result{s, err}:
		default: // it came twice: the first counts
		}
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, MaxHeaderBytes: 64 << 10}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(f.listener) }()
	// The browser is still being answered when the login has ended.
	defer func() {
		rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if server.Shutdown(rest) != nil {
			_ = server.Close()
		}
	}()
	select {
	case r := <-done:
		return r.secret, r.err
	case err := <-failed:
		return nil, err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// answer reads what a browser brings; not ok if it is not the answer to this
// login.
func (f *flow) answer(w http.ResponseWriter, r *http.Request) (url.Values, bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return nil, false
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if r.ParseForm() != nil {
		return nil, false
	}
	values := url.Values{}
	for _, name := range []string{"state", "code", "id_token", "error", "error_description", "iss"} {
		if v := r.Form.Get(name); v != "" {
			values.Set(name, v)
		}
	}
	return values, subtle.ConstantTimeCompare([]byte(values.Get("state")), []byte(f.state)) == 1
}

// finish gives the server what came, and gets the token. What was posted is
// posted first: a token is too long and too secret for an address.
func (f *flow) finish(ctx context.Context, posted bool, values url.Values) (*client.Secret, error) {
	values.Set("client_nonce", f.nonce)
	if posted && values.Get("error") == "" {
		body := map[string]string{}
		for name := range values {
			body[name] = values.Get(name)
		}
		if _, err := f.Client.Do(ctx, &client.Request{Method: http.MethodPost, Path: f.path("callback"), Body: body, Anonymous: true, Plain: true, Once: true}); err != nil {
			return nil, err
		}
	}
	values.Del("id_token")
	s, err := f.Client.Call(ctx, &client.Request{Method: http.MethodGet, Path: f.path("callback"), Query: values, Anonymous: true, Once: true})
	var refusal *client.Error
	if errors.As(err, &refusal) {
		refusal.URL, _, _ = strings.Cut(refusal.URL, "?") // it holds the code
	}
	return s, err
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Coffer: {{.Title}}</title></head>
<body style="font:1.1em/1.5 sans-serif;max-width:34em;margin:4em auto"><h1>{{.Title}}</h1><p>{{.Text}}</p></body></html>
`))

func show(w http.ResponseWriter, status int, title, text string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = page.Execute(w, struct{ Title, Text string }{title, text})
}

// OpenBrowser opens an address, which has to be one of the web, in the user's
// browser.
func OpenBrowser(ctx context.Context, address string) error {
	name, args := "xdg-open", []string{address}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", address}
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), name, args...) //nolint:gosec // no shell, and begin has seen that it is an address of the web
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // a browser may outlive the login
	return nil
}
