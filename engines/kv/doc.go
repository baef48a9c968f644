// Package kv keeps secrets that people write: version 1 of the engine keeps the
// last value of each path, version 2 keeps several, with check-and-set, soft
// deletion and metadata. The mount's option "version" says which.
//
// # Layout
//
//	config              settings of the mount, JSON; absent until written
//	meta/<path>         version 2: what is known of a secret, see metadata.encode
//	data/<path>/<n>     version 2: the JSON text of version n, as it came in
//	v1/<path>           version 1: see row.encode
//
// The newest version is read with two gets. Version rows are told apart by
// their last segment alone, and removed one by one: those of "a/1" lie below
// those of "a".
//
// # From version 1 to 2
//
// Tuning version=2 sets config.upgraded and moves nothing. From then on a path
// that has a row below v1/ and none below meta/ counts as a secret with that
// one version, created when it was written; the first change of it moves the
// row. Version 1 handlers read config, so that one which runs while the mount
// is tuned conflicts instead of writing where nobody would look.
package kv
