package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/coffer-secrets/coffer/testing/bench/load"
)

const (
	// secrets is how many different secrets are read and written.
	secrets = 1000
	// contended is how many secrets all connections change at once.
	contended = 8
	// together is how many secrets a transaction writes.
	together = 10
)

// errAbsent is work that a server does not offer.
var errAbsent = errors.New("not offered")

// work is one kind of operation, and the floor that it is held against.
type work struct {
	name  string
	floor string
	goal  float64
	// each is how many operations of the floor one of it needs at least.
	each float64
	// node is the one that is asked: 0 for the first, which leads.
	node int
	// profiled says that the compiler is told of it.
	profiled bool
	prepare  func(a *admin, conns int) (script, error)
}

// The names of the floors.
const (
	floorHTTP   = "bare gorilla/mux"
	floorPlain  = "bare net/http"
	floorRaft   = "bare hashicorp/raft"
	floorBcrypt = "bare bcrypt"
	floorIssue  = "bare crypto/x509"
	floorAWS    = "the stand-in itself"
	// floorLeader is the same load on the node that leads.
	floorLeader = "the leader"
)

// value is a body of about 400 bytes, as the floors handle.
const value = `{"data":{"username":"app","password":"Tr0ub4dor&3-and-a-rather-long-tail-to-fill-the-line","note":"` +
	`0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789` +
	`0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789` +
	`012345678901234567890123456789012345678901234567890123456789","n":1}}`

// works are what can be measured, in order.
func works() []work {
	return []work{
		{name: "kv v2 write", floor: floorRaft, goal: 0.4, profiled: true, prepare: writes},
		{name: "kv v2 read", floor: floorHTTP, goal: 0.5, profiled: true, prepare: reads},
		{name: "http alone", floor: floorPlain, prepare: health},
		{name: "kv v2 mixed 95/5", floor: floorHTTP, prepare: mixed},
		{name: "kv v2 cas contention", floor: floorRaft, prepare: contention},
		{name: "kv v2 list", floor: floorHTTP, prepare: list},
		{name: "kv v2 transaction of 10", floor: floorRaft, prepare: transaction},
		{name: "token create", floor: floorRaft, goal: 0.4, profiled: true, prepare: tokenCreate},
		{name: "token lookup", floor: floorHTTP, prepare: tokenLookup},
		{name: "token renew", floor: floorRaft, prepare: tokenRenew},
		{name: "token create and revoke", floor: floorRaft, each: 2, prepare: tokenRevoke},
		{name: "approle login", floor: floorRaft, goal: 0.35, profiled: true, prepare: appRoleLogin},
		{name: "userpass login", floor: floorBcrypt, prepare: userpassLogin},
		{name: "pki issue P-256", floor: floorIssue, goal: 0.5, prepare: pkiIssue},
		{name: "aws session", floor: floorAWS, prepare: awsSession},
		{name: "kv v2 read of a follower", floor: floorLeader, goal: 0.75, node: 1, prepare: reads},
		// For writes by a follower there is no goal: they cost two nodes' work.
		{name: "kv v2 write by a follower", floor: floorRaft, node: 1, prepare: writes},
	}
}

// mountKV mounts an engine of keys and values for this run, once.
func (a *admin) mountKV() string {
	path := a.target.mount + "kv"
	if a.target.mounted[path] {
		return path
	}
	a.mountSecret(path, `{"type":"kv","options":{"version":"2"}}`)
	for i := range secrets {
		a.post(fmt.Sprintf("%s/data/app/%d/database", path, i), value)
	}
	return path
}

func (a *admin) mountSecret(path, body string) { a.mountAt("sys/mounts/", path, body) }

func (a *admin) mountAuth(path, body string) { a.mountAt("sys/auth/", path, body) }

// mountAt mounts what this run has not, and remembers to unmount it.
func (a *admin) mountAt(class, path, body string) {
	if a.target.mounted[path] || a.err != nil {
		return
	}
	if a.post(class+path, body); a.err == nil {
		a.target.mounted[path] = true
		a.target.undo = append(a.target.undo, class+path)
	}
}

func reads(a *admin, _ int) (script, error) {
	return requests(pick(a.messages(http.MethodGet, a.mountKV(), ""))), a.err
}

