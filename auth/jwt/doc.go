// Package jwt is the ways to log in with a JSON Web Token: one that the caller
// brings (roles of type "jwt"), or one that an OpenID Connect provider gives
// for a person (roles of type "oidc"). The engines "jwt" and "oidc" are the
// same; they differ in name.
//
// A token counts if a key of the configured source has signed it, if it is for
// an audience of the role, by the issuer, in its time, and if its claims are
// what the role says. A claim that is asked for and missing is a refusal.
//
// # Asking the provider
//
// Keys and endpoints are fetched outside of transactions and kept per version
// of the configuration. A key that is not known has the set fetched again, but
// not more often than refetchPause; when the provider is down, keys that were
// fetched are good for keysLive.
//
// # The browser's way
//
// What has to be remembered between the start of a login and its end travels
// with the browser as the parameter "state", sealed with a key of the mount: a
// stranger who starts logins fills no store, and any node can go on. A state is
// good for one login, which a row below used/ sees to, and for ten minutes. The
// nonce and the PKCE verifier are made of it with the same key, so that it is of
// no use to whoever sees it.
//
// In the mode "direct" the provider sends the browser to Coffer itself, and the
// client asks by oidc/poll. Since the one at the browser need not be the one
// who asks, Coffer's page first tells who does, and wants it confirmed.
//
// # Layout
//
//	config        the configuration
//	key           the key of states
//	role/<name>   a role
//	cel/<name>    a role whose program decides
//	used/<minute>/<id>   a state that was used, until its end
//	done/<minute>/<id>   the outcome of a login in direct mode that waits to be asked for
package jwt
