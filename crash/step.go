package crash

// Step is something that is done at once or not at all.
type Step string

// The steps, in the order of a credential's life, and then those of the log.
const (
	Grant    Step = "grant"    // a pending lease is committed
	Create   Step = "create"   // the target is told to make what the lease is for
	Confirm  Step = "confirm"  // the lease is made live
	Revoke   Step = "revoke"   // the target is told to undo it
	Settle   Step = "settle"   // that it was undone is committed
	Append   Step = "append"   // entries are made durable
	Apply    Step = "apply"    // entries are put into the state
	Snapshot Step = "snapshot" // a snapshot gets its name
)

// Steps are all of them.
func Steps() []Step {
	return []Step{Grant, Create, Confirm, Revoke, Settle, Append, Apply, Snapshot}
}
