package workload

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

// maxTrees bounds how many trees there are to use.
const maxTrees = 20

// tree is a token with a child and a grandchild.
type tree struct {
	name   string
	tokens []string
}

// trees are trees of tokens, used by all nodes while they are revoked.
type trees struct {
	mu    sync.Mutex
	trees []*tree
}

func (*trees) Setup(ctx context.Context, c *Client) error {
	return c.must(ctx, http.MethodPut, "sys/policies/acl/chaos-parent", map[string]string{
		"policy": `path "auth/token/create" { capabilities = ["update"] }`,
	})
}

func (t *trees) Step(ctx context.Context, c *Client) {
	switch c.rng.IntN(12) {
	case 0:
		t.plant(ctx, c)
	case 1:
		t.fell(ctx, c)
	default:
		t.use(ctx, c)
	}
}

// plant makes a tree; whatever fails leaves it smaller.
func (t *trees) plant(ctx context.Context, c *Client) {
	grown := &tree{name: fmt.Sprintf("t-%d-%d", c.number, c.History.Now())}
	parent := c.Token
	for range 3 {
		token := c.create(ctx, c.at(), parent, map[string]any{"policies": []string{"chaos-parent"}, "ttl": "1h"})
		if token == "" {
			break
		}
		grown.tokens = append(grown.tokens, token)
		parent = token
	}
	if len(grown.tokens) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.trees) < maxTrees {
		t.trees = append(t.trees, grown)
	}
}

// create makes a token; "" if that fails.
func (c *Client) create(ctx context.Context, node int, parent string, body map[string]any) (token string) {
	a := c.ask(ctx, node, http.MethodPost, "auth/token/create", parent, body)
	var out struct {
		Auth struct {
			Token string `json:"client_token"`
		} `json:"auth"`
	}
	a.into(&out)
	c.Given.add("token", out.Auth.Token)
	return out.Auth.Token
}

func (t *trees) pick(c *Client) *tree {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.trees) == 0 {
		return nil
	}
	return t.trees[c.rng.IntN(len(t.trees))]
}

func (t *trees) use(ctx context.Context, c *Client) {
	if picked := t.pick(c); picked != nil {
		c.use(ctx, picked, c.rng.IntN(len(picked.tokens)), c.at())
	}
}

// use has a node say whose a token is.
func (c *Client) use(ctx context.Context, of *tree, which, node int) {
	op := c.begin("token", "use", of.name, node)
	op.Value = fmt.Sprintf("generation %d", which)
	a := c.ask(ctx, node, http.MethodGet, "auth/token/lookup-self", of.tokens[which], nil)
	if a.status != http.StatusOK && a.status != http.StatusForbidden {
		op.Outcome = history.Failed
	}
	c.end(op, a)
}

// fell revokes the oldest of a tree, and then asks every node for all of them.
func (t *trees) fell(ctx context.Context, c *Client) {
	picked := t.pick(c)
	if picked == nil {
		return
	}
	op := c.begin("token", "revoke", picked.name, c.at())
	a := c.ask(ctx, op.Node, http.MethodPost, "auth/token/revoke", c.Token, map[string]string{"token": picked.tokens[0]})
	c.end(op, a)
	for which := range picked.tokens {
		c.use(ctx, picked, which, c.rng.IntN(len(c.Addresses)))
	}
	if op.Outcome = a.outcome(); op.Outcome == history.Failed {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, other := range t.trees {
		if other == picked {
			t.trees = append(t.trees[:i:i], t.trees[i+1:]...)
			return
		}
	}
}

// Finish has every node say whose the tokens are that are left.
func (t *trees) Finish(ctx context.Context, c *Client) error {
	for _, left := range t.trees {
		for node := range c.Addresses {
			for which := range left.tokens {
				c.use(ctx, left, which, node)
			}
		}
	}
	return nil
}
