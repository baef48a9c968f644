package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/cubbyhole"
	"github.com/coffer-secrets/coffer/engines/kv"
)

const (
	// quiet is how long everything may take to settle: creations that count as
	// failed only when their time is over, and pauses between attempts.
	quiet = 20 * time.Minute
	// slack is how much sooner than a client counts a lease may end: answers tell
	// whole seconds.
	slack = time.Second
)

// estate is a cluster whose cores make users of a database.
type estate struct {
	*world
	database *database
	root     string
	key      string
}

// RunLeases runs a schedule in which clients ask for users, and renew and revoke
// their leases and the tokens that own them.
func RunLeases(s Schedule) (*Result, error) {
	e := &estate{database: newDatabase(s.Seed, s.Bugs)}
	e.world = &world{tick: time.Second, grow: e.grow}
	defer e.database.busy.Wait()
	defer e.close()
	if err := e.begin(s.Seed, s.Nodes, s.Bugs); err != nil {
		return nil, err
	}
	if err := e.open(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.Duration)
	defer cancel()
	out := new(Result)
	var group sync.WaitGroup
	for i := range s.Clients {
		t := &tenant{estate: e, rng: rand.New(rand.NewPCG(s.Seed, uint64(i)+10))} //nolint:gosec // repeatable
		group.Go(func() { t.run(ctx) })
	}
	err := e.disturb(ctx, e.faults(), func(name string) { out.Faults = append(out.Faults, name) })
	group.Wait()
	if err == nil {
		err = e.settle()
	}
	out.Operations = e.database.made
	e.mu.Lock()
	defer e.mu.Unlock()
	return out, errors.Join(err, e.failed, e.database.failed)
}

// faults are those under which a minority is down at a time, and one host's clock
// is set: when all nodes were down, it takes most clocks to tell how long.
func (e *estate) faults() []fault {
	list := slices.DeleteFunc(faults(), func(f fault) bool { return f.name == "power loss of all" })
	for i := range list {
		if list[i].name == "set a clock" {
			list[i].do = func(_ context.Context, w *world) { w.set(w.ids[0]) }
		}
		do := list[i].do
		list[i].do = func(ctx context.Context, w *world) {
			for _, id := range w.ids {
				if w.down(id) {
					return
				}
			}
			do(ctx, w)
		}
	}
	return list
}

func (e *estate) grow(id string, n *cluster.Node) (*core.Core, error) {
	c, err := core.New(context.Background(), core.Config{
		Node: replica{n, id, e.bugs}, Engines: []*engines.Engine{cubbyhole.New(), kv.New(), e.database.engine()},
		Logger: slog.New(slog.DiscardHandler), Limits: mounts.Limits{Default: time.Hour, Max: 24 * time.Hour}, Info: core.Info{Version: "1.0.0-test", StartTime: time.Now()},
	})
	if err == nil && e.key != "" {
		e.closing.Go(func() { e.unseal(id, c) })
	}
	return c, err
}

// unseal unseals a node once it has what it takes, unless it is down by then.
func (e *estate) unseal(id string, c *core.Core) {
	for {
		time.Sleep(100 * time.Millisecond)
		e.mu.Lock()
		there := e.hosts[id].core == c
		e.mu.Unlock()
		if !there || c.Unsealed() != nil {
			return
		}
		_, _ = c.SubmitUnsealKey(context.Background(), e.key) // again if it cannot yet
	}
}

// open initialises the cluster, unseals its nodes and mounts the engine.
func (e *estate) open() error {
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	made, err := e.hosts[e.ids[0]].core.Init(ctx, core.InitRequest{Shares: 1, Threshold: 1})
	if err != nil {
		return err
	}
	e.root, e.key = made.RootToken, made.Hex[0]
	for _, id := range e.ids {
		h := e.hosts[id]
		if err := h.node.WaitApplied(ctx, e.hosts[e.ids[0]].node.Status().Applied); err != nil {
			return err
		}
		if _, err := h.core.SubmitUnsealKey(ctx, e.key); err != nil {
			return err
		}
	}
	_, err = e.ask(ctx, e.root, engines.Update, "sys/mounts/users", `{"type":"users"}`, nil)
	return err
}

// ask asks the node that leads, until there is an answer or ctx ends. What may
// have been done is not asked for again.
func (e *estate) ask(ctx context.Context, token string, op engines.Operation, path, body string, query map[string][]string) (*answer.Envelope, error) {
	for {
		out, err := e.once(ctx, &core.Inbound{
			ID: "request", Op: op, Path: path, Query: query, Body: []byte(body), Token: token, Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}),
		})
		if err == nil {
			return out, nil
		}
		var known *engines.Error
		again := errors.Is(err, errUnreached) || errors.As(err, &known) && known.Kind == engines.KindUnavailable
		if !again || ctx.Err() != nil {
			return nil, err
		}
		wait(ctx, 50*time.Millisecond)
	}
}

