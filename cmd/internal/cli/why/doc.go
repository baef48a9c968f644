// Package why puts into words what sys/policies/explain answers: whether a
// request is allowed, which rule says so, which rules lost to it, and what
// their templates came to.
package why
