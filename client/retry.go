package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"
)

// try sends until there is an answer to keep, the retries are spent or the
// caller's time is.
func (c *Client) try(ctx context.Context, req *Request, out *http.Request) (*http.Response, error) {
	wait := c.cfg.MinWait
	for left := c.cfg.MaxRetries; ; left-- {
		resp, err := c.send(out)
		if left <= 0 || req.Once || !again(req.Method, resp, err) {
			return resp, err
		}
		pause := jitter(wait)
		if resp != nil {
			pause = max(pause, min(retryAfter(resp), c.cfg.MaxWait))
			_ = resp.Body.Close()
		}
		if ctxErr := pauseFor(ctx, pause); ctxErr != nil {
			return nil, errors.Join(ctxErr, err)
		}
		wait = min(2*wait, c.cfg.MaxWait)
		if err := rewind(out); err != nil {
			return nil, err
		}
	}
}

// again reports whether to send once more. A write only if it cannot have been
// acted on: it was not sent, or was refused.
func again(method string, resp *http.Response, err error) bool {
	if err != nil {
		var op *net.OpError
		return errors.As(err, &op) && op.Op == "dial"
	}
	switch resp.StatusCode {
	case http.StatusPreconditionFailed, http.StatusTooManyRequests:
		return true
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return method == http.MethodGet || method == http.MethodHead
	}
	return false
}

// jitter spreads clients that fail together: half to all of d.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d/2+1) //nolint:gosec // not a secret
}

func retryAfter(resp *http.Response) time.Duration {
	seconds, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > 3600 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

func pauseFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
