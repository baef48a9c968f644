package workload

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/history"
)

// Database is where users are made.
type Database interface {
	// Connection is what Coffer is told of it, and Creation how a user is made.
	Connection() map[string]any
	Creation() string
	// Users are those that the database has for leases.
	Users(ctx context.Context) ([]string, error)
	// Enter logs in, and reports whether the database let the user in. The error
	// says that it did not decide.
	Enter(ctx context.Context, user, password string) (bool, error)
}

const (
	// userRoles are few, so that the end of a prefix meets leases of others.
	userRoles = 4
	// heldUsers bounds how many each role's clients know of.
	heldUsers = 12
	mountPath = "chaos-db"
	// settleWithin bounds how long users may outlive their leases when all is
	// healed: what was in doubt is removed once its making must have ended, and
	// what has failed often is not tried again at once.
	settleWithin = 4 * time.Minute
)

// user is one of the database, of a lease that a client was told of.
type user struct {
	name, password, lease string
	role                  int
}

// users are made, used, renewed, revoked, alone and many at once, and left to end.
type users struct {
	mu   sync.Mutex
	held [userRoles][]*user
}

func roleName(role int) string { return fmt.Sprintf("app-%d", role) }

func (*users) Setup(ctx context.Context, c *Client) error {
	if c.Database == nil {
		return errors.New("workload: there is no database")
	}
	if err := c.must(ctx, http.MethodPost, "sys/mounts/"+mountPath, map[string]string{"type": "database"}); err != nil {
		return err
	}
	if err := c.must(ctx, http.MethodPost, mountPath+"/config/db", c.Database.Connection()); err != nil {
		return err
	}
	for role := range userRoles {
		body := map[string]any{"db_name": "db", "creation_statements": c.Database.Creation(), "default_ttl": "10s", "max_ttl": "1h"}
		if err := c.must(ctx, http.MethodPost, mountPath+"/roles/"+roleName(role), body); err != nil {
			return err
		}
	}
	return nil
}

func (u *users) Step(ctx context.Context, c *Client) {
	role := c.rng.IntN(userRoles)
	switch n := c.rng.IntN(40); {
	case n < 10:
		u.issue(ctx, c, role)
	case n < 28:
		if one := u.pick(c, role); one != nil {
			c.enter(ctx, one)
		}
	case n < 33:
		if one := u.pick(c, role); one != nil {
			c.renew(ctx, one)
		}
	case n < 39:
		if one := u.pick(c, role); one != nil {
			u.revoke(ctx, c, one)
		}
	default:
		u.revokeAll(ctx, c, role)
	}
}

// issue asks for a user. Few live on until the end.
func (u *users) issue(ctx context.Context, c *Client, role int) {
	ttl := 3 + c.rng.IntN(20)
	if c.rng.IntN(12) == 0 {
		ttl = 3600
	}
	op := c.begin("database", "issue", roleName(role), c.at())
	a := c.ask(ctx, op.Node, http.MethodGet, fmt.Sprintf("%s/creds/%s?ttl=%d", mountPath, op.Key, ttl), c.Token, nil)
	var out struct {
		ID   string `json:"lease_id"`
		TTL  int64  `json:"lease_duration"`
		Data struct {
			User     string `json:"username"`
			Password string `json:"password"`
		} `json:"data"`
	}
	a.into(&out)
	op.Value, op.Expected = out.Data.User, out.TTL
	c.Given.add("password", out.Data.Password)
	c.end(op, a)
	if a.outcome() != history.Done {
		return
	}
	one := &user{out.Data.User, out.Data.Password, out.ID, role}
	c.enter(ctx, one)
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.held[role] = append(u.held[role], one); len(u.held[role]) > heldUsers {
		u.held[role] = u.held[role][1:] // which ends by itself
	}
}

func (u *users) pick(c *Client, role int) *user {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.held[role]) == 0 {
		return nil
	}
	return u.held[role][c.rng.IntN(len(u.held[role]))]
}

