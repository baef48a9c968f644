package issued

import (
	"errors"

	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
)

// maxLooked bounds how many leases are looked through for those of a target.
const maxLooked = 50_000

var errEnough = errors.New("issued: enough looked through")

// OfTarget counts the leases of a mount's target, those that are being undone
// included. More says that there are too many leases to look through them all.
func OfTarget(tx *state.Tx, m *mounts.Mounted, target string) (n int, more bool, err error) {
	looked := 0
	err = walk(tx, m.Path, func(id string) error {
		if looked++; looked > maxLooked {
			return errEnough
		}
		key, err := region(tx).Key(id)
		if err != nil {
			return err
		}
		stored, err := tx.Peek(key) // so many conditions would be too many for the commit
		if err != nil || stored == nil {
			return err
		}
		r, err := parse(id, stored)
		if err == nil && r.Mount == m.Accessor && r.Target == target {
			n++
		}
		return err
	})
	if errors.Is(err, errEnough) {
		return n, true, nil
	}
	return n, false, err
}
