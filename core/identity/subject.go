package identity

import "github.com/coffer-secrets/coffer/core/state"

// EntityExists reports whether there is an entity with an id.
func EntityExists(tx *state.Tx, id string) (bool, error) {
	e, err := entityByID(tx, id)
	return e != nil, err
}

// EntityUsable reports whether there is an entity with an id that is not
// disabled. That it is as it was becomes a condition of the commit.
func EntityUsable(tx *state.Tx, id string) (bool, error) {
	e, err := entityByID(tx, id)
	return e != nil && !e.Disabled, err
}

// GroupExists reports whether there is a group with an id.
func GroupExists(tx *state.Tx, id string) (bool, error) {
	g, err := groupByID(tx, id)
	return g != nil, err
}

// Groups are those that the entity is in, directly or through others.
func (h *Holder) Groups() []*Group { return h.groups }

// GroupIDs are the ids of Groups.
func (h *Holder) GroupIDs() []string {
	ids := make([]string, 0, len(h.groups))
	for _, g := range h.groups {
		ids = append(ids, g.ID)
	}
	return ids
}

// Alias returns the entity's alias at a mount, or nil.
func (h *Holder) Alias(accessor string) *Alias {
	for _, a := range h.aliases {
		if a.Accessor == accessor {
			return a
		}
	}
	return nil
}
