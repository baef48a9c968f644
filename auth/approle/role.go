package approle

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/auth/lockout"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/tokenparams"
)

const (
	roleDir = "role/"
	idDir   = "id/"
)

// role is what logins by it need and get.
type role struct {
	Name   string `json:"name"`
	RoleID string `json:"role_id"`
	// Folder is where its secret ids are, and Key that of their HMACs. Neither
	// ever changes, and no other role has them.
	Folder string `json:"folder"`
	Key    []byte `json:"key"`

	BindSecretID   bool     `json:"bind_secret_id"`
	LocalSecretIDs bool     `json:"local_secret_ids,omitempty"`
	CIDRs          []string `json:"cidrs,omitempty"`
	// NumUses and TTL are those of secret ids; 0 for no limit.
	NumUses int64               `json:"num_uses,omitempty"`
	TTL     time.Duration       `json:"ttl,omitempty"`
	Token   engines.TokenParams `json:"token"`
}

func newRole(name string) *role {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return &role{Name: name, RoleID: newUUID(), Folder: newUUID(), Key: key, BindSecretID: true}
}

// loadRole gets the role that a request names, nil if there is none.
func loadRole(req *engines.Request, tx engines.Tx) (*role, error) {
	name, err := auth.Name(req, "role_name")
	if err != nil {
		return nil, err
	}
	return roleByName(tx, name)
}

func roleByName(tx engines.Tx, name string) (*role, error) {
	entry, err := tx.Get(roleDir + name)
	if err != nil || entry == nil {
		return nil, err
	}
	r := new(role)
	if err := json.Unmarshal(entry.Value, r); err != nil {
		return nil, engines.Internal(err)
	}
	return r, nil
}

// idRow is where a role id leads to its role. Ids may be of any length, names
// of rows not.
func idRow(roleID string) string {
	sum := sha256.Sum256([]byte(roleID))
	return idDir + hex.EncodeToString(sum[:])
}

// roleByID is shared by logins, which change nothing of it.
func (e *engine) roleByID(req *engines.Request, tx engines.Tx, roleID string) (*role, error) {
	named, err := tx.Get(idRow(roleID))
	if err != nil || named == nil {
		return nil, err
	}
	path := roleDir + string(named.Value)
	row, err := tx.Get(path)
	if err != nil || row == nil {
		return nil, err
	}
	return e.roles.Get(req.Mount, path, row)
}

// set takes over what was given.
func (r *role) set(f engines.Values) error {
	if f.Has("bind_secret_id") {
		r.BindSecretID = f.Bool("bind_secret_id")
	}
	for _, name := range []string{"bound_cidr_list", "secret_id_bound_cidrs"} {
		if !f.Has(name) {
			continue
		}
		r.CIDRs = f.Strings(name)
		if err := auth.CheckAddresses(name, r.CIDRs); err != nil {
			return err
		}
	}
	if f.Has("secret_id_num_uses") {
		if r.NumUses = f.Int("secret_id_num_uses"); r.NumUses < 0 {
			return engines.Invalidf("secret_id_num_uses: it cannot be negative")
		}
	}
	if f.Has("secret_id_ttl") {
		r.TTL = f.Duration("secret_id_ttl")
	}
	if f.Has("role_id") {
		if r.RoleID = f.String("role_id"); !auth.Plain(r.RoleID) {
			return engines.Invalidf("role_id: it has 1 to 256 bytes, without slashes and control characters")
		}
	}
	return auth.ApplyToken(f, &r.Token)
}

// save stores the role, whose id was another one before; empty for a new role.
func (r *role) save(req *engines.Request, tx engines.Tx, before string) (*engines.Response, error) {
	if !r.BindSecretID && len(r.CIDRs) == 0 && len(r.Token.BoundCIDRs) == 0 {
		return nil, engines.Invalidf("at least one constraint should be enabled on the role: bind_secret_id, secret_id_bound_cidrs or token_bound_cidrs")
	}
	if r.RoleID != before {
		if err := r.claim(tx, before); err != nil {
			return nil, err
		}
	}
	value, err := json.Marshal(r)
	if err != nil {
		return nil, engines.Internal(err)
	}
	var resp *engines.Response
	if r.Token.MaxTTL > req.Mount.MaxTTL || r.Token.TTL > req.Mount.MaxTTL {
		resp = &engines.Response{Warnings: []string{"token_ttl or token_max_ttl is greater than the mount's maximum TTL, to which the life of tokens is cut"}}
	}
	return resp, tx.Put(roleDir+r.Name, value)
}

// claim takes the role's id, which no other role may have, and gives its former
// one back.
func (r *role) claim(tx engines.Tx, before string) error {
	taken, err := tx.Get(idRow(r.RoleID))
	if err != nil {
		return err
	}
	if taken != nil {
		return engines.Invalidf("role_id: it is the id of another role")
	}
	if before != "" {
		if err := forget(tx, before); err != nil {
			return err
		}
	}
	return tx.Put(idRow(r.RoleID), []byte(r.Name))
}

// forget removes what is kept of a role id.
func forget(tx engines.Tx, roleID string) error {
	if _, err := lockout.Unlock(tx, roleID); err != nil {
		return err
	}
	return tx.Delete(idRow(roleID))
}

// show is the role as its paths answer it, by all names of its fields.
func (r *role) show() map[string]any {
	out := map[string]any{
		"bind_secret_id": r.BindSecretID, "bound_cidr_list": r.CIDRs, "local_secret_ids": r.LocalSecretIDs,
		"period": int64(r.Token.Period.Seconds()), "policies": r.Token.Policies, "role_id": r.RoleID,
		"secret_id_bound_cidrs": r.CIDRs, "secret_id_num_uses": r.NumUses, "secret_id_ttl": int64(r.TTL.Seconds()),
	}
	tokenparams.Show(&r.Token, out)
	out["policies"] = out["token_policies"]
	return out
}

func roleExists(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
	r, err := loadRole(req, tx)
	return r != nil, err
}

func listRoles(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return auth.List(req, tx, roleDir)
}

func readRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	r, err := loadRole(req, tx)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.NotFound()
	}
	out := r.show()
	for _, name := range []string{"bound_cidr_list", "period", "policies", "role_id"} {
		delete(out, name) // older names, and what has a path of its own
	}
	return &engines.Response{Data: out}, nil
}

func writeRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := auth.Name(req, "role_name")
	if err != nil {
		return nil, err
	}
	r, err := roleByName(tx, name)
	if err != nil {
		return nil, err
	}
	f, before := req.Fields, ""
	local := f.Bool("local_secret_ids")
	if r == nil {
		r = newRole(name)
		r.LocalSecretIDs = local
	} else if before = r.RoleID; f.Has("local_secret_ids") && local != r.LocalSecretIDs {
		return nil, engines.Invalidf("local_secret_ids can only be modified during role creation")
	}
	if err := r.set(f); err != nil {
		return nil, err
	}
	return r.save(req, tx, before)
}

func deleteRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	r, err := loadRole(req, tx)
	if err != nil || r == nil {
		return nil, err
	}
	if err := forget(tx, r.RoleID); err != nil {
		return nil, err
	}
	// What is left of its secret ids below expiry/ goes when their time comes.
	for _, dir := range []string{secretDir, accessorDir} {
		if err := tx.DeletePrefix(dir + r.Folder + "/"); err != nil {
			return nil, err
		}
	}
	return nil, tx.Delete(roleDir + r.Name)
}
