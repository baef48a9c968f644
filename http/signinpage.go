package httpapi

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	// formCookie holds what only the browser has that was sent the form, and formToken
	// is the field that shows it: of no use for what another client asks with.
	formCookie = "coffer_sign_in"
	formToken  = "form"
	formAge    = 600 // seconds
)

//go:embed signin.css
var signInStyle string

//go:embed signin.html
var signInText string

var signInPage = template.Must(template.New("page").Parse(signInText))

// stylePolicy lets the page's own style in, and no other.
var stylePolicy = func() string {
	sum := sha256.Sum256([]byte(signInStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; frame-ancestors 'none'; base-uri 'none'; form-action "
}()

// shown is what the page shows.
type shown struct {
	Style                  template.CSS
	Action                 string // where the form goes
	Client, Message, Token string
	Form                   *signingIn // nil: there is nothing to fill in
}

// form shows the form, filled in as it was but for what is secret.
func (p *signIn) form(r *request, a *asked, status int, f signingIn, message string) (*response, error) {
	secret, fresh := formSecret(r)
	f.Password, f.Passcode, f.Token = "", "", ""
	page := &shown{Client: a.redirect.Host, Message: message, Token: tokenOf(secret, r), Action: r.URL.RequestURI(), Form: &f}
	if page.Client == "" {
		page.Client = a.redirect.Scheme
	}
	// Browsers hold a form to its policy also where its answer leads.
	resp, err := render(page, status, "'self' "+sourceOf(a.redirect))
	if err == nil && fresh {
		cookie := &http.Cookie{ // #nosec G124 -- Secure wherever the listener speaks TLS
			Name: formCookie, Value: base64.RawURLEncoding.EncodeToString(secret), Path: r.URL.EscapedPath(), MaxAge: formAge,
			Secure: r.TLS != nil, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		}
		resp.headers["Set-Cookie"] = cookie.String()
	}
	return resp, err
}

// mistake shows why nobody can sign in.
func (p *signIn) mistake(status int, message string) (*response, error) {
	return render(&shown{Message: message}, status, "'none'")
}

func render(page *shown, status int, leadsTo string) (*response, error) {
	page.Style = template.CSS(signInStyle) // #nosec G203 -- the page's own
	var out bytes.Buffer
	if err := signInPage.Execute(&out, page); err != nil {
		return nil, engines.Internal(err)
	}
	return &response{
		raw: &engines.Raw{Status: status, ContentType: "text/html; charset=utf-8", Body: out.Bytes()},
		headers: map[string]string{
			"Content-Security-Policy": stylePolicy + leadsTo, "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"Referrer-Policy": "same-origin",
		},
	}, nil
}

// formSecret is that of the browser's cookie, or a fresh one.
func formSecret(r *request) (secret []byte, fresh bool) {
	if secret := sentSecret(r); secret != nil {
		return secret, false
	}
	secret = make([]byte, sha256.Size)
	_, _ = rand.Read(secret)
	return secret, true
}

// sentSecret is that of the browser's cookie; nil if there is none.
func sentSecret(r *request) []byte {
	cookie, err := r.Cookie(formCookie)
	if err != nil {
		return nil
	}
	secret, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil || len(secret) != sha256.Size {
		return nil
	}
	return secret
}

// tokenOf is the field of the form for what this client asks with.
func tokenOf(secret []byte, r *request) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(r.URL.RequestURI()))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// ownForm reports whether a form was sent by the browser that it was made for.
func ownForm(r *request) bool {
	secret := sentSecret(r)
	var sent map[string]any
	if secret == nil || json.Unmarshal(r.body, &sent) != nil {
		return false
	}
	text, _ := sent[formToken].(string)
	return hmac.Equal([]byte(text), []byte(tokenOf(secret, r)))
}

// nameOf is the provider's.
func nameOf(r *request) string { return mux.Vars(r.Request)["name"] }
