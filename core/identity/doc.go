// Package identity keeps who the callers are: entities, the aliases that ways
// to log in know them by, and groups. It serves the engine at identity/, gives
// each login its entity, and fills the templates of policies.
//
// Invariants:
//
//   - A name is compared in one canonical form (canonical), and what has to be
//     unique is unique by a row of its own: two writers cannot both make it.
//   - What is known of a caller is derived from the snapshot of the request, and
//     cached by the index at which the table last changed.
//   - A token whose entity is disabled or gone allows nothing.
package identity
