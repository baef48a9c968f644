package workload

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

const (
	setCount = 4
	pageSize = 50
)

// sets are folders of secrets, each of which is written once, and removed at
// most once.
type sets struct {
	mu    sync.Mutex
	added [setCount][]string
}

func (*sets) Setup(context.Context, *Client) error { return nil }

func (s *sets) Step(ctx context.Context, c *Client) {
	set := c.rng.IntN(setCount)
	switch c.rng.IntN(6) {
	case 0:
		c.list(ctx, set, c.at(), listings[c.rng.IntN(len(listings))])
	case 1:
		if element := s.take(c, set); element != "" {
			c.change(ctx, "remove", set, element)
		}
	default:
		element := c.name()
		c.change(ctx, "add", set, element)
		s.mu.Lock()
		s.added[set] = append(s.added[set], element)
		s.mu.Unlock()
	}
}

// take gives an element to who is to remove it.
func (s *sets) take(c *Client, set int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.added[set]
	if len(list) == 0 {
		return ""
	}
	i := c.rng.IntN(len(list))
	element := list[i]
	list[i] = list[len(list)-1]
	s.added[set] = list[:len(list)-1]
	return element
}

func setName(set int) string { return fmt.Sprintf("set-%d", set) }

func (c *Client) change(ctx context.Context, kind string, set int, element string) {
	op := c.begin("set", kind, setName(set), c.at())
	op.Value = element
	var a answer
	if kind == "add" {
		body := map[string]any{"options": map[string]int{"cas": 0}, "data": map[string]string{"value": c.Secret}}
		a = c.ask(ctx, op.Node, http.MethodPost, "chaos/data/"+op.Key+"/"+element, c.Token, body)
	} else {
		a = c.ask(ctx, op.Node, http.MethodDelete, "chaos/metadata/"+op.Key+"/"+element, c.Token, nil)
	}
	c.end(op, a)
}

// The ways to list a set.
const (
	whole = "list=true"
	paged = "list=true&limit="
	scan  = "scan=true" // with what is below it, which is nothing
)

var listings = [...]string{whole, paged, scan}

// list lists a set.
func (c *Client) list(ctx context.Context, set, node int, how string) bool {
	op := c.begin("set", "list", setName(set), node)
	var a answer
	for after := ""; ; {
		path := "chaos/metadata/" + op.Key + "?" + how
		if how == paged {
			path += fmt.Sprintf("%d&after=%s", pageSize, url.QueryEscape(after))
		}
		a = c.ask(ctx, node, http.MethodGet, path, c.Token, nil)
		var page struct {
			Data struct {
				Keys []string `json:"keys"`
			} `json:"data"`
		}
		a.into(&page)
		keys := page.Data.Keys
		op.List = append(op.List, keys...)
		if how != paged || len(keys) < pageSize || found(a) != history.Done {
			break
		}
		after = keys[len(keys)-1]
	}
	op.Outcome = found(a)
	if how == paged {
		a.index = 0 // each page has one
	}
	c.end(op, a)
	return op.Outcome == history.Done
}

// Finish has every node list all sets.
func (*sets) Finish(ctx context.Context, c *Client) error {
	for node := range c.Addresses {
		for set := range setCount {
			if !c.list(ctx, set, node, whole) {
				return fmt.Errorf("workload: node %d does not list %s once all is healed", node, setName(set))
			}
		}
	}
	return nil
}
