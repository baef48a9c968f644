package database

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/recurring"
)

const (
	// waitFor bounds how long a request waits for what Due does for it, and
	// maxWaiting how many wait for one static role.
	waitFor    = 45 * time.Second
	maxWaiting = 64
	staticDir  = "static-roles/"
	// takenDir says which static role a user of a connection is of.
	takenDir = "static-users/"

	leastPeriod = 5 * time.Second
	maxName     = 512
)

// static is a row: a user whose password Coffer keeps, and changes in time.
type static struct {
	// Born tells a row from a later one of the same name.
	Born       string `json:"born"`
	Connection string `json:"connection"`
	// Usernames are one user, or two that take turns.
	Usernames  []string `json:"usernames"`
	Statements []string `json:"statements,omitempty"`
	recurring.Times
	Credential credential `json:"credential"`
	SkipImport bool       `json:"skip_import,omitempty"`
	// Own says that the user changes its own password.
	Own bool `json:"own,omitempty"`
	// Current is what callers get. Next is committed before the database is told,
	// and is Current once that has been confirmed.
	Current *secret `json:"current,omitempty"`
	Next    *secret `json:"next,omitempty"`
	// Until is when nobody can begin any more to set a Next whose fate is unknown.
	Until time.Time `json:"until,omitzero"`
	// Rotated is when Current was confirmed, and Due when the next is.
	Rotated time.Time `json:"rotated,omitzero"`
	Due     time.Time `json:"due,omitzero"`
	// Orders are what requests wait for a rotation by.
	Orders []string `json:"orders,omitempty"`
	// Failed is why the last rotation did not come about.
	Failed string `json:"failed,omitempty"`
}

func staticFields() []engines.Field {
	return append([]engines.Field{
		{Name: "db_name", Help: "The connection."},
		{Name: "username", Help: "The user of the database, who has to be there."},
		{Name: "usernames", Type: engines.Strings, Help: "Two users instead of one, who take turns: while callers get the one, the password of the other stays good until it is its turn."},
		{Name: "rotation_statements", Type: engines.Strings, Whole: true, Help: "Statements that change the password, instead of what is done by itself."},
		{Name: "skip_import_rotation", Type: engines.Bool, Help: "Leave the password as it is until it is due."},
		{Name: "password", Secret: true, Help: "The password that the user has, for skip_import_rotation."},
		{Name: "self_managed_password", Secret: true, Help: "The password that the user has, with which it logs in to change it."},
	}, append(recurring.Fields("the password", "5s"), credentialFields(typePassword, typeKey)...)...)
}

func loadStatic(tx engines.Tx, name string) (*static, error) {
	entry, err := tx.Get(staticDir + name)
	if err != nil || entry == nil {
		return nil, err
	}
	s := new(static)
	if err := json.Unmarshal(entry.Value, s); err != nil {
		return nil, engines.Internal(err)
	}
	return s, nil
}

// store writes the row, and has Due called when it says.
func (s *static) store(tx engines.Tx, name string, now time.Time) error {
	row, err := json.Marshal(s)
	if err != nil {
		return engines.Internal(err)
	}
	at := s.Due
	if s.Next != nil || len(s.Orders) > 0 || s.Current == nil {
		at = now
	}
	if s.Next == nil && s.Until.After(at) {
		at = s.Until
	}
	return errors.Join(tx.Put(staticDir+name, row), tx.Schedule(staticDir+name, at))
}

// takenKey is where a user of a connection is marked as a static role's.
func takenKey(connection, username string) string {
	sum := sha256.Sum256([]byte(connection + "\x00" + username))
	return takenDir + hex.EncodeToString(sum[:])
}

