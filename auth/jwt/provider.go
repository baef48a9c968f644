package jwt

import (
	"context"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/auth/signed"
	"github.com/coffer-secrets/coffer/auth/upstream"
	"github.com/coffer-secrets/coffer/engines"
)

// How long what was fetched is good, and how often to fetch at most.
const (
	keysFresh      = 10 * time.Minute
	keysLive       = time.Hour
	endpointsFresh = time.Hour
	endpointsLive  = 24 * time.Hour
	refetchPause   = 5 * time.Second
	maxProviders   = 256
)

// discovery is what a provider says of itself (OpenID Connect Discovery,
// section 3).
type discovery struct {
	Issuer   string `json:"issuer"`
	JWKS     string `json:"jwks_uri"`
	Auth     string `json:"authorization_endpoint"`
	Token    string `json:"token_endpoint"`
	UserInfo string `json:"userinfo_endpoint"`
	Device   string `json:"device_authorization_endpoint"`
}

// provider is a configuration with what was fetched by it.
type provider struct {
	*config
	version uint64
	client  *upstream.Client
	static  []signed.Key

	mu  sync.Mutex // of what follows
	doc fetched[*discovery]
	set fetched[signed.Set]
}

// fetched is something with the time when it came, and when it was last asked
// for.
type fetched[T any] struct {
	// turn is held by who fetches; waiting for it ends with the context. That of
	// the keys is taken before that of the endpoints.
	turn   chan struct{}
	value  T
	at     time.Time
	tried  time.Time
	failed error
}

func newProvider(c *config, version uint64) (*provider, error) {
	p := &provider{config: c, version: version}
	p.doc.turn, p.set.turn = make(chan struct{}, 1), make(chan struct{}, 1)
	for _, text := range c.Keys {
		key, err := signed.ParsePEM(text)
		if err != nil {
			return nil, engines.Internal(err)
		}
		p.static = append(p.static, key)
	}
	cas := c.JWKSCAs
	if c.Issuer != "" {
		cas = c.IssuerCAs
	}
	var err error
	if p.client, err = upstream.New(upstream.Options{CAs: cas, ServerNames: c.ServerNames}); err != nil {
		return nil, engines.Internal(err)
	}
	return p, nil
}

// providers are those of all mounts, by the version of their configuration. It
// is safe for concurrent use.
type providers struct {
	mu   sync.Mutex
	kept map[string]*provider
}

// of returns the provider of a mount.
func (s *providers) of(tx engines.Tx, mount engines.Mount) (*provider, error) {
	c, version, err := auth.LoadRow[config](tx, configRow)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, engines.Invalidf("could not load configuration: the mount has none yet, write it to its config path")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	have, ok := s.kept[mount.UUID]
	if ok && have.version == version {
		return have, nil
	}
	made, err := newProvider(c, version)
	if err != nil {
		return nil, err
	}
	if s.kept == nil {
		s.kept = make(map[string]*provider)
	}
	if ok {
		have.client.Close()
	} else if len(s.kept) >= maxProviders {
		for uuid, old := range s.kept { // any one: it is fetched again
			old.client.Close()
			delete(s.kept, uuid)
			break
		}
	}
	s.kept[mount.UUID] = made
	return made, nil
}

// issuer is what the claim "iss" has to be; anything if empty.
func (p *provider) issuer() string {
	if p.BoundIssuer != "" {
		return p.BoundIssuer
	}
	return p.Issuer
}

// keys returns those to verify a token with that names a key.
func (p *provider) keys(ctx context.Context, id string, now time.Time) ([]signed.Key, error) {
	if len(p.static) > 0 {
		return p.static, nil
	}
	good := func(f *fetched[signed.Set]) bool {
		return now.Before(f.at.Add(keysFresh)) && (id == "" || f.value.Has(id))
	}
	set, err := fetch(ctx, p, &p.set, now, keysLive, good, func(ctx context.Context) (set signed.Set, err error) {
		address, from := p.JWKSURL, p.JWKSURL
		if p.Issuer != "" {
			doc, err := p.endpoints(ctx, now)
			if err != nil {
				return nil, err
			}
			address, from = doc.JWKS, p.Issuer
		}
		if upstream.CheckURL(address, from) != nil {
			return nil, engines.Errorf(engines.KindUpstream, "the provider names no address of keys that may be used")
		}
		return set, p.client.JSON(ctx, upstream.Ask{URL: address}, &set)
	})
	return set, err
}

// endpoints returns what the provider says of itself.
func (p *provider) endpoints(ctx context.Context, now time.Time) (*discovery, error) {
	good := func(f *fetched[*discovery]) bool { return now.Before(f.at.Add(endpointsFresh)) }
	return fetch(ctx, p, &p.doc, now, endpointsLive, good, func(ctx context.Context) (*discovery, error) {
		doc := new(discovery)
		if err := p.client.JSON(ctx, upstream.Ask{URL: p.Issuer + wellKnownOf(p.Issuer)}, doc); err != nil {
			return nil, err
		}
		if doc.Issuer != p.Issuer {
			return nil, engines.Errorf(engines.KindUpstream, "the provider says that it is another issuer than oidc_discovery_url, which has to be the same to the letter")
		}
		for _, address := range []string{doc.Auth, doc.Token, doc.UserInfo, doc.Device} {
			if address != "" && upstream.CheckURL(address, p.Issuer) != nil {
				return nil, engines.Errorf(engines.KindUpstream, "the provider names an endpoint that may not be used")
			}
		}
		return doc, nil
	})
}

// wellKnownOf is what to append to an issuer, which may end in a slash.
func wellKnownOf(issuer string) string {
	if issuer[len(issuer)-1] == '/' {
		return wellKnown[1:]
	}
	return wellKnown
}

// fetch returns what is kept if it is good, and else gets it: one caller at a
// time, and after a failure or in vain not again before refetchPause. What is
// not good any more is better than nothing for as long as it lives.
func fetch[T any](
	ctx context.Context, p *provider, kept *fetched[T], now time.Time, live time.Duration, good func(*fetched[T]) bool,
	get func(context.Context) (T, error),
) (value T, err error) {
	look := func() (f fetched[T], done bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		f = *kept
		return f, !f.at.IsZero() && good(&f) || !f.tried.IsZero() && now.Sub(f.tried) < refetchPause
	}
	answer := func(f fetched[T]) (T, error) {
		if !f.at.IsZero() && now.Before(f.at.Add(live)) {
			return f.value, nil
		}
		return value, f.failed
	}
	if f, done := look(); done {
		return answer(f)
	}
	select {
	case kept.turn <- struct{}{}:
	case <-ctx.Done():
		return value, context.Cause(ctx)
	}
	defer func() { <-kept.turn }()
	f, done := look()
	if done { // another one has fetched it in the meantime
		return answer(f)
	}
	got, err := get(ctx)
	if ctx.Err() != nil {
		return value, context.Cause(ctx) // says nothing of the provider
	}
	if f.tried = now; err != nil {
		f.failed = err
	} else {
		f.value, f.at, f.failed = got, now, nil
	}
	p.mu.Lock()
	*kept = f
	p.mu.Unlock()
	return answer(f)
}

// oauth is the provider as the library knows it.
func (p *provider) oauth(doc *discovery, redirect string) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, RedirectURL: redirect,
		Endpoint: oauth2.Endpoint{AuthURL: doc.Auth, TokenURL: doc.Token, DeviceAuthURL: doc.Device},
	}
}

// asking is a context in which the library asks with the provider's client.
func (p *provider) asking(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, p.client.HTTP())
}
