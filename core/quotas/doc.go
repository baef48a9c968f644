// Package quotas keeps callers from taking more than their part: so many
// requests in a time, and so many tokens and leases at once.
//
// Invariants:
//
//   - Of the rules that fit a request, the most specific alone counts: one for
//     a role, then for the very path, the longest pattern, the innermost mount,
//     and last for everything.
//   - Rates are counted by each node alone, for its share of the limit: the
//     limit divided by the number of nodes that are there. The sum is above the
//     limit at most for as long as it takes to see that one has come back.
//     A rate is checked before anything is read for the request.
//   - What a client's address costs in memory is bounded: when there is no room
//     left, the newcomers share one allowance.
//   - Leases are counted in the transaction that makes or ends them, in one of a
//     few rows for each rule, so that they seldom wait for each other. Close to
//     the limit all rows are a condition of the commit, so that none is made
//     beyond it. Without a rule there is no row, and no cost.
//
// Lock order: a shard's mutex is taken alone.
package quotas
