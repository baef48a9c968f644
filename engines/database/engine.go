package database

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/outcomes"
)

// Type is the engine's type.
const Type = "database"

// engine is what all mounts share.
type engine struct {
	plugins map[string]*Plugin
	fields  []engines.Field
	pools   *pools
	// outcomes are for requests that wait for what Due does.
	outcomes *outcomes.Outcomes[struct{}]
}

// New returns the engine with the kinds of databases that it knows. If two have a
// name in common, it cannot be mounted.
func New(plugins ...*Plugin) *engines.Engine {
	e := &engine{plugins: make(map[string]*Plugin), pools: newPools(time.Now), outcomes: outcomes.New[struct{}]()}
	var twice error
	for _, p := range plugins {
		for _, name := range p.Names {
			if _, ok := e.plugins[name]; ok || name == "" {
				twice = fmt.Errorf("two plugins are called %q", name)
			}
			e.plugins[name] = p
		}
		for _, f := range p.Fields {
			if !slices.ContainsFunc(e.fields, func(have engines.Field) bool { return have.Name == f.Name }) {
				e.fields = append(e.fields, f)
			}
		}
	}
	return &engines.Engine{
		Type: Type, Class: engines.ClassSecret, Help: "Make users of databases that are gone when their lease ends.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{
				Help:   "A connection says which database, a role says what its users may do. Reading\ncreds/<role> makes a user of its own for the caller.",
				Routes: e.routes(),
			}, twice
		},
		Revoke: e.revoke, Extend: e.extend, Marked: e.marked, Targets: e.targets, Due: e.due,
	}
}

func (e *engine) routes() []engines.Route {
	return append(e.dynamicRoutes(), e.staticRoutes()...)
}

// paging are the fields of listings.
func paging() []engines.Field {
	return []engines.Field{
		{Name: "after", Help: "List from behind this name."},
		{Name: "limit", Type: engines.Int, Help: "List at most so many; 0 for all."},
	}
}

func name(of string) engines.Field {
	return engines.Field{Name: "name", Help: "The name of the " + of + "."}
}

func forceField() engines.Field {
	return engines.Field{Name: "force", Type: engines.Bool, Query: true, Help: "Delete it though leases or static roles still need it."}
}

func (e *engine) staticRoutes() []engines.Route {
	return []engines.Route{
		{Pattern: "static-roles", Help: "List the static roles.", Fields: paging(), Ops: []engines.Op{{Do: engines.List, Handler: list(staticDir)}}},
		{
			Pattern: "static-roles/{name}", Help: "Read, write and delete a static role.", Fields: append([]engines.Field{name("static role")}, staticFields()...),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: e.readStatic},
				{
					Do: engines.Update, Trait: engines.Writes, Handler: e.writeStatic, Exists: exists(staticDir),
					Help: "Write what is given of the static role, and change its user's password the first time.",
				},
				{Do: engines.Delete, Trait: engines.Writes, Handler: e.deleteStatic, Help: "Forget it. The user stays as it is."},
			},
		},
		{
			Pattern: "static-creds/{name}", Help: "Read the password of a static role's user.", Fields: []engines.Field{name("static role")},
			Ops: []engines.Op{{Do: engines.Read, Handler: e.readStaticCreds}},
		},
		{
			Pattern: "rotate-role/{name}", Help: "Change the password of a static role's user now.", Fields: []engines.Field{name("static role")},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: e.rotateStatic}},
		},
	}
}

func (e *engine) dynamicRoutes() []engines.Route {
	return []engines.Route{
		{Pattern: "config", Help: "List the connections.", Fields: paging(), Ops: []engines.Op{{Do: engines.List, Handler: list(configDir)}}},
		{
			Pattern: "config/{name}", Help: "Read, write and delete a connection.",
			Fields: append(append([]engines.Field{name("connection"), forceField()}, connectionFields()...), e.fields...),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: e.readConnection},
				{
					Do: engines.Update, Trait: engines.Writes, Handler: e.writeConnection, Exists: exists(configDir), Ahead: e.verifying,
					Help: "Write what is given of the connection, once the database has taken it.",
				},
				{Do: engines.Delete, Trait: engines.Writes, Handler: e.deleteConnection, Help: "Delete it, unless leases or static roles need it and force is not given."},
			},
		},
		{
			Pattern: "reset/{name}", Help: "Close what is open to a database, and begin anew.", Fields: []engines.Field{name("connection")},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: e.reset}},
		},
		{
			Pattern: "reload/{plugin_name}", Help: "Reset all connections of one kind.",
			Fields: []engines.Field{{Name: "plugin_name", Help: "The kind of database."}},
			Ops:    []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: e.reload}},
		},
		{
			Pattern: "rotate-root/{name}", Help: "Change the password that Coffer itself uses.", Fields: []engines.Field{name("connection")},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: e.rotateRoot, Ahead: e.findPassword}},
		},
		{Pattern: "roles", Help: "List the roles.", Fields: paging(), Ops: []engines.Op{{Do: engines.List, Handler: list(rolesDir)}}},
		{
			Pattern: "roles/{name}", Help: "Read, write and delete a role.", Fields: append([]engines.Field{name("role")}, roleFields()...),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readRole},
				{Do: engines.Update, Trait: engines.Writes, Handler: e.writeRole, Exists: exists(rolesDir), Help: "Write what is given of the role."},
				{Do: engines.Delete, Trait: engines.Writes, Handler: deleteRole},
			},
		},
		{
			Pattern: "creds/{name}", Help: "Make a user.",
			Fields: []engines.Field{name("role"), {Name: "ttl", Type: engines.Seconds, Help: "How long the user is good at first, instead of the role's default."}},
			Ops:    []engines.Op{{Do: engines.Read, Trait: engines.Issues, Handler: e.issue}},
		},
	}
}

// list lists the names in a folder.
func list(dir string) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		limit := req.Fields.Int("limit")
		if limit < 0 {
			return nil, engines.Invalidf("limit cannot be negative")
		}
		names, err := tx.List(dir, engines.Page{After: req.Fields.String("after"), Limit: int(limit)})
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, engines.NotFound()
		}
		return &engines.Response{Data: map[string]any{"keys": names}}, nil
	}
}

func exists(dir string) engines.Exists {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
		entry, err := tx.Get(dir + req.Fields.String("name"))
		return entry != nil, err
	}
}
