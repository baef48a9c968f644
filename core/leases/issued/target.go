package issued

import (
	"context"
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
	return count(tx, m, func(r *row) bool { return r.Target == target })
}

// OfMount counts the leases of a mount as OfTarget does those of a target.
func OfMount(tx *state.Tx, m *mounts.Mounted) (n int, more bool, err error) {
	return count(tx, m, func(*row) bool { return true })
}

// count counts the leases of a mount that are meant.
func count(tx *state.Tx, m *mounts.Mounted, meant func(r *row) bool) (n int, more bool, err error) {
	looked := 0
	err = walk(tx, m.Path, func(id string) error {
		if looked++; looked > maxLooked {
			return errEnough
		}
		r, err := peek(tx, id)
		if err == nil && r != nil && r.Mount == m.Accessor && meant(r) {
			n++
		}
		return err
	})
	if errors.Is(err, errEnough) {
		return n, true, nil
	}
	return n, false, err
}

// Abandon revokes the leases of a mount that has been removed, and forgets those
// that have not been undone within patienceSync, or that fail. What is for them
// may stay behind.
func (s *Issued) Abandon(ctx context.Context, store *state.Store, m *mounts.Mounted) error {
	var all []string
	err := store.View(ctx, func(tx *state.Tx) error {
		return walk(tx, m.Path, func(id string) error {
			r, err := load(tx, id)
			if err == nil && r != nil && r.Mount == m.Accessor { // another mount may have the path by now
				all = append(all, id)
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if err := s.endAll(ctx, store, all, (*row).ask); err != nil {
		return err
	}
	patient, cancel := context.WithTimeout(ctx, patienceSync)
	defer cancel()
	for _, id := range all {
		_ = s.settle(patient, store, []string{id}) // what fails is forgotten all the same
	}
	return s.endAll(ctx, store, all, func(r *row, tx *state.Tx) error {
		if r.waits(tx.Now()) { // has no trouble
			return nil
		}
		return s.forget(r, tx)
	})
}
