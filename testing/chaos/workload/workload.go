package workload

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// Work is one kind of work. A new one is made for each run.
type Work interface {
	// Setup makes what the work needs, before anything is tormented.
	Setup(ctx context.Context, c *Client) error
	// Step does one thing, or a few that belong together.
	Step(ctx context.Context, c *Client)
	// Finish looks at what has become of it, when all is healed.
	Finish(ctx context.Context, c *Client) error
}

// Users is the work that takes a database.
const Users = "database"

// all are the kinds of work.
var all = map[string]func() Work{
	"register":    func() Work { return new(registers) },
	"transaction": func() Work { return new(transactions) },
	"set":         func() Work { return new(sets) },
	"token":       func() Work { return new(trees) },
	"once":        func() Work { return new(once) },
	"policy":      func() Work { return new(policies) },
	Users:         func() Work { return new(users) },
}

// Names are those of all kinds of work.
func Names() []string {
	var names []string
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Pick makes those that are asked for, by a list with commas; "" or "all": all.
func Pick(list string) (map[string]Work, error) {
	names := Names()
	if list != "" && list != "all" {
		names = strings.Split(list, ",")
	}
	picked := make(map[string]Work)
	for _, name := range names {
		if all[name] == nil {
			return nil, fmt.Errorf("there is no work %q; there are %s", name, strings.Join(Names(), ", "))
		}
		picked[name] = all[name]()
	}
	return picked, nil
}

// must is for Setup: nothing may fail there.
func (c *Client) must(ctx context.Context, method, path string, body any) error {
	if a := c.ask(ctx, 0, method, path, c.Token, body); a.status < 200 || a.status > 299 {
		return fmt.Errorf("workload: %s %s: status %d: %s", method, path, a.status, a.body)
	}
	return nil
}

// Run has a client do a work until ctx ends.
func Run(ctx context.Context, w Work, c *Client) {
	for ctx.Err() == nil {
		w.Step(ctx, c)
		c.pause(ctx)
	}
	c.http.CloseIdleConnections()
}
