package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// Bounds of one question.
const (
	timeout     = 10 * time.Second
	maxAnswer   = 1 << 20
	maxPEMBytes = 256 << 10
)

// Client asks one system. It is safe for concurrent use.
type Client struct {
	http      *http.Client
	transport *http.Transport
}

// Options say whom a client trusts.
type Options struct {
	// CAs are those that may vouch for the server, in PEM; the machine's if empty.
	CAs string
	// ServerNames are the names of which the server's certificate needs one, if
	// they are others than that in its address.
	ServerNames []string
}

// New returns a client.
func New(o Options) (*Client, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAs != "" {
		config.RootCAs = x509.NewCertPool()
		if len(o.CAs) > maxPEMBytes || !config.RootCAs.AppendCertsFromPEM([]byte(o.CAs)) {
			return nil, errors.New("upstream: the CA certificates are not PEM, or too long")
		}
	}
	if len(o.ServerNames) > 0 {
		byNames(config, o.ServerNames)
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true,
		DialContext:         (&net.Dialer{Timeout: timeout}).DialContext,
		TLSHandshakeTimeout: timeout, MaxIdleConnsPerHost: 4, MaxConnsPerHost: 64, IdleConnTimeout: time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &Client{transport: transport, http: &http.Client{
		Timeout: timeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// byNames verifies a certificate as the TLS library does, but with names of
// which any will do.
func byNames(config *tls.Config, names []string) {
	roots := config.RootCAs
	config.InsecureSkipVerify = true // VerifyConnection does it instead
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return errors.New("upstream: the server has no certificate")
		}
		others := x509.NewCertPool()
		for _, c := range state.PeerCertificates[1:] {
			others.AddCert(c)
		}
		leaf := state.PeerCertificates[0]
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others}); err != nil {
			return err
		}
		if !slices.ContainsFunc(names, func(name string) bool { return leaf.VerifyHostname(name) == nil }) {
			return errors.New("upstream: the server's certificate is for none of the names that it may have")
		}
		return nil
	}
}

// HTTP is the client for libraries that want one.
func (c *Client) HTTP() *http.Client { return c.http }

// Close lets go of idle connections.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Ask is one question: a GET, or with a body a POST of JSON.
type Ask struct {
	URL string
	// Bearer is the token to ask with; none if empty.
	Bearer string
	Body   any
}

// Status is an answer that is no success: a cause of what JSON returns.
type Status int

// Error implements error.
func (s Status) Error() string { return fmt.Sprintf("answered with status %d", int(s)) }

// JSON asks and decodes the answer, which has to be a success. What is returned
// as an error has the kind KindUpstream.
func (c *Client) JSON(ctx context.Context, ask Ask, into any) error {
	status, body, err := c.send(ctx, ask)
	if err != nil {
		return failed(ask.URL, err)
	}
	if status != http.StatusOK && status != http.StatusCreated {
		return failed(ask.URL, Status(status))
	}
	if err := json.Unmarshal(body, into); err != nil {
		return failed(ask.URL, errors.New("the answer is not the JSON that was expected"))
	}
	return nil
}

func (c *Client) send(ctx context.Context, ask Ask) (status int, body []byte, err error) {
	method, text := http.MethodGet, io.Reader(nil)
	if ask.Body != nil {
		encoded, err := json.Marshal(ask.Body)
		if err != nil {
			return 0, nil, err
		}
		method, text = http.MethodPost, bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, ask.URL, text)
	if err != nil {
		return 0, nil, errors.New("the address cannot be read")
	}
	req.Header.Set("Accept", "application/json")
	if ask.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if ask.Bearer != "" {
		req.Header.Set("Authorization", "Bearer "+ask.Bearer)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err != nil {
		return 0, nil, err
	}
	if len(body) > maxAnswer {
		return 0, nil, fmt.Errorf("the answer is larger than %d bytes", maxAnswer)
	}
	return resp.StatusCode, body, nil
}

// failed tells the caller where it failed, and the log why.
func failed(address string, cause error) error {
	host := ""
	if u, err := url.Parse(address); err == nil {
		host = " " + u.Host
	}
	var wrapped *url.Error
	if errors.As(cause, &wrapped) {
		cause = wrapped.Err // its text repeats the address
	}
	return &engines.Error{Kind: engines.KindUpstream, Message: "cannot use the answer of" + host + ": is it up, and is it the right address?", Cause: cause}
}

// CheckURL refuses what is not the address of a web server. What was found at an
// address with TLS may not lead to one without: pass that as from.
func CheckURL(text, from string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.Fragment != "" {
		return errors.New("expected the address of a web server, as https://host/path")
	}
	if strings.HasPrefix(strings.ToLower(from), "https:") && u.Scheme != "https" {
		return errors.New("it has no TLS")
	}
	return nil
}
