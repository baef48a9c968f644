package rig

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/coffer-secrets/coffer/testing/harness/netns"
)

// Capture looks at all packets for words that must not be in those between nodes.
// What clients send is plain here, and shows that it sees.
type Capture struct {
	words [][]byte
	// Bytes is how much nodes have sent each other, and Plain how many packets
	// between clients and nodes had one of the words.
	Bytes, Plain atomic.Int64

	mu    sync.Mutex
	found []string
}

// Capture begins to look at packets; nil where there are none to be seen.
func (r *Rig) Capture(words ...string) *Capture {
	if r.hosts == nil {
		return nil
	}
	c := new(Capture)
	for _, w := range words {
		c.words = append(c.words, []byte(w))
	}
	nodes := slices.Clone(r.Hosts)
	r.hosts.Tap(func(from, to *netns.Host, packet []byte) {
		sends, gets := slices.Index(nodes, from), slices.Index(nodes, to)
		switch {
		case sends >= 0 && gets >= 0:
			c.Bytes.Add(int64(len(packet)))
			if w := c.in(packet); w != "" {
				c.add(fmt.Sprintf("node %d sends node %d %q", sends, gets, w))
			}
		case from == r.Outside && gets >= 0 && c.in(packet) != "":
			c.Plain.Add(1)
		}
	})
	return c
}

// in is the word that a packet holds; "": none.
func (c *Capture) in(packet []byte) string {
	for _, w := range c.words {
		if bytes.Contains(packet, w) {
			return string(w)
		}
	}
	return ""
}

// mostFound bounds what is kept of what was found.
const mostFound = 20

func (c *Capture) add(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.found) < mostFound {
		c.found = append(c.found, text)
	}
}

// Found is what must not have been sent.
func (c *Capture) Found() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.found)
}
