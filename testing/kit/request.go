package kit

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// NoToken sends a request without a token.
const NoToken = "-"

// Request is one call of the API.
type Request struct {
	// Method is GET if empty.
	Method string
	// Path is below /v1/, percent-encoded, with its query string if there is one.
	Path string
	// Token is the root token if empty.
	Token string
	// Body is sent as it is if it is a string or bytes, and else as JSON.
	Body   any
	Header http.Header
}

// Response is the answer.
type Response struct {
	Status int
	Header http.Header
	// Raw is what came, Body its JSON object; nil if it is none. Numbers are
	// json.Number.
	Raw  []byte
	Body map[string]any
}

// Do sends a request.
func (s *Server) Do(r Request) *Response {
	s.t.Helper()
	if r.Method == "" {
		r.Method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(s.t.Context(), r.Method, s.URL+"/v1/"+r.Path, s.body(r.Body))
	if err != nil {
		s.t.Fatal(err)
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	switch r.Token {
	case NoToken:
	case "":
		req.Header.Set("X-Vault-Token", s.Root)
	default:
		req.Header.Set("X-Vault-Token", r.Token)
	}
	got, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	raw, err := io.ReadAll(got.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return NewResponse(got.StatusCode, got.Header, raw)
}

// NewResponse decodes an answer that was had in another way.
func NewResponse(status int, header http.Header, raw []byte) *Response {
	out := &Response{Status: status, Header: header, Raw: raw}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&out.Body); err != nil {
		out.Body = nil
	}
	return out
}

func (s *Server) body(body any) io.Reader {
	switch b := body.(type) {
	case nil:
		return nil
	case string:
		return strings.NewReader(b)
	case []byte:
		return bytes.NewReader(b)
	}
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	return bytes.NewReader(text)
}

// Must sends a request and fails the test unless it is answered with a status.
func (s *Server) Must(status int, r Request) *Response {
	s.t.Helper()
	got := s.Do(r)
	if got.Status != status {
		s.t.Fatalf("%s %s answered %d, want %d: %s", r.Method, r.Path, got.Status, status, got.Raw)
	}
	return got
}

// Get reads a path with the root token, which must succeed, as must the others
// that follow.
func (s *Server) Get(path string) *Response {
	s.t.Helper()
	return s.succeed(Request{Path: path})
}

// Put writes to a path.
func (s *Server) Put(path string, body any) *Response {
	s.t.Helper()
	return s.succeed(Request{Method: http.MethodPut, Path: path, Body: body})
}

// Delete deletes a path.
func (s *Server) Delete(path string) *Response {
	s.t.Helper()
	return s.succeed(Request{Method: http.MethodDelete, Path: path})
}

// List lists a folder.
func (s *Server) List(path string) *Response {
	s.t.Helper()
	return s.succeed(Request{Method: "LIST", Path: path})
}

func (s *Server) succeed(r Request) *Response {
	s.t.Helper()
	got := s.Do(r)
	if got.Status != http.StatusOK && got.Status != http.StatusNoContent {
		s.t.Fatalf("%s %s answered %d: %s", r.Method, r.Path, got.Status, got.Raw)
	}
	return got
}

// Mount enables a secrets engine, with the options of its mount.
func (s *Server) Mount(path, engine string, options map[string]string) {
	s.t.Helper()
	s.Put("sys/mounts/"+path, map[string]any{"type": engine, "options": options})
}

// Policy writes a policy.
func (s *Server) Policy(name, text string) {
	s.t.Helper()
	s.Put("sys/policies/acl/"+name, map[string]any{"policy": text})
}

// Login returns a new token with policies, a child of the root token.
func (s *Server) Login(policies ...string) string {
	s.t.Helper()
	return s.Put("auth/token/create", map[string]any{"policies": policies}).Text("auth", "client_token")
}

// At returns the member that a path of names leads to, or nil.
func (r *Response) At(names ...string) any {
	var at any = r.Body
	for _, name := range names {
		object, _ := at.(map[string]any)
		at = object[name]
	}
	return at
}

// Text is At for strings; "" if there is none.
func (r *Response) Text(names ...string) string {
	text, _ := r.At(names...).(string)
	return text
}

// Strings is At for lists of strings; nil if there is none.
func (r *Response) Strings(names ...string) []string {
	list, _ := r.At(names...).([]any)
	var out []string
	for _, item := range list {
		text, _ := item.(string)
		out = append(out, text)
	}
	return out
}

// Errors is what an answer complains of.
func (r *Response) Errors() []string { return r.Strings("errors") }
