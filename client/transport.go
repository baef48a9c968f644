package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	dialTimeout      = 10 * time.Second
	handshakeTimeout = 10 * time.Second
	idleTimeout      = 90 * time.Second
	idlePerHost      = 64
)

// parseAddress returns the base of every URL and, for a Unix socket, its path.
func parseAddress(address string) (base *url.URL, socket string, err error) {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		if path == "" {
			return nil, "", errors.New("client: the address names no socket: write unix:///path/of/socket")
		}
		return &url.URL{Scheme: "http", Host: "localhost"}, path, nil
	}
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, "", errors.New("client: the address must be like https://host:8200, http://host:8200 or unix:///path")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, "", errors.New("client: the address must hold no user, query or fragment")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimRight(u.Path, "/")}, "", nil
}

func newTransport(c *Config, socket string) (*http.Transport, error) {
	conf, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSClientConfig: conf,
		TLSHandshakeTimeout: handshakeTimeout, IdleConnTimeout: idleTimeout, MaxIdleConnsPerHost: idlePerHost,
		ForceAttemptHTTP2: true,
	}
	if socket != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return t, nil
}

// config reads the files now, so that a wrong name is told before any call.
func (t *TLS) config() (*tls.Config, error) {
	conf := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: t.ServerName,
		InsecureSkipVerify: t.SkipVerify, //nolint:gosec // only where the user asks for it
	}
	switch {
	case t.ClientCert != "" && t.ClientKey != "":
		pair, err := tls.LoadX509KeyPair(t.ClientCert, t.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("client: read the client's certificate: %w", err)
		}
		// Sent whatever authorities the server names: it may name none of ours
		// and yet want the certificate for a login.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	case t.ClientCert != "" || t.ClientKey != "":
		return nil, errors.New("client: a client certificate needs its key, and a key its certificate")
	}
	pool, err := t.roots()
	if err != nil {
		return nil, err
	}
	conf.RootCAs = pool
	return conf, nil
}

// roots is nil for the system's own.
func (t *TLS) roots() (*x509.CertPool, error) {
	if t.CACert == "" && t.CAPath == "" && len(t.CACertPEM) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	add := func(pem []byte, from string) error {
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("client: %s holds no certificate in PEM", from)
		}
		return nil
	}
	switch {
	case t.CACert != "":
		pem, err := os.ReadFile(t.CACert)
		if err != nil {
			return nil, fmt.Errorf("client: read the authority's certificate: %w", err)
		}
		return pool, add(pem, t.CACert)
	case len(t.CACertPEM) > 0:
		return pool, add(t.CACertPEM, "the authority's certificate")
	}
	entries, err := os.ReadDir(t.CAPath)
	if err != nil {
		return nil, fmt.Errorf("client: read the folder of authorities: %w", err)
	}
	for _, entry := range entries {
		if entry.IsDir() {
			continue
		}
		name := filepath.Join(t.CAPath, entry.Name())
		pem, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("client: read the folder of authorities: %w", err)
		}
		if err := add(pem, name); err != nil {
			return nil, err
		}
	}
	return pool, nil
}