// enter has a user log in to the database.
func (c *Client) enter(ctx context.Context, one *user) {
	op := c.begin("database", "enter", roleName(one.role), -1)
	op.Value = one.name
	in, err := c.Database.Enter(context.WithoutCancel(ctx), one.name, one.password)
	switch {
	case err != nil:
		op.Outcome = history.Failed
	case in:
		op.Outcome = history.Done
	default:
		op.Outcome = history.Refused
	}
	c.end(op, answer{})
}

func (c *Client) renew(ctx context.Context, one *user) {
	op := c.begin("database", "renew", roleName(one.role), c.at())
	op.Value, op.Expected = one.name, int64(3+c.rng.IntN(20))
	a := c.ask(ctx, op.Node, http.MethodPost, "sys/leases/renew", c.Token, map[string]any{"lease_id": one.lease, "increment": op.Expected})
	var out struct {
		TTL int64 `json:"lease_duration"`
	}
	if a.into(&out); a.outcome() == history.Done {
		op.Expected = out.TTL
	}
	c.end(op, a)
}

// revoke ends a lease, and waits for its end if it is told so.
func (u *users) revoke(ctx context.Context, c *Client, one *user) {
	op := c.begin("database", "revoke", roleName(one.role), c.at())
	op.Value = one.name
	sync := c.rng.IntN(2) == 0
	if sync {
		op.Kind = "revoke-sync"
	}
	a := c.ask(ctx, op.Node, http.MethodPost, "sys/leases/revoke", c.Token, map[string]any{"lease_id": one.lease, "sync": sync})
	c.end(op, a)
	c.enter(ctx, one)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.held[one.role] = slices.DeleteFunc(u.held[one.role], func(other *user) bool { return other == one })
}

// revokeAll ends all leases of a role.
func (u *users) revokeAll(ctx context.Context, c *Client, role int) {
	op := c.begin("database", "revoke-prefix", roleName(role), c.at())
	a := c.ask(ctx, op.Node, http.MethodPost, "sys/leases/revoke-prefix/"+mountPath+"/creds/"+op.Key, c.Token, map[string]any{})
	c.end(op, a)
}

// Finish waits until the users of the database are those of live leases, and
// tells both.
func (*users) Finish(ctx context.Context, c *Client) error {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		leased, made, same := c.compare(ctx)
		if same || ctx.Err() != nil {
			for role := range userRoles {
				op := c.begin("database", "settled", roleName(role), 0)
				op.List, op.Outcome = of(made, role), history.Done
				c.end(op, answer{})
				op.Kind, op.List = "leased", of(leased, role)
				c.end(op, answer{})
			}
			return nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// compare lists the users of live leases and those of the database. Neither may
// change meanwhile if they are the same.
func (c *Client) compare(ctx context.Context) (leased, made []string, same bool) {
	leased, ok := c.leased(ctx)
	made, err := c.Database.Users(ctx)
	return leased, made, ok && err == nil && slices.Equal(leased, made)
}

// leased lists the users of the leases that there are.
func (c *Client) leased(ctx context.Context) (names []string, ok bool) {
	for role := range userRoles {
		path := mountPath + "/creds/" + roleName(role)
		a := c.ask(ctx, 0, http.MethodGet, "sys/leases/lookup/"+path+"?list=true", c.Token, nil)
		var list struct {
			Data struct {
				Keys []string `json:"keys"`
			} `json:"data"`
		}
		a.into(&list)
		if found(a) != history.Done {
			return nil, false
		}
		for _, id := range list.Data.Keys {
			a := c.ask(ctx, 0, http.MethodPost, "sys/leases/lookup", c.Token, map[string]string{"lease_id": path + "/" + id})
			var lease struct {
				Data struct {
					Created struct {
						Username string `json:"username"`
					} `json:"created"`
				} `json:"data"`
			}
			a.into(&lease)
			if a.status != http.StatusOK {
				return nil, false // it has ended meanwhile
			}
			names = append(names, lease.Data.Created.Username)
		}
	}
	slices.Sort(names)
	return names, true
}

// of are those of some users that belong to a role: their names hold its own.
func of(names []string, role int) (own []string) {
	for _, name := range names {
		if strings.Contains(name, "-"+roleName(role)+"-") {
			own = append(own, name)
		}
	}
	return own
}
