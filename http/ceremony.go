package httpapi

import (
	"context"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/engines"
)

// ceremony answers for the rekey of one target.
type ceremony struct {
	*server
	target core.Target
}

func (c ceremony) status(context.Context, *request) (*response, error) {
	status, err := c.Core.RekeyStatus(c.target)
	if err != nil {
		return nil, err
	}
	return ok(status)
}

func (c ceremony) start(_ context.Context, r *request) (*response, error) {
	v, err := decodeBody(r)
	if err != nil {
		return nil, err
	}
	status, err := c.Core.StartRekey(c.target, core.RekeyRequest{
		Shares: int(v.Int("secret_shares")), Threshold: int(v.Int("secret_threshold")), PGPKeys: v.Strings("pgp_keys"),
		// Vault's Go client spells it with a capital.
		Backup: v.Bool("backup") || v.Bool("Backup"), Verify: v.Bool("require_verification"),
	})
	if err != nil {
		return nil, err
	}
	return ok(status)
}

func (c ceremony) cancel(ctx context.Context, r *request) (*response, error) {
	nonce, trusted, err := c.canceller(ctx, r)
	if err != nil {
		return nil, err
	}
	return &response{}, c.Core.CancelRekey(c.target, nonce, trusted)
}

func (c ceremony) update(ctx context.Context, r *request) (*response, error) {
	v, err := decodeBody(r)
	if err != nil {
		return nil, err
	}
	result, status, err := c.Core.UpdateRekey(ctx, c.target, v.String("key"), v.String("nonce"))
	if err != nil {
		return nil, err
	}
	if result != nil {
		return ok(result)
	}
	return ok(status)
}

func (c ceremony) verifyStatus(context.Context, *request) (*response, error) {
	status, err := c.Core.VerifyRekeyStatus(c.target)
	if err != nil {
		return nil, err
	}
	return ok(status)
}

func (c ceremony) verify(ctx context.Context, r *request) (*response, error) {
	v, err := decodeBody(r)
	if err != nil {
		return nil, err
	}
	status, err := c.Core.VerifyRekey(ctx, c.target, v.String("key"), v.String("nonce"))
	if err != nil {
		return nil, err
	}
	return ok(status)
}

func (c ceremony) resetVerify(ctx context.Context, r *request) (*response, error) {
	_, trusted, err := c.canceller(ctx, r)
	if err != nil {
		return nil, err
	}
	status, err := c.Core.ResetVerifyRekey(c.target, trusted)
	if err != nil {
		return nil, err
	}
	return ok(status)
}

// authorised lets only those through whom policy allows the request's path.
func (s *server) authorised(ctx context.Context, r *request) error {
	in, err := s.inbound(r)
	if err != nil {
		return err
	}
	return s.Core.Authorise(ctx, in)
}

// guarded lets a handler answer only those whom policy allows its path.
func (s *server) guarded(h handlerFunc) handlerFunc {
	return func(ctx context.Context, r *request) (*response, error) {
		if err := s.authorised(ctx, r); err != nil {
			return nil, err
		}
		return h(ctx, r)
	}
}

// enveloped makes of a ceremony's handler that of OpenBao's newer paths: they
// need a token, and answer in an envelope.
func (s *server) enveloped(h handlerFunc) handlerFunc {
	return func(ctx context.Context, r *request) (*response, error) {
		if err := s.authorised(ctx, r); err != nil {
			return nil, err
		}
		resp, err := h(ctx, r)
		if err != nil || resp.json == nil {
			return resp, err
		}
		fields, err := spread(resp.json)
		if err != nil {
			return nil, err
		}
		return &response{envelope: &answer.Envelope{RequestID: r.id, Data: fields}}, nil
	}
}

func (c ceremony) backup(ctx context.Context, r *request) (*response, error) {
	if err := c.authorised(ctx, r); err != nil {
		return nil, err
	}
	kept, err := c.Core.RekeyBackup(c.target)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return nil, engines.NotFound()
	}
	fields, err := spread(kept)
	if err != nil {
		return nil, err
	}
	return &response{envelope: &answer.Envelope{RequestID: r.id, Data: fields, Extra: fields}}, nil
}

func (c ceremony) deleteBackup(ctx context.Context, r *request) (*response, error) {
	if err := c.authorised(ctx, r); err != nil {
		return nil, err
	}
	return &response{}, c.Core.DeleteRekeyBackup(ctx, c.target)
}
