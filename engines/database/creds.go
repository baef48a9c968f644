package database

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/usernames"
)

// margin is how much longer than its lease a user is good by the database's own
// clock, which need not be ours.
const margin = 5 * time.Second

// undo is what a lease keeps of what was made for it.
type undo struct {
	User       string   `json:"user"`
	Role       string   `json:"role"`
	Revocation []string `json:"revocation,omitempty"`
	Renew      []string `json:"renew,omitempty"`
}

// allows reports whether a role may use the connection.
func (c *connection) allows(name string) bool {
	for _, pattern := range c.AllowedRoles {
		if globbed(pattern, name) {
			return true
		}
	}
	return false
}

// globbed matches a text with a pattern in which * is any text.
func globbed(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		_, after, ok := strings.Cut(text, part)
		if !ok {
			return false
		}
		text = after
	}
	return strings.HasSuffix(text, last)
}

func (e *engine) issue(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	r, err := loadRole(tx, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.Invalidf("unknown role: %s", name)
	}
	c, err := e.needConnection(tx, r.Connection)
	if err != nil {
		return nil, err
	}
	if !c.allows(name) {
		return nil, engines.Invalidf("%q is not an allowed role: add it to allowed_roles of config/%s", name, c.Name)
	}
	u, err := newUser(req, c, r)
	if err != nil {
		return nil, err
	}
	kept, err := json.Marshal(undo{User: u.Name, Role: name, Revocation: r.Revocation, Renew: r.Renew})
	if err != nil {
		return nil, engines.Internal(err)
	}
	ttl := r.DefaultTTL
	if req.Fields.Has("ttl") {
		ttl = req.Fields.Duration("ttl")
	}
	return &engines.Response{Grant: &engines.Grant{
		Role: name, What: map[string]string{"username": u.Name}, Target: c.Name, Undo: kept,
		TTL: ttl, MaxTTL: r.MaxTTL, Renewable: r.Credential.typ() != typeCertificate, Within: callTimeout, Owner: r.LeaseOwner,
		Create: func(ctx context.Context, l *engines.Granted) (any, error) {
			ctx, cancel := context.WithTimeout(ctx, callTimeout)
			defer cancel()
			return e.create(ctx, req, c, r, u, l)
		},
	}}, nil
}

// create makes a user that has been granted. Keys and certificates are made here,
// for they take long, and undoing needs none of them.
func (e *engine) create(ctx context.Context, req *engines.Request, c *connection, r *role, u *User, l *engines.Granted) (any, error) {
	made := *u
	made.Expires = l.Expires.Add(margin)
	if l.Mark != nil {
		made.Mark = l.Mark(u.Name)
	}
	data := map[string]any{"username": u.Name, "password": u.Password}
	switch r.Credential.typ() {
	case typeKey:
		key, err := r.Credential.newSecret(u.Name, nil, "")
		if err != nil {
			return nil, notMade(err)
		}
		made.PublicKey, data = key.PublicKey, key.answer()
	case typeCertificate:
		a, err := newAuthority(r.Credential.Config)
		if err == nil {
			data, err = a.issue(u.Name, l.Issued, made.Expires)
		}
		if err != nil {
			return nil, notMade(err)
		}
	}
	if err := e.pools.with(req.Mount, c, func(db Database) error { return db.Create(ctx, &made) }); err != nil {
		return nil, err
	}
	return data, nil
}

// notMade says that the database was not even asked.
func notMade(err error) error { return errors.Join(err, engines.ErrNotMade) }

// newUser decides on a user of a role.
func newUser(req *engines.Request, c *connection, r *role) (*User, error) {
	named := *c
	if common := r.Credential.Config["common_name_template"]; common != "" {
		named.UsernameTemplate = common
	}
	template, err := named.names(usernames.ParseAgain) // it was tried when it was written
	if err != nil {
		return nil, engines.Internal(err)
	}
	u := &User{Statements: r.Creation, Rollback: r.Rollback}
	if u.Name, err = template.Make(map[string]string{"DisplayName": req.Caller.DisplayName, "RoleName": req.Fields.String("name")}, req.Now); err != nil {
		return nil, engines.Invalidf("%s", err.Error())
	}
	if err := r.Credential.fits(c.plugin, "creation_statements", r.Creation); err != nil {
		return nil, err
	}
	if u.Name == c.Username {
		return nil, engines.Invalidf("username_template gives the name of the user that Coffer itself logs in as")
	}
	if r.Credential.typ() != typePassword {
		return u, nil
	}
	u.Password, err = newPassword(req.Password, cmp.Or(r.Credential.Config["password_policy"], c.PasswordPolicy))
	return u, err
}

// current reads what a lease needs: its own notes, the connection as it is now,
// and the role's statements, which somebody may have put right since.
func (e *engine) current(look engines.Look, target string, notes [][]byte) (c *connection, kept []undo, err error) {
	kept = make([]undo, len(notes))
	for i := range notes {
		if err := json.Unmarshal(notes[i], &kept[i]); err != nil || kept[i].User == "" {
			return nil, nil, engines.Internal(errors.Join(err, errors.New("a lease does not say what was made for it")))
		}
	}
	err = look(func(tx engines.Tx) error {
		var err error
		if c, err = e.needConnection(tx, target); err != nil {
			return err
		}
		roles := make(map[string]*role)
		for i := range kept {
			name := kept[i].Role
			r, known := roles[name]
			if !known {
				if r, err = loadRole(tx, name); err != nil {
					return err
				}
				roles[name] = r
			}
			if r != nil && r.Connection == target {
				kept[i].Revocation, kept[i].Renew = r.Revocation, r.Renew
			}
		}
		return nil
	})
	return c, kept, err
}

// revoke removes the users of leases.
func (e *engine) revoke(ctx context.Context, r *engines.Reach, batch []engines.Revocation) []error {
	out := make([]error, len(batch))
	fail := func(err error) []error {
		for i := range out {
			out[i] = err
		}
		return out
	}
	if len(batch) == 0 {
		return nil
	}
	notes := make([][]byte, len(batch))
	for i := range batch {
		notes[i] = batch[i].Undo
	}
	c, kept, err := e.current(r.Look, batch[0].Target, notes)
	if err != nil {
		return fail(err)
	}
	users := make([]User, len(kept))
	for i := range kept {
		users[i] = User{Name: kept[i].User, Statements: kept[i].Revocation}
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	var each []error
	err = e.pools.with(r.Mount, c, func(db Database) error {
		each = db.Revoke(ctx, users)
		return worst(each)
	})
	if each == nil && err != nil {
		return fail(err)
	}
	for i, err := range each {
		out[i] = upstream(c.Name, err)
	}
	return out
}

// worst is what a batch says about its database: that it could not be asked, if
// that is so of any.
func worst(each []error) error {
	var last error
	var refused *Refusal
	for _, err := range each {
		if err == nil {
			continue
		}
		if last = err; !errors.As(err, &refused) {
			return err
		}
	}
	return last
}

// extend moves the end of a user to that of its lease.
func (e *engine) extend(ctx context.Context, r *engines.Reach, x *engines.Extension) error {
	c, kept, err := e.current(r.Look, x.Target, [][]byte{x.Undo})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return e.pools.with(r.Mount, c, func(db Database) error {
		return db.Extend(ctx, &User{Name: kept[0].User, Expires: x.Expires.Add(margin), Statements: kept[0].Renew})
	})
}
