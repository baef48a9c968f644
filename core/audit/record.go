package audit

import (
	"encoding/json"
	"errors"
	"net/netip"
	"net/url"
	"time"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/engines"
)

// Record is what is known of a request, and of its answer if Response is set.
type Record struct {
	Time     time.Time
	Request  Request
	Auth     *Auth
	Response *Response
	// Err is why the request was refused or failed.
	Err error
	// Again, if set, is a record of the same request by the same caller, so that
	// who asked and for what need not be written anew.
	Again *Pending
}

// Request is a request as far as it was understood.
type Request struct {
	ID        string
	Operation string
	// Path is canonical, unless Malformed says that the request was refused
	// for its path.
	Path      string
	Malformed bool
	Mount     *Mount
	// Route is nil if the path has none.
	Route *engines.Route
	// Captured are the parts of the path that hold a secret.
	Captured []string
	Token    string
	Accessor string
	Input    Input
	// Header returns the values of a request header; nil if there are none.
	Header  func(name string) []string
	Addr    netip.Addr
	Port    uint16
	WrapTTL time.Duration
}

// Input is what came with a request.
type Input struct {
	Body  map[string]json.RawMessage
	Query url.Values
	// Raw is the body as it came, of which a record tells the size at most.
	Raw []byte
	// Malformed says that it was not, or could not be, parsed.
	Malformed bool
}

// Mount is where a request went.
type Mount struct {
	Path, Type, Class, Accessor string
	// PlainRequest and PlainResponse name fields that may stand plain.
	PlainRequest, PlainResponse []string
}

// Auth is who asked, and whether policy allowed it.
type Auth struct {
	Token            string
	Accessor         string
	DisplayName      string
	Policies         []string
	TokenPolicies    []string
	IdentityPolicies []string
	Metadata         map[string]string
	EntityID         string
	TokenType        string
	TTL              time.Duration
	Issued           time.Time
	Uses             int64
	Decided          *Decision
}

// Decision is what the policies said.
type Decision struct {
	Allowed bool
	// Granting are the policies that allowed it.
	Granting []string
}

// Response is an answer.
type Response struct {
	Envelope *answer.Envelope
	Raw      *engines.Raw
	// Listing says that the answer lists names.
	Listing bool
}

// plainError reports whether an error's text is one that holds nothing of a
// request.
func plainError(text string) bool {
	switch text {
	case "permission denied", "missing client token", "invalid token", "bad token", "internal error", "unsupported operation",
		"Vault is sealed", "Coffer is not initialized", "no leader is known: try again",
		"the change may or may not have been made: read before you try again", "the cluster did not answer in time",
		"wrapping token is not valid or does not exist", ErrNoDevice.Error():
		return true
	}
	return false
}

var kindNames = [...]string{
	engines.KindInternal: "internal error", engines.KindInvalid: "invalid request", engines.KindUnauthorized: "permission denied",
	engines.KindDenied: "permission denied", engines.KindNotFound: "not found", engines.KindMethod: "unsupported operation",
	engines.KindConflict: "conflict", engines.KindPrecondition: "precondition failed", engines.KindTooLarge: "too large",
	engines.KindRateLimited: "rate limited", engines.KindUpstream: "another system failed", engines.KindUnavailable: "unavailable",
	engines.KindNotInitialized: "not initialized", engines.KindUnknownOutcome: "unknown outcome",
}

// appendError writes an error. Messages may repeat what the caller sent, so
// that all but the fixed ones stand as their kind and the message's HMAC.
func (e *encoder) appendError(err error) {
	kind, message := engines.KindInternal, ""
	var known *engines.Error
	if errors.As(err, &known) {
		kind, message = known.Kind, known.Message
	}
	name := kindNames[engines.KindInternal]
	if int(kind) < len(kindNames) {
		name = kindNames[kind]
	}
	switch {
	case message == "":
		e.plain(name)
	case e.form.raw || plainError(message):
		e.plain(message)
	default:
		e.plain(name + " (" + e.hash(message) + ")")
	}
}
