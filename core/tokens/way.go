package tokens

import (
	"context"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Way is a way to log in, as the tokens that it made need it.
type Way struct {
	Mount   engines.Mount
	Renew   engines.Renew // nil if it has no say
	Storage engines.Tx
}

// Ways returns the way to log in that has an accessor, or nil if it is gone:
// its tokens go with it.
type Ways func(tx *state.Tx, accessor string) (*Way, error)

// orphaned reports whether the way by which a token was made is gone.
func (s *Tokens) orphaned(tx *state.Tx, t *Token) (bool, error) {
	if t.Way == "" {
		return false, nil
	}
	way, err := s.deps.Ways(tx, t.Way)
	return way == nil, err
}

// renewing asks the way by which a token was made whether it may be renewed,
// and returns the token with what holds from now on, and the mount's limit.
func (e *engine) renewing(ctx context.Context, req *engines.Request, tx *state.Tx, t *Token) (*Token, time.Duration, error) {
	if t.Way == "" {
		return t, req.Mount.MaxTTL, nil
	}
	way, err := e.tokens.deps.Ways(tx, t.Way)
	if err != nil {
		return nil, 0, err
	}
	if way == nil {
		return nil, 0, ErrInvalid()
	}
	limit := way.Mount.MaxTTL
	if way.Renew == nil || t.Type == Batch || !t.Renewable {
		return t, limit, nil
	}
	p, err := way.Renew(ctx, &engines.Renewal{
		Mount: way.Mount, Caller: req.Caller, Now: req.Now, Policies: t.Policies, Metadata: t.Meta, Private: t.Private,
	}, way.Storage)
	if err != nil || p == nil {
		return t, limit, err
	}
	renewed := *t
	renewed.Period, renewed.MaxTTL = p.Period, limit
	if p.MaxTTL > 0 {
		renewed.MaxTTL = min(limit, p.MaxTTL)
	}
	if renewed.CreationTTL = p.TTL; p.TTL <= 0 {
		renewed.CreationTTL = min(way.Mount.DefaultTTL, renewed.MaxTTL)
	}
	return &renewed, limit, nil
}
