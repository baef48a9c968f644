package core

import (
	"context"
	"crypto/x509"
	"net/netip"
	"net/url"
	"time"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Inbound is a request as it came in: nothing in it has been checked but its
// size.
type Inbound struct {
	ID string
	// Op is what the method asks for; Update for every write.
	Op engines.Operation
	// Path is decoded once, without its leading "/v1/".
	Path  string
	Query url.Values
	Body  []byte
	Token string
	// WrapTTL asks for the answer to be wrapped.
	WrapTTL time.Duration
	Addr    netip.Addr
	// Port is that of the connection; 0 if it is not the client's own.
	Port             uint16
	PeerCertificates []*x509.Certificate
	// Header returns the values of a header, for audit records; nil for none.
	Header func(name string) []string
	// Age is how old the state may be that a read is answered from.
	Age state.Age
	// Place is where the request stands in the cluster.
	Place Place
}

// Place is where a request stands in the cluster.
type Place struct {
	// Follower says that this node does not lead: what only the leader can answer
	// is not begun, but answered with ErrElsewhere.
	Follower bool
	// Forwarded says that another node has been asked, and handed it on.
	Forwarded bool
	// ID is what the request's commit is known by (NewRequestID), set when it is
	// first tried, and Tried that it may have been tried before.
	ID    []byte
	Tried bool

	// limits are the headers of the rate limits, once it has been counted.
	limits  map[string]string
	counted bool
}

// Limits are headers for the answer, which tell what is left of a rate.
func (p *Place) Limits() map[string]string { return p.limits }

// Outbound is an answer.
type Outbound struct {
	// Envelope is the answer in its usual form; nil if there is nothing to say
	// or if Raw is set.
	Envelope *answer.Envelope
	Raw      *engines.Raw
	// Missing says that what was asked for is not there, although the
	// envelope tells something about it.
	Missing bool
	Headers map[string]string
	// Index is the index of the state that the answer rests on.
	Index uint64

	then func(ctx context.Context) error
	// making, if set, is what has to be made before there is an answer.
	making *making
}
