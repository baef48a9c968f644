package core

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// ErrElsewhere is a request that only the leader can answer. Nothing has been
// done for it, nor will be.
var ErrElsewhere = errors.New("core: only the leader answers this request")

// elsewhere is ErrElsewhere as a client sees it if nobody hands it on.
func elsewhere(cause error) error {
	return &engines.Error{
		Kind: engines.KindUnavailable, Message: "no leader is known: try again", Cause: fmt.Errorf("%w: %w", ErrElsewhere, cause),
	}
}

// NewRequestID makes what a request's commit is known by.
func (c *Core) NewRequestID() []byte { return state.RequestID(c.cfg.Node) }

// computes reports whether a request changes nothing though its method says so.
// This node's mounts decide, which may be behind: what they do not have may be
// elsewhere.
func (u *Unsealed) computes(d *decoded) (yes bool) {
	if d.in.WrapTTL != 0 {
		return false
	}
	err := u.store.Local(func(tx *state.Tx) error {
		r, err := u.route(tx, d)
		yes = err == nil && r.op != nil && r.op.Trait == engines.Reads
		return err
	})
	return yes && err == nil
}

// kept is an answer as it is kept with a request's commit.
type kept struct {
	Envelope json.RawMessage   `json:"envelope,omitempty"`
	Raw      *engines.Raw      `json:"raw,omitempty"`
	Missing  bool              `json:"missing,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
	Failed   *keptError        `json:"failed,omitempty"`
}

type keptError struct {
	Kind     engines.Kind      `json:"kind"`
	Message  string            `json:"message"`
	Details  []string          `json:"details,omitempty"`
	Warnings []string          `json:"warnings,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
}

// keep encodes an answer.
func keep(out *Outbound, failed error) ([]byte, error) {
	var k kept
	if failed == nil && out.making != nil { // what there is to answer is not known yet
		failed = engines.Errorf(engines.KindUnknownOutcome, "it may or may not have been made, and the answer is lost: ask for another")
	}
	if failed == nil && out.then != nil { // nor what comes of that
		failed = engines.Errorf(engines.KindUnknownOutcome, "the change was made, and what was to follow it may or may not have: ask again")
	}
	if failed != nil {
		var e *engines.Error
		if !errors.As(failed, &e) {
			e = engines.Internal(failed)
		}
		k.Failed = &keptError{Kind: e.Kind, Message: e.Message, Details: e.Details, Warnings: e.Warnings, Headers: e.Headers}
		return json.Marshal(k)
	}
	k.Raw, k.Missing, k.Headers = out.Raw, out.Missing, out.Headers
	if out.Envelope != nil {
		var err error
		if k.Envelope, err = out.Envelope.AppendJSON(nil); err != nil {
			return nil, err
		}
	}
	return json.Marshal(k)
}

// again answers a request that had been committed before as it was answered
// then, and has that on record here.
func (u *Unsealed) again(d *decoded, done state.Done) (*Outbound, error) {
	err := u.store.Local(func(tx *state.Tx) (err error) {
		if d.trail.set, err = u.audit.At(tx); err != nil {
			return auditError(err)
		}
		r, err := u.route(tx, d)
		if err != nil {
			return err
		}
		d.trail.routed = r
		if a, err := u.authenticate(tx, r); err == nil { // it may have cost the token its last use
			d.trail.known = a
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := u.auditRequest(d, nil); err != nil {
		return nil, err
	}
	if done.Reply == nil {
		return nil, engines.Errorf(engines.KindUnknownOutcome, "the change was made, and its answer is lost: read before you try again")
	}
	var k kept
	if err := json.Unmarshal(done.Reply, &k); err != nil {
		return nil, engines.Internal(err)
	}
	if f := k.Failed; f != nil {
		return nil, &engines.Error{Kind: f.Kind, Message: f.Message, Details: f.Details, Warnings: f.Warnings, Headers: f.Headers}
	}
	out := &Outbound{Raw: k.Raw, Missing: k.Missing, Headers: k.Headers, Index: done.Index}
	if k.Envelope != nil {
		if out.Envelope, err = answer.Parse(k.Envelope); err != nil {
			return nil, err
		}
	}
	return out, nil
}
