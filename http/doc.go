// Package httpapi speaks Vault's HTTP API for a core: it decodes requests,
// answers them, and maps kinds of errors to statuses. It decides nothing else.
//
// One adapter takes every request; respond.go alone writes statuses. Paths are
// neither cleaned nor redirected, and are decoded exactly once: what a path
// means is settled by the core's one canonical form.
package httpapi
