package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// database is where an engine makes users. It is outside of the cluster: no fault
// of a node touches it, and it has troubles of its own.
type database struct {
	mu    sync.Mutex
	rng   *rand.Rand
	users map[string]bool
	// owed is until when a client was promised a user, and released, from when on
	// it was asked for to be taken back.
	owed     map[string]time.Time
	released map[string]bool
	made     int
	busy     sync.WaitGroup
	failed   error
	// createFirst is the mistake to make users before their leases.
	createFirst bool
}

func newDatabase(seed uint64, bugs Bugs) *database {
	return &database{
		rng:   rand.New(rand.NewPCG(seed, 3)), //nolint:gosec // repeatable
		users: make(map[string]bool), owed: make(map[string]time.Time), released: make(map[string]bool),
		createFirst: bugs.CreateFirst,
	}
}

var errDatabase = errors.New("the database does not answer")

// work takes its time. What was begun is done also when nobody waits for it any
// more, and sometimes it is done, and the answer is lost.
func (d *database) work(ctx context.Context, do func()) error {
	d.mu.Lock()
	took, luck := time.Duration(d.rng.IntN(300))*time.Millisecond, d.rng.IntN(20)
	d.mu.Unlock()
	done := make(chan struct{})
	d.busy.Go(func() {
		defer close(done)
		time.Sleep(took)
		if luck == 0 {
			return
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		do()
	})
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if luck < 2 {
		return errDatabase
	}
	return nil
}

func (d *database) create(ctx context.Context, user string) error {
	return d.work(ctx, func() {
		d.users[user] = true
		d.made++
	})
}

func (d *database) drop(ctx context.Context, users []string) error {
	return d.work(ctx, func() {
		for _, user := range users {
			if d.users[user] && !d.released[user] && time.Now().Before(d.owed[user]) {
				d.failed = errors.Join(d.failed, fmt.Errorf("sim: user %s is gone %s before its time", user, time.Until(d.owed[user])))
			}
			delete(d.users, user)
		}
	})
}

// owe notes until when a client has a user for certain.
func (d *database) owe(user string, until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if until.After(d.owed[user]) {
		d.owed[user] = until
	}
}

func (d *database) release(users ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, user := range users {
		d.released[user] = true
	}
}

func (d *database) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.users))
}

// engine makes users of the database.
func (d *database) engine() *engines.Engine {
	return &engines.Engine{
		Type: "users", Class: engines.ClassSecret, Help: "Makes users.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{Help: "Users.", Routes: []engines.Route{{
				Pattern: "creds/{name}", Help: "Make a user.",
				Fields: []engines.Field{
					{Name: "name", Help: "A role."},
					{Name: "ttl", Type: engines.Seconds, Query: true, Help: "How long."},
				},
				Ops: []engines.Op{{Do: engines.Read, Trait: engines.Issues, Handler: d.issue}},
			}}}, nil
		},
		Revoke: func(ctx context.Context, _ *engines.Reach, batch []engines.Revocation) []error {
			var users []string
			for _, r := range batch {
				users = append(users, string(r.Undo))
			}
			if err := d.drop(ctx, users); err != nil {
				out := make([]error, len(batch))
				for i := range out {
					out[i] = err
				}
				return out
			}
			return nil
		},
		Extend: func(ctx context.Context, _ *engines.Reach, _ *engines.Extension) error { return d.work(ctx, func() {}) },
	}
}

func (d *database) issue(ctx context.Context, req *engines.Request, _ engines.Tx) (*engines.Response, error) {
	d.mu.Lock()
	user := fmt.Sprintf("user-%016x", d.rng.Uint64())
	d.mu.Unlock()
	if d.createFirst {
		if err := d.create(ctx, user); err != nil {
			return nil, engines.Errorf(engines.KindUpstream, "%s", err.Error())
		}
	}
	return &engines.Response{Grant: &engines.Grant{
		Role: "app", What: map[string]string{"username": user}, Target: "database", Undo: []byte(user),
		TTL: req.Fields.Duration("ttl"), MaxTTL: 24 * time.Hour, Renewable: true, Within: 10 * time.Second,
		Create: func(ctx context.Context, _ *engines.Granted) (any, error) {
			if !d.createFirst {
				if err := d.create(ctx, user); err != nil {
					return nil, err
				}
			}
			return map[string]string{"username": user}, nil
		},
	}}, nil
}

// names finds the member "username" wherever it stands in an answer.
func username(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	var found struct {
		Username string `json:"username"`
		Created  struct {
			Username string `json:"username"`
		} `json:"created"`
	}
	if json.Unmarshal(text, &found) != nil {
		return ""
	}
	return found.Username + found.Created.Username
}
