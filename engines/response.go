package engines

import (
	"context"
	"time"
)

// Response is what a handler answers. A response with Auth is a login and
// carries no Data.
type Response struct {
	// Data is encoded as the answer's "data": usually a struct or a map. A
	// json.RawMessage inside it is passed on as it is.
	Data any
	// Warnings are shown to the caller.
	Warnings []string
	// Auth asks the core to create a token.
	Auth *Auth
	// Secret makes the answer a lease.
	Secret *Secret
	// Grant asks the core to make a lease, and then what it is for. Data is not
	// used: Create returns it.
	Grant *Grant
	// Raw replaces the whole answer.
	Raw *Raw
	// Missing answers 404 with Data, as a deleted version of kv does.
	Missing bool
	// TopLevel also spreads Data over the answer's top level, as some of
	// Vault's system paths do. Data must be a map[string]any.
	TopLevel bool
	// Then, if set, runs once, after the transaction has been committed and
	// before the answer is given: for effects beyond the state.
	Then func(ctx context.Context) error
	// Headers are added to the answer.
	Headers map[string]string
}

// Raw is an answer that is not JSON, or not in the usual envelope.
type Raw struct {
	Status      int
	ContentType string
	Body        []byte
}

// Secret is the lease that comes with an answer.
type Secret struct {
	// ID is that of a lease that has been renewed. A new one gets its id from the
	// core: see Grant.
	ID        string
	TTL       time.Duration
	MaxTTL    time.Duration
	Renewable bool
}

// Auth is who logged in and the token that they shall have.
type Auth struct {
	DisplayName string
	Policies    []string
	Metadata    map[string]string
	// Alias is the name of the identity at this mount; empty for none.
	// AliasMetadata is kept with it, and Groups are the names that external
	// groups know the caller by.
	Alias         string
	AliasMetadata map[string]string
	Groups        []string
	// Private is kept with the token for the engine's Renew; nobody is shown it.
	Private []byte
	Token   TokenParams
}

// TokenParams are the common parameters of tokens that roles carry.
type TokenParams struct {
	Policies        []string
	TTL             time.Duration
	MaxTTL          time.Duration
	ExplicitMaxTTL  time.Duration
	Period          time.Duration
	NumUses         int64
	Type            string
	BoundCIDRs      []string
	NoDefaultPolicy bool
	StrictlyBindIP  bool
	Renewable       bool
	Orphan          bool
}
