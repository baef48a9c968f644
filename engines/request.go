package engines

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// Request is one call on a mount, decoded and validated.
type Request struct {
	// ID is the request id that the answer and the audit records carry.
	ID string
	// Op is the operation: Create or Update once Exists has been asked.
	Op Operation
	// Path is the canonical path below the mount.
	Path string
	// Fields are the validated inputs.
	Fields Values
	Mount  Mount
	Caller Caller
	// Now is cluster time.
	Now time.Time
	// Wrapped says that the caller asked for the answer to be wrapped.
	Wrapped bool
	// Hidden reports whether policy denies the caller a folder, named with its
	// slash from the request's own path on: a scan leaves out what is below it.
	// Nil denies none.
	Hidden func(folder string) bool
	// Ahead is what the operation's Ahead made; nil without one.
	Ahead any
	// Password makes a password by the password policy of a name, another each
	// time. It is nil where there are no policies.
	Password func(policy string) (string, error)
	// Leases counts what was issued for a target (Grant.Target) and is not undone
	// yet. More says that there may be others: there were too many to look through.
	// It is nil where there are no leases.
	Leases func(target string) (n int, more bool, err error)
	// Identity gives the value of an expression of policies' templates, such as
	// "identity.entity.name", for the caller. It is nil for one without an identity.
	Identity func(expr string) (string, bool)
}

// Caller is who asks.
type Caller struct {
	// TokenKey identifies the caller's token inside Coffer; empty without one.
	TokenKey    string
	Accessor    string
	EntityID    string
	DisplayName string
	Policies    []string
	// Root callers hold the root policy.
	Root bool
	// Addr is the client's address; the zero value if unknown.
	Addr netip.Addr
	// PeerCertificates are those of the client's TLS connection, leaf first.
	PeerCertificates []*x509.Certificate
}

// Values are validated fields by name. A field without a value and without a
// default is absent.
type Values struct {
	set      map[string]any
	defaults map[string]any
}

// NewValues returns values as given, and defaults for the names not given.
// The dynamic types are those that the getters below name.
func NewValues(set, defaults map[string]any) Values { return Values{set: set, defaults: defaults} }

// Has reports whether the caller gave the field a value.
func (v Values) Has(name string) bool { _, ok := v.set[name]; return ok }

// Given lists the names of the fields that the caller gave.
func (v Values) Given() map[string]any { return v.set }

// Get returns the field's value or its default, or nil.
func (v Values) Get(name string) any {
	if got, ok := v.set[name]; ok {
		return got
	}
	return v.defaults[name]
}

func get[T any](v Values, name string) T {
	got := v.Get(name)
	if got == nil {
		var zero T
		return zero
	}
	typed, ok := got.(T)
	if !ok {
		panic(fmt.Sprintf("engines: field %q holds %T", name, got))
	}
	return typed
}

// String returns a String field.
func (v Values) String(name string) string { return get[string](v, name) }

// Int returns an Int field.
func (v Values) Int(name string) int64 { return get[int64](v, name) }

// Float returns a Float field.
func (v Values) Float(name string) float64 { return get[float64](v, name) }

// Bool returns a Bool field.
func (v Values) Bool(name string) bool { return get[bool](v, name) }

// Duration returns a Seconds field.
func (v Values) Duration(name string) time.Duration { return get[time.Duration](v, name) }

// Strings returns a Strings field.
func (v Values) Strings(name string) []string { return get[[]string](v, name) }

// Ints returns an Ints field.
func (v Values) Ints(name string) []int64 { return get[[]int64](v, name) }

// KVPairs returns a KVPairs field.
func (v Values) KVPairs(name string) map[string]string { return get[map[string]string](v, name) }

// Map returns a Map field: each member as the JSON that came in.
func (v Values) Map(name string) map[string]json.RawMessage {
	return get[map[string]json.RawMessage](v, name)
}

// JSON returns a JSON field as the text that came in.
func (v Values) JSON(name string) json.RawMessage { return get[json.RawMessage](v, name) }

// Time returns a Time field.
func (v Values) Time(name string) time.Time { return get[time.Time](v, name) }
