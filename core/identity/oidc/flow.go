package oidc

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/core/identity"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// codeTTL is for how long a code can be redeemed.
const codeTTL = 5 * time.Minute

// accessPrefix is what access tokens start with: they open userinfo and nothing
// else.
const accessPrefix = "cfo."

// grant is what somebody lets a client know, as a code and then an access token
// stand for it.
type grant struct {
	Provider string   `json:"provider"`
	Client   string   `json:"client"` // its id
	Entity   string   `json:"entity,omitempty"`
	Scopes   []string `json:"scopes,omitempty"`
	Nonce    string   `json:"nonce,omitempty"`
	AuthTime int64    `json:"auth_time,omitempty"`
	// Redirect and the challenge are what the code was asked for with.
	Redirect  string `json:"redirect,omitempty"`
	Challenge string `json:"challenge,omitempty"`
	Method    string `json:"method,omitempty"`
}

func (o *OIDC) flowRoutes() []engines.Route {
	name := field("name", engines.String, "The provider's name.")
	secret := func(name, help string) engines.Field {
		return engines.Field{Name: name, Type: engines.String, Secret: true, Help: help}
	}
	return []engines.Route{
		{Pattern: "oidc/provider/{name}/authorize", Help: "Let a client know who the caller is: answers with a code.", Fields: []engines.Field{
			name, field("client_id", engines.String, "The client's id."), field("scope", engines.String, "What it asks to know: openid, and names of scopes."),
			field("redirect_uri", engines.String, "Where the code is sent."), field("response_type", engines.String, "What it wants: code."),
			secret("state", "Is answered with."), secret("nonce", "Is put into the ID token."),
			field("max_age", engines.Int, "How many seconds ago the caller may have logged in."),
			secret("code_challenge", "The challenge that the code's redeemer answers (PKCE)."),
			{Name: "code_challenge_method", Type: engines.String, Default: "plain", Help: "How the challenge was made: plain or S256."},
		}, Ops: []engines.Op{op(engines.Read, engines.Writes, o.authorize), update(o.authorize)}},
		{Pattern: "oidc/provider/{name}/token", Help: "Redeem a code, or get tokens of the client's own.", Public: true, Fields: []engines.Field{
			name, field("grant_type", engines.String, "authorization_code or client_credentials."), secret("code", "The code."),
			field("redirect_uri", engines.String, "Where the code was sent."), secret("code_verifier", "The answer to the code's challenge."),
			field("client_id", engines.String, "The client's id, unless it is in the Authorization header."), secret("client_secret", "Its secret, likewise."),
			field("scope", engines.String, "What a client asks to know of itself."),
		}, Ops: []engines.Op{update(o.token)}},
		{Pattern: "oidc/provider/{name}/userinfo", Help: "Tell what an access token lets its client know.", Public: true, Fields: []engines.Field{name}, Ops: []engines.Op{
			read(o.userInfo), op(engines.Update, engines.Reads, o.userInfo),
		}},
	}
}

// oauthError is an error as OAuth 2.0 answers it (RFC 6749, section 5.2).
type oauthError struct {
	status int
	code   string
	text   string
	header string
}

func (e *oauthError) response() (*engines.Response, error) {
	resp, err := raw(e.status, map[string]any{"error": e.code, "error_description": e.text})
	if err == nil && e.header != "" {
		resp.Headers = map[string]string{"WWW-Authenticate": e.header}
	}
	return resp, err
}

func bad(code, text string) *oauthError { return &oauthError{status: 400, code: code, text: text} }

// secretToken makes something that only its holder can know, and the hash that
// it is stored by.
func secretToken(prefix string) (token, hash string) {
	var id [32]byte
	_, _ = rand.Read(id[:])
	token = prefix + base64.RawURLEncoding.EncodeToString(id[:])
	return token, hashed(token)
}

func hashed(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// granted returns what a code or an access token stands for, or nil.
func granted(tx *state.Tx, dir, token string) (*grant, error) {
	row, err := passing(tx).GetRow(dir + hashed(token))
	if err != nil || row == nil || !tx.Now().Before(row.Expiry) {
		return nil, err
	}
	return load[grant](passing(tx), dir+hashed(token))
}

func keep(tx *state.Tx, dir, hash string, g *grant, ttl time.Duration) error {
	return save(passing(tx), dir+hash, g, state.PutOptions{Expiry: tx.Now().Add(ttl)})
}

// redirects reports whether a code may be sent to a URI. It has to be one that
// was registered, but for the port of a loopback address, which a native
// application learns when it starts (RFC 8252, section 7.3).
func (c *Client) redirects(uri string) bool {
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	asked, err := url.Parse(uri)
	if err != nil || !loopback(asked) {
		return false
	}
	return slices.ContainsFunc(c.RedirectURIs, func(text string) bool {
		known, err := url.Parse(text)
		return err == nil && loopback(known) && known.Hostname() == asked.Hostname() && withoutPort(known) == withoutPort(asked)
	})
}

func loopback(u *url.URL) bool {
	if u.Scheme != "http" || u.User != nil || u.Fragment != "" {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && addr.IsLoopback()
}

func withoutPort(u *url.URL) string {
	bare := *u
	bare.Host = u.Hostname()
	return bare.String()
}

var verifierForm = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// answers reports whether a verifier is the one that the code was asked for with
// (RFC 7636, section 4.6).
func (g *grant) answers(verifier string) bool {
	if g.Challenge == "" {
		return verifier == ""
	}
	if !verifierForm.MatchString(verifier) {
		return false
	}
	if g.Method == "S256" {
		verifier = hashed(verifier)
	}
	return subtle.ConstantTimeCompare([]byte(verifier), []byte(g.Challenge)) == 1
}

// person returns who a grant is of, if they may still use the client; nil and
// no error if not.
func (o *OIDC) person(tx *state.Tx, c *Client, entity string) (*identity.Holder, error) {
	h, err := o.Identity.Holder(tx, entity)
	if err != nil {
		if engines.KindOf(err) == engines.KindDenied {
			err = nil
		}
		return nil, err
	}
	ok, err := c.assigned(tx, h)
	if err != nil || !ok {
		return nil, err
	}
	return h, nil
}

// claims are those of the grant's scopes; false if two of them have the same.
func (g *grant) claims(tx *state.Tx, h *identity.Holder) (map[string]any, bool, error) {
	out := make(map[string]any)
	for _, name := range g.Scopes {
		s, err := named[Scope](tx, scopeDir, name)
		if err != nil {
			return nil, false, err
		}
		if s == nil {
			continue // it has gone since the code was made
		}
		t, err := parseTemplate(s.Template)
		if err != nil {
			return nil, false, err
		}
		if !merge(out, t.claims(h, tx.Now())) {
			return nil, false, nil
		}
	}
	return out, true, nil
}
