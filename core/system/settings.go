package system

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// settings is where the system keeps what is set over the API.
func settings(tx *state.Tx) *state.Region {
	return tx.Region(state.Key(state.Config, state.RootNamespace, []byte("s")))
}

// CORS says which web pages may call the API.
type CORS struct {
	Enabled          bool     `json:"enabled"`
	Origins          []string `json:"allowed_origins"`
	Headers          []string `json:"allowed_headers"`
	AllowCredentials bool     `json:"allow_credentials"`
}

// standardHeaders are always allowed to be sent by a page that may call.
var standardHeaders = []string{ //nolint:gochecknoglobals // a constant list
	"Content-Type", "X-Requested-With", "X-Vault-AWS-IAM-Server-ID", "X-Vault-MFA", "X-Vault-No-Request-Forwarding",
	"X-Vault-Wrap-Format", "X-Vault-Wrap-TTL", "X-Vault-Policy-Override", "Authorization", "X-Vault-Token", "X-Vault-Namespace",
	"X-Coffer-Consistency", "X-Coffer-Index",
}

// ReadCORS returns the settings, off if there are none.
func ReadCORS(tx *state.Tx) (CORS, error) {
	var c CORS
	entry, err := settings(tx).Get("cors")
	if err != nil || entry == nil {
		return c, err
	}
	if err := json.Unmarshal(entry.Value, &c); err != nil {
		return c, engines.Internal(err)
	}
	return c, nil
}

// framing are the headers that say how an answer is sent.
var framing = []string{"connection", "content-encoding", "content-length", "content-type", "trailer", "transfer-encoding", "upgrade"}

// maxHeaders bounds how many headers a page is given.
const maxHeaders = 64

// ReadHeaders returns the headers that pages carry.
func ReadHeaders(tx *state.Tx) (map[string][]string, error) {
	names, err := settings(tx).List("headers/", engines.Page{Limit: maxHeaders})
	if err != nil {
		return nil, err
	}
	out := make(map[string][]string, len(names))
	for _, name := range names {
		entry, err := settings(tx).Get("headers/" + name)
		if err != nil || entry == nil {
			return nil, err
		}
		var values []string
		if err := json.Unmarshal(entry.Value, &values); err != nil {
			return nil, engines.Internal(err)
		}
		if !slices.Contains(framing, name) {
			out[name] = values
		}
	}
	return out, nil
}

func (s *system) settingRoutes() []engines.Route {
	header := field("header", engines.String, "The header's name.")
	return []engines.Route{
		{Pattern: "config/cors", Help: "Which web pages may call the API.", Sudo: true, Fields: []engines.Field{
			{Name: "enable", Type: engines.Bool, Default: true, Help: "Whether any may."},
			field("allowed_origins", engines.Strings, "Origins that may, or \"*\"."),
			field("allowed_headers", engines.Strings, "Further headers that they may send."),
			field("allow_credentials", engines.Bool, "Whether they may send credentials."),
		}, Ops: []engines.Op{read(whole(s.cors)), update(whole(s.setCORS)), remove(whole(s.deleteCORS))}},
		{Pattern: "config/state/sanitized", Help: "The server's configuration without anything secret.", Ops: []engines.Op{read(whole(s.sanitized))}},
		{Pattern: "config/reload/{subsystem}", Help: "Read a part of the configuration again.", Fields: []engines.Field{
			field("subsystem", engines.String, "The part: \"license\" or \"listener\"."),
		}, Ops: []engines.Op{compute(whole(s.reload))}},
		{Pattern: "config/ui/headers", Help: "List the headers that pages for browsers carry.", Sudo: true, Ops: []engines.Op{list(whole(s.listHeaders))}},
		{Pattern: "config/ui/headers/{header}", Help: "A header that pages for browsers carry.", Sudo: true, Fields: []engines.Field{
			header, field("values", engines.Strings, "Its values."), {Name: "multivalue", Type: engines.Bool, Query: true, Help: "Show all values."},
		}, Ops: []engines.Op{read(whole(s.header)), update(whole(s.setHeader)), remove(whole(s.deleteHeader))}},
	}
}

func (s *system) cors(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	c, err := ReadCORS(tx)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"enabled": c.Enabled}
	if c.Enabled {
		out["allowed_origins"], out["allowed_headers"], out["allow_credentials"] = c.Origins, c.Headers, c.AllowCredentials
	}
	return both(out), nil
}

func (s *system) setCORS(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f := req.Fields
	c := CORS{Enabled: f.Bool("enable"), Origins: f.Strings("allowed_origins"), AllowCredentials: f.Bool("allow_credentials")}
	if c.Enabled && len(c.Origins) == 0 {
		return nil, engines.Invalidf("allowed_origins: at least one origin or \"*\"")
	}
	if len(c.Origins) > 1 && slices.Contains(c.Origins, "*") {
		return nil, engines.Invalidf("allowed_origins: \"*\" stands alone")
	}
	if c.AllowCredentials && slices.Contains(c.Origins, "*") {
		return nil, engines.Invalidf("allow_credentials cannot be used with any origin")
	}
	c.Headers = slices.Concat(standardHeaders, f.Strings("allowed_headers"))
	value, err := json.Marshal(c)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return nil, settings(tx).Put("cors", value)
}

func (s *system) deleteCORS(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return nil, settings(tx).Delete("cors")
}

func (s *system) sanitized(context.Context, *engines.Request, *state.Tx) (*engines.Response, error) {
	return both(s.Control.Node().Sanitized), nil
}

func (s *system) reload(_ context.Context, req *engines.Request, _ *state.Tx) (*engines.Response, error) {
	part := req.Fields.String("subsystem")
	return &engines.Response{Then: func(context.Context) error { return s.Control.Reload(part) }}, nil
}

func (s *system) listHeaders(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	names, err := settings(tx).List("headers/", engines.Page{})
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, engines.NotFound()
	}
	return data(map[string]any{"keys": names}), nil
}

func headerPath(req *engines.Request) string {
	return "headers/" + strings.ToLower(req.Fields.String("header"))
}

func (s *system) header(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	entry, err := settings(tx).Get(headerPath(req))
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, engines.NotFound()
	}
	var values []string
	if err := json.Unmarshal(entry.Value, &values); err != nil {
		return nil, engines.Internal(err)
	}
	if req.Fields.Bool("multivalue") {
		return data(map[string]any{"values": values}), nil
	}
	return data(map[string]any{"value": strings.Join(values, ",")}), nil
}

func (s *system) setHeader(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name, values := strings.ToLower(req.Fields.String("header")), req.Fields.Strings("values")
	if len(values) == 0 {
		return nil, engines.Invalidf("values: at least one")
	}
	if strings.HasPrefix(name, "x-vault-") || strings.HasPrefix(name, "x-coffer-") {
		return nil, engines.Invalidf("X-Vault and X-Coffer headers cannot be set")
	}
	if slices.Contains(framing, name) {
		return nil, engines.Invalidf("%s is not a header to be set: the server says what it sends", name)
	}
	for _, text := range append(values, name) {
		if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, engines.Invalidf("a header cannot contain control characters")
		}
	}
	value, err := json.Marshal(values)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return nil, settings(tx).Put(headerPath(req), value)
}

func (s *system) deleteHeader(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	return nil, settings(tx).Delete(headerPath(req))
}
