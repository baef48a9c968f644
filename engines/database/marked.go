package database

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/coffer-secrets/coffer/engines"
)

// Marker is a Database whose users can be found by what stands beside them.
type Marker interface {
	// Marked lists the users with a text beside them that begins as one of ours; it
	// fails with ErrNoMarks if the connection does not mark users.
	Marked(ctx context.Context) ([]MarkedUser, error)
}

// MarkedUser is a user and what stands beside it.
type MarkedUser struct{ Name, Mark string }

// ErrNoMarks says that a connection does not mark users.
var ErrNoMarks = errors.New("users are not marked")

// optionMark is the member of a connection by which a plugin marks users.
const optionMark = "mark_users"

// targets lists the connections that mark users.
func (e *engine) targets(tx engines.Tx) (names []string, err error) {
	all, err := tx.List(configDir, engines.Page{})
	if err != nil {
		return nil, err
	}
	for _, name := range all {
		c, err := e.loadConnection(tx, name)
		if err != nil {
			return nil, err
		}
		if c != nil && c.Options[optionMark] == "true" {
			names = append(names, name)
		}
	}
	return names, nil
}

// marked lists the users of a connection by their marks. What a role says of
// removing them is not known any more: they are removed in the database's own way.
func (e *engine) marked(ctx context.Context, r *engines.Reach, target string) ([]engines.Found, error) {
	var c *connection
	err := r.Look(func(tx engines.Tx) (err error) {
		c, err = e.needConnection(tx, target)
		return err
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	var users []MarkedUser
	unmarked := false
	err = e.pools.with(r.Mount, c, func(db Database) error {
		m, ok := db.(Marker)
		if !ok {
			unmarked = true
			return nil
		}
		var err error
		if users, err = m.Marked(ctx); errors.Is(err, ErrNoMarks) {
			unmarked = true
			return nil
		}
		return err
	})
	if unmarked {
		return nil, engines.Invalidf("the users of connection %q are not marked: set mark_users=true where the plugin has it, and what is made from then on can be found", target)
	}
	if err != nil {
		return nil, upstream(c.Name, err)
	}
	found := make([]engines.Found, 0, len(users))
	for _, u := range users {
		kept, err := json.Marshal(undo{User: u.Name})
		if err != nil {
			return nil, engines.Internal(err)
		}
		found = append(found, engines.Found{Name: u.Name, Mark: u.Mark, Undo: kept})
	}
	return found, nil
}
