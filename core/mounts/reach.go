package mounts

import (
	"context"

	"github.com/coffer-secrets/coffer/core/passwords"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Reach is what a mount's engine has of it outside of requests. There tells, in a
// transaction, whether the mount's storage is still its own.
func (m *Mounted) Reach(store *state.Store, there func(tx *state.Tx) (bool, error)) *engines.Reach {
	return &engines.Reach{
		Mount: m.Info,
		Now:   store.Now,
		Look: func(fn func(tx engines.Tx) error) error {
			return store.Local(func(tx *state.Tx) error { return fn(m.Storage(tx)) })
		},
		Change: func(ctx context.Context, fn func(tx engines.Tx) error) error {
			_, err := store.Update(ctx, func(tx *state.Tx) error {
				switch ok, err := there(tx); {
				case err != nil:
					return err
				case !ok:
					return engines.Errorf(engines.KindNotFound, "the mount is gone")
				}
				return fn(m.Storage(tx))
			})
			return err
		},
		Password: func(policy string) (password string, err error) {
			err = store.Local(func(tx *state.Tx) (err error) {
				password, err = passwords.Generate(tx, policy)
				return err
			})
			return password, err
		},
	}
}
