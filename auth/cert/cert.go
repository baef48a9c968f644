package cert

import (
	"net/http"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

// Type is the engine's type.
const Type = "cert"

// upstreamTimeout bounds one question to a responder or CRL server.
const upstreamTimeout = 4 * time.Second

// engine is what all mounts share.
type engine struct {
	client *http.Client
	roles  versions[*trusted]
	crls   versions[*revocations]
	ocsp   answers
}

// New returns the engine.
func New() *engines.Engine {
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute}
	e := &engine{client: &http.Client{
		Timeout: upstreamTimeout, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return &engines.Engine{
		Type: Type, Class: engines.ClassAuth, Help: "Log in with a TLS client certificate.", Renew: e.renew,
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{
				Help:   "Lets callers in by the certificate of their TLS connection. A role trusts one\ncertificate, or a CA and those of its certificates that keep to the role's constraints.",
				Routes: e.routes(),
			}, nil
		},
	}
}

func (e *engine) routes() []engines.Route {
	name := engines.Field{Name: "name", Help: "The name, in any case."}
	return append(roles.Routes(), []engines.Route{
		{
			Pattern: "login", Help: "Log in with the connection's certificate.", Public: true,
			Fields: []engines.Field{{Name: "name", Help: "The role to log in by; any that fits if empty."}},
			Ops:    []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: e.login, Ahead: e.asking}},
		},
		{
			Pattern: "crls", Help: "List the CRLs.", Fields: auth.Paging(),
			Ops: []engines.Op{{Do: engines.List, Handler: listCRLs}},
		},
		{
			Pattern: "crls/{name}", Help: "Read, write and delete a CRL.",
			Fields: []engines.Field{
				name,
				{Name: "crl", Help: "The CRL, in PEM."},
				{Name: "url", Help: "Where to get it from, once, instead."},
			},
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readCRL, Help: "Show the serial numbers that it revokes."},
				{Do: engines.Update, Trait: engines.Writes, Handler: e.writeCRL, Ahead: e.fetching},
				{Do: engines.Delete, Trait: engines.Writes, Handler: deleteCRL},
			},
		},
		{
			Pattern: "config", Help: "Settings of the mount.",
			Fields: []engines.Field{
				{Name: "crl_fail_open", Type: engines.Bool, Default: false, Help: "Let certificates in although the CRL of their issuer has expired."},
				{Name: "disable_binding", Type: engines.Bool, Default: false, Help: "Let tokens be renewed without the certificate that they were made with."},
				{Name: "enable_identity_alias_metadata", Type: engines.Bool, Default: false, Help: "Keep what is known of the certificate with the alias too."},
				{Name: "ocsp_cache_size", Type: engines.Int, Default: int64(defaultOCSPCache), Help: "How many answers of OCSP responders each node keeps; 0 for the default."},
			},
			Ops: []engines.Op{
				{Do: engines.Read, Handler: readConfig},
				{Do: engines.Update, Trait: engines.Writes, Handler: writeConfig},
			},
		},
	}...)
}

// maxVersions bounds how much that was parsed is kept.
const maxVersions = 512

// versions keeps what was made of rows, by their version. It is safe for
// concurrent use; what is kept is not to be changed.
type versions[T any] struct {
	mu   sync.Mutex
	kept map[string]versioned[T]
}

type versioned[T any] struct {
	version uint64
	made    T
}

// of returns what parse makes of a row; not ok if there is no such row.
func (v *versions[T]) of(tx engines.Tx, mount engines.Mount, row string, parse func(value []byte) (T, error)) (made T, ok bool, err error) {
	entry, err := tx.Get(row)
	if err != nil || entry == nil {
		return made, false, err
	}
	name := mount.UUID + "/" + row
	v.mu.Lock()
	have, ok := v.kept[name]
	v.mu.Unlock()
	if ok && have.version == entry.Version && entry.Version != 0 {
		return have.made, true, nil
	}
	if made, err = parse(entry.Value); err != nil {
		return made, false, engines.Internal(err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.kept == nil || len(v.kept) >= maxVersions {
		v.kept = make(map[string]versioned[T])
	}
	v.kept[name] = versioned[T]{entry.Version, made}
	return made, true, nil
}
