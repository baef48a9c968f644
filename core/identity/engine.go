package identity

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Deps are the core's parts that the engine works with.
type Deps struct {
	// Mounts is asked for when it is needed: the engine is part of what makes it.
	Mounts func() *mounts.Mounts
	// Routes are what others serve below identity/.
	Routes []engines.Route
	// Gone, if set, runs in the transaction in which an entity goes; into is the
	// entity that it becomes part of, or empty.
	Gone func(tx *state.Tx, entityID, into string) error
}

type engine struct{ Deps }

// Engine returns the engine at identity/.
func Engine(deps Deps) *engines.Engine {
	e := &engine{deps}
	return &engines.Engine{
		Type: "identity", Class: engines.ClassSystem, Help: "Who the callers are: entities, aliases and groups.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{
				Help:   "Who the callers are: entities, the aliases that logins know them by, and groups.",
				Routes: slices.Concat(e.entityRoutes(), e.aliasRoutes(), e.groupRoutes(), e.groupAliasRoutes(), e.lookupRoutes(), e.Routes),
			}, nil
		},
	}
}

func field(name string, typ engines.FieldType, help string) engines.Field {
	return engines.Field{Name: name, Type: typ, Help: help}
}

// handler runs on the whole state.
type handler func(req *engines.Request, tx *state.Tx) (*engines.Response, error)

func op(do engines.Operation, trait engines.Trait, h handler) engines.Op {
	return engines.Op{Do: do, Trait: trait, Handler: func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		return h(req, tx.(*state.Region).Tx()) //nolint:forcetypeassert // the core's own engine runs on the core's own transactions
	}}
}

func read(h handler) engines.Op   { return op(engines.Read, engines.Reads, h) }
func list(h handler) engines.Op   { return op(engines.List, engines.Reads, h) }
func update(h handler) engines.Op { return op(engines.Update, engines.Writes, h) }
func remove(h handler) engines.Op { return op(engines.Delete, engines.Writes, h) }

func data(m map[string]any) *engines.Response { return &engines.Response{Data: m} }

// empty is shown in place of a map that is not there.
func empty(m map[string]string) any {
	if len(m) == 0 {
		return nil
	}
	return m
}

func texts(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// policyNames brings names to their one form and refuses root.
func policyNames(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		if name = canonical(name); name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if slices.Contains(out, "root") {
		return nil, engines.Invalidf("policies cannot contain root")
	}
	return out, nil
}

// pageFields are those of a listing.
func pageFields() []engines.Field {
	return []engines.Field{
		{Name: "after", Type: engines.String, Query: true, Help: "List what comes after this one."},
		{Name: "limit", Type: engines.Int, Query: true, Help: "List so many."},
	}
}

func page(req *engines.Request) engines.Page {
	return engines.Page{After: req.Fields.String("after"), Limit: int(max(req.Fields.Int("limit"), 0))}
}

// listIDs lists a folder of rows by id, with something told of each.
func listIDs(req *engines.Request, tx *state.Tx, dir string, info func(id string) (map[string]any, error)) (*engines.Response, error) {
	ids, err := region(tx).List(dir, page(req))
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, engines.NotFound()
	}
	infos := make(map[string]any, len(ids))
	for _, id := range ids {
		if infos[id], err = info(id); err != nil {
			return nil, err
		}
	}
	return data(map[string]any{"keys": ids, "key_info": infos}), nil
}

// listNames lists the names of an index, as they were written.
func listNames(req *engines.Request, tx *state.Tx, dir string) (*engines.Response, error) {
	keys, err := region(tx).List(dir, engines.Page{})
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(keys))
	for _, key := range keys {
		entry, err := region(tx).Get(dir + key)
		if err != nil {
			return nil, err
		}
		if entry == nil {
			continue
		}
		_, name, _ := strings.Cut(string(entry.Value), indexParted)
		names = append(names, name)
	}
	slices.Sort(names)
	p := page(req)
	if p.After != "" {
		names = slices.DeleteFunc(names, func(name string) bool { return name <= p.After })
	}
	if p.Limit > 0 && len(names) > p.Limit {
		names = names[:p.Limit]
	}
	if len(names) == 0 {
		return nil, engines.NotFound()
	}
	return data(map[string]any{"keys": names}), nil
}

// mountOf tells of the mount that an alias belongs to.
func (e *engine) mountOf(tx *state.Tx, accessor string) (*mounts.Mounted, error) {
	router, err := e.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	m, ok := router.ByAccessor(accessor)
	if !ok {
		return nil, nil
	}
	return m, nil
}
