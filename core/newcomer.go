package core

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/coffer-secrets/coffer/core/joining"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

const (
	// joinTimeout bounds one attempt to become a member.
	joinTimeout = time.Minute
	// joinPatience is how long who hands in the last share waits for it.
	joinPatience = 20 * time.Second
	maxJoinWait  = 30 * time.Second
)

// Contact is the node of a cluster that another one joins through. What is
// secret or signed is in PEM.
type Contact struct {
	APIAddr, ServerName           string
	CACert, ClientCert, ClientKey string
}

// JoinRequest says which cluster to join.
type JoinRequest struct {
	Contact

	// Retry goes on until there is an invitation.
	Retry    bool
	NonVoter bool
}

// Joiner reaches the cluster that the node is to join, and takes what makes it
// a member.
type Joiner interface {
	Invite(ctx context.Context, at Contact, node string) (*joining.Invitation, error)
	Answer(ctx context.Context, at Contact, proof []byte) ([]byte, error)
	// Key is the public half, in PKIX form, of the key that the node joins with.
	Key() ([]byte, error)
	Adopt(a *joining.Admission) error
}

// invitation is to a cluster whose rows this node has not replicated yet.
type invitation struct {
	req  JoinRequest
	rows map[string][]byte
	// entering says that the node has the root key, and outcome what became of
	// the first attempt to join with it.
	entering atomic.Bool
	outcome  chan error
}

// readBoot returns a boot row: this node's own or, before it has any, that of
// the cluster which it is about to join.
func (c *Core) readBoot(name string) ([]byte, error) {
	raw, err := state.ReadBoot(c.cfg.Node, name)
	if err != nil || raw != nil {
		return raw, err
	}
	if inv := c.invited.Load(); inv != nil {
		return inv.rows[name], nil
	}
	return nil, nil
}

// Joined reports whether the node is part of an initialised cluster.
func (c *Core) Joined() (bool, error) {
	row, err := state.ReadBoot(c.cfg.Node, bootSeal)
	return row != nil, err
}

// Join asks a cluster for an invitation. The node becomes a member once it is
// unsealed with that cluster's keys, which a seal does at once.
func (c *Core) Join(ctx context.Context, req JoinRequest) error { //nolint:contextcheck // an attempt goes on after the request
	if err := c.joinable(); err != nil {
		return err
	}
	life, stop := context.WithCancel(c.ctx)
	c.mu.Lock()
	if c.stopSeeking != nil {
		c.stopSeeking() // the latest request counts
	}
	c.stopSeeking = stop
	c.mu.Unlock()
	err := c.seek(ctx, req)
	if err == nil || !req.Retry {
		return err
	}
	c.background.Go(func() { c.keepSeeking(life, req) })
	return nil
}

// joinable refuses a node that is part of a cluster.
func (c *Core) joinable() error {
	if c.cfg.Joiner == nil {
		return engines.Invalidf("this node cannot join others")
	}
	joined, err := c.Joined()
	if err != nil {
		return engines.Internal(err)
	}
	status := c.cfg.Node.Status()
	if joined || len(status.Members) == 1 && status.Members[0].ID == status.ID {
		return engines.Invalidf("this node is part of an initialised cluster: only one that is not can join another")
	}
	return nil
}

func (c *Core) keepSeeking(ctx context.Context, req JoinRequest) {
	for wait := time.Second; pause(ctx, wait); wait = min(2*wait, maxJoinWait) {
		if c.joinable() != nil {
			return
		}
		err := c.seek(ctx, req)
		if err == nil {
			return
		}
		c.log.Warn("no invitation to the cluster yet", "error", err, "cause", errors.Unwrap(err))
	}
}

// pause waits, and returns false if ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// seek gets an invitation, and takes it if the node unseals itself.
func (c *Core) seek(ctx context.Context, req JoinRequest) error {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	got, err := c.cfg.Joiner.Invite(ctx, req.Contact, c.cfg.Node.Status().ID)
	if err != nil {
		return joinError(err)
	}
	inv := &invitation{req: req, rows: got.Rows, outcome: make(chan error, 1)}
	var row sealRow
	if json.Unmarshal(got.Rows[bootSeal], &row) != nil || row.Type == "" || got.Rows[bootKeyring] == nil {
		return engines.Errorf(engines.KindUpstream, "the node to join through answered something else than an invitation")
	}
	own := sealShamir
	if c.cfg.Wrapper != nil {
		own = c.cfg.Wrapper.Type()
	}
	if row.Type != own {
		return engines.Invalidf("the cluster's seal is of another type than this node's, which is %s", own)
	}
	c.mu.Lock()
	c.unseal = nil
	c.invited.Store(inv)
	c.mu.Unlock()
	c.log.Info("invited to a cluster", "seal", row.Type)
	if err := c.AutoUnseal(ctx); err != nil {
		return err
	}
	return c.awaitEntry(ctx)
}

