package workload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

// patience is how long a client waits for one answer: longer than a node may
// hold a request.
const patience = 6 * time.Second

// Target is the cluster as clients know it.
type Target struct {
	Addresses []string
	Token     string
	History   *history.Recorder
	// Canary is in all names and Secret in all values, so that they can be searched
	// for where they must not be.
	Canary, Secret string
	Seed           uint64
	// Given are some secrets that the cluster itself has made.
	Given Given
	// Database is where users are made; nil: nowhere.
	Database Database
}

// Given are secrets that were given out: the first of each kind.
type Given struct {
	mu    sync.Mutex
	kinds map[string]int
	words []string
}

// mostGiven bounds how many of each kind are kept.
const mostGiven = 10

func (g *Given) add(kind, word string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if word == "" || g.kinds[kind] >= mostGiven {
		return
	}
	if g.kinds == nil {
		g.kinds = make(map[string]int)
	}
	g.kinds[kind]++
	g.words = append(g.words, word)
}

// Words are those that were kept.
func (g *Given) Words() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.words)
}

// Client asks for one thing after the other.
type Client struct {
	*Target

	number  int
	pinned  int // the node it stays with; -1: it roams
	rng     *rand.Rand
	http    *http.Client
	counter int
}

// NewClient makes a client. The first few are pinned, one to each node.
func NewClient(t *Target, number int) *Client {
	c := &Client{
		Target: t, number: number, pinned: -1,
		rng:  rand.New(rand.NewPCG(t.Seed, uint64(number)+1000)), // #nosec G115 G404 -- repeatable
		http: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
	}
	if number < len(t.Addresses) {
		c.pinned = number
	}
	return c
}

// at is the node to ask next.
func (c *Client) at() int {
	if c.pinned >= 0 {
		return c.pinned
	}
	return c.rng.IntN(len(c.Addresses))
}

// next is a value that nobody else writes.
func (c *Client) next() string {
	c.counter++
	return fmt.Sprintf("%s-%d-%d", c.Secret, c.number, c.counter)
}

// name is one that nobody else uses.
func (c *Client) name() string {
	c.counter++
	return fmt.Sprintf("%s-%d-%d", c.Canary, c.number, c.counter)
}

// answer is what a client was told. Status 0: nothing; sent says then that the
// request may have arrived.
type answer struct {
	status int
	sent   bool
	index  uint64
	body   []byte
}

// into decodes the answer's body; what does not decode leaves out as it is.
func (a answer) into(out any) { _ = json.Unmarshal(a.body, out) }

// outcome is that of a change. Only 504 and no answer leave it in doubt.
func (a answer) outcome() history.Outcome {
	switch {
	case a.status >= 200 && a.status < 300:
		return history.Done
	case a.status == http.StatusGatewayTimeout, a.status == 0 && a.sent:
		return history.Unknown
	case a.status == http.StatusBadRequest, a.status == http.StatusForbidden, a.status == http.StatusNotFound:
		return history.Refused
	}
	return history.Failed
}

// ask sends one request to a node, and not again.
func (c *Client) ask(ctx context.Context, node int, method, path, token string, body any) answer {
	var payload io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{}
		}
		payload = bytes.NewReader(text)
	}
	// What has begun is waited for, so that little is in doubt at the end.
	req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), method, c.Addresses[node]+"/v1/"+path, payload)
	if err != nil {
		return answer{}
	}
	req.Header.Set("X-Vault-Token", token)
	if path == wrapPath {
		req.Header.Set("X-Vault-Wrap-TTL", "1h")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.http.CloseIdleConnections() // they may be dead too
		op := (*net.OpError)(nil)
		return answer{sent: !errors.As(err, &op) || op.Op != "dial"}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return answer{sent: true}
	}
	index, _ := strconv.ParseUint(resp.Header.Get("X-Coffer-Index"), 10, 64)
	return answer{status: resp.StatusCode, sent: true, index: index, body: text}
}

// begin is an operation that begins now.
func (c *Client) begin(work, kind, key string, node int) history.Op {
	return history.Op{Work: work, Kind: kind, Key: key, Client: c.number, Node: node, Call: c.History.Now()}
}

// end keeps an operation that was answered.
func (c *Client) end(op history.Op, a answer) {
	op.Return, op.Status, op.Index = c.History.Now(), a.status, a.index
	if op.Outcome == "" {
		op.Outcome = a.outcome()
	}
	c.History.Add(op)
}

// pause lets some time pass, so that a run has more faults than operations can
// hide.
func (c *Client) pause(ctx context.Context) {
	timer := time.NewTimer(time.Duration(c.rng.IntN(40)) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
