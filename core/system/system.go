package system

import (
	"context"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/core/audit"
	"github.com/coffer-secrets/coffer/core/leases"
	"github.com/coffer-secrets/coffer/core/leases/issued"
	"github.com/coffer-secrets/coffer/core/logs"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/policies"
	"github.com/coffer-secrets/coffer/core/policy"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/core/wrapping"
	"github.com/coffer-secrets/coffer/engines"
)

// Control is what the system's paths can ask of the node.
type Control interface {
	// Seal stops serving once the request under way has been answered.
	Seal()
	StepDown(ctx context.Context) error
	// Rotate adds a term to the keyring.
	Rotate(ctx context.Context) error
	KeyStatus() (KeyStatus, error)
	Rotation(tx *state.Tx) (Rotation, error)
	SetRotation(tx *state.Tx, r Rotation) error
	Reload(subsystem string) error
	Node() Node
}

// Node is what a node tells of itself.
type Node struct {
	Version   string
	BuildDate string
	// Started is when the process started, in RFC 3339.
	Started   string
	Sanitized map[string]any
	Members   []Member
}

// Member is one server of the cluster.
type Member struct {
	ID      string
	Address string
	// APIAddress is where it answers clients, if that is known.
	APIAddress string
	Leader     bool
	Voter      bool
	Self       bool
	// Host is what its machine is called, Version what it runs, and Seen when it
	// was last known to be there.
	Host    string
	Version string
	Seen    time.Time
}

// KeyStatus tells of the barrier key in use.
type KeyStatus struct {
	Term        uint32
	InstallTime string
	Encryptions uint64
}

// Rotation says when the barrier key is rotated by itself.
type Rotation struct {
	Enabled       bool  `json:"enabled"`
	MaxOperations int64 `json:"max_operations"`
	// Interval is in seconds; 0 for no rotation by age.
	Interval int64 `json:"interval"`
}

// Deps are the core's parts that the engine works on.
type Deps struct {
	// Mounts is asked for when it is needed: the engine is part of what makes it.
	Mounts   func() *mounts.Mounts
	Tokens   *tokens.Tokens
	Policies *policies.Policies
	// ACL is what a token may do.
	ACL      func(tx *state.Tx, t *tokens.Token) (*policy.ACL, error)
	Wrapping *wrapping.Wrapping
	// RotateRoot replaces the root key.
	RotateRoot func(ctx context.Context) error
	Control    Control
	RawStorage bool
	// Metrics returns the node's metrics as text, with its content type.
	Metrics func() (body []byte, contentType string, err error)
	Audit   *audit.Broker
	Leases  *leases.Leases
	Issued  *issued.Issued
	// Logs is the node's log; nil if its levels cannot be changed.
	Logs *logs.Hub
	// Routes are what others serve below sys/.
	Routes []engines.Route
}

type system struct{ Deps }

// New returns the engine.
func New(deps Deps) *engines.Engine {
	s := &system{deps}
	return &engines.Engine{
		Type: "system", Class: engines.ClassSystem, Help: "The system's own paths.",
		Table: func(engines.Mount) (*engines.Table, error) {
			return &engines.Table{Help: "Control, policy and debugging.", Routes: s.routes()}, nil
		},
	}
}

func (s *system) routes() []engines.Route {
	list := slices.Concat(s.mountRoutes(), s.authRoutes(), s.policyRoutes(), s.capabilityRoutes(), s.wrappingRoutes(),
		s.keyRoutes(), s.settingRoutes(), s.infoRoutes(), s.uiRoutes(), toolRoutes(), s.explainRoutes(), s.auditRoutes(),
		s.leaseRoutes(), s.lockedRoutes(), s.loggerRoutes(), s.inspectRoutes(), s.passwordRoutes(), s.Routes)
	if s.RawStorage {
		list = append(list, s.rawRoutes()...)
	}
	return list
}

func field(name string, typ engines.FieldType, help string) engines.Field {
	return engines.Field{Name: name, Type: typ, Help: help}
}

func read(h engines.Handler) engines.Op { return engines.Op{Do: engines.Read, Handler: h} }
func list(h engines.Handler) engines.Op { return engines.Op{Do: engines.List, Handler: h} }
func update(h engines.Handler) engines.Op {
	return engines.Op{Do: engines.Update, Trait: engines.Writes, Handler: h}
}
func remove(h engines.Handler) engines.Op {
	return engines.Op{Do: engines.Delete, Trait: engines.Writes, Handler: h}
}

// compute is an update that stores nothing.
func compute(h engines.Handler) engines.Op { return engines.Op{Do: engines.Update, Handler: h} }

// handler runs on the whole state, and not only on what is the mount's own.
type handler func(ctx context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error)

func whole(h handler) engines.Handler {
	return func(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		return h(ctx, req, tx.(*state.Region).Tx()) //nolint:forcetypeassert // the core's own engine runs on the core's own transactions
	}
}

func data(m map[string]any) *engines.Response { return &engines.Response{Data: m} }

// both answers under "data" and, as older clients expect, at the top level.
func both(m map[string]any) *engines.Response { return &engines.Response{Data: m, TopLevel: true} }

// statusOK is the one status that a raw answer of this engine has.
const statusOK = 200
