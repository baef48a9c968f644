package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// targets are the servers that were given, or else those that this program
// starts: one, and beside it those with what is to be compared with it.
func targets(ctx context.Context, o options, dir string) (list []*target, stop func(), err error) {
	stop = func() {
		for _, t := range list {
			t.stop()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()
	if len(o.given.addresses) > 0 {
		list, err = o.given.targets(ctx)
		return list, stop, err
	}
	t, err := startServer(ctx, o)
	if err != nil {
		return nil, stop, err
	}
	list = append(list, t)
	if o.tls {
		if t, err = startSecure(ctx, o.binary, filepath.Join(dir, "tls")); err != nil {
			return list, stop, err
		}
		list = append(list, t)
	}
	if o.audit {
		if t, err = startServer(ctx, o); err != nil {
			return list, stop, err
		}
		t.name += " audited"
		list = append(list, t)
		a := admin{ctx: ctx, target: t}
		a.post("sys/audit/bench", `{"type":"file","options":{"file_path":"bench.log"}}`)
		err = a.err
	}
	return list, stop, err
}

// startSecure starts a dev server with TLS.
func startSecure(ctx context.Context, binary, dir string) (*target, error) {
	t, err := startDev(ctx, binary, "-dev-tls", "-dev-tls-cert-dir="+dir)
	if err != nil {
		return nil, err
	}
	t.name += " with TLS"
	if t.tls, err = trusting(filepath.Join(dir, "coffer-ca.pem")); err != nil {
		t.stop()
	}
	return t, err
}

// trusting is how to talk to servers that a file's certificates vouch for.
func trusting(file string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return cfg, nil
	}
	text, err := os.ReadFile(file) // #nosec G304 G703 -- a file that the caller names
	if err != nil {
		return nil, err
	}
	if cfg.RootCAs = x509.NewCertPool(); !cfg.RootCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificates", file)
	}
	return cfg, nil
}

// targets reads what was given. The mounts of a run begin with a name of its
// own, and go when it ends.
func (g *given) targets(ctx context.Context) (list []*target, err error) {
	own := make([]byte, 4)
	_, _ = rand.Read(own)
	caFile := g.caFile
	if caFile == "" {
		caFile = os.Getenv("VAULT_CACERT")
	}
	for i, text := range g.addresses {
		t := &target{mount: "bench-" + hex.EncodeToString(own) + "-", mounted: make(map[string]bool), token: os.Getenv("VAULT_TOKEN")}
		if i < len(g.tokens) {
			t.token = g.tokens[i]
		}
		name, rest, named := strings.Cut(text, "=")
		if !named {
			rest = text
		}
		first, others, _ := strings.Cut(rest, ",")
		u, err := url.Parse(first)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return list, fmt.Errorf("target %d: expected [name=]http[s]://host:port", i+1)
		}
		t.addr, t.nodes = u.Host, []string{u.Host}
		if others != "" {
			t.nodes = append(t.nodes, strings.Split(others, ",")...)
		}
		if t.name = name; !named {
			t.name = u.Host
		}
		if u.Scheme == "https" {
			if t.tls, err = trusting(caFile); err != nil {
				return list, err
			}
		}
		t.stop = func() { t.cleanUp(context.WithoutCancel(ctx)) }
		list = append(list, t)
	}
	if len(g.tokens) > len(list) {
		return list, errors.New("there are more tokens than targets")
	}
	return list, nil
}

// cleanUp unmounts what the run has mounted.
func (t *target) cleanUp(ctx context.Context) {
	for _, path := range t.undo {
		a := admin{ctx: ctx, target: t}
		if a.do(http.MethodDelete, path, ""); a.err != nil {
			fmt.Fprintln(os.Stderr, "bench: left behind:", a.err)
		}
	}
}
