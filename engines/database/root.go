package database

import (
	"context"
	"errors"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	// settled is how long after it was committed a password may still be set by
	// who committed it. It is well above callTimeout.
	settled = 10 * time.Minute
	// maxCandidates bounds how many passwords are tried.
	maxCandidates = 8
)

// found is which password a database takes.
type found struct {
	version uint64
	index   int
}

// findPassword finds out which password the database takes.
func (e *engine) findPassword(_ context.Context, req *engines.Request, tx engines.Tx) (func(ctx context.Context) (any, error), error) {
	c, err := e.rotatable(req, tx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		out := found{version: c.version}
		return out, e.pools.with(req.Mount, c, func(db Database) error {
			index, err := db.Verify(ctx)
			if out.index = index; err == nil && index >= len(c.Passwords) {
				err = errors.New("it does not say which password it takes")
			}
			return err
		})
	}, nil
}

func (e *engine) rotatable(req *engines.Request, tx engines.Tx) (*connection, error) {
	c, err := e.needConnection(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if c.Username == "" || len(c.Passwords) == 0 {
		return nil, engines.Invalidf("the connection %q has no username and password of its own: give both, and {{username}} and {{password}} in connection_url", c.Name)
	}
	return c, nil
}

// rotateRoot commits a new password beside those that the database may have, and
// sets it then. If that fails, the next one who connects finds out which is good.
func (e *engine) rotateRoot(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := e.rotatable(req, tx)
	if err != nil {
		return nil, err
	}
	good, ok := req.Ahead.(found)
	if !ok || good.version != c.version {
		return nil, engines.ErrStale
	}
	var kept []candidate
	for i, p := range c.Passwords {
		if i == good.index || req.Now.Sub(p.Since) < settled {
			kept = append(kept, p)
		}
	}
	if len(kept) >= maxCandidates {
		return nil, engines.Errorf(engines.KindRateLimited, "the password was rotated %d times within %s: try again later", maxCandidates-1, settled)
	}
	password, err := newPassword(req.Password, c.PasswordPolicy)
	if err != nil {
		return nil, err
	}
	c.Passwords = append([]candidate{{Password: password, Since: req.Now}}, kept...)
	if err := c.store(tx); err != nil {
		return nil, err
	}
	return &engines.Response{Then: func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		db, err := c.plugin.Open(c.settings())
		if err != nil {
			return engines.Invalidf("%s", err.Error())
		}
		defer closeLater(db)
		defer e.pools.drop(poolKey(req.Mount, c.Name))
		return upstream(c.Name, db.Rotate(ctx, &User{Name: c.Username, Password: password, Statements: c.RootStatements}))
	}}, nil
}

// newPassword makes a password by a policy, or as databases like them.
func newPassword(generate func(policy string) (string, error), policy string) (string, error) {
	if policy == "" {
		return defaultPassword()
	}
	if generate == nil {
		return "", engines.Invalidf("there are no password policies here")
	}
	return generate(policy)
}
