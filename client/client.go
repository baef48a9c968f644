package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Client calls one server.
type Client struct {
	cfg  Config
	base *url.URL
	http *http.Client
}

// New returns a client, having read the files that its configuration names. It
// does not call the server.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	base, socket, err := parseAddress(cfg.Address)
	if err != nil {
		return nil, err
	}
	if err := checkToken(cfg.Token); err != nil {
		return nil, err
	}
	transport, err := newTransport(&cfg, socket)
	if err != nil {
		return nil, err
	}
	var rt http.RoundTripper = transport
	if cfg.Middleware != nil {
		rt = cfg.Middleware(rt)
	}
	return &Client{cfg: cfg, base: base, http: &http.Client{
		Transport:     rt,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// checkToken refuses what HTTP would refuse with the value in its message.
func checkToken(value string) error {
	for i := range len(value) {
		if value[i] <= ' ' || value[i] >= 0x7f {
			return errors.New("client: the token holds characters that no token has, such as a line end or a space")
		}
	}
	return nil
}

// Config returns the configuration, defaults filled in.
func (c *Client) Config() Config { return c.cfg }

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// With returns a client with another identity or other habits that shares the
// connections. What concerns them (address, TLS, middleware) stays as it is.
func (c *Client) With(change func(*Config)) *Client {
	next := *c
	next.cfg.Header = c.cfg.Header.Clone()
	change(&next.cfg)
	return &next
}

// Do sends a request and reads the answer. A status of 400 or more is an *Error.
func (c *Client) Do(ctx context.Context, req *Request) (*Response, error) {
	if err := checkToken(c.cfg.Token); err != nil {
		return nil, err
	}
	if c.cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.Timeout)
		defer cancel()
	}
	out, err := c.newRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	resp, err := c.try(ctx, req, out)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("client: read the answer: %w", err)
	}
	if int64(len(body)) > c.cfg.MaxBody {
		return nil, fmt.Errorf("client: the answer is larger than the limit of %d bytes", c.cfg.MaxBody)
	}
	answer := &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}
	if resp.StatusCode >= http.StatusBadRequest {
		return answer, newError(out, answer, c.cfg.Namespace)
	}
	return answer, nil
}

// send sends once, and follows one redirect of a node to the leader. The token
// goes along, so a redirect may not leave TLS.
func (c *Client) send(out *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(out)
	if err != nil {
		return nil, withoutURL(err)
	}
	switch resp.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return resp, nil
	}
	_ = resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		return nil, errors.New("client: the server redirects to an address that cannot be read")
	}
	if out.URL.Scheme == "https" && to.Scheme != "https" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, errors.New("client: the server redirects to an address without TLS, which is refused")
	}
	next := out.Clone(out.Context())
	next.URL, next.Host = to, ""
	if err := rewind(next); err != nil {
		return nil, err
	}
	resp, err = c.http.Do(next)
	return resp, withoutURL(err)
}

// withoutURL drops the wrapping that repeats method and URL, which the caller
// knows, and keeps the cause.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func rewind(r *http.Request) error {
	if r.GetBody == nil {
		return nil
	}
	body, err := r.GetBody()
	if err != nil {
		return fmt.Errorf("client: read the request again: %w", err)
	}
	r.Body = body
	return nil
}
