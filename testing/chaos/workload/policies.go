package workload

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

const (
	// policyLife is how many operations one policy has.
	policyLife = 150
	allow      = "allow"
	deny       = "deny"
)

// policies are changed to and fro, while all nodes are asked for what they allow:
// as a register is written and read.
type policies struct {
	mu    sync.Mutex
	name  string
	token string
	left  int
}

func (*policies) Setup(ctx context.Context, c *Client) error {
	return c.must(ctx, http.MethodPost, "chaos/data/probe", map[string]any{"data": map[string]string{"value": c.Secret}})
}

func (p *policies) Step(ctx context.Context, c *Client) {
	name, token := p.current(ctx, c)
	switch {
	case name == "":
	case c.rng.IntN(6) > 0:
		c.probe(ctx, name, token, c.at())
	case c.rng.IntN(2) == 0:
		c.decide(ctx, name, allow)
	default:
		c.decide(ctx, name, deny)
	}
}

// current is the policy in use, and a token that has it. Another one takes its
// place in time; "" if that fails.
func (p *policies) current(ctx context.Context, c *Client) (name, token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left--; p.left < 0 {
		p.name = fmt.Sprintf("chaos-%d-%d", c.number, c.History.Now())
		p.token = c.create(ctx, c.at(), c.Token, map[string]any{"policies": []string{p.name}, "ttl": "1h"})
		// Its first verdict is known, since reads before have no value to compare with.
		if p.token == "" || !c.decide(ctx, p.name, deny) {
			p.left = 0
			return "", ""
		}
		p.left = policyLife
	}
	return p.name, p.token
}

func (c *Client) decide(ctx context.Context, name, verdict string) bool {
	op := c.begin("policy", "write", name, c.at())
	op.Value = verdict
	capability := map[string]string{allow: "read", deny: "deny"}[verdict]
	a := c.ask(ctx, op.Node, http.MethodPut, "sys/policies/acl/"+name, c.Token, map[string]string{
		"policy": fmt.Sprintf("path \"chaos/data/probe\" { capabilities = [%q] }", capability),
	})
	c.end(op, a)
	return a.outcome() == history.Done
}

// probe asks for what the policy may allow.
func (c *Client) probe(ctx context.Context, name, token string, node int) {
	op := c.begin("policy", "read", name, node)
	a := c.ask(ctx, node, http.MethodGet, "chaos/data/probe", token, nil)
	switch a.status {
	case http.StatusOK:
		op.Value, op.Outcome = allow, history.Done
	case http.StatusForbidden:
		op.Value, op.Outcome = deny, history.Done
	default:
		op.Outcome = history.Failed
	}
	c.end(op, a)
}

func (*policies) Finish(context.Context, *Client) error { return nil }