func (e *engine) readStatic(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	s, err := loadStatic(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, engines.NotFound()
	}
	data := map[string]any{
		"db_name": s.Connection, "username": s.Usernames[0], "rotation_statements": orEmpty(s.Statements),
		"credential_type": s.Credential.typ(), "credential_config": s.Credential.shown(),
		"skip_import_rotation": s.SkipImport, "last_vault_rotation": nil,
	}
	if len(s.Usernames) > 1 {
		data["usernames"] = s.Usernames
	}
	if s.Current != nil {
		data["username"] = s.Current.Username
	}
	if !s.Rotated.IsZero() {
		data["last_vault_rotation"] = s.Rotated.UTC().Format(time.RFC3339Nano)
	}
	if s.Failed != "" {
		data["last_error"] = s.Failed
	}
	s.Show(data)
	return &engines.Response{Data: data}, nil
}

func (e *engine) readStaticCreds(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	s, err := loadStatic(tx, name)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, engines.Invalidf("unknown role: %s", name)
	}
	c, err := e.needConnection(tx, s.Connection)
	if err != nil {
		return nil, err
	}
	if !c.allows(name) {
		return nil, engines.Invalidf("%q is not an allowed role: add it to allowed_roles of config/%s", name, c.Name)
	}
	if s.Current == nil {
		return nil, engines.Errorf(engines.KindUnavailable, "the first password of the static role is being set: try again")
	}
	data := s.Current.answer()
	data["ttl"] = max(0, int64(s.Due.Sub(req.Now)/time.Second))
	data["last_vault_rotation"] = s.Rotated.UTC().Format(time.RFC3339Nano)
	s.Show(data)
	resp := &engines.Response{Data: data}
	if s.Current.Password == "" && s.Current.PrivateKey == "" {
		resp.Warnings = []string{"the password is not known until it has been changed: rotate-role/" + name + " does that now"}
	}
	return resp, nil
}

// writeStatic writes a static role. The password is changed at once, by Due, for
// which the request waits, unless the role had one already.
func (e *engine) writeStatic(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, v := req.Fields.String("name"), req.Fields
	s, err := loadStatic(tx, name)
	if err != nil {
		return nil, err
	}
	first := s == nil
	if first {
		s = &static{Born: rand.Text()}
	}
	if err := s.take(v, first); err != nil {
		return nil, err
	}
	c, err := e.needConnection(tx, s.Connection)
	if err != nil {
		return nil, err
	}
	if err := s.check(c, name); err != nil {
		return nil, err
	}
	for _, username := range s.Usernames {
		key := takenKey(s.Connection, username)
		taken, err := tx.Get(key)
		if err != nil {
			return nil, err
		}
		if taken != nil && string(taken.Value) != name {
			return nil, engines.Invalidf("username: the user belongs to another static role of this connection")
		}
		if err := tx.Put(key, []byte(name)); err != nil {
			return nil, err
		}
	}
	if first && (s.SkipImport || s.Own) {
		s.Current = &secret{Username: s.Usernames[0], Password: cmp.Or(v.String("self_managed_password"), v.String("password"))}
		s.Rotated = req.Now
	}
	if s.Current != nil {
		if next := s.Times.Next(s.Rotated, req.Now); s.Failed == "" || next.Before(s.Due) {
			s.Due = next // what has failed is not put off
		}
	}
	if s.Current != nil && (!first || s.SkipImport) {
		return nil, s.store(tx, name, req.Now)
	}
	return e.order(tx, s, name, req.Now)
}

// order has a static role's password changed now, and waits for that.
func (e *engine) order(tx engines.Tx, s *static, name string, now time.Time) (*engines.Response, error) {
	id := rand.Text()
	if s.Orders = append(s.Orders, id); len(s.Orders) > maxWaiting {
		return nil, engines.Errorf(engines.KindRateLimited, "%d requests wait for the password: try again later", maxWaiting)
	}
	if err := s.store(tx, name, now); err != nil {
		return nil, err
	}
	return &engines.Response{Then: func(ctx context.Context) error {
		_, err := e.outcomes.Wait(ctx, id, waitFor)
		return err
	}}, nil
}

