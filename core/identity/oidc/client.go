package oidc

import (
	"context"
	"net/url"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/core/identity"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Assignment says who may log in to clients.
type Assignment struct {
	Entities []string `json:"entities,omitempty"`
	Groups   []string `json:"groups,omitempty"`
}

// The types of clients.
const (
	confidential = "confidential"
	public       = "public"
)

// Client is an application that has people log in here.
type Client struct {
	Name         string        `json:"name"`
	ID           string        `json:"id"`
	Secret       string        `json:"secret,omitempty"`
	Type         string        `json:"type"`
	Key          string        `json:"key"`
	RedirectURIs []string      `json:"redirect_uris,omitempty"`
	Assignments  []string      `json:"assignments,omitempty"`
	IDTTL        time.Duration `json:"id_ttl"`
	AccessTTL    time.Duration `json:"access_ttl"`
	Code         bool          `json:"code"`
	Credentials  bool          `json:"credentials"`
}

const (
	clientIDChars = 32
	secretPrefix  = "hvo_secret_" // #nosec G101 -- what secrets start with, as Vault's do
	secretChars   = 64
	maxTTL        = 10 * 365 * day
)

func (o *OIDC) assignmentRoutes() []engines.Route {
	return []engines.Route{
		{Pattern: "oidc/assignment", Help: "List the assignments.", Ops: []engines.Op{list(listNames(assignmentDir, allowAll))}},
		{Pattern: "oidc/assignment/{name}", Help: "Read, write and delete who may log in to clients.", Fields: []engines.Field{
			field("name", engines.String, "The assignment's name."), field("entity_ids", engines.Strings, "Ids of entities."),
			field("group_ids", engines.Strings, "Ids of groups."),
		}, Ops: []engines.Op{read(o.readAssignment), update(o.writeAssignment), remove(o.deleteAssignment)}},
	}
}

func (o *OIDC) clientRoutes() []engines.Route {
	return []engines.Route{
		{Pattern: "oidc/client", Help: "List the clients.", Ops: []engines.Op{list(o.listClients)}},
		{Pattern: "oidc/client/{name}", Help: "Read, write and delete a client.", Fields: []engines.Field{
			field("name", engines.String, "The client's name."),
			{Name: "key", Type: engines.String, Default: defaultName, Help: "The key that signs its tokens. It cannot be changed."},
			{Name: "client_type", Type: engines.String, Default: confidential, Allowed: []string{confidential, public}, Help: "Whether it can keep a secret. It cannot be changed."},
			field("redirect_uris", engines.Strings, "Where codes may be sent."),
			field("assignments", engines.Strings, "Names of the assignments of who may log in."),
			{Name: "id_token_ttl", Type: engines.Seconds, Default: day, Help: "How long its ID tokens are good."},
			{Name: "access_token_ttl", Type: engines.Seconds, Default: day, Help: "How long its access tokens are good."},
			{Name: "authorization_code", Type: engines.Bool, Default: true, Help: "Whether people log in to it."},
			{Name: "client_credentials", Type: engines.Bool, Default: false, Help: "Whether it may get tokens of its own; confidential clients only."},
		}, Ops: []engines.Op{read(o.readClient), update(o.writeClient), remove(o.deleteClient)}},
	}
}

func assignmentByName(tx *state.Tx, name string) (*Assignment, error) {
	if name == allowAll {
		return &Assignment{Entities: []string{anyID}, Groups: []string{anyID}}, nil
	}
	return named[Assignment](tx, assignmentDir, name)
}

func (o *OIDC) readAssignment(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	a, err := assignmentByName(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if a == nil {
		return nil, engines.NotFound()
	}
	return data(map[string]any{"entity_ids": texts(a.Entities), "group_ids": texts(a.Groups)}), nil
}

func (o *OIDC) writeAssignment(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f, name := req.Fields, req.Fields.String("name")
	if name == allowAll {
		return nil, engines.Invalidf("modification of assignment %q not allowed", name)
	}
	a, err := assignmentByName(tx, name)
	if err != nil {
		return nil, err
	}
	if err := checkName(tx, assignmentDir, name, a == nil); err != nil {
		return nil, err
	}
	if a == nil {
		a = new(Assignment)
	}
	if f.Has("entity_ids") {
		if a.Entities, err = clean("entity_ids", f.Strings("entity_ids")); err != nil {
			return nil, err
		}
	}
	if f.Has("group_ids") {
		if a.Groups, err = clean("group_ids", f.Strings("group_ids")); err != nil {
			return nil, err
		}
	}
	return nil, save(region(tx), assignmentDir+name, a, state.PutOptions{})
}

func (o *OIDC) deleteAssignment(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	if name == allowAll {
		return nil, engines.Invalidf("deletion of assignment %q not allowed", name)
	}
	clients, err := all[Client](tx, clientDir)
	if err != nil {
		return nil, err
	}
	for client, c := range clients {
		if slices.Contains(c.Assignments, name) {
			return nil, engines.Invalidf("unable to delete assignment %q because it is currently referenced by these clients: %s", name, client)
		}
	}
	if a, err := assignmentByName(tx, name); err != nil || a == nil {
		return nil, err
	}
	return nil, region(tx).Delete(assignmentDir + name)
}

// assigned reports whether somebody may log in to a client.
func (c *Client) assigned(tx *state.Tx, h *identity.Holder) (bool, error) {
	for _, name := range c.Assignments {
		a, err := assignmentByName(tx, name)
		if err != nil {
			return false, err
		}
		if a != nil && (allows(a.Entities, h.Entity.ID) || slices.ContainsFunc(h.GroupIDs(), func(id string) bool { return slices.Contains(a.Groups, id) })) {
			return true, nil
		}
	}
	return false, nil
}

func clientByID(tx *state.Tx, id string) (*Client, error) {
	if !nameForm.MatchString(id) {
		return nil, nil
	}
	entry, err := region(tx).Get(clientIDDir + id)
	if err != nil || entry == nil {
		return nil, err
	}
	return named[Client](tx, clientDir, string(entry.Value))
}

// show tells of a client; its secret only to whoever reads the client itself.
func (c *Client) show(whole bool) map[string]any {
	out := map[string]any{
		"client_id": c.ID, "client_type": c.Type, "key": c.Key, "redirect_uris": texts(c.RedirectURIs), "assignments": texts(c.Assignments),
		"id_token_ttl": int64(c.IDTTL / time.Second), "access_token_ttl": int64(c.AccessTTL / time.Second),
		"authorization_code": c.Code, "client_credentials": c.Credentials,
	}
	if whole && c.Type == confidential {
		out["client_secret"] = c.Secret
	}
	return out
}

func (o *OIDC) readClient(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	c, err := named[Client](tx, clientDir, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, engines.NotFound()
	}
	return data(c.show(true)), nil
}

func (o *OIDC) listClients(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	clients, err := all[Client](tx, clientDir)
	if err != nil {
		return nil, err
	}
	var names []string
	infos := make(map[string]any, len(clients))
	for name, c := range clients {
		names, infos[name] = append(names, name), c.show(false)
	}
	if slices.Sort(names); len(names) == 0 {
		return nil, engines.NotFound()
	}
	return data(map[string]any{"keys": names, "key_info": infos}), nil
}

func (o *OIDC) writeClient(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f, name := req.Fields, req.Fields.String("name")
	c, err := named[Client](tx, clientDir, name)
	if err != nil {
		return nil, err
	}
	made := c == nil
	if err := checkName(tx, clientDir, name, made); err != nil {
		return nil, err
	}
	if made {
		c = &Client{Name: name, Key: f.String("key"), Type: f.String("client_type"), Code: true, IDTTL: f.Duration("id_token_ttl"), AccessTTL: f.Duration("access_token_ttl")}
	}
	switch {
	case f.Has("key") && f.String("key") != c.Key:
		return nil, engines.Invalidf("key modification is not allowed")
	case f.Has("client_type") && f.String("client_type") != c.Type:
		return nil, engines.Invalidf("client_type modification is not allowed")
	}
	if err := c.set(f); err != nil {
		return nil, err
	}
	k, err := usableKey(tx, c.Key)
	if err != nil {
		return nil, err
	}
	if c.IDTTL > k.Verification {
		return nil, engines.Invalidf("a client's id_token_ttl cannot be greater than the verification_ttl of the key it references")
	}
	for _, assignment := range c.Assignments {
		if a, err := assignmentByName(tx, assignment); err != nil {
			return nil, err
		} else if a == nil {
			return nil, engines.Invalidf("assignment %q does not exist", assignment)
		}
	}
	if made {
		if err := c.credentials(tx); err != nil {
			return nil, err
		}
	}
	return nil, save(region(tx), clientDir+name, c, state.PutOptions{})
}

// set takes the fields that can be changed.
func (c *Client) set(f engines.Values) (err error) {
	if f.Has("redirect_uris") {
		if c.RedirectURIs, err = clean("redirect_uris", f.Strings("redirect_uris")); err != nil {
			return err
		}
	}
	if f.Has("assignments") {
		if c.Assignments, err = clean("assignments", f.Strings("assignments")); err != nil {
			return err
		}
	}
	if f.Has("id_token_ttl") {
		c.IDTTL = f.Duration("id_token_ttl")
	}
	if f.Has("access_token_ttl") {
		c.AccessTTL = f.Duration("access_token_ttl")
	}
	if f.Has("authorization_code") {
		c.Code = f.Bool("authorization_code")
	}
	if f.Has("client_credentials") {
		c.Credentials = f.Bool("client_credentials")
	}
	return c.check()
}

func (c *Client) check() error {
	for _, text := range c.RedirectURIs {
		if u, err := url.Parse(text); err != nil || u.Scheme == "" || u.Fragment != "" || u.Host == "" && u.Path == "" && u.Opaque == "" {
			return engines.Invalidf("redirect_uris: expected absolute URIs without a fragment")
		}
	}
	switch {
	case c.IDTTL < time.Second || c.IDTTL > maxTTL || c.AccessTTL < time.Second || c.AccessTTL > maxTTL:
		return engines.Invalidf("id_token_ttl and access_token_ttl: expected at least a second, and less than ten years")
	case c.Credentials && c.Type != confidential:
		return engines.Invalidf("client_credentials: a public client has nothing to prove itself with")
	}
	return nil
}

// credentials makes up the client's id, and its secret if it can keep one.
func (c *Client) credentials(tx *state.Tx) (err error) {
	if c.ID, err = random(clientIDChars); err != nil {
		return err
	}
	if c.Type == confidential {
		secret, err := random(secretChars)
		if err != nil {
			return err
		}
		c.Secret = secretPrefix + secret
	}
	return region(tx).Put(clientIDDir+c.ID, []byte(c.Name))
}

func (o *OIDC) deleteClient(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	c, err := named[Client](tx, clientDir, name)
	if err != nil || c == nil {
		return nil, err
	}
	if err := region(tx).Delete(clientIDDir + c.ID); err != nil {
		return nil, err
	}
	return nil, region(tx).Delete(clientDir + name)
}
