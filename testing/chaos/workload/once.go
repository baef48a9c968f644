package workload

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

// once has things that may be used a number of times used by all nodes at once.
type once struct{}

// onceKinds name what is used.
var onceKinds = [...]string{"wrapping", "secret-id", "token"}

func (*once) Setup(ctx context.Context, c *Client) error {
	if err := c.must(ctx, http.MethodPost, "sys/auth/chaos", map[string]string{"type": "approle"}); err != nil {
		return err
	}
	// To use a secret id again counts as a guess, and enough of them lock the role.
	tuned := map[string]any{"user_lockout_config": map[string]any{"lockout_disable": true}}
	if err := c.must(ctx, http.MethodPost, "sys/auth/chaos/tune", tuned); err != nil {
		return err
	}
	return c.must(ctx, http.MethodPost, "auth/chaos/role/once", map[string]any{"secret_id_num_uses": 1, "role_id": "chaos-role", "token_ttl": "1m"})
}

func (o *once) Step(ctx context.Context, c *Client) {
	kind := c.rng.IntN(3)
	key := fmt.Sprintf("%s-%d-%d", onceKinds[kind], c.number, c.History.Now())
	switch kind {
	case 0:
		if token := c.wrap(ctx); token != "" {
			o.race(ctx, c, key, 1, func(node int) answer {
				return c.ask(ctx, node, http.MethodPost, "sys/wrapping/unwrap", token, nil)
			})
		}
	case 1:
		if id := c.secretID(ctx); id != "" {
			o.race(ctx, c, key, 1, func(node int) answer {
				return c.ask(ctx, node, http.MethodPost, "auth/chaos/login", "", map[string]string{"role_id": "chaos-role", "secret_id": id})
			})
		}
	case 2:
		uses := 1 + c.rng.IntN(3)
		if token := c.create(ctx, c.at(), c.Token, map[string]any{"policies": []string{"default"}, "num_uses": uses, "ttl": "1h"}); token != "" {
			o.race(ctx, c, key, uses, func(node int) answer {
				return c.ask(ctx, node, http.MethodGet, "auth/token/lookup-self", token, nil)
			})
		}
	}
}

// race uses a thing on all nodes, twice on each.
func (*once) race(_ context.Context, c *Client, key string, uses int, use func(node int) answer) {
	var all sync.WaitGroup
	for node := range c.Addresses {
		for range 2 {
			all.Go(func() {
				op := c.begin("once", "use", key, node)
				op.Expected = int64(uses)
				a := use(node)
				// A use may be counted whose request then fails.
				if op.Outcome = a.outcome(); op.Outcome == history.Failed && a.sent {
					op.Outcome = history.Unknown
				}
				c.end(op, a)
			})
		}
	}
	all.Wait()
}

// wrapPath answers with what it is given, wrapped.
const wrapPath = "sys/wrapping/wrap"

// wrap has an answer wrapped; "" if that fails.
func (c *Client) wrap(ctx context.Context) string {
	a := c.ask(ctx, c.at(), http.MethodPost, wrapPath, c.Token, map[string]string{"value": c.Secret})
	var out struct {
		Wrap struct {
			Token string `json:"token"`
		} `json:"wrap_info"`
	}
	a.into(&out)
	c.Given.add("wrapping", out.Wrap.Token)
	return out.Wrap.Token
}

func (c *Client) secretID(ctx context.Context) string {
	a := c.ask(ctx, c.at(), http.MethodPost, "auth/chaos/role/once/secret-id", c.Token, nil)
	var out struct {
		Data struct {
			ID string `json:"secret_id"`
		} `json:"data"`
	}
	a.into(&out)
	c.Given.add("secret-id", out.Data.ID)
	return out.Data.ID
}

func (*once) Finish(context.Context, *Client) error { return nil }
