package audit

import (
	"maps"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/core/answer"
)

// record writes a record as one line, and returns the piece of it that says who
// asked and for what. again is that piece of another record, if it is known.
func (e *encoder) record(r *Record, headers map[string]bool, again []byte) ([]byte, error) {
	kind := "request"
	if r.Response != nil {
		kind = "response"
	}
	e.begin('{')
	e.key("time")
	e.dst = append(r.Time.UTC().AppendFormat(append(e.dst, '"'), time.RFC3339Nano), '"')
	e.textMember("type", kind)
	from := len(e.dst)
	if again != nil {
		e.dst = append(e.dst, again...)
	} else if err := e.asked(r, headers); err != nil {
		return nil, err
	}
	to := len(e.dst)
	if r.Response != nil {
		e.key("response")
		if err := e.response(&r.Request, r.Response); err != nil {
			return nil, err
		}
	}
	if r.Err != nil {
		e.key("error")
		e.appendError(r.Err)
	}
	e.end('}')
	e.dst = append(e.dst, '\n')
	return e.dst[from:to:to], nil
}

// asked writes who asked and for what.
func (e *encoder) asked(r *Record, headers map[string]bool) error {
	if r.Auth != nil {
		e.key("auth")
		e.auth(r.Auth)
	}
	e.key("request")
	return e.request(&r.Request, headers)
}

func (e *encoder) auth(a *Auth) {
	e.begin('{')
	e.secretMember("client_token", a.Token)
	e.accessorMember("accessor", a.Accessor)
	if a.DisplayName != "" {
		e.key("display_name")
		e.label(a.DisplayName)
	}
	e.texts("policies", a.Policies)
	e.texts("token_policies", a.TokenPolicies)
	e.texts("identity_policies", a.IdentityPolicies)
	if a.Decided != nil {
		e.decision(a.Decided)
	}
	if len(a.Metadata) > 0 {
		e.key("metadata")
		e.begin('{')
		for _, name := range slices.Sorted(maps.Keys(a.Metadata)) {
			e.key(e.name(name))
			e.label(a.Metadata[name])
		}
		e.end('}')
	}
	e.textMember("entity_id", a.EntityID)
	e.number("remaining_uses", a.Uses)
	e.textMember("token_type", a.TokenType)
	e.number("token_ttl", int64(a.TTL/time.Second))
	if !a.Issued.IsZero() {
		e.key("token_issue_time")
		e.dst = append(a.Issued.UTC().AppendFormat(append(e.dst, '"'), time.RFC3339), '"')
	}
	e.end('}')
}

func (e *encoder) decision(d *Decision) {
	e.key("policy_results")
	e.begin('{')
	e.truth("allowed", d.Allowed)
	if len(d.Granting) > 0 {
		e.key("granting_policies")
		e.begin('[')
		for _, name := range d.Granting {
			e.comma()
			e.begin('{')
			e.textMember("name", name)
			e.textMember("namespace_id", "root")
			e.textMember("type", "acl")
			e.end('}')
		}
		e.end(']')
	}
	e.end('}')
}

func (e *encoder) request(r *Request, headers map[string]bool) error {
	e.begin('{')
	e.textMember("id", r.ID)
	e.textMember("operation", r.Operation)
	if m := r.Mount; m != nil {
		e.textMember("mount_point", m.Path)
		e.textMember("mount_type", m.Type)
		e.textMember("mount_accessor", m.Accessor)
		e.textMember("mount_class", m.Class)
	}
	e.secretMember("client_token", r.Token)
	e.accessorMember("client_token_accessor", r.Accessor)
	e.key("namespace")
	e.begin('{')
	e.textMember("id", "root")
	e.end('}')
	e.key("path")
	if r.Malformed {
		e.secret(r.Path)
	} else {
		e.path(r.Path, r.Captured)
	}
	if err := e.input(r); err != nil {
		return err
	}
	if r.Header != nil {
		e.headers(r.Header, headers)
	}
	if r.Addr.IsValid() {
		e.textMember("remote_address", r.Addr.String())
		e.number("remote_port", int64(r.Port))
	}
	e.number("wrap_ttl", int64(r.WrapTTL/time.Second))
	e.end('}')
	return nil
}

// headers writes the headers that are asked for; true hashes one.
func (e *encoder) headers(sent func(name string) []string, asked map[string]bool) {
	if len(asked) == 0 {
		return
	}
	open := false
	for _, name := range slices.Sorted(maps.Keys(asked)) {
		values := sent(name)
		if len(values) == 0 {
			continue
		}
		if !open {
			e.key("headers")
			e.begin('{')
			open = true
		}
		e.key(name)
		e.begin('[')
		for _, value := range values {
			e.comma()
			if asked[name] || neverPlain(name) {
				e.secret(value)
			} else {
				e.plain(value)
			}
		}
		e.end(']')
	}
	if open {
		e.end('}')
	}
}

func (e *encoder) response(r *Request, resp *Response) error {
	e.begin('{')
	if m := r.Mount; m != nil {
		e.textMember("mount_point", m.Path)
		e.textMember("mount_type", m.Type)
		e.textMember("mount_accessor", m.Accessor)
		e.textMember("mount_class", m.Class)
	}
	if raw := resp.Raw; raw != nil {
		e.key("data")
		e.begin('{')
		e.textMember("http_content_type", raw.ContentType)
		e.secretMember("http_raw_body", string(raw.Body))
		e.number("http_status_code", int64(raw.Status))
		e.end('}')
	}
	if env := resp.Envelope; env != nil {
		if err := e.envelope(r, resp, env); err != nil {
			return err
		}
	}
	e.end('}')
	return nil
}

func (e *encoder) envelope(r *Request, resp *Response, env *answer.Envelope) error {
	if a := env.Auth; a != nil {
		e.key("auth")
		e.auth(&Auth{
			Token: a.ClientToken, Accessor: a.Accessor, Policies: a.Policies, TokenPolicies: a.TokenPolicies,
			IdentityPolicies: a.IdentityPolicies, Metadata: a.Metadata, EntityID: a.EntityID, TokenType: a.TokenType,
			TTL: time.Duration(a.LeaseDuration) * time.Second, Uses: a.NumUses,
		})
	}
	if err := e.output(r, resp); err != nil {
		return err
	}
	if env.LeaseID != "" {
		e.key("secret")
		e.begin('{')
		e.textMember("lease_id", env.LeaseID)
		e.end('}')
	}
	if w := env.WrapInfo; w != nil {
		e.key("wrap_info")
		e.begin('{')
		e.number("ttl", w.TTL)
		e.secretMember("token", w.Token)
		e.accessorMember("accessor", w.Accessor)
		e.textMember("creation_time", w.CreationTime.UTC().Format(time.RFC3339Nano))
		e.key("creation_path")
		e.path(w.CreationPath, r.Captured)
		e.accessorMember("wrapped_accessor", w.WrappedAccessor)
		e.end('}')
	}
	if len(env.Warnings) > 0 {
		e.key("warnings")
		e.begin('[')
		for _, warning := range env.Warnings {
			e.comma()
			e.secret(warning) // it may name what the caller sent
		}
		e.end(']')
	}
	return nil
}
