package pki_test

import (
	"context"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

func (k *kit) look(fn func(tx engines.Tx) error) error { return fn(k.Store.Begin()) }

func (k *kit) change(_ context.Context, fn func(tx engines.Tx) error) error {
	tx := k.Store.Begin()
	if err := fn(tx); err != nil {
		return err
	}
	return tx.Commit()
}

func (k *kit) now() time.Time { return k.Now }
