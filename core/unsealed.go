package core

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/core/audit"
	"github.com/coffer-secrets/coffer/core/identity"
	"github.com/coffer-secrets/coffer/core/identity/oidc"
	"github.com/coffer-secrets/coffer/core/leases"
	"github.com/coffer-secrets/coffer/core/leases/issued"
	"github.com/coffer-secrets/coffer/core/mfa"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/policies"
	"github.com/coffer-secrets/coffer/core/quotas"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/system"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/core/wrapping"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// Unsealed is a node that holds the keyring and serves. It is complete when it
// is made.
type Unsealed struct {
	core     *Core
	log      *slog.Logger
	barrier  *seal.Barrier
	store    *state.Store
	mounts   *mounts.Mounts
	tokens   *tokens.Tokens
	issued   *issued.Issued
	policies *policies.Policies
	identity *identity.Identity
	mfa      *mfa.MFA
	oidc     *oidc.OIDC
	wrapping *wrapping.Wrapping
	audit    *audit.Broker
	quotas   *quotas.Quotas
	// belongs is who is part of the cluster.
	belongs membership

	// keyMu guards the root key and orders the changes of the keyring's row.
	keyMu   sync.Mutex
	rootKey []byte
	// pending is a root key whose commit had no known outcome; nil for none.
	pending []byte

	work
}

// work is what a node does in the background.
type work struct {
	done   context.CancelFunc
	ctx    context.Context //nolint:containedctx // ends the background work with close
	worker sync.WaitGroup
	// missing tells that the root key is not this node's any more.
	missing chan struct{}
	// expireNext is before when nothing is looked for that is over. It belongs to
	// lead.
	expireNext time.Time
}

// Labels of what is derived from the keyring.
const (
	labelTokenIDs = "coffer/v1/token-ids" // #nosec G101 -- names a purpose
	labelAudit    = "coffer/v1/audit"
	labelMarks    = "coffer/v1/marks"
)

func newUnsealed(c *Core, keyring *seal.Keyring) (*Unsealed, error) {
	barrier, err := seal.NewBarrier(keyring)
	if err != nil {
		return nil, engines.Internal(err)
	}
	u := &Unsealed{core: c, log: c.log, barrier: barrier}
	u.store = state.Following(state.New(c.cfg.Node, barrier), u.followKeyring)
	u.ctx, u.done = context.WithCancel(c.ctx)
	u.missing = make(chan struct{}, 1)
	// The devices write what is under way when the node is sealed.
	u.audit = audit.New(context.WithoutCancel(c.ctx), c.cfg.Audit, keyring.Derive(labelAudit, 32))
	u.quotas = quotas.New()
	u.tokens = tokens.New(barrier, keyring.Derive(labelTokenIDs, 32), tokens.Deps{
		Cubbyhole: u.emptyCubbyhole, Ways: u.way, Count: u.quotas.Take, Free: quotas.Free,
		Gone: func(tx *state.Tx, key []byte) error { return u.issued.Gone(tx, key) },
	})
	u.wrapping = wrapping.New(u.tokens)
	u.policies, u.identity = policies.New(), identity.New()
	list := append([]*engines.Engine{tokens.Engine(u.tokens, u.policies.Missing)}, c.cfg.Engines...)
	mounted := func() *mounts.Mounts { return u.mounts }
	u.issued = issued.New(issued.Deps{Mounts: mounted, Tokens: u.tokens, Entity: identity.EntityUsable, Log: u.log, MarkKey: keyring.Derive(labelMarks, 32), Count: u.quotas.Take, Free: quotas.Free})
	u.mfa = mfa.New(mfa.Deps{Mounts: mounted, Identity: u.identity})
	u.oidc = oidc.New(oidc.Deps{Identity: u.identity, APIAddr: c.cfg.Info.APIAddr})
	list = append(list, identity.Engine(identity.Deps{
		Mounts: mounted, Routes: slices.Concat(u.mfa.Routes(), u.oidc.Routes()), Gone: u.entityGone,
	}))
	if u.belongs, err = u.newMembership(keyring); err != nil {
		u.audit.Close()
		barrier.Close()
		return nil, engines.Internal(err)
	}
	list = append(list, system.New(system.Deps{
		Mounts: mounted, Tokens: u.tokens, Policies: u.policies, ACL: u.tokenACL,
		Wrapping: u.wrapping, Control: control{u}, RawStorage: c.cfg.RawStorage, Metrics: c.cfg.Metrics, Audit: u.audit,
		Leases: leases.New(u.tokens.Leases(), u.issued), Issued: u.issued, Logs: c.cfg.Logs, RotateRoot: u.rotateRoot,
		Routes: slices.Concat(u.mfaRoutes(), u.togetherRoutes(), u.issued.Routes(), u.quotas.Routes(mounted), u.belongs.pilot.Routes()),
	}))
	if u.mounts, err = mounts.New(list, c.cfg.Limits, u.vouch); err != nil {
		u.audit.Close()
		barrier.Close()
		return nil, engines.Internal(err)
	}
	return u, nil
}