// take takes what the request gives.
func (s *static) take(v engines.Values, first bool) error {
	names := slices.Clone(v.Strings("usernames"))
	if v.Has("username") && !slices.Contains(names, v.String("username")) {
		names = append([]string{v.String("username")}, names...)
	}
	if first {
		s.Usernames = names
		if v.Has("db_name") {
			s.Connection = v.String("db_name")
		}
		s.SkipImport, s.Own = v.Bool("skip_import_rotation"), v.String("self_managed_password") != ""
	} else if err := s.keeps(v, names); err != nil {
		return err
	}
	if v.Has("rotation_statements") {
		s.Statements = v.Strings("rotation_statements")
	}
	if err := s.Take(v); err != nil {
		return err
	}
	if len(v.String("password"))+len(v.String("self_managed_password")) > maxURL {
		return engines.Invalidf("the password is longer than %d bytes", maxURL)
	}
	return s.Credential.take(v)
}

// keeps refuses to change what cannot be changed.
func (s *static) keeps(v engines.Values, names []string) error {
	switch {
	case len(names) > 0 && !slices.Equal(names, s.Usernames) && (v.Has("usernames") || !slices.Contains(s.Usernames, names[0])):
		return engines.Invalidf("username cannot be changed: delete the static role, or write another one")
	case v.Has("db_name") && v.String("db_name") != s.Connection:
		return engines.Invalidf("db_name cannot be changed: delete the static role, or write another one")
	case v.Has("credential_type") && v.String("credential_type") != s.Credential.typ():
		return engines.Invalidf("credential_type cannot be changed: delete the static role, or write another one")
	case v.Has("password") || v.Has("self_managed_password"):
		return engines.Invalidf("the password is Coffer's already: rotate-role changes it")
	}
	return nil
}

// check tells what is wrong with a static role.
func (s *static) check(c *connection, name string) error {
	if !c.allows(name) {
		return engines.Invalidf("%q is not an allowed role: add it to allowed_roles of config/%s", name, c.Name)
	}
	if n := len(s.Usernames); n == 0 || n > 2 || n == 2 && s.Usernames[0] == s.Usernames[1] {
		return engines.Invalidf("username is missing: it is one user, or usernames are two")
	}
	for _, username := range s.Usernames {
		if username == "" || len(username) > maxName || strings.ContainsRune(username, 0) {
			return engines.Invalidf("username has to be that of a user, of at most %d bytes", maxName)
		}
		if username == c.Username {
			return engines.Invalidf("username is the user that Coffer itself logs in as: rotate-root/%s changes that password", c.Name)
		}
	}
	if (s.SkipImport || s.Own) && (len(s.Usernames) > 1 || s.Credential.typ() != typePassword) {
		return engines.Invalidf("skip_import_rotation and self_managed_password are for the password of one user")
	}
	if s.None() {
		return engines.Invalidf("rotation_period or rotation_schedule is missing")
	}
	if err := s.Check(leastPeriod); err != nil {
		return err
	}
	if err := s.Credential.fits(c.plugin, "rotation_statements", s.Statements); err != nil {
		return err
	}
	return checkStatements(c.plugin, "rotation_statements", s.Statements)
}

// deleteStatic forgets a static role. The user keeps its password.
func (e *engine) deleteStatic(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	s, err := loadStatic(tx, name)
	if err != nil || s == nil {
		return nil, err
	}
	return nil, s.drop(tx, name)
}

// drop removes the row and what goes with it.
func (s *static) drop(tx engines.Tx, name string) error {
	err := errors.Join(tx.Delete(staticDir+name), tx.Schedule(staticDir+name, time.Time{}))
	for _, username := range s.Usernames {
		err = errors.Join(err, tx.Delete(takenKey(s.Connection, username)))
	}
	return err
}

// rotateStatic changes the password now.
func (e *engine) rotateStatic(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	s, err := loadStatic(tx, name)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, engines.Invalidf("no static role found for role name: %s", name)
	}
	return e.order(tx, s, name, req.Now)
}
