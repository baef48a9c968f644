package identity

import (
	"maps"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Login returns the id of the entity of somebody who has logged in at a mount,
// which is made if the mount has not seen them before, and brings the external
// groups that the mount speaks for up to date.
func (s *Identity) Login(tx *state.Tx, mount engines.Mount, auth *engines.Auth) (string, error) {
	if auth.Alias == "" {
		return "", nil
	}
	known := s.at(tx.TableIndex(state.Identities))
	a, err := known.alias(tx, mount.Accessor, auth.Alias)
	if err != nil {
		return "", err
	}
	if a == nil {
		a, err = newcomer(tx, mount, auth)
	} else {
		err = again(tx, a, auth)
	}
	if err != nil {
		return "", err
	}
	// What is decided here is no condition of the commit: an entity that is
	// disabled meanwhile is refused with each use of the token.
	h, err := known.holder(tx, a.Owner)
	if err != nil {
		return "", err
	}
	if len(auth.Groups) == 0 && !h.external {
		return a.Owner, nil
	}
	return a.Owner, joinExternal(tx, mount.Accessor, a.Owner, auth.Groups)
}

// again keeps what a login tells of an alias. That the entity stays is a
// condition of the commit.
func again(tx *state.Tx, a *Alias, auth *engines.Auth) error {
	owner, err := region(tx).Key(entityDir + a.Owner)
	if err != nil {
		return err
	}
	tx.RequireExists(owner)
	if maps.Equal(a.Metadata, auth.AliasMetadata) {
		return nil
	}
	changed := *a // it is shared
	changed.Metadata, changed.Updated = auth.AliasMetadata, tx.Now()
	return save(tx, aliasDir+a.ID, &changed)
}

// newcomer makes an entity with one alias.
func newcomer(tx *state.Tx, mount engines.Mount, auth *engines.Auth) (*Alias, error) {
	id := newID()
	e := &Entity{ID: id, Name: "entity_" + strings.ReplaceAll(id, "-", "")[:8], Created: tx.Now(), Updated: tx.Now()}
	taken, err := lookUp(tx, entityNameDir+indexKey(e.Name))
	if err != nil {
		return nil, err
	}
	if taken != "" {
		e.Name = "entity_" + id
	}
	a := &Alias{
		ID: newID(), Owner: id, Accessor: mount.Accessor, Name: auth.Alias, Metadata: auth.AliasMetadata,
		Created: tx.Now(), Updated: tx.Now(),
	}
	if err := checkName("alias", a.Name); err != nil {
		return nil, err
	}
	e.Aliases = []string{a.ID}
	if err := putEntity(tx, e); err != nil {
		return nil, err
	}
	return a, putAlias(tx, aliasDir, aliasNameDir, a)
}

func putEntity(tx *state.Tx, e *Entity) error {
	if err := index(tx, entityNameDir+indexKey(e.Name), e.ID, e.Name); err != nil {
		return err
	}
	return save(tx, entityDir+e.ID, e)
}

func putAlias(tx *state.Tx, dir, nameDir string, a *Alias) error {
	if err := index(tx, factor(nameDir, a.Accessor, a.Name), a.ID, a.Name); err != nil {
		return err
	}
	return save(tx, dir+a.ID, a)
}

// joinExternal makes the entity a member of exactly those external groups of
// the mount that the login names.
func joinExternal(tx *state.Tx, accessor, entityID string, names []string) error {
	named := make(map[string]bool)
	for _, name := range names {
		a, err := aliasByFactor(tx, groupAliasDir, groupAliasName, accessor, name)
		if err != nil {
			return err
		}
		if a != nil {
			named[a.Owner] = true
		}
	}
	present, err := parents(tx, entityKind, entityID)
	if err != nil {
		return err
	}
	for _, id := range present {
		g, err := groupByID(tx, id)
		if err != nil {
			return err
		}
		if named[id] || g == nil || g.Type != externalGroup {
			delete(named, id)
			continue
		}
		a, err := aliasByID(tx, groupAliasDir, g.Alias)
		if err != nil {
			return err
		}
		if a == nil || a.Accessor != accessor {
			continue
		}
		g.Entities = slices.DeleteFunc(g.Entities, func(m string) bool { return m == entityID })
		if err := putGroup(tx, g, nil); err != nil {
			return err
		}
		if err := region(tx).Delete(memberDir + entityKind + entityID + "/" + id); err != nil {
			return err
		}
	}
	for _, id := range slices.Sorted(maps.Keys(named)) {
		g, err := groupByID(tx, id)
		if err != nil {
			return err
		}
		if g == nil {
			continue
		}
		before := *g
		g.Entities = append(slices.Clone(g.Entities), entityID)
		if err := putGroup(tx, g, &before); err != nil {
			return err
		}
	}
	return nil
}

// putGroup stores a group and the rows of its members, given what it was; nil
// leaves these rows alone.
func putGroup(tx *state.Tx, g, before *Group) error {
	if before != nil {
		if err := members(tx, entityKind, g.ID, before.Entities, g.Entities); err != nil {
			return err
		}
		if err := members(tx, groupKind, g.ID, before.Groups, g.Groups); err != nil {
			return err
		}
	}
	if err := index(tx, groupNameDir+indexKey(g.Name), g.ID, g.Name); err != nil {
		return err
	}
	return save(tx, groupDir+g.ID, g)
}

func members(tx *state.Tx, kind, groupID string, before, after []string) error {
	for _, id := range before {
		if !slices.Contains(after, id) {
			if err := region(tx).Delete(memberDir + kind + id + "/" + groupID); err != nil {
				return err
			}
		}
	}
	for _, id := range after {
		if !slices.Contains(before, id) {
			if err := region(tx).Put(memberDir+kind+id+"/"+groupID, []byte{1}); err != nil {
				return err
			}
		}
	}
	return nil
}
