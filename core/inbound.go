package core

import (
	"context"
	"crypto/x509"
	"net/netip"
	"net/url"
	"time"

	"github.com/coffer-secrets/coffer/core/answer"
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
}

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
}
