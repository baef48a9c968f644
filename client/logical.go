package client

import (
	"context"
	"maps"
	"net/http"
	"net/url"
)

// mergePatch is the type of bodies that change what they name (RFC 7396).
const mergePatch = "application/merge-patch+json"

// Call sends a request and reads the answer as a Secret, which is nil if there
// is none. Of a 404 that carries data or warnings, both the secret and the error
// are returned: a deleted version, say, is missing but has metadata.
func (c *Client) Call(ctx context.Context, req *Request) (*Secret, error) {
	resp, err := c.Do(ctx, req)
	if err != nil {
		if resp != nil && resp.Status == http.StatusNotFound {
			if s, parseErr := ParseSecret(resp.Body); parseErr == nil && s != nil && s.RequestID != "" && (!s.Empty() || len(s.Warnings) > 0) {
				return s, err
			}
		}
		return nil, err
	}
	return ParseSecret(resp.Body)
}

// Read reads what is at a path.
func (c *Client) Read(ctx context.Context, path string, query url.Values) (*Secret, error) {
	return c.Call(ctx, &Request{Method: http.MethodGet, Path: path, Query: query})
}

// List lists the names below a path. It asks with GET and a parameter, since
// what stands between may not know the method LIST.
func (c *Client) List(ctx context.Context, path string, query url.Values) (*Secret, error) {
	return c.Call(ctx, &Request{Method: http.MethodGet, Path: path, Query: with(query, "list")})
}

// Scan lists the names below a path and all that is below them.
func (c *Client) Scan(ctx context.Context, path string, query url.Values) (*Secret, error) {
	return c.Call(ctx, &Request{Method: http.MethodGet, Path: path, Query: with(query, "scan")})
}

func with(query url.Values, name string) url.Values {
	out := url.Values{name: {"true"}}
	maps.Copy(out, query)
	return out
}

// Write writes to a path; what is written is an object, in any form that
// becomes one in JSON.
func (c *Client) Write(ctx context.Context, path string, data any) (*Secret, error) {
	return c.Call(ctx, &Request{Method: http.MethodPut, Path: path, Body: data})
}

// Patch changes what data names at a path and leaves the rest.
func (c *Client) Patch(ctx context.Context, path string, data any) (*Secret, error) {
	return c.Call(ctx, &Request{
		Method: http.MethodPatch, Path: path, Body: data, Header: http.Header{"Content-Type": {mergePatch}},
	})
}

// Delete deletes what is at a path.
func (c *Client) Delete(ctx context.Context, path string, query url.Values) (*Secret, error) {
	return c.Call(ctx, &Request{Method: http.MethodDelete, Path: path, Query: query})
}

// Unwrap returns the answer that a wrapping token keeps, once. Without a token
// the client's own is taken for it.
func (c *Client) Unwrap(ctx context.Context, token string) (*Secret, error) {
	req := &Request{Method: http.MethodPut, Path: "sys/wrapping/unwrap", Plain: true}
	if token != "" && token != c.cfg.Token {
		if c.cfg.Token == "" {
			c = c.With(func(cfg *Config) { cfg.Token = token })
		} else {
			req.Body = map[string]string{"token": token}
		}
	}
	return c.Call(ctx, req)
}
