package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/auth/signed"
	"github.com/coffer-secrets/coffer/auth/upstream"
	"github.com/coffer-secrets/coffer/engines"
)

// defaultIssuer is that of tokens from before Kubernetes 1.21.
const defaultIssuer = "kubernetes/serviceaccount"

// reviewed is who it is, and the versions of what that rests on.
type reviewed struct {
	config, role uint64
	auth         *engines.Auth
}

func denied(why string) error { return engines.Errorf(engines.KindDenied, "%s", why) }

// review looks at a token, and asks the cluster about it.
func (e *engine) review(_ context.Context, req *engines.Request, tx engines.Tx) (func(context.Context) (any, error), error) {
	for _, field := range []string{"role", "jwt"} {
		if req.Fields.String(field) == "" {
			return nil, engines.Invalidf("missing %s", field)
		}
	}
	name, err := auth.Name(req, "role")
	if err != nil {
		return nil, err
	}
	r, onRole, err := roles.Load(tx, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.Invalidf("invalid role name %q", name)
	}
	if !auth.Allows(r.Token.BoundCIDRs, req.Caller.Addr) {
		return nil, denied("permission denied")
	}
	c, onConfig, err := auth.LoadRow[config](tx, configRow)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, engines.Invalidf("could not load backend configuration: the mount has none yet, write it to its config path")
	}
	token := strings.TrimSpace(req.Fields.String("jwt"))
	return func(ctx context.Context) (any, error) {
		a, audience, err := c.look(token, r, req.Now)
		if err != nil {
			return nil, err
		}
		cl, err := e.cluster(req.Mount, c, token)
		if err != nil {
			return nil, err
		}
		if err := cl.allowed(ctx, r, a.Namespace); err != nil {
			return nil, err
		}
		if err := cl.confirm(ctx, token, audience, a); err != nil {
			return nil, err
		}
		made, err := r.auth(a)
		return &reviewed{config: onConfig, role: onRole, auth: made}, err
	}, nil
}

func login(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := auth.Name(req, "role")
	if err != nil {
		return nil, err
	}
	_, onRole, err := roles.Load(tx, name)
	if err != nil {
		return nil, err
	}
	_, onConfig, err := auth.LoadRow[config](tx, configRow)
	if err != nil {
		return nil, err
	}
	v, ok := req.Ahead.(*reviewed)
	if !ok || v.role != onRole || v.config != onConfig {
		return nil, engines.ErrStale
	}
	return &engines.Response{Auth: v.auth}, nil
}

// account is a service account.
type account struct {
	Name, Namespace, UID string
	// Secret is where the token is kept, if it is one that does not end.
	Secret string
}

// look checks what can be seen of a token without asking. It returns the
// account that it says it is of, and the audiences to ask for.
func (c *config) look(text string, r *role, now time.Time) (*account, []string, error) {
	token, err := signed.Parse(text)
	if err != nil {
		return nil, nil, denied(err.Error())
	}
	claims, err := c.claims(token)
	if err != nil {
		return nil, nil, denied(err.Error())
	}
	if !c.AnyIssuer {
		issuer := c.Issuer
		if issuer == "" {
			issuer = defaultIssuer
		}
		if err := claims.Issuer(issuer); err != nil {
			return nil, nil, denied(err.Error())
		}
	}
	audience, err := claims.Audience()
	if err != nil {
		return nil, nil, denied(err.Error())
	}
	if r.Audience != "" {
		if !slices.Contains(audience, r.Audience) {
			return nil, nil, denied("invalid audience (aud) claim: audience claim does not match any expected audience")
		}
		audience = []string{r.Audience}
	}
	if err := current(claims, now); err != nil {
		return nil, nil, denied(err.Error())
	}
	a := accountOf(claims)
	if a == nil {
		return nil, nil, denied("the token is not one of a service account")
	}
	if !fits(r.Accounts, a.Name) {
		return nil, nil, denied("service account name not authorized")
	}
	if !fits(r.Namespaces, a.Namespace) && r.Selector == "" {
		return nil, nil, denied("namespace not authorized")
	}
	return a, audience, nil
}