func writes(a *admin, _ int) (script, error) {
	return requests(pick(a.messages(http.MethodPost, a.mountKV(), value))), a.err
}

// health is the cheapest request there is.
func health(a *admin, _ int) (script, error) {
	ask := load.Message(http.MethodGet, "/v1/sys/seal-status", "", "")
	return requests(func(int, int) []byte { return ask }), a.err
}

func mixed(a *admin, _ int) (script, error) {
	path := a.mountKV()
	read, write := pick(a.messages(http.MethodGet, path, "")), pick(a.messages(http.MethodPost, path, value))
	return requests(func(conn, n int) []byte {
		if (conn*7+n)%20 == 0 {
			return write(conn, n)
		}
		return read(conn, n)
	}), a.err
}

// contention changes a secret that all others change, by check and set, until
// it succeeds.
func contention(a *admin, _ int) (script, error) {
	path := a.mountKV()
	t := a.target
	for i := range contended {
		a.post(fmt.Sprintf("%s/data/contended/%d", path, i), value)
	}
	return func(c *load.Conn, conn, n int) error {
		at := fmt.Sprintf("/v1/%s/data/contended/%d", path, (conn+n)%contended)
		for {
			_, body, err := c.Ask(load.Message(http.MethodGet, at, t.token, ""))
			if err != nil {
				return err
			}
			var got struct {
				Data struct {
					Metadata struct {
						Version int `json:"version"`
					} `json:"metadata"`
				} `json:"data"`
			}
			if err := json.Unmarshal(body, &got); err != nil {
				return err
			}
			set := fmt.Sprintf(`{"options":{"cas":%d},%s`, got.Data.Metadata.Version, value[1:])
			status, body, err := c.Ask(load.Message(http.MethodPost, at, t.token, set))
			if err != nil || status == http.StatusOK {
				return err
			}
			if status != http.StatusBadRequest {
				return &load.StatusError{Status: status, Body: body}
			}
		}
	}, a.err
}

func list(a *admin, conns int) (script, error) {
	path := a.mountKV()
	if a.err != nil {
		return nil, a.err
	}
	at := func(i int) []byte {
		return load.Message(http.MethodPost, fmt.Sprintf("/v1/%s/data/listed/%05d", path, i), a.target.token, value)
	}
	listed := a.target.names
	each := (listed + conns - 1) / conns
	fill, stop, err := callers(a.ctx, a.target, 0, conns, requests(func(conn, n int) []byte { return at((conn*each + n) % listed) }))
	if err != nil {
		return nil, err
	}
	defer stop()
	failed := make(chan error, conns)
	for _, w := range fill {
		go func() {
			var err error
			for n := 0; n < each && err == nil; n++ {
				err = w.Do(n)
			}
			failed <- err
		}()
	}
	for range fill {
		err = errors.Join(err, <-failed)
	}
	ask := load.Message("LIST", "/v1/"+path+"/metadata/listed", a.target.token, "")
	return requests(func(int, int) []byte { return ask }), err
}

// transaction writes ten secrets at once, as other servers of this API cannot.
func transaction(a *admin, _ int) (script, error) {
	path := a.mountKV()
	if a.err != nil {
		return nil, a.err
	}
	list := make([][]byte, secrets/together)
	var body string
	for i := range list {
		ops := make([]string, together)
		for k := range ops {
			ops[k] = fmt.Sprintf(`{"operation":"update","path":"%s/data/app/%d/database","data":%s}`, path, i*together+k, value)
		}
		body = `{"operations":[` + strings.Join(ops, ",") + `]}`
		list[i] = load.Message(http.MethodPost, "/v1/sys/transaction", a.target.token, body)
	}
	if a.post("sys/transaction", body); a.err != nil {
		return nil, fmt.Errorf("%w: %w", errAbsent, a.err)
	}
	return requests(pick(list)), nil
}

func (a *admin) messages(method, path, body string) [][]byte {
	list := make([][]byte, secrets)
	for i := range list {
		list[i] = load.Message(method, fmt.Sprintf("/v1/%s/data/app/%d/database", path, i), a.target.token, body)
	}
	return list
}

// pick spreads the connections over the secrets.
func pick(list [][]byte) func(conn, n int) []byte {
	return func(conn, n int) []byte { return list[(conn*31+n)%len(list)] }
}
