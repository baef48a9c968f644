package identity

import (
	"slices"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func (e *engine) groupRoutes() []engines.Route {
	fields := []engines.Field{
		field("id", engines.String, "The group's id."), field("name", engines.String, "Its name."),
		{Name: "type", Type: engines.String, Allowed: []string{internalGroup, externalGroup}, Help: "\"internal\", or \"external\" for one whose members are those that logins name."},
		field("metadata", engines.KVPairs, "What is known of it."), field("policies", engines.Strings, "Policies of all its members."),
		field("member_entity_ids", engines.Strings, "Its members that are entities."),
		field("member_group_ids", engines.Strings, "Its members that are groups."),
	}
	ops := []engines.Op{read(e.readGroup), update(e.writeGroup), remove(e.deleteGroup)}
	return []engines.Route{
		{Pattern: "group", Help: "Make or change a group.", Fields: fields, Ops: []engines.Op{update(e.writeGroup)}},
		{Pattern: "group/id", Help: "List the groups by id.", Fields: pageFields(), Ops: []engines.Op{list(e.listGroupIDs)}},
		{Pattern: "group/id/{id}", Help: "Read, change and delete a group.", Fields: fields, Ops: ops},
		{Pattern: "group/name", Help: "List the groups by name.", Fields: pageFields(), Ops: []engines.Op{
			list(func(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
				return listNames(req, tx, groupNameDir)
			}),
		}},
		{Pattern: "group/name/{name}", Help: "Read, write and delete a group by name.", Fields: fields, Ops: ops},
	}
}

func (e *engine) namedGroup(req *engines.Request, tx *state.Tx) (*Group, error) {
	if id := req.Fields.String("id"); id != "" {
		return groupByID(tx, id)
	}
	if req.Fields.String("name") == "" {
		return nil, nil
	}
	return groupByName(tx, req.Fields.String("name"))
}

func (e *engine) readGroup(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	g, err := e.namedGroup(req, tx)
	if err != nil {
		return nil, err
	}
	if g == nil {
		return nil, engines.NotFound()
	}
	return e.showGroup(tx, g)
}

func (e *engine) showGroup(tx *state.Tx, g *Group) (*engines.Response, error) {
	above, err := parents(tx, groupKind, g.ID)
	if err != nil {
		return nil, err
	}
	alias := map[string]any{}
	if g.Alias != "" {
		a, err := aliasByID(tx, groupAliasDir, g.Alias)
		if err != nil {
			return nil, err
		}
		if a != nil {
			if alias, err = e.showAlias(tx, a); err != nil {
				return nil, err
			}
		}
	}
	return data(map[string]any{
		"id": g.ID, "name": g.Name, "type": g.Type, "metadata": empty(g.Metadata), "policies": texts(g.Policies),
		"member_entity_ids": texts(g.Entities), "member_group_ids": g.Groups, "parent_group_ids": above, "alias": alias,
		"creation_time": stamp(g.Created), "last_update_time": stamp(g.Updated), "modify_index": 1, "namespace_id": "root",
	}), nil
}

func (e *engine) writeGroup(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f := req.Fields
	g, err := e.namedGroup(req, tx)
	if err != nil {
		return nil, err
	}
	made := g == nil
	if made {
		if f.String("id") != "" {
			return nil, engines.Invalidf("invalid group id")
		}
		id := newID()
		g = &Group{ID: id, Name: "group_" + id[:8], Type: internalGroup, Created: req.Now}
		if f.Has("type") {
			g.Type = f.String("type")
		}
	}
	before := *g
	if f.Has("type") && f.String("type") != g.Type {
		return nil, engines.Invalidf("group type cannot be changed")
	}
	if f.Has("name") {
		g.Name = f.String("name")
	}
	if err := e.renameGroup(tx, g, before.Name, made); err != nil {
		return nil, err
	}
	if err := e.setGroup(tx, g, f); err != nil {
		return nil, err
	}
	g.Updated = req.Now
	if err := putGroup(tx, g, &before); err != nil {
		return nil, err
	}
	if !made {
		return nil, nil
	}
	return data(map[string]any{"id": g.ID, "name": g.Name}), nil
}

// setGroup applies the fields that were given, name and type apart.
func (e *engine) setGroup(tx *state.Tx, g *Group, f engines.Values) (err error) {
	if f.Has("policies") {
		if g.Policies, err = policyNames(f.Strings("policies")); err != nil {
			return err
		}
	}
	if f.Has("metadata") {
		g.Metadata = f.KVPairs("metadata")
		if err := checkMetadata("metadata", g.Metadata); err != nil {
			return err
		}
	}
	if f.Has("member_entity_ids") {
		if g.Type == externalGroup {
			return engines.Invalidf("member entities can't be set manually for external groups")
		}
		if g.Entities, err = memberList(f.Strings("member_entity_ids"), func(id string) (bool, error) {
			ent, err := entityByID(tx, id)
			return ent != nil, err
		}); err != nil {
			return err
		}
	}
	if f.Has("member_group_ids") {
		if g.Type == externalGroup {
			return engines.Invalidf("member groups can't be set for external groups")
		}
		if g.Groups, err = memberList(f.Strings("member_group_ids"), func(id string) (bool, error) {
			member, err := groupByID(tx, id)
			return member != nil, err
		}); err != nil {
			return err
		}
		if err := acyclic(tx, g); err != nil {
			return err
		}
	}
	return nil
}

// memberList sorts ids, and refuses those that are of nothing.
func memberList(ids []string, exists func(id string) (bool, error)) ([]string, error) {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	ids = slices.Compact(ids)
	if len(ids) > maxMembers {
		return nil, engines.Invalidf("a group has at most %d members of a kind: put groups into groups", maxMembers)
	}
	for _, id := range ids {
		ok, err := exists(id)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, engines.Invalidf("invalid member id: there is nothing with it")
		}
	}
	return ids, nil
}

