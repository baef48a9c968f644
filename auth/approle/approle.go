package approle

import (
	"crypto/rand"
	"fmt"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

// Type is the engine's type.
const Type = "approle"

// engine is all mounts of the type.
type engine struct {
	roles   auth.Decoded[role]
	secrets auth.Decoded[secret]
}

// New returns the engine.
func New() *engines.Engine {
	e := new(engine)
	return &engines.Engine{
		Type: Type, Class: engines.ClassAuth, Help: "Log in as a machine, with a role id and a secret id.", Renew: renew, Role: loginRole,
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{
				Help:   "Lets machines log in. A role says what its logins get; its role id names it, and a\nsecret id of it proves the right to it.",
				Routes: append(append(e.routes(), settingRoutes()...), secretRoutes()...),
			}, nil
		},
	}
}

func roleName() engines.Field {
	return engines.Field{Name: "role_name", Help: "The role's name, in any case."}
}

func (e *engine) routes() []engines.Route {
	return []engines.Route{
		{
			Pattern: "login", Help: "Log in.", Public: true,
			Fields: []engines.Field{
				{Name: "role_id", Help: "The id of the role."},
				{Name: "secret_id", Default: "", Secret: true, Help: "A secret id of the role, if it asks for one."},
			},
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: e.login}},
		},
		{
			Pattern: "role", Help: "List the roles.", Fields: auth.Paging(),
			Ops: []engines.Op{{Do: engines.List, Handler: listRoles}},
		},
		{
			Pattern: "role/{role_name}", Help: "Read, write and delete a role.", Fields: append([]engines.Field{roleName()}, roleFields()...),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readRole, Help: "Read the role."},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeRole, Exists: roleExists, Help: "Write what is given of the role."},
				{Do: engines.Delete, Trait: engines.Writes, Handler: deleteRole, Help: "Delete the role with its secret ids."},
			},
		},
		{
			Pattern: "role/{role_name}/role-id", Help: "Read or set the id of a role.",
			Fields: []engines.Field{roleName(), {Name: "role_id", Help: "The id."}},
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readSetting("role_id")},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeSetting("role_id")},
			},
		},
		{
			Pattern: "role/{role_name}/local-secret-ids", Help: "Whether secret ids stay in this cluster.", Fields: []engines.Field{roleName()},
			Ops: []engines.Op{{Do: engines.Read, Handler: readSetting("local_secret_ids")}},
		},
		{
			Pattern: "tidy/secret-id", Help: "Remove secret ids whose time is over.",
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: tidy}},
		},
	}
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
