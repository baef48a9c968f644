package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// Request is what to ask.
type Request struct {
	Method string
	// Path is below /v1/ and not escaped. It is sent as it is: not cleaned.
	Path   string
	Query  url.Values
	Header http.Header
	// Body is sent as JSON; a json.RawMessage as it is; nil as nothing.
	Body any
	// Anonymous sends no token.
	Anonymous bool
	// Plain asks for an answer that is not wrapped, whatever the client wants.
	Plain bool
	// Once takes the first answer, whatever it is: no retry.
	Once bool
}

// Response is an answer with a status below 400.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Decode reads the body's JSON into v, numbers exact.
func (r *Response) Decode(v any) error {
	d := json.NewDecoder(bytes.NewReader(r.Body))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("client: the answer is not the JSON that was expected: %w", err)
	}
	return nil
}

// newRequest builds what is sent. Sending it again reads the body anew.
func (c *Client) newRequest(ctx context.Context, req *Request) (*http.Request, error) {
	u := *c.base
	u.Path += "/v1/" + strings.TrimLeft(req.Path, "/")
	u.RawQuery = req.Query.Encode()
	var body io.Reader
	if req.Body != nil {
		text, err := encode(req.Body)
		if err != nil {
			return nil, fmt.Errorf("client: write the request's JSON: %w", err)
		}
		body = bytes.NewReader(text)
	}
	out, err := http.NewRequestWithContext(ctx, req.Method, u.String(), body)
	if err != nil {
		return nil, fmt.Errorf("client: the request cannot be built: %w", err)
	}
	maps.Copy(out.Header, c.cfg.Header.Clone())
	maps.Copy(out.Header, req.Header.Clone())
	out.Header.Set("X-Vault-Request", "true")
	if c.cfg.Token != "" && !req.Anonymous {
		out.Header.Set("X-Vault-Token", c.cfg.Token)
	}
	if c.cfg.Namespace != "" {
		out.Header.Set("X-Vault-Namespace", c.cfg.Namespace)
	}
	if c.cfg.WrapTTL != "" && !req.Plain {
		out.Header.Set("X-Vault-Wrap-TTL", c.cfg.WrapTTL)
	}
	if body != nil && out.Header.Get("Content-Type") == "" {
		out.Header.Set("Content-Type", "application/json")
	}
	return out, nil
}

// encode leaves &, < and > as they are: nothing here is HTML.
func encode(v any) ([]byte, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return raw, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
