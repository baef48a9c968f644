package pki_test

import (
	"context"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

func (k *rig) look(fn func(tx engines.Tx) error) error { return fn(k.Store.Begin()) }

func (k *rig) change(_ context.Context, fn func(tx engines.Tx) error) error {
	tx := k.Store.Begin()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (k *rig) now() time.Time { return k.Now }
