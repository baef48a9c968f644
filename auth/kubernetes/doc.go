// Package kubernetes is the way to log in with the token of a Kubernetes service
// account. The token is looked at here (who it is for, whose it is, its
// signature if keys are configured) and then the cluster is asked about it: what
// its TokenReview says has to be the same, and it counts.
//
// The cluster is asked outside of transactions, as itself: with the reviewer's
// token of the configuration, with that of the pod that Coffer runs in, or else
// with the caller's own. A review for an audience counts only if the answer
// names that audience; a cluster that knows none would take a token that is for
// somebody else.
//
// # Layout
//
//	config        the configuration
//	role/<name>   a role
package kubernetes
