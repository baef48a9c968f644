package core

import (
	"context"
	"errors"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// maxAhead bounds how often a request's work ahead is done: once, and again if
// what it rests on was changed meanwhile.
const maxAhead = 4

// ahead is what became of the work that comes before a request's transaction.
type ahead struct {
	done   bool
	result any
	err    error
}

// workError asks for work to be done before the transaction runs again.
type workError struct {
	do func(ctx context.Context) (any, error)
}

func (*workError) Error() string { return "core: there is work to be done ahead" }

// asksAgain reports whether a transaction ended only to be run once more.
func asksAgain(err error) bool {
	var w *workError
	return errors.As(err, &w) || errors.Is(err, engines.ErrStale)
}

// prepared runs the request, and does what it needs done ahead.
func (u *Unsealed) prepared(ctx context.Context, d *decoded) (*Outbound, error) {
	for range maxAhead {
		out, err := u.transact(ctx, d)
		var w *workError
		switch {
		case errors.As(err, &w):
			d.ahead.result, d.ahead.err = w.do(ctx)
			d.ahead.done = true
			out, err = u.transact(ctx, d)
			if !errors.Is(err, engines.ErrStale) {
				return out, err
			}
			d.ahead = ahead{}
		case errors.Is(err, engines.ErrStale):
			return nil, engines.Internal(err) // without work there is nothing to be stale
		default:
			return out, err
		}
	}
	return nil, engines.ErrStale
}

// prepare lets the handler go on once the work is done.
func (h *ahead) prepare(ctx context.Context, op *engines.Op, req *engines.Request, tx *state.Region) error {
	if !h.done {
		work, err := op.Ahead(ctx, req, tx)
		if err != nil {
			return err
		}
		if work == nil {
			return nil
		}
		return &workError{do: work}
	}
	req.Ahead = h.result
	return h.err
}
