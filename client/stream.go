package client

import (
	"context"
	"io"
	"net/http"
)

// Stream sends a body as it is read, once, and returns the answer's to be read
// and closed. Neither is bounded in time but by ctx, nor in size. A status of 400
// or more is an *Error.
func (c *Client) Stream(ctx context.Context, req *Request, body io.Reader) (io.ReadCloser, error) {
	if err := checkToken(c.cfg.Token); err != nil {
		return nil, err
	}
	out, err := c.newRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	if body != nil {
		out.Body, out.ContentLength, out.GetBody = io.NopCloser(body), -1, nil
		out.Header.Set("Content-Type", "application/octet-stream")
	}
	resp, err := c.http.Do(out)
	if err != nil {
		return nil, withoutURL(err)
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxBody))
	if err != nil {
		return nil, err
	}
	return nil, newError(out, &Response{Status: resp.StatusCode, Header: resp.Header, Body: text}, c.cfg.Namespace)
}
