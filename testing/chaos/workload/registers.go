package workload

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

const (
	// registersAtOnce are few, so that clients meet at them; each is left for
	// another after a while, so that its history stays short enough to be checked.
	registersAtOnce = 3
	registerLife    = 5 * time.Second
)

// registers are secrets with versions, written with and without cas.
type registers struct{}

func (*registers) Setup(context.Context, *Client) error { return nil }

func (*registers) Step(ctx context.Context, c *Client) {
	key := fmt.Sprintf("r-%s-%d-%d", c.Canary, c.History.Now()/int64(registerLife), c.rng.IntN(registersAtOnce))
	switch c.rng.IntN(8) {
	case 0, 1:
		c.put(ctx, key, -1)
	case 2, 3:
		if version, ok := c.get(ctx, key); ok {
			c.put(ctx, key, version)
		}
	case 4:
		c.metadata(ctx, key)
	default:
		c.get(ctx, key)
	}
}

// put writes a version; with expected >= 0 only after that one.
func (c *Client) put(ctx context.Context, key string, expected int64) {
	op := c.begin("register", "write", key, c.at())
	op.Value = c.next()
	body := map[string]any{"data": map[string]string{"value": op.Value}}
	if expected >= 0 {
		op.Kind, op.Expected = "cas", expected
		body["options"] = map[string]int64{"cas": expected}
	}
	a := c.ask(ctx, op.Node, http.MethodPost, "chaos/data/"+key, c.Token, body)
	var out struct {
		Data struct {
			Version int64 `json:"version"`
		} `json:"data"`
	}
	a.into(&out)
	op.Version = out.Data.Version
	c.end(op, a)
}

// get reads the newest version. There is none: version 0.
func (c *Client) get(ctx context.Context, key string) (version int64, ok bool) {
	op := c.begin("register", "read", key, c.at())
	a := c.ask(ctx, op.Node, http.MethodGet, "chaos/data/"+key, c.Token, nil)
	var out struct {
		Data struct {
			Data     map[string]string `json:"data"`
			Metadata struct {
				Version int64 `json:"version"`
			} `json:"metadata"`
		} `json:"data"`
	}
	a.into(&out)
	op.Value, op.Version = out.Data.Data["value"], out.Data.Metadata.Version
	op.Outcome = found(a)
	c.end(op, a)
	return op.Version, op.Outcome == history.Done
}

// metadata reads which version is the newest, from another row than its data.
func (c *Client) metadata(ctx context.Context, key string) {
	op := c.begin("register", "metadata", key, c.at())
	a := c.ask(ctx, op.Node, http.MethodGet, "chaos/metadata/"+key, c.Token, nil)
	var out struct {
		Data struct {
			Current int64 `json:"current_version"`
		} `json:"data"`
	}
	a.into(&out)
	op.Version, op.Outcome = out.Data.Current, found(a)
	c.end(op, a)
}

// found is the outcome of a read, to which nothing being there is an answer.
func found(a answer) history.Outcome {
	if a.status == http.StatusOK || a.status == http.StatusNotFound {
		return history.Done
	}
	return history.Failed
}

func (*registers) Finish(context.Context, *Client) error { return nil }
