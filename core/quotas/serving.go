package quotas

import "time"

// lostAfter is how long a node may be silent and still count as one that serves.
const lostAfter = 15 * time.Second

// Node is a member of the cluster as rates are shared.
type Node struct {
	Self, Voter bool
	// Seen is when it was last known to be there; the zero time if nobody looks.
	Seen time.Time
}

// Serving returns among how many nodes a rate is shared: those that are there. A
// node that sees no majority of the voters does not know who else serves, and
// counts all, so that the parts of a cluster that is cut never allow more together.
func Serving(nodes []Node, now time.Time) int {
	there, voters, seen := 0, 0, 0
	for _, n := range nodes {
		here := n.Self || n.Seen.IsZero() || now.Sub(n.Seen) < lostAfter
		if here {
			there++
		}
		if n.Voter {
			voters++
			if here {
				seen++
			}
		}
	}
	if seen <= voters/2 {
		return len(nodes)
	}
	return there
}
