package transit

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/seal"
)

const (
	attempts       = 5
	attemptTimeout = 10 * time.Second
	minRetryWait   = 200 * time.Millisecond
	maxRetryWait   = 5 * time.Second
	maxTokenTTL    = 1 << 32  // in seconds
	maxRedirects   = 2        // a standby names the leader
	maxResponse    = 64 << 10 // in bytes
)

// A client speaks the few calls of the API that the wrapper needs.
type client struct {
	http      *http.Client
	base      *url.URL // address and /v1
	mount     string
	token     string
	namespace string
}

func newClient(cfg Config) (*client, error) {
	base, err := url.Parse(cfg.Address)
	if err != nil || base.Host == "" || (base.Scheme != "https" && base.Scheme != "http") {
		return nil, fmt.Errorf("%w: address must be an http or https URL", ErrConfig)
	}
	if cfg.Token == "" || strings.ContainsAny(cfg.Token, "\r\n") {
		return nil, fmt.Errorf("%w: token is missing or has a line break", ErrConfig)
	}
	mount := strings.Trim(cfg.MountPath, "/")
	if mount == "" {
		mount = "transit"
	}
	if !isPath(mount) {
		return nil, fmt.Errorf("%w: mount_path is not a path", ErrConfig)
	}
	tlsConfig, err := newTLSConfig(cfg)
	if err != nil {
		return nil, err
	}
	return &client{
		http: &http.Client{
			Timeout: attemptTimeout,
			Transport: &http.Transport{
				DialContext:     cfg.Dial,
				TLSClientConfig: tlsConfig,
				Proxy:           http.ProxyFromEnvironment,
				IdleConnTimeout: time.Minute,
				MaxIdleConns:    4,
			},
			CheckRedirect: checkRedirect,
		},
		base:      base.JoinPath("v1"),
		mount:     mount,
		token:     cfg.Token,
		namespace: strings.Trim(cfg.Namespace, "/"),
	}, nil
}

// isPath reports whether p can be part of the path of a URL as it is: relative,
// clean, and of nothing that means something else there.
func isPath(p string) bool {
	return fs.ValidPath(p) && p != "." && !strings.ContainsAny(p, "?#%\\")
}

func newTLSConfig(cfg Config) (*tls.Config, error) {
	out := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		ServerName:         cfg.TLSServerName,
		InsecureSkipVerify: cfg.TLSSkipVerify, //nolint:gosec // the operator says so
	}
	if cfg.TLSCACert != "" {
		pem, err := os.ReadFile(cfg.TLSCACert)
		if err != nil {
			return nil, fmt.Errorf("%w: tls_ca_cert: %w", ErrConfig, err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%w: tls_ca_cert: %s holds no PEM certificate", ErrConfig, cfg.TLSCACert)
		}
	}
	if (cfg.TLSClientCert == "") != (cfg.TLSClientKey == "") {
		return nil, fmt.Errorf("%w: tls_client_cert and tls_client_key go together", ErrConfig)
	}
	if cfg.TLSClientCert != "" {
		cert, err := tls.LoadX509KeyPair(cfg.TLSClientCert, cfg.TLSClientKey)
		if err != nil {
			return nil, fmt.Errorf("%w: tls_client_cert: %w", ErrConfig, err)
		}
		out.Certificates = []tls.Certificate{cert}
	}
	return out, nil
}

// checkRedirect lets a standby name the leader, but never by way of plain HTTP:
// the token travels along.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: too many redirects", ErrRefused)
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w: redirect from https to http", ErrRefused)
	}
	return nil
}

// encrypt returns plaintext as transit encrypted it.
func (c *client) encrypt(ctx context.Context, key string, plaintext []byte) (string, error) {
	in := struct {
		Plaintext []byte `json:"plaintext"` // in base64
	}{plaintext}
	var out struct {
		Data struct {
			Ciphertext string `json:"ciphertext"`
		} `json:"data"`
	}
	err := c.call(ctx, http.MethodPost, c.mount+"/encrypt/"+key, in, &out)
	return out.Data.Ciphertext, err
}

