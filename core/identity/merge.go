package identity

import (
	"maps"
	"slices"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// maxMerged bounds how many entities one request merges.
const maxMerged = 100

// mergeEntities makes several entities a part of one: their aliases, groups and
// policies become its own. Tokens of the merged ones are refused from then on.
func (e *engine) mergeEntities(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f := req.Fields
	to, err := entityByID(tx, f.String("to_entity_id"))
	if err != nil {
		return nil, err
	}
	if to == nil {
		return nil, engines.Invalidf("entity id to merge to is invalid")
	}
	from := f.Strings("from_entity_ids")
	if len(from) > maxMerged {
		return nil, engines.Invalidf("from_entity_ids: at most %d", maxMerged)
	}
	keep := f.Strings("conflicting_alias_ids_to_keep")
	for _, id := range from {
		if id == to.ID {
			return nil, engines.Invalidf("to_entity_id should not be present in from_entity_ids")
		}
		ent, err := entityByID(tx, id)
		if err != nil {
			return nil, err
		}
		if ent == nil {
			return nil, engines.Invalidf("entity id to merge from is invalid")
		}
		if err := e.absorb(tx, to, ent, keep); err != nil {
			return nil, err
		}
	}
	to.Updated = req.Now
	return nil, putEntity(tx, to)
}

// absorb makes ent a part of to.
func (e *engine) absorb(tx *state.Tx, to, ent *Entity, keep []string) error {
	if err := takeAliases(tx, to, ent, keep); err != nil {
		return err
	}
	groups, err := parents(tx, entityKind, ent.ID)
	if err != nil {
		return err
	}
	for _, id := range groups {
		if err := addMember(tx, id, to.ID); err != nil {
			return err
		}
	}
	to.Policies = append(to.Policies, ent.Policies...)
	slices.Sort(to.Policies)
	to.Policies = slices.Compact(to.Policies)
	if merged := maps.Clone(ent.Metadata); merged != nil {
		maps.Copy(merged, to.Metadata) // what stays wins
		to.Metadata = merged
	}
	to.Merged = append(append(to.Merged, ent.ID), ent.Merged...)
	ent.Aliases = nil
	return e.dropEntity(tx, ent, to.ID)
}

// takeAliases gives the aliases of ent to to. Of two at one mount, the one to
// keep has to be named.
func takeAliases(tx *state.Tx, to, ent *Entity, keep []string) error {
	held := make(map[string]*Alias)
	for _, id := range to.Aliases {
		a, err := aliasByID(tx, aliasDir, id)
		if err != nil {
			return err
		}
		if a != nil {
			held[a.Accessor] = a
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
		if other := held[a.Accessor]; other != nil {
			drop := a
			switch {
			case slices.Contains(keep, a.ID):
				drop = other
			case !slices.Contains(keep, other.ID):
				return engines.Invalidf("both entities have an alias at the mount %s: name the one to keep in conflicting_alias_ids_to_keep", a.Accessor)
			}
			if err := dropAlias(tx, drop); err != nil {
				return err
			}
			to.Aliases = slices.DeleteFunc(to.Aliases, func(x string) bool { return x == drop.ID })
			if drop == a {
				continue
			}
		}
		a.Owner = to.ID
		held[a.Accessor] = a
		to.Aliases = append(to.Aliases, a.ID)
		if err := save(tx, aliasDir+a.ID, a); err != nil {
			return err
		}
	}
	return nil
}

func addMember(tx *state.Tx, groupID, entityID string) error {
	g, err := groupByID(tx, groupID)
	if err != nil || g == nil || slices.Contains(g.Entities, entityID) {
		return err
	}
	before := *g
	g.Entities = append(slices.Clone(g.Entities), entityID)
	return putGroup(tx, g, &before)
}

func dropAlias(tx *state.Tx, a *Alias) error {
	if err := region(tx).Delete(factor(aliasNameDir, a.Accessor, a.Name)); err != nil {
		return err
	}
	return region(tx).Delete(aliasDir + a.ID)
}
