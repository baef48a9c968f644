package upstream

import (
	"slices"
	"sync"
)

// maxPooled bounds how many clients are kept.
const maxPooled = 256

// Pool keeps clients by name for as long as their options stay the same. It is
// safe for concurrent use.
type Pool struct {
	mu   sync.Mutex
	kept map[string]pooled
}

type pooled struct {
	client  *Client
	options Options
}

// Get returns the client of a name.
func (p *Pool) Get(name string, o Options) (*Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	have, ok := p.kept[name]
	if ok && have.options.CAs == o.CAs && slices.Equal(have.options.ServerNames, o.ServerNames) {
		return have.client, nil
	}
	made, err := New(o)
	if err != nil {
		return nil, err
	}
	if ok {
		have.client.Close()
	} else if len(p.kept) >= maxPooled {
		for other, old := range p.kept { // any one: it is made again
			old.client.Close()
			delete(p.kept, other)
			break
		}
	}
	if p.kept == nil {
		p.kept = make(map[string]pooled)
	}
	p.kept[name] = pooled{made, o}
	return made, nil
}
