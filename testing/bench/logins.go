package main

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/coffer-secrets/coffer/testing/bench/load"
)

const newToken = `{"policies":["default"],"ttl":"1h"}` // #nosec G101 -- a request for one

func tokenCreate(a *admin, _ int) (script, error) {
	create := load.Message(http.MethodPost, "/v1/auth/token/create", a.target.token, newToken)
	return requests(func(int, int) []byte { return create }), a.err
}

func tokenLookup(a *admin, conns int) (script, error) {
	return a.byOwnToken(conns, http.MethodGet, "/v1/auth/token/lookup-self", "")
}

func tokenRenew(a *admin, conns int) (script, error) {
	return a.byOwnToken(conns, http.MethodPost, "/v1/auth/token/renew-self", `{"increment":"1h"}`)
}

// byOwnToken asks with a token for each connection.
func (a *admin) byOwnToken(conns int, method, path, body string) (script, error) {
	list := make([][]byte, conns)
	for i := range list {
		token, _ := a.post("auth/token/create", newToken)["client_token"].(string)
		list[i] = load.Message(method, path, token, body)
	}
	return requests(func(conn, _ int) []byte { return list[conn] }), a.err
}

// tokenRevoke makes a token and revokes it, since there has to be one.
func tokenRevoke(a *admin, _ int) (script, error) {
	create := load.Message(http.MethodPost, "/v1/auth/token/create", a.target.token, newToken)
	root := a.target.token
	return func(c *load.Conn, _, _ int) error {
		status, body, err := c.Ask(create)
		if err != nil {
			return err
		}
		if status != http.StatusOK {
			return &load.StatusError{Status: status, Body: body}
		}
		var made struct {
			Auth struct {
				Token string `json:"client_token"`
			} `json:"auth"`
		}
		if err := json.Unmarshal(body, &made); err != nil {
			return err
		}
		return c.Do(load.Message(http.MethodPost, "/v1/auth/token/revoke", root, fmt.Sprintf(`{"token":%q}`, made.Auth.Token)), 0)
	}, a.err
}

// appRoleLogin has a role with a secret id for each connection, as each
// instance of a program has its own.
func appRoleLogin(a *admin, conns int) (script, error) {
	path := a.target.mount + "approle"
	a.mountAuth(path, `{"type":"approle"}`)
	a.post("auth/"+path+"/role/app", `{"token_policies":"default","token_ttl":"1h"}`)
	role := a.get("auth/" + path + "/role/app/role-id")["role_id"]
	list := make([][]byte, conns)
	for i := range list {
		secret := a.post("auth/"+path+"/role/app/secret-id", `{}`)["secret_id"]
		list[i] = load.Message(http.MethodPost, "/v1/auth/"+path+"/login", "", fmt.Sprintf(`{"role_id":%q,"secret_id":%q}`, role, secret))
	}
	return requests(func(conn, _ int) []byte { return list[conn] }), a.err
}

// userpassLogin checks a password, which is meant to be slow.
func userpassLogin(a *admin, _ int) (script, error) {
	path := a.target.mount + "userpass"
	a.mountAuth(path, `{"type":"userpass"}`)
	a.post("auth/"+path+"/users/app", `{"password":"`+benchPassword+`","token_policies":"default","token_ttl":"1h"}`)
	login := load.Message(http.MethodPost, "/v1/auth/"+path+"/login/app", "", `{"password":"`+benchPassword+`"}`)
	return requests(func(int, int) []byte { return login }), a.err
}
