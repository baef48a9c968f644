package core

import (
	"context"
	"encoding/json"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/system"
	"github.com/coffer-secrets/coffer/engines"
)

// control is what the system's paths can ask of the node.
type control struct{ u *Unsealed }

var _ system.Control = control{}

func (c control) Seal() { c.u.core.Seal() }

func (c control) StepDown(ctx context.Context) error { return c.u.core.StepDown(ctx) }

func (c control) Rotate(ctx context.Context) error { return c.u.rotate(ctx) }

func (c control) Reload(subsystem string) error { return c.u.core.Reload(subsystem) }

func (c control) KeyStatus() (system.KeyStatus, error) {
	keyring, err := c.u.barrier.Keyring()
	if err != nil {
		return system.KeyStatus{}, ErrSealed()
	}
	defer keyring.Zero()
	active := keyring.Active()
	return system.KeyStatus{
		Term: active.Number, InstallTime: active.InstallTime.UTC().Format(time.RFC3339Nano), Encryptions: active.Encryptions,
	}, nil
}

func (c control) Rotation(tx *state.Tx) (system.Rotation, error) { return rotation(tx) }

func (c control) SetRotation(tx *state.Tx, r system.Rotation) error {
	value, err := json.Marshal(r)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(rotateConfigKey(), value, state.PutOptions{})
}

func (c control) Node() system.Node {
	info, status := c.u.core.cfg.Info, c.u.core.cfg.Node.Status()
	out := system.Node{
		Version: info.Version, BuildDate: info.BuildDate, Started: info.StartTime.UTC().Format(time.RFC3339), Sanitized: info.Sanitized,
	}
	for _, m := range status.Members {
		member := system.Member{ID: m.ID, Address: m.Address, APIAddress: m.APIAddress, Leader: m.Leader, Voter: m.Voter, Self: m.ID == status.ID, Host: m.Host, Version: m.Version, Seen: m.Seen}
		if member.Self {
			member.APIAddress, member.Version = info.APIAddr, info.Version
		}
		out.Members = append(out.Members, member)
	}
	return out
}