func (e *estate) once(ctx context.Context, in *core.Inbound) (*answer.Envelope, error) {
	at := e.leader()
	e.mu.Lock()
	c := e.hosts[at].core
	e.mu.Unlock()
	if c == nil {
		return nil, errUnreached
	}
	out, err := c.Handle(ctx, in)
	e.mu.Lock()
	lost := e.hosts[at].core != c
	e.mu.Unlock()
	if lost { // with the node that had it
		return nil, &engines.Error{Kind: engines.KindUnknownOutcome, Message: "the answer is lost"}
	}
	if err != nil {
		return nil, err
	}
	if out.Envelope == nil {
		return &answer.Envelope{}, nil
	}
	return out.Envelope, nil
}

// tenant is a client with tokens and leases.
type tenant struct {
	*estate
	rng    *rand.Rand
	token  string
	leases map[string]string // users by the ids of their leases
}

func (t *tenant) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait(ctx, time.Duration(t.rng.IntN(1000))*time.Millisecond)
		op, cancel := context.WithTimeout(context.Background(), 4*patience)
		switch n := t.rng.IntN(20); {
		case t.token == "":
			t.login(op)
		case n < 12:
			t.issue(op)
		case n < 16:
			t.renew(op)
		case n < 19:
			t.revoke(op)
		default:
			t.logout(op)
		}
		cancel()
	}
}

func (t *tenant) login(ctx context.Context) {
	out, err := t.ask(ctx, t.root, engines.Update, "auth/token/create", `{"policies":["root"],"ttl":"1h"}`, nil)
	if err == nil && out.Auth != nil {
		t.token, t.leases = out.Auth.ClientToken, make(map[string]string)
	}
}

// owe notes what an answer promises, counted from when it was asked for.
func (t *tenant) owe(user string, asked time.Time, out *answer.Envelope) {
	t.database.owe(user, asked.Add(time.Duration(out.LeaseDuration)*time.Second-slack))
}

func (t *tenant) issue(ctx context.Context) {
	asked := time.Now()
	ttl := 2 + t.rng.IntN(20)
	if t.rng.IntN(10) == 0 {
		ttl = 7200 // lives on
	}
	out, err := t.ask(ctx, t.token, engines.Read, "users/creds/app", "", map[string][]string{"ttl": {fmt.Sprint(ttl)}})
	if err != nil {
		return
	}
	user := username(out.Data)
	t.leases[out.LeaseID] = user
	t.owe(user, asked, out)
}

// one is any of the tenant's leases.
func (t *tenant) one() string {
	ids := slices.Sorted(maps.Keys(t.leases))
	if len(ids) == 0 {
		return ""
	}
	return ids[t.rng.IntN(len(ids))]
}

func (t *tenant) renew(ctx context.Context) {
	id, asked := t.one(), time.Now()
	if id == "" {
		return
	}
	out, err := t.ask(ctx, t.token, engines.Update, "sys/leases/renew", fmt.Sprintf(`{"lease_id":%q}`, id), nil)
	if err == nil {
		t.owe(t.leases[id], asked, out)
	}
}

func (t *tenant) revoke(ctx context.Context) {
	id := t.one()
	if id == "" {
		return
	}
	t.database.release(t.leases[id])
	delete(t.leases, id)
	_, _ = t.ask(ctx, t.token, engines.Update, "sys/leases/revoke", fmt.Sprintf(`{"lease_id":%q}`, id), nil) // or not
}

func (t *tenant) logout(ctx context.Context) {
	t.database.release(slices.Collect(maps.Values(t.leases))...)
	_, _ = t.ask(ctx, t.token, engines.Update, "auth/token/revoke-self", "", nil) // or not
	t.token = ""
}

// settle waits until the users of the database are those of live leases.
func (e *estate) settle() error {
	ctx, cancel := context.WithTimeout(context.Background(), quiet)
	defer cancel()
	var err error
	for ctx.Err() == nil {
		wait(ctx, 5*time.Second)
		leased, failed := e.leased(ctx)
		if failed != nil {
			err = errors.Join(failed, err) // what was wrong before tells more
			continue
		}
		if users := e.database.list(); !slices.Equal(users, leased) {
			err = fmt.Errorf("users %v, leases of %v", users, leased)
			continue
		}
		if err = e.same(ctx); err == nil {
			return nil
		}
	}
	return fmt.Errorf("sim: %s after all was healed: %w", quiet, err)
}

// leased lists the users of the leases that there are.
func (e *estate) leased(ctx context.Context) ([]string, error) {
	out, err := e.ask(ctx, e.root, engines.List, "sys/leases/lookup/users/creds/app", "", nil)
	var known *engines.Error
	if errors.As(err, &known) && known.Kind == engines.KindNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(out.Data)
	if err != nil {
		return nil, err
	}
	var list struct {
		Keys []string `json:"keys"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return nil, err
	}
	users := make([]string, 0, len(list.Keys))
	for _, key := range list.Keys {
		one, err := e.ask(ctx, e.root, engines.Update, "sys/leases/lookup", fmt.Sprintf(`{"lease_id":"users/creds/app/%s"}`, key), nil)
		if err != nil {
			return nil, err
		}
		users = append(users, username(one.Data))
	}
	slices.Sort(users)
	return users, nil
}