// decrypt returns the plaintext of a ciphertext of encrypt; seal.ErrWrongKey if
// transit says that it is not one.
func (c *client) decrypt(ctx context.Context, key, ciphertext string) ([]byte, error) {
	in := struct {
		Ciphertext string `json:"ciphertext"`
	}{ciphertext}
	var out struct {
		Data struct {
			Plaintext []byte `json:"plaintext"`
		} `json:"data"`
	}
	err := c.call(ctx, http.MethodPost, c.mount+"/decrypt/"+key, in, &out)
	var status *statusError
	if errors.As(err, &status) && status.code == http.StatusBadRequest {
		return nil, fmt.Errorf("%w: transit does not decrypt the data key", seal.ErrWrongKey)
	}
	return out.Data.Plaintext, err
}

// A tokenState is how long a token lives on, and whether that can be extended.
type tokenState struct {
	ttl       time.Duration // 0: for ever
	renewable bool
}

func (c *client) lookupToken(ctx context.Context) (tokenState, error) {
	var out struct {
		Data struct {
			TTL       int64 `json:"ttl"`
			Renewable bool  `json:"renewable"`
		} `json:"data"`
	}
	if err := c.call(ctx, http.MethodGet, "auth/token/lookup-self", nil, &out); err != nil {
		return tokenState{}, err
	}
	return newTokenState(out.Data.TTL, out.Data.Renewable)
}

func (c *client) renewToken(ctx context.Context) (tokenState, error) {
	var out struct {
		Auth struct {
			LeaseDuration int64 `json:"lease_duration"`
			Renewable     bool  `json:"renewable"`
		} `json:"auth"`
	}
	if err := c.call(ctx, http.MethodPost, "auth/token/renew-self", struct{}{}, &out); err != nil {
		return tokenState{}, err
	}
	return newTokenState(out.Auth.LeaseDuration, out.Auth.Renewable)
}

func newTokenState(seconds int64, renewable bool) (tokenState, error) {
	if seconds < 0 || seconds > maxTokenTTL {
		return tokenState{}, fmt.Errorf("%w: impossible lifetime of the token", ErrRefused)
	}
	return tokenState{time.Duration(seconds) * time.Second, renewable}, nil
}

// call makes a request, again and again while the server is unavailable, up to a
// number of attempts or the end of ctx. Every call is safe to repeat.
func (c *client) call(ctx context.Context, method, name string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("transit seal: %w", err)
		}
		defer clear(body)
	}
	wait := minRetryWait
	for attempt := 1; ; attempt++ {
		err := c.try(ctx, method, name, body, out)
		if err == nil || !errors.Is(err, ErrUnavailable) || attempt == attempts || ctx.Err() != nil {
			return err
		}
		if !sleep(ctx, wait/2+rand.N(wait/2)) { //nolint:gosec // jitter
			return err
		}
		wait = min(2*wait, maxRetryWait)
	}
}

func (c *client) try(ctx context.Context, method, name string, body []byte, out any) error {
	req, err := http.NewRequestWithContext(ctx, method, c.base.JoinPath(name).String(), bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("transit seal: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Vault-Request", "true")
	req.Header.Set("X-Vault-Token", c.token)
	if c.namespace != "" {
		req.Header.Set("X-Vault-Namespace", c.namespace)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return transportError(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return &statusError{code: resp.StatusCode}
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse+1))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	defer clear(answer)
	if len(answer) > maxResponse {
		return fmt.Errorf("%w: answer is longer than %d bytes", ErrRefused, maxResponse)
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%w: answer is not the JSON of a transit engine", ErrRefused)
	}
	return nil
}

// transportError tells what no retry can mend from what it may.
func transportError(err error) error {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) || errors.Is(err, ErrRefused) {
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// A statusError is an answer other than 200. What the server wrote is left out:
// it is not ours to vouch that it holds no secret.
type statusError struct{ code int }

func (e *statusError) Error() string {
	switch e.code {
	case http.StatusBadRequest:
		return "transit seal: refused: the server rejects the request (400)"
	case http.StatusForbidden:
		return "transit seal: refused: the token is invalid or its policy does not allow it (403)"
	case http.StatusNotFound:
		return "transit seal: refused: no such mount, key or namespace (404)"
	case http.StatusServiceUnavailable:
		return "transit seal: unavailable: the server is sealed or has no leader (503)"
	}
	return fmt.Sprintf("transit seal: the server answered with status %d", e.code)
}

// Unwrap tells what may pass from what will not.
func (e *statusError) Unwrap() error {
	if e.code >= 500 || e.code == http.StatusTooManyRequests || e.code == http.StatusPreconditionFailed {
		return ErrUnavailable
	}
	return ErrRefused
}

// sleep waits for d; it returns false if ctx was done first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
