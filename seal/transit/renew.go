package transit

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	minRenewWait = time.Second
	maxRenewWait = 30 * time.Second // between failed renewals
)

// renewToken keeps the token alive until ctx is done, or until there is nothing
// to renew. What fails is tried again for ever: the server may come back, and an
// operator may extend the token.
func renewToken(ctx context.Context, c *client, log *slog.Logger) {
	state, ok := insist(ctx, log, "look up", c.lookupToken)
	for ok {
		if state.ttl == 0 {
			log.Info("token of the transit seal does not expire")
			return
		}
		if !state.renewable {
			log.Warn("token of the transit seal is not renewable", "ttl", state.ttl)
			return
		}
		// Between one half and two thirds of its life, so that nodes that
		// started together do not renew together.
		if !sleep(ctx, max(state.ttl/2+rand.N(state.ttl/6+1), minRenewWait)) { //nolint:gosec // jitter
			return
		}
		state, ok = insist(ctx, log, "renew", c.renewToken)
	}
}

// insist repeats do until it succeeds; it returns false if ctx was done first.
func insist(ctx context.Context, log *slog.Logger, what string,
	do func(context.Context) (tokenState, error),
) (tokenState, bool) {
	wait := minRenewWait
	for {
		state, err := do(ctx)
		if err == nil {
			return state, true
		}
		if ctx.Err() != nil {
			return tokenState{}, false
		}
		log.Warn("cannot "+what+" the token of the transit seal", "error", err, "retry_in", wait)
		if !sleep(ctx, wait) {
			return tokenState{}, false
		}
		wait = min(2*wait, maxRenewWait)
	}
}