// acyclic refuses a group that would be part of itself.
func acyclic(tx *state.Tx, g *Group) error {
	seen := make(map[string]bool)
	level := g.Groups
	for depth := 0; len(level) > 0; depth++ {
		if depth > maxGroupDepth {
			return engines.Invalidf("groups are nested more than %d deep", maxGroupDepth)
		}
		var next []string
		for _, id := range level {
			if id == g.ID {
				return engines.Invalidf("cyclic relationship detected for member group IDs")
			}
			if seen[id] {
				continue
			}
			seen[id] = true
			member, err := groupByID(tx, id)
			if err != nil {
				return err
			}
			if member != nil {
				next = append(next, member.Groups...)
			}
		}
		level = next
	}
	return nil
}

func (e *engine) renameGroup(tx *state.Tx, g *Group, old string, made bool) error {
	if err := checkName("name", g.Name); err != nil {
		return err
	}
	if !made && canonical(old) == canonical(g.Name) {
		return nil
	}
	taken, err := lookUp(tx, groupNameDir+indexKey(g.Name))
	if err != nil {
		return err
	}
	if taken != "" {
		return engines.Invalidf("group name is already in use")
	}
	if made {
		return nil
	}
	return region(tx).Delete(groupNameDir + indexKey(old))
}

func (e *engine) deleteGroup(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	g, err := e.namedGroup(req, tx)
	if err != nil || g == nil {
		return nil, err
	}
	if err := e.leaveParents(tx, g.ID); err != nil {
		return nil, err
	}
	for kind, ids := range map[string][]string{entityKind: g.Entities, groupKind: g.Groups} {
		if err := members(tx, kind, g.ID, ids, nil); err != nil {
			return nil, err
		}
	}
	if g.Alias != "" {
		if err := e.dropGroupAlias(tx, g.Alias); err != nil {
			return nil, err
		}
	}
	if err := region(tx).Delete(groupNameDir + indexKey(g.Name)); err != nil {
		return nil, err
	}
	return nil, region(tx).Delete(groupDir + g.ID)
}

// leaveParents takes a group out of the groups that it is a member of.
func (e *engine) leaveParents(tx *state.Tx, id string) error {
	above, err := parents(tx, groupKind, id)
	if err != nil {
		return err
	}
	for _, parentID := range above {
		parent, err := groupByID(tx, parentID)
		if err != nil {
			return err
		}
		if parent == nil {
			continue
		}
		before := *parent
		parent.Groups = slices.DeleteFunc(slices.Clone(parent.Groups), func(m string) bool { return m == id })
		if err := putGroup(tx, parent, &before); err != nil {
			return err
		}
	}
	return nil
}

func (e *engine) listGroupIDs(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return listIDs(req, tx, groupDir, func(id string) (map[string]any, error) {
		g, err := groupByID(tx, id)
		if err != nil || g == nil {
			return nil, err
		}
		return map[string]any{"name": g.Name, "num_member_entities": len(g.Entities), "num_parent_groups": 0}, nil
	})
}
