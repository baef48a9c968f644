// Package paths has the one canonical form of a request's path. Routing,
// policy, audit and storage all use it, and nothing else, so that no spelling
// of a path reaches a name that another spelling is kept from.
package paths
