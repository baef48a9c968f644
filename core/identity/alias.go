package identity

import (
	"slices"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// aliasRoutes serve the aliases of entities, under their present name and the
// two older ones.
func (e *engine) aliasRoutes() []engines.Route {
	var routes []engines.Route
	for _, name := range []string{"entity-alias", "alias", "persona"} {
		fields := []engines.Field{
			field("id", engines.String, "The alias's id."), field("name", engines.String, "How the mount knows the entity."),
			field("canonical_id", engines.String, "The entity's id."),
			{Name: "entity_id", Type: engines.String, Deprecated: true, Help: "Use canonical_id."},
			field("mount_accessor", engines.String, "Accessor of the mount."),
			field("metadata", engines.KVPairs, "Accepted; it is set by logins."),
			field("custom_metadata", engines.KVPairs, "What else is known."),
		}
		routes = append(routes,
			engines.Route{Pattern: name, Help: "Make or change an alias.", Fields: fields, Ops: []engines.Op{update(e.writeAlias)}},
			engines.Route{Pattern: name + "/id", Help: "List the aliases.", Fields: pageFields(), Ops: []engines.Op{list(e.listAliases)}},
			engines.Route{Pattern: name + "/id/{id}", Help: "Read, change and delete an alias.", Fields: fields, Ops: []engines.Op{
				read(e.readAlias), update(e.writeAlias), remove(e.deleteAlias),
			}},
		)
	}
	return routes
}

func (e *engine) showAlias(tx *state.Tx, a *Alias) (map[string]any, error) {
	out := map[string]any{
		"id": a.ID, "canonical_id": a.Owner, "name": a.Name, "mount_accessor": a.Accessor, "metadata": empty(a.Metadata),
		"custom_metadata": empty(a.Custom), "creation_time": stamp(a.Created), "last_update_time": stamp(a.Updated),
		"local": a.Local, "merged_from_canonical_ids": nil, "mount_path": "", "mount_type": "", "namespace_id": "root",
	}
	m, err := e.mountOf(tx, a.Accessor)
	if err != nil {
		return nil, err
	}
	if m != nil {
		out["mount_path"], out["mount_type"], out["local"] = m.Path, m.Type, m.Local
	}
	return out, nil
}

func (e *engine) readAlias(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	a, err := aliasByID(tx, aliasDir, req.Fields.String("id"))
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

func (e *engine) writeAlias(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f := req.Fields
	a, old, err := e.aliasToWrite(req, tx)
	if err != nil {
		return nil, err
	}
	owner := f.String("canonical_id")
	if owner == "" {
		owner = f.String("entity_id")
	}
	if owner == "" {
		owner = a.Owner
	}
	if f.Has("custom_metadata") {
		a.Custom = f.KVPairs("custom_metadata")
		if err := checkMetadata("custom_metadata", a.Custom); err != nil {
			return nil, err
		}
	}
	if err := e.settleAlias(tx, a, old); err != nil {
		return nil, err
	}
	ent, err := e.ownerOf(req, tx, owner)
	if err != nil {
		return nil, err
	}
	if err := giveAlias(tx, a, ent, old); err != nil {
		return nil, err
	}
	a.Owner, a.Updated = ent.ID, req.Now
	if err := putAlias(tx, aliasDir, aliasNameDir, a); err != nil {
		return nil, err
	}
	return data(map[string]any{"id": a.ID, "canonical_id": a.Owner}), nil
}

// aliasToWrite returns the alias that shall be changed, and what it was; the
// latter is nil for a new one.
func (e *engine) aliasToWrite(req *engines.Request, tx *state.Tx) (a, old *Alias, err error) {
	f := req.Fields
	if id := f.String("id"); id != "" {
		a, err = aliasByID(tx, aliasDir, id)
		if err == nil && a == nil {
			err = engines.Invalidf("invalid alias id")
		}
	} else {
		a, err = aliasByFactor(tx, aliasDir, aliasNameDir, f.String("mount_accessor"), f.String("name"))
	}
	if err != nil {
		return nil, nil, err
	}
	if a != nil {
		before := *a
		old = &before
	} else {
		a = &Alias{ID: newID(), Created: req.Now}
	}
	if f.Has("name") {
		a.Name = f.String("name")
	}
	if f.Has("mount_accessor") {
		a.Accessor = f.String("mount_accessor")
	}
	return a, old, nil
}

// settleAlias checks where the alias is, and moves its unique index.
func (e *engine) settleAlias(tx *state.Tx, a, old *Alias) error {
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
	if old != nil && old.Accessor == a.Accessor && canonical(old.Name) == canonical(a.Name) {
		return nil
	}
	taken, err := lookUp(tx, factor(aliasNameDir, a.Accessor, a.Name))
	if err != nil {
		return err
	}
	if taken != "" {
		return engines.Invalidf("alias with combination of mount accessor and name already exists")
	}
	if old == nil {
		return nil
	}
	return region(tx).Delete(factor(aliasNameDir, old.Accessor, old.Name))
}

// ownerOf returns the entity with an id, or a new one for none.
func (e *engine) ownerOf(req *engines.Request, tx *state.Tx, id string) (*Entity, error) {
	if id == "" {
		fresh := newID()
		return &Entity{ID: fresh, Name: "entity_" + fresh, Created: req.Now, Updated: req.Now}, nil
	}
	ent, err := entityByID(tx, id)
	if err == nil && ent == nil {
		err = engines.Invalidf("invalid canonical ID")
	}
	return ent, err
}

// giveAlias adds the alias to an entity and takes it from the one that had it.
// An entity has one alias at each mount.
func giveAlias(tx *state.Tx, a *Alias, ent *Entity, old *Alias) error {
	for _, id := range ent.Aliases {
		other, err := aliasByID(tx, aliasDir, id)
		if err != nil {
			return err
		}
		if other != nil && other.ID != a.ID && other.Accessor == a.Accessor {
			return engines.Invalidf("the entity has an alias at this mount already")
		}
	}
	if !slices.Contains(ent.Aliases, a.ID) {
		ent.Aliases = append(ent.Aliases, a.ID)
	}
	if err := putEntity(tx, ent); err != nil {
		return err
	}
	if old == nil || old.Owner == ent.ID {
		return nil
	}
	return forgetAlias(tx, old)
}

// forgetAlias takes an alias out of the list of its entity.
func forgetAlias(tx *state.Tx, a *Alias) error {
	ent, err := entityByID(tx, a.Owner)
	if err != nil || ent == nil {
		return err
	}
	ent.Aliases = slices.DeleteFunc(ent.Aliases, func(id string) bool { return id == a.ID })
	return putEntity(tx, ent)
}

func (e *engine) deleteAlias(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	a, err := aliasByID(tx, aliasDir, req.Fields.String("id"))
	if err != nil || a == nil {
		return nil, err
	}
	if err := forgetAlias(tx, a); err != nil {
		return nil, err
	}
	return nil, dropAlias(tx, a)
}

func (e *engine) listAliases(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return e.listAliasesOf(req, tx, aliasDir)
}

func (e *engine) listAliasesOf(req *engines.Request, tx *state.Tx, dir string) (*engines.Response, error) {
	return listIDs(req, tx, dir, func(id string) (map[string]any, error) {
		a, err := aliasByID(tx, dir, id)
		if err != nil || a == nil {
			return nil, err
		}
		return e.showAlias(tx, a)
	})
}