// vouch gives what makes tokens by which others know a mount.
func (u *Unsealed) vouch(class engines.Class, accessor string) func(ctx context.Context, audience string, ttl time.Duration) (string, error) {
	return func(ctx context.Context, audience string, ttl time.Duration) (string, error) {
		return u.oidc.MountToken(ctx, u.store, oidc.MountClaims{Class: class, Accessor: accessor, Audience: audience, TTL: ttl})
	}
}

// entityGone passes on, or ends, what an entity leaves.
func (u *Unsealed) entityGone(tx *state.Tx, id, into string) error {
	return errors.Join(mfa.Gone(tx, id, into), u.issued.EntityGone(tx, id, into))
}

// start begins the background work and keeps a copy of the root key, which
// changes of the keyring need.
func (u *Unsealed) start(rootKey []byte) {
	u.rootKey = append([]byte(nil), rootKey...)
	u.shareRates()
	u.countAhead()
	u.worker.Go(u.lead)
	u.worker.Go(u.follow)
	if u.core.cfg.Peers != nil {
		u.worker.Go(u.followRootKey)
	}
}

// close stops the background work and forgets the keys. Requests under way
// fail from here on.
func (u *Unsealed) close() {
	u.done()
	u.worker.Wait()
	u.audit.Close()
	u.barrier.Close()
	u.keyMu.Lock()
	defer u.keyMu.Unlock()
	clear(u.rootKey)
	clear(u.pending)
}

// emptyCubbyhole removes what a token stored for itself.
func (u *Unsealed) emptyCubbyhole(tx *state.Tx, tokenKey string) error {
	router, err := u.mounts.Router(tx)
	if err != nil {
		return err
	}
	m, ok := router.Get("cubbyhole/")
	if !ok {
		return nil
	}
	storage := m.Storage(tx)
	errFound := errors.New("found")
	err = storage.Walk(tokenKey+"/", func(string) error { return errFound })
	if errors.Is(err, errFound) {
		return storage.DeletePrefix(tokenKey + "/")
	}
	return err
}

// way finds a way to log in for the tokens that it made.
func (u *Unsealed) way(tx *state.Tx, accessor string) (*tokens.Way, error) {
	router, err := u.mounts.Router(tx)
	if err != nil {
		return nil, err
	}
	m, ok := router.ByAccessor(accessor)
	if !ok || m.Class != engines.ClassAuth {
		return nil, nil
	}
	way := &tokens.Way{Mount: m.Info, Storage: m.Storage(tx)}
	if m.Engine != nil {
		way.Renew = m.Engine.Renew
	}
	return way, nil
}

// populate writes all that a new cluster begins with, in one transaction.
func (u *Unsealed) populate(ctx context.Context, rows map[string][]byte, rootToken string, result *InitResult) error {
	_, err := u.store.Update(ctx, func(tx *state.Tx) error {
		if err := putBoot(tx, rows); err != nil {
			return err
		}
		for _, m := range []struct {
			class                  engines.Class
			typ, path, description string
		}{
			{engines.ClassSystem, "system", "sys/", "system endpoints used for control, policy and debugging"},
			{engines.ClassSystem, "identity", "identity/", "identity store"},
			{engines.ClassSecret, "cubbyhole", "cubbyhole/", "per-token private secret storage"},
			{engines.ClassAuth, "token", "auth/token/", "token based credentials"},
		} {
			entry := mounts.NewEntry(m.class, m.typ, m.path)
			entry.Description = m.description
			entry.Local = m.typ == "cubbyhole"
			if err := u.mounts.Install(ctx, tx, entry); err != nil {
				return err
			}
		}
		if err := u.policies.Install(tx); err != nil {
			return err
		}
		var err error
		result.RootToken, err = u.rootToken(tx, rootToken)
		return err
	})
	return err
}

// rootToken makes a token with the root policy that does not end. id is its
// id, or empty for a fresh one.
func (u *Unsealed) rootToken(tx *state.Tx, id string) (string, error) {
	t := &tokens.Token{
		Type: tokens.Service, Policies: []string{tokens.RootPolicy}, Path: "auth/token/root", DisplayName: "root",
		Times: tokens.Times{Created: tx.Now()},
	}
	if id != "" {
		return u.tokens.IssueAs(tx, t, id)
	}
	return u.tokens.Issue(tx, t)
}