// joinError is what goes wrong with the node to join through.
func joinError(err error) error {
	var e *engines.Error
	if errors.As(err, &e) {
		return err
	}
	return &engines.Error{Kind: engines.KindUpstream, Message: "the node to join through could not be asked", Cause: err}
}

// enterLocked begins to become a member, if the node has been invited and has
// no rows of its own: then the root key serves the ceremony first.
func (c *Core) enterLocked(rootKey []byte) (entering bool, err error) {
	inv := c.invited.Load()
	if inv == nil {
		return false, nil
	}
	joined, err := c.Joined()
	if err != nil {
		return false, err
	}
	if joined {
		c.invited.Store(nil)
		return false, nil
	}
	if inv.entering.CompareAndSwap(false, true) {
		key := append([]byte(nil), rootKey...)
		c.background.Go(func() {
			defer clear(key)
			c.enter(inv, key)
		})
	}
	return true, nil
}

// awaitEntry waits for the first attempt to become a member, if there is one.
func (c *Core) awaitEntry(ctx context.Context) error {
	inv := c.invited.Load()
	if inv == nil || !inv.entering.Load() {
		return nil
	}
	timer := time.NewTimer(joinPatience)
	defer timer.Stop()
	select {
	case err := <-inv.outcome:
		return err
	case <-ctx.Done():
	case <-timer.C:
	}
	return nil // it goes on
}

// enter tries to become a member until that works or another invitation has
// taken the place of this one.
func (c *Core) enter(inv *invitation, rootKey []byte) {
	for wait := time.Second; ; wait = min(2*wait, maxJoinWait) {
		err := c.enterOnce(inv, rootKey)
		select {
		case inv.outcome <- err:
		default:
		}
		if err == nil {
			return
		}
		c.log.Error("joining the cluster failed", "error", err, "cause", errors.Unwrap(err), "retry_in", wait)
		if !pause(c.ctx, wait) || c.invited.Load() != inv {
			return
		}
	}
}

func (c *Core) enterOnce(inv *invitation, rootKey []byte) error {
	ctx, cancel := context.WithTimeout(c.ctx, joinTimeout)
	defer cancel()
	joined, err := c.Joined() // it may have been cut off after it was admitted
	if err != nil {
		return engines.Internal(err)
	}
	if !joined {
		admission, err := c.prove(ctx, inv, rootKey)
		if err != nil {
			return err
		}
		if err := c.cfg.Joiner.Adopt(admission); err != nil {
			return engines.Internal(err)
		}
		if err := c.cfg.Node.WaitApplied(ctx, admission.Index); err != nil {
			return &engines.Error{Kind: engines.KindUnavailable, Message: "the node is a member, and has not received the cluster's state yet", Cause: err}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.Load() != nil {
		return nil
	}
	return c.openLocked(rootKey)
}

// prove shows the cluster that this node can unseal. It asks for a challenge
// again, since the first may have expired until the shares were handed in.
func (c *Core) prove(ctx context.Context, inv *invitation, rootKey []byte) (*joining.Admission, error) {
	status := c.cfg.Node.Status()
	fresh, err := c.cfg.Joiner.Invite(ctx, inv.req.Contact, status.ID)
	if err != nil {
		return nil, joinError(err)
	}
	keyring, err := seal.OpenKeyring(rootKey, fresh.Rows[bootKeyring])
	if err != nil {
		return nil, shareError(err)
	}
	defer keyring.Zero()
	newcomer, err := joining.NewNewcomer(keyring.Derive(joining.Label, joining.KeyBytes))
	if err != nil {
		return nil, engines.Internal(err)
	}
	public, err := c.cfg.Joiner.Key()
	if err != nil {
		return nil, engines.Internal(err)
	}
	address, err := url.Parse(c.cfg.Info.ClusterAddr)
	if err != nil {
		return nil, engines.Internal(err)
	}
	proof, err := newcomer.Prove(joining.Proof{
		Challenge: fresh.Challenge, Node: status.ID, Address: address.Host, Public: public,
		NonVoter: inv.req.NonVoter, Version: c.cfg.Info.Version,
	})
	if err != nil {
		return nil, engines.Errorf(engines.KindUpstream, "the node to join through sent a challenge that its own keys do not open")
	}
	sealed, err := c.cfg.Joiner.Answer(ctx, inv.req.Contact, proof)
	if err != nil {
		return nil, joinError(err)
	}
	admission, err := newcomer.Admitted(sealed)
	if err != nil {
		return nil, &engines.Error{Kind: engines.KindUpstream, Message: "the node to join through did not answer as one that has the keys", Cause: err}
	}
	return admission, nil
}
