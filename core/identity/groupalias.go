package identity

import (
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func (e *engine) groupAliasRoutes() []engines.Route {
	fields := []engines.Field{
		field("id", engines.String, "The alias's id."), field("name", engines.String, "How the mount calls the group."),
		field("mount_accessor", engines.String, "Accessor of the mount."), field("canonical_id", engines.String, "The group's id."),
	}
	return []engines.Route{
		{Pattern: "group-alias", Help: "Make or change the alias of an external group.", Fields: fields, Ops: []engines.Op{update(e.writeGroupAlias)}},
		{Pattern: "group-alias/id", Help: "List the aliases of groups.", Fields: pageFields(), Ops: []engines.Op{
			list(func(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
				return e.listAliasesOf(req, tx, groupAliasDir)
			}),
		}},
		{Pattern: "group-alias/id/{id}", Help: "Read, change and delete the alias of a group.", Fields: fields, Ops: []engines.Op{
			read(e.readGroupAlias), update(e.writeGroupAlias), remove(e.deleteGroupAlias),
		}},
	}
}

func (e *engine) readGroupAlias(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	a, err := aliasByID(tx, groupAliasDir, req.Fields.String("id"))
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, engines.NotFound()
	}
	out, err := e.showAlias(tx, a)
	if err != nil {
		return nil, err
	}
	return data(out), nil
}

func (e *engine) writeGroupAlias(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f := req.Fields
	var a *Alias
	var err error
	if id := f.String("id"); id != "" {
		if a, err = aliasByID(tx, groupAliasDir, id); err == nil && a == nil {
			err = engines.Invalidf("invalid group alias id")
		}
	} else {
		a, err = aliasByFactor(tx, groupAliasDir, groupAliasName, f.String("mount_accessor"), f.String("name"))
	}
	if err != nil {
		return nil, err
	}
	old := a
	next := Alias{ID: newID(), Created: req.Now}
	if old != nil {
		next = *old
	}
	if f.Has("name") {
		next.Name = f.String("name")
	}
	if f.Has("mount_accessor") {
		next.Accessor = f.String("mount_accessor")
	}
	if f.Has("canonical_id") {
		next.Owner = f.String("canonical_id")
	}
	if err := e.settleGroupAlias(tx, &next, old); err != nil {
		return nil, err
	}
	next.Updated = req.Now
	if err := putAlias(tx, groupAliasDir, groupAliasName, &next); err != nil {
		return nil, err
	}
	return data(map[string]any{"id": next.ID, "canonical_id": next.Owner}), nil
}

// settleGroupAlias checks an alias, and moves it to its group and its index.
func (e *engine) settleGroupAlias(tx *state.Tx, a, old *Alias) error {
	if err := checkName("name", a.Name); err != nil {
		return err
	}
	m, err := e.mountOf(tx, a.Accessor)
	if err != nil {
		return err
	}
	if m == nil || m.Class != engines.ClassAuth || m.Type == "token" {
		return engines.Invalidf("invalid mount accessor")
	}
	g, err := groupByID(tx, a.Owner)
	if err != nil {
		return err
	}
	switch {
	case g == nil:
		return engines.Invalidf("invalid canonical ID")
	case g.Type != externalGroup:
		return engines.Invalidf("alias can only be set on external groups")
	case g.Alias != "" && g.Alias != a.ID:
		return engines.Invalidf("the group has an alias already")
	}
	taken, err := lookUp(tx, factor(groupAliasName, a.Accessor, a.Name))
	if err != nil {
		return err
	}
	if taken != "" && taken != a.ID {
		return engines.Invalidf("combination of mount and group alias name is already in use")
	}
	if old != nil {
		if err := region(tx).Delete(factor(groupAliasName, old.Accessor, old.Name)); err != nil {
			return err
		}
		if old.Owner != a.Owner {
			if err := setGroupAlias(tx, old.Owner, ""); err != nil {
				return err
			}
		}
	}
	return setGroupAlias(tx, a.Owner, a.ID)
}

func setGroupAlias(tx *state.Tx, groupID, aliasID string) error {
	g, err := groupByID(tx, groupID)
	if err != nil || g == nil {
		return err
	}
	g.Alias = aliasID
	return putGroup(tx, g, nil)
}

func (e *engine) deleteGroupAlias(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	a, err := aliasByID(tx, groupAliasDir, req.Fields.String("id"))
	if err != nil || a == nil {
		return nil, err
	}
	if err := setGroupAlias(tx, a.Owner, ""); err != nil {
		return nil, err
	}
	return nil, e.dropGroupAlias(tx, a.ID)
}

func (e *engine) dropGroupAlias(tx *state.Tx, id string) error {
	a, err := aliasByID(tx, groupAliasDir, id)
	if err != nil || a == nil {
		return err
	}
	if err := region(tx).Delete(factor(groupAliasName, a.Accessor, a.Name)); err != nil {
		return err
	}
	return region(tx).Delete(groupAliasDir + id)
}
