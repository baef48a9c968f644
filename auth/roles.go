package auth

import (
	"context"
	"encoding/json"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/tokenparams"
)

// Role is what the row of a role is to the routes of Roles.
type Role interface {
	// Show gives the role as it is read, but for its token's parameters.
	Show() map[string]any
	// Set takes over what was given, and checks the whole.
	Set(f engines.Values) (warnings []string, err error)
	// TokenParams are those of the tokens that logins by it get.
	TokenParams() *engines.TokenParams
}

// Roles are the roles of a mount: rows of JSON by name in a folder.
type Roles[T any, R interface {
	*T
	Role
}] struct {
	// Dir is the folder with its slash, and Pattern the path that lists it.
	Dir, Pattern string
	Fields       []engines.Field
	// New makes one that is not there yet.
	New func(name string) R
}

// Load gets a role and its version; nil if there is none.
func (s *Roles[T, R]) Load(tx engines.Tx, name string) (R, uint64, error) {
	return LoadRow[T](tx, s.Dir+name)
}

// LoadRow decodes a row of JSON; nil if there is none.
func LoadRow[T any](tx engines.Tx, path string) (*T, uint64, error) {
	entry, err := tx.Get(path)
	if err != nil || entry == nil {
		return nil, 0, err
	}
	row := new(T)
	if err := json.Unmarshal(entry.Value, row); err != nil {
		return nil, 0, engines.Internal(err)
	}
	return row, entry.Version, nil
}

// Routes are those that list, read, write and delete roles.
func (s *Roles[T, R]) Routes() []engines.Route {
	name := engines.Field{Name: "name", Help: "The name of the role, in any case."}
	return []engines.Route{
		{
			Pattern: s.Pattern, Help: "List the roles.", Fields: Paging(),
			Ops: []engines.Op{{Do: engines.List, Handler: s.list}},
		},
		{
			Pattern: s.Pattern + "/{name}", Help: "Read, write and delete a role.", Fields: append([]engines.Field{name}, s.Fields...),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: s.read},
				{Do: engines.Update, Trait: engines.Writes, Handler: s.write, Exists: s.exists, Help: "Write what is given of the role."},
				{Do: engines.Delete, Trait: engines.Writes, Handler: s.remove},
			},
		},
	}
}

func (s *Roles[T, R]) list(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return List(req, tx, s.Dir)
}

// named gets the role that a request names.
func (s *Roles[T, R]) named(req *engines.Request, tx engines.Tx) (string, R, error) {
	name, err := Name(req, "name")
	if err != nil {
		return "", nil, err
	}
	r, _, err := s.Load(tx, name)
	return name, r, err
}

func (s *Roles[T, R]) exists(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
	_, r, err := s.named(req, tx)
	return r != nil, err
}

func (s *Roles[T, R]) read(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	_, r, err := s.named(req, tx)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.NotFound()
	}
	out := r.Show()
	tokenparams.Show(r.TokenParams(), out)
	return &engines.Response{Data: out}, nil
}

func (s *Roles[T, R]) write(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, r, err := s.named(req, tx)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = s.New(name)
	}
	warnings, err := r.Set(req.Fields)
	if err != nil {
		return nil, err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return nil, engines.Internal(err)
	}
	if t := r.TokenParams(); t.MaxTTL > req.Mount.MaxTTL || t.TTL > req.Mount.MaxTTL {
		warnings = append(warnings, "token_ttl or token_max_ttl is greater than the mount's maximum TTL, to which the life of tokens is cut")
	}
	return &engines.Response{Warnings: warnings}, tx.Put(s.Dir+name, value)
}

func (s *Roles[T, R]) remove(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) { //nolint:unparam // a handler
	name, err := Name(req, "name")
	if err != nil {
		return nil, err
	}
	return nil, tx.Delete(s.Dir + name)
}

// Strings is a list as it is shown: empty, not null.
func Strings(values []string) []string {
	if values == nil {
		return []string{}
	}
	return values
}
