package mfa

import (
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/core/identity"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Bounds of enforcements.
const (
	maxEnforcements = 1000
	maxTargets      = 1000
)

// Enforcement says which logins need a second factor, and which methods give
// one: any of them will do.
type Enforcement struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Methods   []string `json:"methods"`
	Accessors []string `json:"accessors,omitempty"`
	Types     []string `json:"types,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	Entities  []string `json:"entities,omitempty"`
}

func (m *MFA) enforcementRoutes() []engines.Route {
	fields := []engines.Field{
		field("name", engines.String, "The enforcement's name."),
		field("mfa_method_ids", engines.Strings, "Ids of the methods, any of which will do."),
		field("auth_method_accessors", engines.Strings, "Accessors of ways to log in that it is for."),
		field("auth_method_types", engines.Strings, "Types of ways to log in that it is for."),
		field("identity_group_ids", engines.Strings, "Ids of groups that it is for."),
		field("identity_entity_ids", engines.Strings, "Ids of entities that it is for."),
	}
	return []engines.Route{
		{Pattern: "mfa/login-enforcement", Help: "List what asks logins for a second factor.", Ops: []engines.Op{list(m.listEnforcements)}},
		{Pattern: "mfa/login-enforcement/{name}", Help: "Read, write and delete what asks logins for a second factor.", Fields: fields, Ops: []engines.Op{
			read(m.readEnforcement), update(m.writeEnforcement), remove(m.deleteEnforcement),
		}},
	}
}

func enforcementByName(tx *state.Tx, name string) (*Enforcement, error) {
	e := new(Enforcement)
	ok, err := load(region(tx), enforcementDir+nameKey(name), e)
	if err != nil || !ok {
		return nil, err
	}
	return e, nil
}

func (e *Enforcement) show() map[string]any {
	return map[string]any{
		"id": e.ID, "name": e.Name, "namespace_id": "root", "namespace_path": "", "mfa_method_ids": texts(e.Methods),
		"auth_method_accessors": texts(e.Accessors), "auth_method_types": texts(e.Types),
		"identity_group_ids": texts(e.Groups), "identity_entity_ids": texts(e.Entities),
	}
}

func (m *MFA) readEnforcement(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	e, err := enforcementByName(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, engines.NotFound()
	}
	return data(e.show()), nil
}

func (m *MFA) listEnforcements(_ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	all, err := m.at(tx)
	if err != nil {
		return nil, err
	}
	var keys []string
	infos := make(map[string]any)
	for _, e := range all.enforcements {
		keys, infos[e.Name] = append(keys, e.Name), e.show()
	}
	return listed(keys, infos)
}

func (m *MFA) writeEnforcement(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f, name := req.Fields, req.Fields.String("name")
	if !nameForm.MatchString(name) {
		return nil, engines.Invalidf("name: expected at most 128 letters, digits, \"_\", \".\" and \"-\"")
	}
	e, err := enforcementByName(tx, name)
	if err != nil {
		return nil, err
	}
	if e == nil {
		all, err := m.at(tx)
		if err != nil {
			return nil, err
		}
		if len(all.enforcements) >= maxEnforcements {
			return nil, engines.Invalidf("there are %d enforcements already, which is the limit", maxEnforcements)
		}
		e = &Enforcement{ID: newID(), Name: name}
	}
	for from, to := range map[string]*[]string{
		"mfa_method_ids": &e.Methods, "auth_method_accessors": &e.Accessors, "auth_method_types": &e.Types,
		"identity_group_ids": &e.Groups, "identity_entity_ids": &e.Entities,
	} {
		if !f.Has(from) {
			continue
		}
		if *to = clean(f.Strings(from)); len(*to) > maxTargets {
			return nil, engines.Invalidf("%s: at most %d", from, maxTargets)
		}
	}
	if err := m.checkEnforcement(tx, e); err != nil {
		return nil, err
	}
	return nil, save(region(tx), enforcementDir+nameKey(name), e, state.PutOptions{})
}

func clean(list []string) []string {
	var out []string
	for _, text := range list {
		if text = strings.TrimSpace(text); text != "" {
			out = append(out, text)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// checkEnforcement refuses what names nothing that there is: a typing mistake
// would leave logins without the factor that somebody believes they need.
func (m *MFA) checkEnforcement(tx *state.Tx, e *Enforcement) error {
	if len(e.Methods) == 0 {
		return engines.Invalidf("missing method ids")
	}
	if len(e.Accessors)+len(e.Types)+len(e.Groups)+len(e.Entities) == 0 {
		return engines.Invalidf("one of auth_method_accessors, auth_method_types, identity_group_ids, identity_entity_ids must be specified")
	}
	for _, id := range e.Methods {
		if method, err := methodByID(tx, id); err != nil || method == nil {
			return elseInvalid(err, "one of the provided method ids doesn't exist")
		}
	}
	router, err := m.Mounts().Router(tx)
	if err != nil {
		return err
	}
	types := make(map[string]bool)
	for _, mount := range router.All() {
		if mount.Class == engines.ClassAuth {
			types[mount.Type] = true
		}
	}
	for _, accessor := range e.Accessors {
		if mount, ok := router.ByAccessor(accessor); !ok || mount.Class != engines.ClassAuth {
			return engines.Invalidf("one of the auth method accessors provided is invalid")
		}
	}
	for _, typ := range e.Types {
		if !types[typ] {
			return engines.Invalidf("one of the auth method types provided is not enabled")
		}
	}
	for _, id := range e.Groups {
		if ok, err := identity.GroupExists(tx, id); err != nil || !ok {
			return elseInvalid(err, "one of the provided group ids doesn't exist")
		}
	}
	for _, id := range e.Entities {
		if ok, err := identity.EntityExists(tx, id); err != nil || !ok {
			return elseInvalid(err, "one of the provided entity ids doesn't exist")
		}
	}
	return nil
}

// elseInvalid is err, or if there is none what is wrong with the request.
func elseInvalid(err error, text string) error {
	if err != nil {
		return err
	}
	return engines.Invalidf("%s", text)
}

func (m *MFA) deleteEnforcement(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return nil, region(tx).Delete(enforcementDir + nameKey(req.Fields.String("name")))
}
