package identity

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// maxHolders bounds how many callers are cached.
const maxHolders = 1 << 14

// Holder is what an entity comes to for a request: its policies, those of its
// groups included, and what policies' templates are filled with. It is
// immutable.
type Holder struct {
	Entity   *Entity
	Policies []string
	aliases  []*Alias
	groups   []*Group
	// external says that it is in groups whose members logins name.
	external bool
	// Index is that of the table; with the entity's id it identifies the holder.
	Index uint64
}

// holders are what was derived from one state of the table.
type holders struct {
	index uint64
	mu    sync.RWMutex
	byID  map[string]*Holder
	// byFactor are the aliases that logins were found by.
	byFactor map[aliasFactor]*Alias
}

type aliasFactor struct{ accessor, name string }

// Identity gives callers their identity. It is safe for concurrent use.
type Identity struct{ current atomic.Pointer[holders] }

// New returns an identity with nothing cached.
func New() *Identity { return new(Identity) }

// errGone is the answer to a token whose entity must not be used.
func errGone() error { return engines.Errorf(engines.KindDenied, "permission denied") }

// Holder returns what an entity comes to, or an error if it is disabled or gone.
func (s *Identity) Holder(tx *state.Tx, id string) (*Holder, error) {
	return s.at(tx.TableIndex(state.Identities)).holder(tx, id)
}

func (c *holders) holder(tx *state.Tx, id string) (*Holder, error) {
	c.mu.RLock()
	h := c.byID[id]
	c.mu.RUnlock()
	if h == nil || tx.Wrote(state.Identities) { // a login has just changed who is in which group
		var err error
		if h, err = derive(tx, id, c.index); err != nil {
			return nil, err
		}
		if !tx.Wrote(state.Identities) { // else it may rest on what has not been committed
			c.keep(id, h)
		}
	}
	if h.Entity == nil || h.Entity.Disabled {
		return nil, errGone()
	}
	return h, nil
}

func (c *holders) keep(id string, h *Holder) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.byID) >= maxHolders {
		clear(c.byID)
	}
	c.byID[id] = h
}

// alias returns the alias that logins of a name at a mount are known by, nil if
// there is none. It is shared: it must not be changed.
func (c *holders) alias(tx *state.Tx, accessor, name string) (*Alias, error) {
	key := aliasFactor{accessor, name}
	c.mu.RLock()
	a := c.byFactor[key]
	c.mu.RUnlock()
	if a != nil && !tx.Wrote(state.Identities) {
		return a, nil
	}
	a, err := aliasByFactor(tx, aliasDir, aliasNameDir, accessor, name)
	if err != nil || a == nil || tx.Wrote(state.Identities) {
		return a, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.byFactor) >= maxHolders {
		clear(c.byFactor)
	}
	c.byFactor[key] = a
	return a, nil
}

func (s *Identity) at(index uint64) *holders {
	for {
		c := s.current.Load()
		if c != nil && c.index == index {
			return c
		}
		fresh := &holders{index: index, byID: make(map[string]*Holder), byFactor: make(map[aliasFactor]*Alias)}
		if c != nil && c.index > index { // an older snapshot: derive for it alone
			return fresh
		}
		if s.current.CompareAndSwap(c, fresh) {
			return fresh
		}
	}
}

func derive(tx *state.Tx, id string, index uint64) (*Holder, error) {
	h := &Holder{Index: index}
	var err error
	if h.Entity, err = entityByID(tx, id); err != nil || h.Entity == nil {
		return h, err
	}
	for _, aliasID := range h.Entity.Aliases {
		a, err := aliasByID(tx, aliasDir, aliasID)
		if err != nil {
			return nil, err
		}
		if a != nil {
			h.aliases = append(h.aliases, a)
		}
	}
	if h.groups, err = groupsOf(tx, id); err != nil {
		return nil, err
	}
	h.Policies = slices.Clone(h.Entity.Policies)
	for _, g := range h.groups {
		h.Policies = append(h.Policies, g.Policies...)
		h.external = h.external || g.Type == externalGroup
	}
	slices.Sort(h.Policies)
	h.Policies = slices.Compact(h.Policies)
	return h, nil
}

// groupsOf lists the groups that an entity is in, directly or through others.
func groupsOf(tx *state.Tx, entityID string) ([]*Group, error) {
	seen := make(map[string]bool)
	var list []*Group
	next, err := parents(tx, entityKind, entityID)
	if err != nil {
		return nil, err
	}
	for len(next) > 0 {
		id := next[0]
		next = next[1:]
		if seen[id] {
			continue
		}
		seen[id] = true
		g, err := groupByID(tx, id)
		if err != nil {
			return nil, err
		}
		if g == nil {
			continue
		}
		list = append(list, g)
		more, err := parents(tx, groupKind, id)
		if err != nil {
			return nil, err
		}
		next = append(next, more...)
	}
	return list, nil
}

// parents lists the groups that have a member.
func parents(tx *state.Tx, kind, id string) ([]string, error) {
	return region(tx).List(memberDir+kind+id+"/", engines.Page{})
}

// Resolve gives the value of a policy template's expression. Its names are
// Vault's.
func (h *Holder) Resolve(expr string) (string, bool) {
	rest, ok := strings.CutPrefix(expr, "identity.")
	if !ok {
		return "", false
	}
	if entity, ok := strings.CutPrefix(rest, "entity."); ok {
		return h.resolveEntity(entity)
	}
	if groups, ok := strings.CutPrefix(rest, "groups."); ok {
		return h.resolveGroup(groups)
	}
	return "", false
}

func (h *Holder) resolveEntity(expr string) (string, bool) {
	switch expr {
	case "id":
		return h.Entity.ID, true
	case "name":
		return h.Entity.Name, true
	}
	if key, ok := strings.CutPrefix(expr, "metadata."); ok {
		value, found := h.Entity.Metadata[key]
		return value, found
	}
	rest, ok := strings.CutPrefix(expr, "aliases.")
	if !ok {
		return "", false
	}
	accessor, what, _ := strings.Cut(rest, ".")
	for _, a := range h.aliases {
		if a.Accessor != accessor {
			continue
		}
		switch what {
		case "id":
			return a.ID, true
		case "name":
			return a.Name, true
		}
		if key, ok := strings.CutPrefix(what, "metadata."); ok {
			value, found := a.Metadata[key]
			return value, found
		}
		if key, ok := strings.CutPrefix(what, "custom_metadata."); ok {
			value, found := a.Custom[key]
			return value, found
		}
	}
	return "", false
}

func (h *Holder) resolveGroup(expr string) (string, bool) {
	for _, g := range h.groups {
		if what, ok := strings.CutPrefix(expr, "ids."+g.ID+"."); ok {
			if what == "name" {
				return g.Name, true
			}
			return groupMeta(g, what)
		}
		if what, ok := strings.CutPrefix(expr, "names."+g.Name+"."); ok {
			if what == "id" {
				return g.ID, true
			}
			return groupMeta(g, what)
		}
	}
	return "", false
}

func groupMeta(g *Group, what string) (string, bool) {
	key, ok := strings.CutPrefix(what, "metadata.")
	if !ok {
		return "", false
	}
	value, found := g.Metadata[key]
	return value, found
}
