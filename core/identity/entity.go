package identity

import (
	"slices"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func (e *engine) entityRoutes() []engines.Route {
	fields := []engines.Field{
		field("id", engines.String, "The entity's id."), field("name", engines.String, "Its name."),
		field("metadata", engines.KVPairs, "What is known of it."), field("policies", engines.Strings, "Policies of all its tokens."),
		field("disabled", engines.Bool, "Whether its tokens are refused."),
	}
	id, name := fields[:1], fields[1:2]
	return []engines.Route{
		{Pattern: "entity", Help: "Make or change an entity.", Fields: fields, Ops: []engines.Op{update(e.writeEntity)}},
		{Pattern: "entity/id", Help: "List the entities by id.", Fields: pageFields(), Ops: []engines.Op{list(e.listEntityIDs)}},
		{Pattern: "entity/id/{id}", Help: "Read, change and delete an entity.", Fields: fields, Ops: []engines.Op{
			read(e.readEntity), update(e.writeEntity), remove(e.deleteEntity),
		}},
		{Pattern: "entity/name", Help: "List the entities by name.", Fields: pageFields(), Ops: []engines.Op{
			list(func(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
				return listNames(req, tx, entityNameDir)
			}),
		}},
		{Pattern: "entity/name/{name}", Help: "Read, write and delete an entity by name.", Fields: fields, Ops: []engines.Op{
			read(e.readEntity), update(e.writeEntity), remove(e.deleteEntity),
		}},
		{Pattern: "entity/batch-delete", Help: "Delete several entities.", Fields: []engines.Field{
			field("entity_ids", engines.Strings, "Their ids."),
		}, Ops: []engines.Op{update(e.deleteEntities)}},
		{Pattern: "entity/merge", Help: "Make one entity of several.", Fields: []engines.Field{
			{Name: "from_entity_ids", Type: engines.Strings, Required: true, Help: "The entities that shall become part of the other."},
			{Name: "to_entity_id", Type: engines.String, Required: true, Help: "The entity that stays."},
			field("force", engines.Bool, "Accepted: nothing of the entities is lost by merging."),
			field("conflicting_alias_ids_to_keep", engines.Strings, "Of two aliases at one mount, the ones to keep."),
		}, Ops: []engines.Op{update(e.mergeEntities)}},
		{Pattern: "lookup/entity", Help: "Find an entity.", Fields: append(slices.Concat(id, name), lookupFields()...), Ops: []engines.Op{
			op(engines.Update, engines.Reads, e.lookUpEntity),
		}},
	}
}

func lookupFields() []engines.Field {
	return []engines.Field{
		field("alias_id", engines.String, "Id of one of its aliases."), field("alias_name", engines.String, "Name of one of its aliases."),
		field("alias_mount_accessor", engines.String, "Accessor of the mount of alias_name."),
	}
}

// named returns the entity that the request's path or body names, or nil.
func (e *engine) named(req *engines.Request, tx *state.Tx) (*Entity, error) {
	if id := req.Fields.String("id"); id != "" {
		return entityByID(tx, id)
	}
	return entityByName(tx, req.Fields.String("name"))
}

func (e *engine) showEntity(tx *state.Tx, ent *Entity) (*engines.Response, error) {
	aliases := make([]any, 0, len(ent.Aliases))
	for _, id := range ent.Aliases {
		a, err := aliasByID(tx, aliasDir, id)
		if err != nil {
			return nil, err
		}
		if a == nil {
			continue
		}
		shown, err := e.showAlias(tx, a)
		if err != nil {
			return nil, err
		}
		aliases = append(aliases, shown)
	}
	direct, err := parents(tx, entityKind, ent.ID)
	if err != nil {
		return nil, err
	}
	all, err := groupsOf(tx, ent.ID)
	if err != nil {
		return nil, err
	}
	var ids, inherited []string
	for _, g := range all {
		ids = append(ids, g.ID)
		if !slices.Contains(direct, g.ID) {
			inherited = append(inherited, g.ID)
		}
	}
	return data(map[string]any{
		"id": ent.ID, "name": ent.Name, "metadata": empty(ent.Metadata), "policies": texts(ent.Policies), "disabled": ent.Disabled,
		"aliases": aliases, "creation_time": stamp(ent.Created), "last_update_time": stamp(ent.Updated), "namespace_id": "root",
		"direct_group_ids": texts(direct), "group_ids": texts(ids), "inherited_group_ids": texts(inherited),
		"merged_entity_ids": ent.Merged, "mfa_secrets": map[string]any{},
	}), nil
}

func (e *engine) readEntity(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	ent, err := e.named(req, tx)
	if err != nil {
		return nil, err
	}
	if ent == nil {
		return nil, engines.NotFound()
	}
	return e.showEntity(tx, ent)
}

func (e *engine) writeEntity(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f := req.Fields
	ent, err := e.named(req, tx)
	if err != nil {
		return nil, err
	}
	made := ent == nil
	if made {
		if f.String("id") != "" {
			return nil, engines.Invalidf("invalid entity id")
		}
		id := newID()
		ent = &Entity{ID: id, Name: "entity_" + id[:8], Created: req.Now}
	}
	old := ent.Name
	if f.Has("name") {
		ent.Name = f.String("name")
	}
	if err := e.renameEntity(tx, ent, old, made); err != nil {
		return nil, err
	}
	if f.Has("policies") {
		if ent.Policies, err = policyNames(f.Strings("policies")); err != nil {
			return nil, err
		}
	}
	if f.Has("metadata") {
		ent.Metadata = f.KVPairs("metadata")
		if err := checkMetadata("metadata", ent.Metadata); err != nil {
			return nil, err
		}
	}
	if f.Has("disabled") {
		ent.Disabled = f.Bool("disabled")
	}
	ent.Updated = req.Now
	if err := putEntity(tx, ent); err != nil {
		return nil, err
	}
	if !made {
		return nil, nil
	}
	return data(map[string]any{"id": ent.ID, "name": ent.Name, "aliases": nil}), nil
}

// renameEntity sees to it that the name is free, and frees the old one.
func (e *engine) renameEntity(tx *state.Tx, ent *Entity, old string, made bool) error {
	if err := checkName("name", ent.Name); err != nil {
		return err
	}
	if !made && canonical(old) == canonical(ent.Name) {
		return nil
	}
	taken, err := lookUp(tx, entityNameDir+indexKey(ent.Name))
	if err != nil {
		return err
	}
	if taken != "" {
		return engines.Invalidf("entity name is already in use")
	}
	if made {
		return nil
	}
	return region(tx).Delete(entityNameDir + indexKey(old))
}

func (e *engine) deleteEntity(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	ent, err := e.named(req, tx)
	if err != nil || ent == nil {
		return nil, err
	}
	return nil, e.dropEntity(tx, ent, "")
}

// dropEntity removes an entity, its aliases, and it from its groups.
func (e *engine) dropEntity(tx *state.Tx, ent *Entity, into string) error {
	if e.Gone != nil {
		if err := e.Gone(tx, ent.ID, into); err != nil {
			return err
		}
	}
	for _, id := range ent.Aliases {
		a, err := aliasByID(tx, aliasDir, id)
		if err != nil {
			return err
		}
		if a == nil {
			continue
		}
		if err := region(tx).Delete(factor(aliasNameDir, a.Accessor, a.Name)); err != nil {
			return err
		}
		if err := region(tx).Delete(aliasDir + id); err != nil {
			return err
		}
	}
	groups, err := parents(tx, entityKind, ent.ID)
	if err != nil {
		return err
	}
	for _, id := range groups {
		g, err := groupByID(tx, id)
		if err != nil {
			return err
		}
		if g == nil {
			continue
		}
		before := *g
		g.Entities = slices.DeleteFunc(slices.Clone(g.Entities), func(m string) bool { return m == ent.ID })
		if err := putGroup(tx, g, &before); err != nil {
			return err
		}
	}
	if err := region(tx).Delete(entityNameDir + indexKey(ent.Name)); err != nil {
		return err
	}
	return region(tx).Delete(entityDir + ent.ID)
}

func (e *engine) deleteEntities(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	ids := req.Fields.Strings("entity_ids")
	if len(ids) == 0 {
		return nil, engines.Invalidf("missing entity ids to delete")
	}
	for _, id := range ids {
		ent, err := entityByID(tx, id)
		if err != nil {
			return nil, err
		}
		if ent == nil {
			continue
		}
		if err := e.dropEntity(tx, ent, ""); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func (e *engine) listEntityIDs(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return listIDs(req, tx, entityDir, func(id string) (map[string]any, error) {
		ent, err := entityByID(tx, id)
		if err != nil || ent == nil {
			return nil, err
		}
		aliases := []any{}
		for _, aliasID := range ent.Aliases {
			a, err := aliasByID(tx, aliasDir, aliasID)
			if err != nil {
				return nil, err
			}
			if a != nil {
				aliases = append(aliases, map[string]any{"id": a.ID, "name": a.Name, "mount_accessor": a.Accessor})
			}
		}
		return map[string]any{"name": ent.Name, "aliases": aliases}, nil
	})
}
