package issued_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

// place is what a test's engine makes users at: a database, as far as leases go.
type place struct {
	mu    sync.Mutex
	users map[string]time.Time
	marks map[string]string
	stuck map[string]bool // by target
	// asked counts how often each lease was to be undone.
	asked map[string]int
	// during, if set, runs inside of Create, before and after the user is made.
	during func(ctx context.Context, user string, made bool) error
	// undoing, if set, runs before anything is undone.
	undoing func(ctx context.Context)
	names   atomic.Int64
	calls   atomic.Int64
	extend  error
}

func newPlace() *place {
	return &place{users: make(map[string]time.Time), marks: make(map[string]string), stuck: make(map[string]bool), asked: make(map[string]int)}
}

type undo struct{ Target, User string }

func (p *place) engine() *engines.Engine {
	return &engines.Engine{
		Type: "fake", Class: engines.ClassSecret, Help: "Makes users.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{Help: "Users.", Routes: []engines.Route{
				{Pattern: "config", Help: "Write the settings.", Fields: []engines.Field{{Name: "text", Type: engines.String, Help: "Any."}}, Ops: []engines.Op{{
					Do: engines.Update, Trait: engines.Writes, Handler: func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
						return nil, tx.Put("config", []byte(req.Fields.String("text")))
					},
				}}},
				{
					Pattern: "creds/{name}", Help: "Make a user.", Fields: []engines.Field{
						{Name: "name", Type: engines.String, Help: "Target."},
						{Name: "ttl", Type: engines.Seconds, Query: true, Help: "TTL."},
						{Name: "max_ttl", Type: engines.Seconds, Query: true, Help: "Most."},
						{Name: "owner", Query: true, Help: "Owner."},
					},
					Ops: []engines.Op{{Do: engines.Read, Trait: engines.Issues, Handler: p.creds}},
				},
			}}, nil
		},
		Revoke: p.revoke,
		Marked: p.marked,
		Extend: func(_ context.Context, _ *engines.Reach, e *engines.Extension) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			var u undo
			if err := json.Unmarshal(e.Undo, &u); err != nil {
				return err
			}
			if p.extend == nil {
				p.users[u.User] = e.Expires
			}
			return p.extend
		},
	}
}

func (p *place) creds(_ context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
	u := undo{Target: req.Fields.String("name"), User: fmt.Sprintf("u-%d", p.names.Add(1))}
	blob, err := json.Marshal(u)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Grant: &engines.Grant{
		Role: u.Target, What: map[string]string{"username": u.User}, Target: u.Target, Undo: blob,
		TTL: req.Fields.Duration("ttl"), MaxTTL: req.Fields.Duration("max_ttl"), Renewable: true,
		Owner: engines.LeaseOwner(req.Fields.String("owner")),
		Create: func(ctx context.Context, l *engines.Granted) (any, error) {
			p.mu.Lock()
			during := p.during
			p.mu.Unlock()
			if during != nil {
				if err := during(ctx, u.User, false); err != nil {
					return nil, err
				}
			}
			p.mu.Lock()
			p.users[u.User], p.marks[u.User] = l.Expires, l.Mark(u.User)
			p.mu.Unlock()
			if during != nil {
				if err := during(ctx, u.User, true); err != nil {
					return nil, err
				}
			}
			return map[string]string{"username": u.User, "password": "p"}, nil
		},
	}}, nil
}

func (p *place) revoke(ctx context.Context, reach *engines.Reach, list []engines.Revocation) []error {
	p.calls.Add(1)
	if p.undoing != nil {
		p.undoing(ctx)
	}
	out := make([]error, len(list))
	err := reach.Look(func(tx engines.Tx) error {
		entry, err := tx.Get("config")
		if err == nil && entry == nil {
			err = fmt.Errorf("the mount's storage is gone")
		}
		return err
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range list {
		p.asked[r.LeaseID]++
		var u undo
		if out[i] = json.Unmarshal(r.Undo, &u); err != nil {
			out[i] = err
		}
		if p.stuck[r.Target] {
			out[i] = fmt.Errorf("target %s is down", r.Target)
		}
		if out[i] == nil {
			delete(p.users, u.User)
		}
	}
	return out
}

// marked lists the users of all targets as if there were one.
func (p *place) marked(context.Context, *engines.Reach, string) (list []engines.Found, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for name := range p.users {
		blob, err := json.Marshal(undo{User: name})
		if err != nil {
			return nil, err
		}
		list = append(list, engines.Found{Name: name, Mark: p.marks[name], Undo: blob})
	}
	return list, nil
}

func (p *place) interrupt(during func(ctx context.Context, user string, made bool) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.during = during
}

func (p *place) jam(target string, stuck bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stuck[target] = stuck
}

func (p *place) list() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.users))
}

// start starts a server on which the engine is mounted at fake/.
func start(t *testing.T, p *place, list ...kit.Option) *kit.Server {
	t.Helper()
	s := kit.New(t, append(list, kit.Engines(p.engine()))...)
	mount(s)
	return s
}

func mount(s *kit.Server) {
	s.Put("sys/mounts/fake", body{"type": "fake"})
	s.Put("fake/config", body{"text": "x"})
}

// leased lists the leases below a folder, and the users that live ones are for.
func leased(s *kit.Server, dir string) (ids, users []string) {
	resp := s.Do(kit.Request{Method: "LIST", Path: "sys/leases/lookup/" + dir})
	if resp.Status != http.StatusOK {
		return nil, nil
	}
	for _, key := range resp.Strings("data", "keys") {
		got := s.Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/lookup", Body: body{"lease_id": dir + "/" + key}})
		if got.Status != http.StatusOK {
			continue // not confirmed
		}
		ids = append(ids, dir+"/"+key)
		if got.Text("data", "state") == "live" {
			users = append(users, got.Text("data", "created", "username"))
		}
	}
	slices.Sort(users)
	return ids, users
}

// eventually waits until something is so.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline:
			t.Fatalf("not so in time: %s", what)
		case <-tick.C:
		}
	}
}

// settles waits until the users are exactly those.
func settles(t *testing.T, p *place, want ...string) {
	t.Helper()
	slices.Sort(want)
	eventually(t, fmt.Sprintf("users are %q", want), func() bool { return slices.Equal(p.list(), want) })
}
