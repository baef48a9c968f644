package system

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/auth/lockout"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func (s *system) lockedRoutes() []engines.Route {
	accessor := field("mount_accessor", engines.String, "Accessor of the way to log in.")
	return []engines.Route{
		{Pattern: "locked-users", Help: "List the users that are locked out of logging in.", Fields: []engines.Field{accessor}, Ops: []engines.Op{read(whole(s.lockedUsers))}},
		{Pattern: "locked-users/{mount_accessor}/unlock/{alias_identifier}", Help: "Let a user log in again.", Fields: []engines.Field{
			accessor, field("alias_identifier", engines.String, "The user's name, or the role id."),
		}, Ops: []engines.Op{update(whole(s.unlockUser))}},
	}
}

// lockedAt is a way to log in with those it has locked out.
type lockedAt struct {
	Accessor string   `json:"mount_accessor"`
	Count    int      `json:"counts"`
	Names    []string `json:"alias_identifiers"`
}

func (s *system) lockedUsers(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	router, err := s.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	only := req.Fields.String("mount_accessor")
	all, total := []lockedAt{}, 0
	for _, m := range router.All() {
		if m.Class != engines.ClassAuth || only != "" && m.Accessor != only {
			continue
		}
		locked, err := lockout.List(m.Storage(tx), lockout.RulesOf(m.Info.Lockout), req.Now)
		if err != nil {
			return nil, err
		}
		if len(locked) == 0 {
			continue
		}
		at := lockedAt{Accessor: m.Accessor, Count: len(locked)}
		for _, l := range locked {
			at.Names = append(at.Names, l.Name)
		}
		all, total = append(all, at), total+at.Count
	}
	slices.SortStableFunc(all, func(a, b lockedAt) int { return cmp.Compare(b.Count, a.Count) })
	namespaces := []map[string]any{}
	if total > 0 {
		namespaces = append(namespaces, map[string]any{"namespace_id": "root", "namespace_path": "", "counts": total, "mount_accessors": all})
	}
	return data(map[string]any{"by_namespace": namespaces, "total": total}), nil
}

func (s *system) unlockUser(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	m, err := s.loginMount(tx, req.Fields.String("mount_accessor"))
	if err != nil {
		return nil, err
	}
	// Role ids count as they are, users' names in lower case.
	name, storage := req.Fields.String("alias_identifier"), m.Storage(tx)
	if was, err := lockout.Unlock(storage, name); was || err != nil {
		return nil, err
	}
	_, err = lockout.Unlock(storage, strings.ToLower(strings.TrimSpace(name)))
	return nil, err
}

// loginMount is the way to log in with an accessor.
func (s *system) loginMount(tx *state.Tx, accessor string) (*mounts.Mounted, error) {
	router, err := s.Mounts().Router(tx)
	if err != nil {
		return nil, err
	}
	m, ok := router.ByAccessor(accessor)
	if !ok || m.Class != engines.ClassAuth {
		return nil, engines.Invalidf("mount_accessor: no way to log in has this accessor")
	}
	return m, nil
}
