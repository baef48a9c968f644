package identity

import (
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func (e *engine) lookupRoutes() []engines.Route {
	return []engines.Route{
		{Pattern: "lookup/group", Help: "Find a group.", Fields: append([]engines.Field{
			field("id", engines.String, "The group's id."), field("name", engines.String, "Its name."),
		}, lookupFields()...), Ops: []engines.Op{op(engines.Update, engines.Reads, e.lookUpGroup)}},
	}
}

// aliasAsked returns the alias that a lookup names, or nil.
func aliasAsked(req *engines.Request, tx *state.Tx, dir, nameDir string) (*Alias, error) {
	f := req.Fields
	if id := f.String("alias_id"); id != "" {
		return aliasByID(tx, dir, id)
	}
	name, accessor := f.String("alias_name"), f.String("alias_mount_accessor")
	if name == "" || accessor == "" {
		return nil, engines.Invalidf("name what to look for: id, name, alias_id, or alias_name with alias_mount_accessor")
	}
	return aliasByFactor(tx, dir, nameDir, accessor, name)
}

// nothing answers 204, as Vault does for a lookup that finds nothing.
func nothing() (*engines.Response, error) { return nil, nil }

func (e *engine) lookUpEntity(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	var ent *Entity
	var err error
	if req.Fields.String("id") != "" || req.Fields.String("name") != "" {
		ent, err = e.named(req, tx)
	} else {
		var a *Alias
		if a, err = aliasAsked(req, tx, aliasDir, aliasNameDir); err == nil && a != nil {
			ent, err = entityByID(tx, a.Owner)
		}
	}
	if err != nil {
		return nil, err
	}
	if ent == nil {
		return nothing()
	}
	return e.showEntity(tx, ent)
}

func (e *engine) lookUpGroup(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	var g *Group
	var err error
	if req.Fields.String("id") != "" || req.Fields.String("name") != "" {
		g, err = e.namedGroup(req, tx)
	} else {
		var a *Alias
		if a, err = aliasAsked(req, tx, groupAliasDir, groupAliasName); err == nil && a != nil {
			g, err = groupByID(tx, a.Owner)
		}
	}
	if err != nil {
		return nil, err
	}
	if g == nil {
		return nothing()
	}
	return e.showGroup(tx, g)
}
