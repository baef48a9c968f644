package tokens

import "context"

// Caller is the token that a request came with, for the core's own handlers.
// Engines see only engines.Caller.
type Caller struct {
	// Token is nil on a route that needs none.
	Token *Token
	// ID is the token as the caller sent it.
	ID string
	// Sudo says that policy gives sudo on the request's path.
	Sudo bool
	// Header returns the values of a request header; nil if there are none.
	Header func(name string) []string
}

type callerKey struct{}

// WithCaller returns a context that carries the caller.
func WithCaller(ctx context.Context, c *Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, c)
}

// CallerOf returns the caller; nil outside a request.
func CallerOf(ctx context.Context) *Caller {
	c, _ := ctx.Value(callerKey{}).(*Caller)
	return c
}
