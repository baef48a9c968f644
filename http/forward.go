package httpapi

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/engines"
)

// maxTokenBytes bounds the token header: batch tokens are long.
const maxTokenBytes = 16 << 10

// forward hands a request to the core, here or on the node that leads.
func (s *server) forward(ctx context.Context, r *request) (*response, error) {
	in, err := s.inbound(r)
	if err != nil {
		return nil, err
	}
	if s.Peers == nil || r.handed != nil {
		if err := s.awaitIndex(ctx, r.Header); err != nil {
			return nil, err
		}
		return s.here(ctx, in)
	}
	return s.anywhere(ctx, r, in)
}

// here hands a request to this node's core.
func (s *server) here(ctx context.Context, in *core.Inbound) (*response, error) {
	out, err := s.Core.Handle(ctx, in)
	if err != nil {
		return nil, err
	}
	resp := &response{envelope: out.Envelope, raw: out.Raw, headers: out.Headers, index: out.Index}
	if out.Missing {
		resp.status = http.StatusNotFound
	}
	if writes(in.Op) {
		s.tellState(resp)
	}
	return resp, nil
}

func writes(op engines.Operation) bool {
	switch op {
	case engines.Update, engines.Patch, engines.Delete:
		return true
	}
	return false
}

// inbound decodes what HTTP says of a request, and leaves its meaning alone.
func (s *server) inbound(r *request) (*core.Inbound, error) {
	path := r.URL.Path
	if hidesSlash(r.URL) {
		var ok bool
		if path, ok = ocspPath(r); !ok {
			return nil, engines.Invalidf("the path contains an encoded slash or backslash, which no path may have")
		}
	}
	in := &core.Inbound{ID: r.id, Path: strings.TrimPrefix(path, "/v1/"), Body: r.body, Header: r.Header.Values}
	var err error
	if r.URL.RawQuery != "" {
		if in.Query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return nil, engines.Invalidf("the query string is malformed")
		}
	}
	if in.Op, err = operation(r.Method, in.Query); err != nil {
		return nil, err
	}
	if in.Token, err = token(r.Header); err != nil {
		return nil, err
	}
	if in.WrapTTL, err = wrapTTL(r.Header); err != nil {
		return nil, err
	}
	if err := checkNamespace(r.Header); err != nil {
		return nil, err
	}
	if in.Age, err = age(r.Header); err != nil {
		return nil, err
	}
	if err := s.identify(r, in); err != nil {
		return nil, err
	}
	if in.Op != engines.Update && in.Op != engines.Patch {
		in.Body = nil
	}
	return in, nil
}

// identify tells who the client is: as it came in, or as the node says that was
// asked.
func (s *server) identify(r *request, in *core.Inbound) (err error) {
	if h := r.handed; h != nil {
		in.Addr, in.Port, in.PeerCertificates = h.Addr, h.Port, h.certificates
		in.Place = core.Place{Forwarded: true, ID: h.ID, Tried: h.Tried}
		return nil
	}
	in.Port, in.PeerCertificates = s.Proxies.clientPort(r.RemoteAddr), peers(r)
	in.Addr, err = s.Proxies.ClientAddr(r.Request)
	return err
}

// hidesSlash reports whether a path holds a separator that decoding brings out:
// then it would name one thing before and another after.
func hidesSlash(u *url.URL) bool {
	if u.RawPath == "" {
		return false
	}
	escaped := strings.ToLower(u.RawPath)
	return strings.Contains(escaped, "%2f") || strings.Contains(escaped, "%5c")
}

func operation(method string, query url.Values) (engines.Operation, error) {
	switch method {
	case http.MethodGet:
		switch {
		case flag(query, "list"):
			return engines.List, nil
		case flag(query, "scan"):
			return engines.Scan, nil
		case flag(query, "help"):
			return engines.Help, nil
		}
		return engines.Read, nil
	case "LIST":
		return engines.List, nil
	case "SCAN":
		return engines.Scan, nil
	case http.MethodPost, http.MethodPut:
		return engines.Update, nil
	case http.MethodPatch:
		return engines.Patch, nil
	case http.MethodDelete:
		return engines.Delete, nil
	}
	return 0, engines.Errorf(engines.KindMethod, "method %s is not allowed", clip(method))
}

func flag(query url.Values, name string) bool {
	switch query.Get(name) {
	case "true", "1":
		return true
	}
	return false
}

// token returns the caller's token from either header. Two different tokens
// are refused rather than chosen between.
func token(h http.Header) (string, error) {
	found := ""
	take := func(value string) error {
		if value == "" || value == found {
			return nil
		}
		if found != "" {
			return engines.Invalidf("the request carries two different tokens")
		}
		found = value
		return nil
	}
	for _, value := range h["X-Vault-Token"] {
		if err := take(strings.TrimSpace(value)); err != nil {
			return "", err
		}
	}
	for _, value := range h["Authorization"] {
		if scheme, rest, ok := strings.Cut(value, " "); ok && strings.EqualFold(scheme, "Bearer") {
			if err := take(strings.TrimSpace(rest)); err != nil {
				return "", err
			}
		}
	}
	if len(found) > maxTokenBytes {
		return "", engines.Invalidf("the token is longer than any can be")
	}
	return found, nil
}

func wrapTTL(h http.Header) (time.Duration, error) {
	text := h.Get("X-Vault-Wrap-TTL")
	if text == "" {
		return 0, nil
	}
	ttl, ok := engines.ParseSeconds(text)
	if !ok || ttl < 0 {
		return 0, engines.Invalidf("X-Vault-Wrap-TTL: expected a duration such as \"5m\" or seconds")
	}
	switch format := h.Get("X-Vault-Wrap-Format"); format {
	case "":
	default:
		return 0, engines.Invalidf("X-Vault-Wrap-Format: only the plain form is offered")
	}
	return ttl, nil
}

// checkNamespace refuses namespaces other than the root, which is the only one.
func checkNamespace(h http.Header) error {
	for _, value := range h["X-Vault-Namespace"] {
		if strings.Trim(value, "/") != "" && strings.Trim(value, "/") != "root" {
			return engines.Invalidf("there is no such namespace: only the root namespace exists")
		}
	}
	return nil
}

func peers(r *request) []*x509.Certificate {
	if r.TLS == nil {
		return nil
	}
	return r.TLS.PeerCertificates
}
