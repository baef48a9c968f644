package database

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/usernames"
)

const rolesDir = "roles/"

// role is a row: what users of a connection may do, and how long they are good.
type role struct {
	Connection string        `json:"connection"`
	Creation   []string      `json:"creation"`
	Revocation []string      `json:"revocation,omitempty"`
	Rollback   []string      `json:"rollback,omitempty"`
	Renew      []string      `json:"renew,omitempty"`
	DefaultTTL time.Duration `json:"default_ttl,omitempty"`
	MaxTTL     time.Duration `json:"max_ttl,omitempty"`
	// PasswordPolicy is where rows of earlier versions have it.
	PasswordPolicy string     `json:"password_policy,omitempty"`
	Credential     credential `json:"credential,omitzero"`
	// LeaseOwner is empty for the token.
	LeaseOwner engines.LeaseOwner `json:"lease_owner,omitempty"`
}

func roleFields() []engines.Field {
	statements := func(name, help string) engines.Field {
		return engines.Field{Name: name, Type: engines.Strings, Whole: true, Help: help}
	}
	return append([]engines.Field{
		{Name: "db_name", Help: "The connection."},
		statements("creation_statements", "Statements that make a user, with {{name}}, {{password}} and {{expiration}}."),
		statements("revocation_statements", "Statements that remove one, instead of what is done by itself."),
		statements("rollback_statements", "Statements for when those that make one fail half-way."),
		statements("renew_statements", "Statements that move the end of one, instead of what is done by itself."),
		{Name: "default_ttl", Type: engines.Seconds, Help: "How long a user is good at first; 0 for what the mount has."},
		{Name: "max_ttl", Type: engines.Seconds, Help: "How long one is good at most, renewals included; 0 for what the mount has."},
		engines.LeaseOwnerField(),
	}, credentialFields(typePassword, typeKey, typeCertificate)...)
}

func loadRole(tx engines.Tx, name string) (*role, error) {
	entry, err := tx.Get(rolesDir + name)
	if err != nil || entry == nil {
		return nil, err
	}
	r := new(role)
	if err := json.Unmarshal(entry.Value, r); err != nil {
		return nil, engines.Internal(err)
	}
	if r.PasswordPolicy != "" {
		r.Credential.Config, r.PasswordPolicy = map[string]string{"password_policy": r.PasswordPolicy}, ""
	}
	return r, nil
}

func readRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	r, err := loadRole(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.NotFound()
	}
	return &engines.Response{Data: map[string]any{
		"db_name": r.Connection, "creation_statements": orEmpty(r.Creation), "revocation_statements": orEmpty(r.Revocation),
		"rollback_statements": orEmpty(r.Rollback), "renew_statements": orEmpty(r.Renew),
		"default_ttl": int64(r.DefaultTTL / time.Second), "max_ttl": int64(r.MaxTTL / time.Second),
		"credential_type": r.Credential.typ(), "credential_config": r.Credential.shown(), "lease_owner": cmp.Or(r.LeaseOwner, engines.OwnedByToken),
	}}, nil
}

func (e *engine) writeRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, v := req.Fields.String("name"), req.Fields
	r, err := loadRole(tx, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = new(role)
	}
	if v.Has("db_name") {
		r.Connection = v.String("db_name")
	}
	if r.Connection == "" {
		return nil, engines.Invalidf("db_name is missing: it names the connection")
	}
	// The connection may come later, as in Vault; without it, any kind may do.
	c, err := e.loadConnection(tx, r.Connection)
	if err != nil {
		return nil, err
	}
	for field, to := range map[string]*[]string{
		"creation_statements": &r.Creation, "revocation_statements": &r.Revocation, "rollback_statements": &r.Rollback, "renew_statements": &r.Renew,
	} {
		if v.Has(field) {
			*to = v.Strings(field)
		}
	}
	if err := r.check(c); err != nil {
		return nil, err
	}
	if v.Has("default_ttl") {
		r.DefaultTTL = v.Duration("default_ttl")
	}
	if v.Has("max_ttl") {
		r.MaxTTL = v.Duration("max_ttl")
	}
	if r.MaxTTL > 0 && r.DefaultTTL > r.MaxTTL {
		return nil, engines.Invalidf("default_ttl cannot be longer than max_ttl")
	}
	if v.Has("lease_owner") {
		r.LeaseOwner = engines.LeaseOwner(v.String("lease_owner"))
	}
	if err := r.Credential.take(v); err != nil {
		return nil, err
	}
	if err := r.checkCommonName(c); err != nil {
		return nil, err
	}
	if c != nil && len(r.Creation) > 0 { // or else when it is used
		if err := r.Credential.fits(c.plugin, "creation_statements", r.Creation); err != nil {
			return nil, err
		}
	}
	row, err := json.Marshal(r)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return nil, tx.Put(rolesDir+name, row)
}

// maxRole bounds what of a role goes with each lease.
const maxRole = 8 << 10

func (r *role) check(c *connection) error {
	undo := 0
	for _, text := range append(append([]string{}, r.Revocation...), r.Renew...) {
		undo += len(text)
	}
	if undo > maxRole {
		return engines.Invalidf("revocation_statements and renew_statements take %d bytes together", maxRole)
	}
	if c == nil {
		c = &connection{plugin: &Plugin{Check: func([]string) error { return nil }}}
	}
	for _, part := range []struct {
		field      string
		statements []string
	}{
		{"creation_statements", r.Creation}, {"revocation_statements", r.Revocation},
		{"rollback_statements", r.Rollback}, {"renew_statements", r.Renew},
	} {
		if err := checkStatements(c.plugin, part.field, part.statements); err != nil {
			return err
		}
	}
	return nil
}

// checkCommonName tries the template that names the users of certificates.
func (r *role) checkCommonName(c *connection) error {
	text := r.Credential.Config["common_name_template"]
	if text == "" || c == nil {
		return nil
	}
	if _, err := usernames.Parse(text, nameRules(c.plugin.MaxUsername)); err != nil || len(text) > usernames.MaxTemplate {
		return engines.Invalidf("credential_config: common_name_template: %s", errors.Join(err, errors.New("it takes what username_template does")))
	}
	return nil
}

func deleteRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return nil, tx.Delete(rolesDir + req.Fields.String("name"))
}
