package fsm

import "github.com/coffer-secrets/coffer/fsm/fsmpb"

// CommandVersion is the newest version of the format that this package knows. It
// knows all before it. A new kind, operation or field comes with a new version, so
// that members of different releases can live together: whoever proposes uses the
// lowest version that will do, and none that a member does not know.
const CommandVersion = 1

// Needs is the lowest version of the format that knows all of a command. What is
// not known here needs more than CommandVersion.
func Needs(cmd *fsmpb.Command) uint32 {
	if cmd.GetKind() != "" {
		return CommandVersion + 1
	}
	return 1
}

// Spoken is the highest version of a command that this process has applied; 0
// before the first. What was spoken once, every member has to know for ever.
func (s *Store) Spoken() uint32 { return s.spoken.Load() }

// speak notes the version of a command that is applied.
func (s *Store) speak(version uint32) {
	if version > s.spoken.Load() {
		s.spoken.Store(version) // only one goroutine applies
	}
}
