package main

import (
	"context"
	"fmt"
	"net/http"
)

// secrets is how many different secrets are read and written.
const secrets = 1000

// work is one kind of request, and the floor that it is held against.
type work struct {
	name  string
	floor string
	goal  float64
	want  int
	// node is the one that is asked: 0 for the first, which leads.
	node int
	// request makes the n-th request of a connection.
	request func(conn, n int) []byte
}

// The names of the floors.
const (
	floorHTTP = "bare gorilla/mux"
	floorRaft = "bare hashicorp/raft"
	// floorLeader is the same load on the node that leads.
	floorLeader = "the leader"
)

// value is a body of about 400 bytes, as the floors handle.
const value = `{"data":{"username":"app","password":"Tr0ub4dor&3-and-a-rather-long-tail-to-fill-the-line","note":"` +
	`0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789` +
	`0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789` +
	`012345678901234567890123456789012345678901234567890123456789","n":1}}`

// works are what is measured, in order.
func works() []work {
	reads := messages(http.MethodGet, "")
	writes := messages(http.MethodPost, value)
	create := message(http.MethodPost, "/v1/auth/token/create", rootToken, `{"policies":["default"],"ttl":"1h"}`)
	return []work{
		{"kv v2 write", floorRaft, 0.4, http.StatusOK, 0, pick(writes)},
		{"kv v2 read", floorHTTP, 0.5, http.StatusOK, 0, pick(reads)},
		{"token create", floorRaft, 0.4, http.StatusOK, 0, func(int, int) []byte { return create }},
	}
}

// byFollower is what a node is asked that does not lead. For writes there is no
// goal of their own: they cost two nodes' work.
func byFollower() []work {
	return []work{
		{"kv v2 read of a follower", floorLeader, 0.75, http.StatusOK, 1, pick(messages(http.MethodGet, ""))},
		{"kv v2 write by a follower", floorRaft, 0, http.StatusOK, 1, pick(messages(http.MethodPost, value))},
	}
}

// appRoleLogin prepares a role with a secret id for each connection, as each
// instance of a program has its own.
func appRoleLogin(ctx context.Context, addr string, conns int) (work, error) {
	a := admin{ctx: ctx, addr: addr}
	a.post("sys/auth/approle", `{"type":"approle"}`)
	a.post("auth/approle/role/app", `{"token_policies":"default","token_ttl":"1h"}`)
	role := a.do(http.MethodGet, "auth/approle/role/app/role-id", "")["role_id"]
	list := make([][]byte, conns)
	for i := range list {
		secret := a.post("auth/approle/role/app/secret-id", `{}`)["secret_id"]
		list[i] = message(http.MethodPost, "/v1/auth/approle/login", "", fmt.Sprintf(`{"role_id":%q,"secret_id":%q}`, role, secret))
	}
	return work{"approle login", floorRaft, 0.35, http.StatusOK, 0, func(conn, _ int) []byte { return list[conn] }}, a.err
}

func messages(method, body string) [][]byte {
	list := make([][]byte, secrets)
	for i := range list {
		list[i] = message(method, fmt.Sprintf("/v1/secret/data/app/%d/database", i), rootToken, body)
	}
	return list
}

// pick spreads the connections over the secrets.
func pick(list [][]byte) func(conn, n int) []byte {
	return func(conn, n int) []byte { return list[(conn*31+n)%len(list)] }
}
