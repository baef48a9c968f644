package httpapi

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Peers are the other nodes of the cluster, as the API needs them.
type Peers interface {
	// Leads reports, at once, whether this node leads.
	Leads() bool
	// Leader returns the node that leads, and whether it is this one. It waits
	// until one is known; one that is known is returned even if ctx has ended.
	Leader(ctx context.Context) (node string, self bool, err error)
	// Do sends a request with the path HandPath to where a node has what Forwarded
	// returns.
	Do(node string, req *http.Request) (*http.Response, error)
}

const (
	// pauseLeast and pauseMost are between two attempts to reach a leader.
	pauseLeast = 10 * time.Millisecond
	pauseMost  = 160 * time.Millisecond
)

// wishes are what a request says of where it is answered.
type wishes struct {
	// leader asks for the leader, stay for this node and no other.
	leader, stay bool
	// onward asks for the leader if this node has not got the index required.
	onward bool
}

func wishesOf(h http.Header) (w wishes, err error) {
	w.stay = h.Get("X-Vault-No-Request-Forwarding") != ""
	switch h.Get("X-Vault-Forward") {
	case "":
	case "active-node":
		w.leader = true
	default:
		return w, engines.Invalidf("X-Vault-Forward: expected \"active-node\"")
	}
	switch h.Get("X-Vault-Inconsistent") {
	case "", "fail":
	case "forward-active-node":
		w.onward = true
	default:
		return w, engines.Invalidf("X-Vault-Inconsistent: expected \"fail\" or \"forward-active-node\"")
	}
	return w, nil
}

// age is how old an answer may be, by the request's own word.
func age(h http.Header) (state.Age, error) {
	text := h.Get("X-Coffer-Consistency")
	switch text {
	case "", "linearizable":
		return state.Age{}, nil
	case "local":
		return state.Age{Any: true}, nil
	}
	if bound, ok := strings.CutPrefix(text, "bounded="); ok {
		if within, ok := engines.ParseSeconds(bound); ok && within > 0 {
			return state.Age{Within: within}, nil
		}
	}
	return state.Age{}, engines.Invalidf("X-Coffer-Consistency: expected \"linearizable\", \"local\" or \"bounded=\" with a duration such as \"5s\"")
}

// anywhere answers a request here if this node can, and else through the leader.
func (s *server) anywhere(ctx context.Context, r *request, in *core.Inbound) (*response, error) {
	w, err := wishesOf(r.Header)
	if err != nil {
		return nil, err
	}
	in.Place.Follower = !s.Peers.Leads()
	if !in.Place.Follower || !w.leader || s.Core.Unsealed() == nil {
		if err := s.awaitIndex(ctx, r.Header); err != nil {
			if !in.Place.Follower || !w.onward && !writes(in.Op) || engines.KindOf(err) != engines.KindPrecondition {
				return nil, err
			}
		} else if resp, err := s.here(ctx, in); !errors.Is(err, core.ErrElsewhere) {
			return resp, err
		}
	}
	if w.stay {
		return s.redirect(r)
	}
	return s.hold(ctx, r, in)
}

// redirect tells a client that will not have its request forwarded where to ask.
func (s *server) redirect(r *request) (*response, error) {
	for _, m := range s.Core.Node().Members {
		if m.Leader && m.APIAddress != "" {
			to, err := url.JoinPath(m.APIAddress, r.URL.EscapedPath())
			if err != nil {
				break
			}
			if r.URL.RawQuery != "" {
				to += "?" + r.URL.RawQuery
			}
			return &response{status: http.StatusTemporaryRedirect, headers: map[string]string{"Location": to}}, nil
		}
	}
	return nil, engines.Errorf(engines.KindUnavailable, "this node does not lead, and the request may not be forwarded")
}

// hold takes a request to whoever leads, over an election if need be.
func (s *server) hold(ctx context.Context, r *request, in *core.Inbound) (*response, error) {
	ctx, cancel := context.WithTimeout(ctx, s.Hold)
	defer cancel()
	if in.Place.ID == nil {
		in.Place.ID = s.Core.NewRequestID()
	} else {
		in.Place.Tried = true
	}
	unsure := false
	for pause := pauseLeast; ; pause = min(2*pause, pauseMost) {
		node, self, err := s.Peers.Leader(ctx)
		switch {
		case err != nil || ctx.Err() != nil:
			return nil, unreached(unsure, err)
		case self:
			in.Place.Follower = false
			resp, err := s.here(ctx, in)
			if !errors.Is(err, core.ErrElsewhere) {
				return resp, err
			}
		default:
			resp, fate := s.hand(ctx, node, r, in, true)
			if fate == answered {
				addLimits(resp, in.Place.Limits())
				return resp, nil
			}
			unsure = unsure || fate == broken
		}
		in.Place.Tried = true
		rest(ctx, pause)
	}
}

// addLimits adds what this node counted, since the leader has not.
func addLimits(resp *response, limits map[string]string) {
	for name, value := range limits {
		resp.headers[name] = value
	}
}

// unreached is the answer to a request that could not be taken to a leader.
func unreached(unsure bool, cause error) error {
	if unsure {
		return &engines.Error{
			Kind:    engines.KindUnknownOutcome,
			Message: "the leader did not answer: the change may or may not have been made, read before you try again", Cause: cause,
		}
	}
	return &engines.Error{Kind: engines.KindUnavailable, Message: "no leader is reachable from this node: try again, or ask another", Cause: cause}
}

// rest waits about as long as it is told.
func rest(ctx context.Context, about time.Duration) {
	timer := time.NewTimer(about/2 + rand.N(about)) // #nosec G404 -- spreads load
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ofLeader reports whether a path is about what only the leader has in its
// memory.
func ofLeader(path string) bool {
	for _, what := range []string{"sys/generate-root", "sys/rekey", "sys/rotate/"} {
		if strings.HasPrefix(path, what) {
			return true
		}
	}
	return false
}

// byLeader has a request answered by the leader's memory. It is not repeated once
// it may have been executed, unless it only reads.
func (s *server) byLeader(h handlerFunc) handlerFunc {
	return func(ctx context.Context, r *request) (*response, error) {
		if s.Peers == nil || r.handed != nil || s.Core.Unsealed() == nil || s.Peers.Leads() {
			return h(ctx, r)
		}
		held, cancel := context.WithTimeout(ctx, s.Hold)
		defer cancel()
		in, err := s.inbound(r)
		if err != nil {
			return nil, err
		}
		in.Place.ID = s.Core.NewRequestID()
		for {
			node, self, err := s.Peers.Leader(held)
			if err != nil || held.Err() != nil {
				return nil, unreached(false, err)
			}
			if self {
				return h(ctx, r)
			}
			resp, fate := s.hand(held, node, r, in, r.Method == http.MethodGet)
			switch {
			case fate == answered:
				return resp, nil
			case fate == broken && r.Method != http.MethodGet:
				return nil, unreached(true, nil)
			}
			rest(held, pauseMost)
		}
	}
}