// claims verifies the signature if there are keys to do so, and else leaves it
// to the cluster.
func (c *config) claims(token *signed.Token) (signed.Claims, error) {
	if len(c.Keys) == 0 {
		return token.Unverified()
	}
	var keys []signed.Key
	for _, text := range c.Keys {
		key, err := signed.ParsePEM(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return token.Verify(keys)
}

// current refuses a token before and after its time. Tokens of old clusters have
// none.
func current(claims signed.Claims, now time.Time) error {
	for _, name := range []string{"exp", "nbf", "iat"} {
		if _, ok := claims[name]; ok {
			return claims.Current(now, signed.Leeways{})
		}
	}
	return nil
}

// accountOf reads whose a token is: in the form of those made for pods, or in
// that of those kept as secrets. Nil if it does not say all.
func accountOf(claims signed.Claims) *account {
	text := func(v any, _ bool) string {
		s, _ := v.(string)
		return s
	}
	const old = "kubernetes.io/serviceaccount/"
	a := &account{
		Name: text(claims.At(old + "service-account.name")), UID: text(claims.At(old + "service-account.uid")),
		Namespace: text(claims.At(old + "namespace")), Secret: text(claims.At(old + "secret.name")),
	}
	if _, ok := claims["kubernetes.io"]; ok {
		a = &account{
			Name:      text(claims.Pointer("kubernetes.io/serviceaccount/name")),
			UID:       text(claims.Pointer("kubernetes.io/serviceaccount/uid")),
			Namespace: text(claims.Pointer("kubernetes.io/namespace")),
		}
	}
	if !isName(a.Name) || !isName(a.Namespace) || a.UID == "" || len(a.UID) > maxTextBytes || len(a.Secret) > maxTextBytes {
		return nil
	}
	return a
}

// isName reports whether a text may name something in Kubernetes.
func isName(text string) bool {
	return text != "" && len(text) <= 253 && !slices.ContainsFunc([]byte(text), func(b byte) bool {
		return (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '.'
	})
}

func fits(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return auth.Glob(p, name) })
}

// allowed asks for the labels of a namespace that only they may let in.
func (c *cluster) allowed(ctx context.Context, r *role, namespace string) error {
	if fits(r.Namespaces, namespace) {
		return nil
	}
	s, err := parseSelector(r.Selector)
	if err != nil {
		return engines.Internal(err)
	}
	var got struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	}
	if err := c.ask(ctx, upstream.Ask{URL: c.host + "/api/v1/namespaces/" + namespace}, &got); err != nil {
		return err
	}
	if !s.matches(got.Metadata.Labels) {
		return denied("namespace not authorized")
	}
	return nil
}

// ask asks the cluster. That it does not let Coffer ask is no failure of the
// cluster.
func (c *cluster) ask(ctx context.Context, ask upstream.Ask, into any) error {
	ask.Bearer = c.token
	err := c.client.JSON(ctx, ask, into)
	var status upstream.Status
	if errors.As(err, &status) && (status == http.StatusUnauthorized || status == http.StatusForbidden || status == http.StatusNotFound) {
		return &engines.Error{Kind: engines.KindDenied, Message: "permission denied", Cause: err}
	}
	return err
}

// tokenReview is authentication.k8s.io/v1 TokenReview, as far as it is used.
type tokenReview struct {
	APIVersion string       `json:"apiVersion"`
	Kind       string       `json:"kind"`
	Spec       reviewSpec   `json:"spec"`
	Status     reviewStatus `json:"status,omitzero"`
}

type reviewSpec struct {
	Token     string   `json:"token"`
	Audiences []string `json:"audiences,omitempty"`
}

type reviewStatus struct {
	Authenticated bool     `json:"authenticated"`
	Audiences     []string `json:"audiences"`
	Error         string   `json:"error"`
	User          struct {
		Username string `json:"username"`
		UID      string `json:"uid"`
	} `json:"user"`
}

// confirm asks the cluster whether a token counts, for these audiences, and
// whether it is the account's.
func (c *cluster) confirm(ctx context.Context, token string, audiences []string, a *account) error {
	question := tokenReview{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview", Spec: reviewSpec{Token: token, Audiences: audiences}}
	var answer tokenReview
	if err := c.ask(ctx, upstream.Ask{URL: c.host + "/apis/authentication.k8s.io/v1/tokenreviews", Body: question}, &answer); err != nil {
		return err
	}
	s := answer.Status
	forUs := len(audiences) == 0 || slices.ContainsFunc(s.Audiences, func(got string) bool { return slices.Contains(audiences, got) })
	same := s.User.Username == "system:serviceaccount:"+a.Namespace+":"+a.Name && s.User.UID == a.UID
	if !s.Authenticated || s.Error != "" || !forUs || !same {
		return denied("permission denied")
	}
	return nil
}

// auth is what an account gets.
func (r *role) auth(a *account) (*engines.Auth, error) {
	about := map[string]string{
		"service_account_uid": a.UID, "service_account_name": a.Name, "service_account_namespace": a.Namespace,
		"service_account_secret_name": a.Secret,
	}
	metadata := maps.Clone(about)
	metadata["role"] = r.Name
	alias := a.UID
	if r.AliasBy == byName {
		alias = a.Namespace + "/" + a.Name
	}
	private, err := json.Marshal(private{Role: r.Name})
	if err != nil {
		return nil, engines.Internal(err)
	}
	return &engines.Auth{
		DisplayName: a.Namespace + "-" + a.Name, Alias: alias, AliasMetadata: about, Metadata: metadata, Private: private, Token: r.Token,
	}, nil
}

// private is what is kept with a token for its renewal.
type private struct {
	Role string `json:"role"`
}

// renew wants the role to be there still, and gives what it now says.
func renew(_ context.Context, req *engines.Renewal, tx engines.Tx) (*engines.TokenParams, error) {
	var p private
	if err := json.Unmarshal(req.Private, &p); err != nil {
		return nil, engines.Internal(err)
	}
	r, _, err := roles.Load(tx, p.Role)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, auth.ErrGone("role")
	}
	return &r.Token, nil
}
