package aws

import (
	"context"
	"encoding/json"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/outcomes"
)

// Type is the engine's type.
const Type = "aws"

const (
	rolesDir  = "roles/"
	staticDir = "static/"
	dropDir   = "drop/"
	rootRow   = "config/root"
	leaseRow  = "config/lease"

	maxList = 100
)

// engine is what all mounts share.
type engine struct {
	clients  *clients
	outcomes *outcomes.Outcomes[string]
}

// New returns the engine.
func New() *engines.Engine {
	e := &engine{clients: newClients(), outcomes: outcomes.New[string]()}
	return &engines.Engine{
		Type: Type, Class: engines.ClassSecret, Help: "Make credentials of Amazon Web Services that are gone when their lease ends.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{
				Help:   "config/root says which account, a role says what credentials may do. Reading\ncreds/<role> makes a user of IAM or a session of STS for the caller.",
				Routes: append(e.configRoutes(), e.roleRoutes()...),
			}, nil
		},
		Revoke: e.revoke, Due: e.due,
	}
}

func nameOf(what string) engines.Field {
	return engines.Field{Name: "name", Help: "The name of the " + what + "."}
}

func paging() []engines.Field {
	return []engines.Field{
		{Name: "after", Help: "List from behind this name."},
		{Name: "limit", Type: engines.Int, Help: "List at most so many; 0 for all."},
	}
}

func (e *engine) configRoutes() []engines.Route {
	return []engines.Route{
		{
			Pattern: rootRow, Help: "The credentials that Coffer itself uses, and where AWS is.", Fields: rootFields(),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readRoot},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeRoot, Exists: exists(rootRow), Help: "Write all of it: what is left out is as at first."},
			},
		},
		{
			Pattern: "config/rotate-root", Help: "Change the key that Coffer itself uses.",
			Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: e.rotateRoot, Ahead: e.findKeys}},
		},
		{
			Pattern: leaseRow, Help: "How long users of IAM live.",
			Fields: []engines.Field{
				{Name: "lease", Required: true, Help: "How long one is good at first, such as 30m."},
				{Name: "lease_max", Required: true, Help: "How long one is good at most, renewals included."},
			},
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readLease},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeLease, Exists: exists(leaseRow)},
			},
		},
	}
}

func (e *engine) roleRoutes() []engines.Route {
	issue := func(sessions bool) []engines.Op {
		return []engines.Op{
			{Do: engines.Read, Trait: engines.Issues, Handler: e.issuing(sessions)},
			{Do: engines.Update, Trait: engines.Issues, Handler: e.issuing(sessions)},
		}
	}
	return []engines.Route{
		{Pattern: "roles", Help: "List the roles.", Fields: paging(), Ops: []engines.Op{{Do: engines.List, Handler: list(rolesDir)}}},
		{
			Pattern: "roles/{name}", Help: "Read, write and delete a role.", Fields: append([]engines.Field{nameOf("role")}, roleFields()...),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readRole},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeRole, Exists: exists(rolesDir), Help: "Write what is given of the role."},
				{Do: engines.Delete, Trait: engines.Writes, Handler: deleteRole},
			},
		},
		{Pattern: "creds/{name}", Help: "Make credentials.", Fields: issueFields(), Ops: issue(false)},
		{Pattern: "sts/{name}", Help: "Make credentials that end by themselves.", Fields: issueFields(), Ops: issue(true)},
		{Pattern: "static-roles", Help: "List the users whose keys are kept.", Fields: paging(), Ops: []engines.Op{{Do: engines.List, Handler: list(staticDir)}}},
		{
			Pattern: "static-roles/{name}", Help: "Keep the key of a user, and change it in time.",
			Fields: append([]engines.Field{nameOf("static role")}, staticFields()...),
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readStatic},
				{
					Do: engines.Update, Trait: engines.Writes, Handler: e.writeStatic, Exists: exists(staticDir), Ahead: e.findUser,
					Help: "Write it. At first, that makes a key.",
				},
				{Do: engines.Delete, Trait: engines.Writes, Handler: e.deleteStatic, Help: "Remove it and its keys; the user stays."},
			},
		},
		{
			Pattern: "static-creds/{name}", Help: "Read the key of a user.", Fields: []engines.Field{nameOf("static role")},
			Ops: []engines.Op{{Do: engines.Read, Handler: readStaticCreds}},
		},
	}
}

// list lists the names in a folder.
func list(dir string) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		limit := req.Fields.Int("limit")
		if limit < 0 {
			return nil, engines.Invalidf("limit cannot be negative")
		}
		names, err := tx.List(dir, engines.Page{After: req.Fields.String("after"), Limit: int(limit)})
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, engines.NotFound()
		}
		return &engines.Response{Data: map[string]any{"keys": names}}, nil
	}
}

// exists looks for a row, or for the one of the request's name in a folder.
func exists(row string) engines.Exists {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
		path := row
		if row == rolesDir || row == staticDir {
			path += req.Fields.String("name")
		}
		entry, err := tx.Get(path)
		return entry != nil, err
	}
}

// load reads a row into what to points to, and tells its version; 0 if there is
// none.
func load(tx engines.Tx, path string, to any) (uint64, error) {
	entry, err := tx.Get(path)
	if err != nil || entry == nil {
		return 0, err
	}
	if err := json.Unmarshal(entry.Value, to); err != nil {
		return 0, engines.Internal(err)
	}
	return entry.Version, nil
}

func store(tx engines.Tx, path string, from any) error {
	row, err := json.Marshal(from)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(path, row)
}

// orEmpty is shown as [] rather than null.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
