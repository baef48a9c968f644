package system

import (
	"context"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// minOperations keeps the automatic rotation from never coming to rest.
const minOperations = 1_000_000

func (s *system) keyRoutes() []engines.Route {
	config := []engines.Field{
		field("enabled", engines.Bool, "Whether the key is rotated by itself."),
		field("max_operations", engines.Int, "Number of values after which the key is rotated."),
		field("interval", engines.Seconds, "Age at which the key is rotated; 0 for never."),
	}
	ops := []engines.Op{read(whole(s.rotation)), update(whole(s.setRotation))}
	rotate := []engines.Op{update(whole(s.rotate))}
	return []engines.Route{
		{Pattern: "key-status", Help: "Tell of the key that values are sealed under.", Ops: []engines.Op{read(whole(s.keyStatus))}},
		{Pattern: "rotate", Help: "Seal new values under a new key.", Sudo: true, Ops: rotate},
		{Pattern: "rotate/keyring", Help: "Seal new values under a new key.", Sudo: true, Ops: rotate},
		{Pattern: "rotate/root", Help: "Replace the root key that the seal keeps.", Sudo: true, Ops: []engines.Op{update(whole(s.rotateRoot))}},
		{Pattern: "rotate/config", Help: "When the key is rotated by itself.", Fields: config, Ops: ops},
		{Pattern: "rotate/keyring/config", Help: "When the key is rotated by itself.", Fields: config, Ops: ops},
		{Pattern: "seal", Help: "Seal this node.", Sudo: true, Ops: []engines.Op{compute(whole(s.seal))}},
		{Pattern: "step-down", Help: "Hand leadership to another node.", Sudo: true, Ops: []engines.Op{update(whole(s.stepDown))}},
	}
}

func (s *system) keyStatus(context.Context, *engines.Request, *state.Tx) (*engines.Response, error) {
	k, err := s.Control.KeyStatus()
	if err != nil {
		return nil, err
	}
	return both(map[string]any{"term": k.Term, "install_time": k.InstallTime, "encryptions": k.Encryptions}), nil
}

func (s *system) rotate(context.Context, *engines.Request, *state.Tx) (*engines.Response, error) {
	return &engines.Response{Then: s.Control.Rotate}, nil
}

func (s *system) rotateRoot(context.Context, *engines.Request, *state.Tx) (*engines.Response, error) {
	return &engines.Response{Then: s.RotateRoot}, nil
}

func (s *system) rotation(_ context.Context, _ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	r, err := s.Control.Rotation(tx)
	if err != nil {
		return nil, err
	}
	return both(map[string]any{"enabled": r.Enabled, "max_operations": r.MaxOperations, "interval": r.Interval}), nil
}

func (s *system) setRotation(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f := req.Fields
	r, err := s.Control.Rotation(tx)
	if err != nil {
		return nil, err
	}
	if f.Has("enabled") {
		r.Enabled = f.Bool("enabled")
	}
	if f.Has("max_operations") {
		if r.MaxOperations = f.Int("max_operations"); r.MaxOperations < minOperations || r.MaxOperations > seal.RotateAt {
			return nil, engines.Invalidf("max_operations must be between %d and %d", minOperations, int64(seal.RotateAt))
		}
	}
	if f.Has("interval") {
		seconds := int64(f.Duration("interval").Seconds())
		if r.Interval = seconds; seconds < 0 || seconds > 0 && seconds < 24*60*60 {
			return nil, engines.Invalidf("interval must be at least 24 hours, or 0 for no rotation by age")
		}
	}
	return nil, s.Control.SetRotation(tx, r)
}

func (s *system) seal(context.Context, *engines.Request, *state.Tx) (*engines.Response, error) {
	return &engines.Response{Then: func(context.Context) error { s.Control.Seal(); return nil }}, nil
}

func (s *system) stepDown(context.Context, *engines.Request, *state.Tx) (*engines.Response, error) {
	return &engines.Response{Then: s.Control.StepDown}, nil
}
