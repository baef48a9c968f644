package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/auth/signed"
	"github.com/coffer-secrets/coffer/auth/upstream"
	"github.com/coffer-secrets/coffer/engines"
)

const configRow = "config"

// Bounds of what a configuration holds.
const (
	maxTextBytes  = 4 << 10
	maxTokenBytes = 64 << 10
	maxFileBytes  = 256 << 10
	maxKeys       = 64
)

// config is the row of the configuration.
type config struct {
	Host      string   `json:"kubernetes_host"`
	CAs       string   `json:"kubernetes_ca_cert"`
	Keys      []string `json:"pem_keys"`
	Reviewer  string   `json:"token_reviewer_jwt"`
	Issuer    string   `json:"issuer"`
	AnyIssuer bool     `json:"disable_iss_validation"`
	NoPod     bool     `json:"disable_local_ca_jwt"`
}

func configFields() []engines.Field {
	return []engines.Field{
		{Name: "disable_iss_validation", Type: engines.Bool, Default: true, Deprecated: true, Help: "Do not look at the claim \"iss\": the cluster does."},
		{Name: "disable_local_ca_jwt", Type: engines.Bool, Default: false, Help: "Do not use the service account of the pod that Coffer runs in."},
		{Name: "issuer", Deprecated: true, Help: "What the claim \"iss\" has to be, unless disable_iss_validation."},
		{Name: "kubernetes_ca_cert", Help: "The CAs of the API server, in PEM; the pod's or the machine's if empty."},
		{Name: "kubernetes_host", Help: "The API server, as https://host:port."},
		{Name: "pem_keys", Type: engines.Strings, Help: "Keys of which one has to have signed a token, in PEM; only the cluster looks if empty."},
		{Name: "token_reviewer_jwt", Secret: true, Help: "The token to ask the cluster with; the pod's or the caller's if empty."},
	}
}

func readConfig(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, _, err := auth.LoadRow[config](tx, configRow)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, engines.NotFound()
	}
	return &engines.Response{Data: map[string]any{
		"kubernetes_host": c.Host, "kubernetes_ca_cert": c.CAs, "pem_keys": auth.Strings(c.Keys), "issuer": c.Issuer,
		"disable_iss_validation": c.AnyIssuer, "disable_local_ca_jwt": c.NoPod, "token_reviewer_jwt_set": c.Reviewer != "",
	}}, nil
}

func writeConfig(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	f := req.Fields
	c := &config{
		Host: strings.TrimSuffix(f.String("kubernetes_host"), "/"), CAs: f.String("kubernetes_ca_cert"), Keys: f.Strings("pem_keys"),
		Reviewer: strings.TrimSpace(f.String("token_reviewer_jwt")), Issuer: f.String("issuer"),
		AnyIssuer: f.Bool("disable_iss_validation"), NoPod: f.Bool("disable_local_ca_jwt"),
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	value, err := json.Marshal(c)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return nil, tx.Put(configRow, value)
}

func (c *config) check() error {
	if c.Host == "" {
		return engines.Invalidf("no host provided")
	}
	if len(c.Host) > maxTextBytes || len(c.Issuer) > maxTextBytes || len(c.Reviewer) > maxTokenBytes || len(c.Keys) > maxKeys {
		return engines.Invalidf("a value of the configuration is too long")
	}
	if !isHost(c.Host) {
		return engines.Invalidf("kubernetes_host: expected https://host:port, or http with this machine's own address, since tokens are sent there")
	}
	if c.CAs == "" && c.NoPod {
		return engines.Invalidf("kubernetes_ca_cert must be given when disable_local_ca_jwt is true")
	}
	if _, err := upstream.New(upstream.Options{CAs: c.CAs}); err != nil {
		return engines.Invalidf("kubernetes_ca_cert: the certificates are not PEM, or too long")
	}
	if c.Reviewer != "" {
		if _, err := signed.Parse(c.Reviewer); err != nil {
			return engines.Invalidf("token_reviewer_jwt: %s", err.Error())
		}
	}
	for _, text := range c.Keys {
		if _, err := signed.ParsePEM(text); err != nil {
			return engines.Invalidf("pem_keys: %s", err.Error())
		}
	}
	return nil
}

// isHost reports whether tokens may be sent somewhere.
func isHost(text string) bool {
	u, err := url.Parse(text)
	if err != nil || upstream.CheckURL(text, "") != nil || u.RawQuery != "" {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Scheme == "https" || u.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}

// cluster is one to be asked.
type cluster struct {
	host   string
	client *upstream.Client
	// token is what to ask with.
	token string
}

// cluster returns the one of a configuration. It reads the pod's files.
func (e *engine) cluster(mount engines.Mount, c *config, caller string) (*cluster, error) {
	cas, token := c.CAs, c.Reviewer
	if !c.NoPod {
		var err error
		if cas == "" {
			if cas, err = e.podFile("ca.crt"); err != nil {
				return nil, err
			}
		}
		if token == "" {
			if token, err = e.podFile("token"); err != nil {
				return nil, err
			}
		}
	}
	if token == "" {
		token = caller
	}
	client, err := e.clients.Get(mount.UUID, upstream.Options{CAs: cas})
	if err != nil {
		return nil, engines.Internal(err)
	}
	return &cluster{host: c.Host, client: client, token: token}, nil
}

// podFile reads a file of the pod's service account; it is empty outside of pods.
func (e *engine) podFile(name string) (string, error) {
	file, err := os.Open(filepath.Join(e.pod, name))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", engines.Internal(err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxFileBytes))
	if err != nil {
		return "", engines.Internal(err)
	}
	return strings.TrimSpace(string(text)), nil
}
