package workload

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

const (
	// groupsAtOnce and groupLife are as for registers.
	groupsAtOnce = 2
	groupLife    = 5 * time.Second
	// groupSize is how many secrets are written together.
	groupSize = 4
)

// transactions write several secrets at once, always all of a group and with the
// same value. So a group is one register: whoever reads all of it, or any one of
// it, reads what was written last.
type transactions struct{}

func (*transactions) Setup(context.Context, *Client) error { return nil }

func (*transactions) Step(ctx context.Context, c *Client) {
	key := fmt.Sprintf("t-%s-%d-%d", c.Canary, c.History.Now()/int64(groupLife), c.rng.IntN(groupsAtOnce))
	switch c.rng.IntN(6) {
	case 0, 1:
		c.putAll(ctx, key, -1)
	case 2:
		if version, ok := c.getAll(ctx, key); ok {
			c.putAll(ctx, key, version)
		}
	case 3:
		c.getOne(ctx, key)
	default:
		c.getAll(ctx, key)
	}
}

// asked is one operation of several.
type asked struct {
	Operation string         `json:"operation"`
	Path      string         `json:"path"`
	Data      map[string]any `json:"data,omitempty"`
}

// members asks the same of each secret of a group.
func members(key, operation string, data map[string]any) map[string][]asked {
	list := make([]asked, groupSize)
	for i := range list {
		list[i] = asked{operation, fmt.Sprintf("chaos/data/%s/%d", key, i), data}
	}
	return map[string][]asked{"operations": list}
}

// one is what an answer tells of one secret.
type one struct {
	Data struct {
		Data     map[string]string `json:"data"`
		Version  int64             `json:"version"`
		Metadata struct {
			Version int64 `json:"version"`
		} `json:"metadata"`
	} `json:"data"`
}

func (c *Client) putAll(ctx context.Context, key string, expected int64) {
	op := c.begin("transaction", "write", key, c.at())
	op.Value = c.next()
	data := map[string]any{"data": map[string]string{"value": op.Value}}
	if expected >= 0 {
		op.Kind, op.Expected = "cas", expected
		data["options"] = map[string]int64{"cas": expected}
	}
	a := c.ask(ctx, op.Node, http.MethodPost, "sys/transaction", c.Token, members(key, "update", data))
	var out struct {
		Data struct {
			Operations []one `json:"operations"`
		} `json:"data"`
	}
	a.into(&out)
	for _, o := range out.Data.Operations {
		op.Version = max(op.Version, o.Data.Version)
	}
	c.end(op, a)
}

// getAll reads a group. What is not the same in all of it is a value that nobody
// has written.
func (c *Client) getAll(ctx context.Context, key string) (version int64, ok bool) {
	op := c.begin("transaction", "read", key, c.at())
	a := c.ask(ctx, op.Node, http.MethodPost, "sys/transaction", c.Token, members(key, "read", nil))
	var out struct {
		Data struct {
			Operations []one `json:"operations"`
		} `json:"data"`
	}
	a.into(&out)
	op.Value, op.Version = same(out.Data.Operations)
	if op.Outcome = history.Failed; a.status == http.StatusOK {
		op.Outcome = history.Done
	}
	c.end(op, a)
	return op.Version, op.Outcome == history.Done
}

func same(list []one) (value string, version int64) {
	var values []string
	for i, o := range list {
		value, version = o.Data.Data["value"], o.Data.Metadata.Version
		values = append(values, fmt.Sprintf("%s v%d", value, version))
		if values[i] != values[0] {
			return "torn: " + strings.Join(values, ", "), version
		}
	}
	return value, version
}

// getOne reads one secret of a group by itself.
func (c *Client) getOne(ctx context.Context, key string) {
	op := c.begin("transaction", "read", key, c.at())
	a := c.ask(ctx, op.Node, http.MethodGet, fmt.Sprintf("chaos/data/%s/%d", key, c.rng.IntN(groupSize)), c.Token, nil)
	var out one
	a.into(&out)
	op.Value, op.Version, op.Outcome = out.Data.Data["value"], out.Data.Metadata.Version, found(a)
	c.end(op, a)
}

func (*transactions) Finish(context.Context, *Client) error { return nil }
