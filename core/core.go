package core

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-secrets/coffer/core/audit"
	"github.com/coffer-secrets/coffer/core/logs"
	"github.com/coffer-secrets/coffer/core/members"
	"github.com/coffer-secrets/coffer/core/mounts"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// Node is one member of the cluster, as the core needs it.
type Node interface {
	state.Replica
	// Bootstrapped reports whether the node belongs to a cluster.
	Bootstrapped() (bool, error)
	// Bootstrap makes the node the first of a cluster and waits until it leads.
	Bootstrap(ctx context.Context) error
	// Status tells of the node and its leader.
	Status() NodeStatus
	// Lead waits until the node leads and returns a context that ends when it
	// no longer does.
	Lead(ctx context.Context) (context.Context, error)
	// StepDown hands leadership to another node.
	StepDown(ctx context.Context) error
	// WaitApplied waits until this node has applied an index, or ctx ends.
	WaitApplied(ctx context.Context, index uint64) error
}

// NodeStatus is what a node knows of its place in the cluster.
type NodeStatus struct {
	ID            string
	Leader        bool
	LeaderID      string
	LeaderAddress string
	Term          uint64
	Applied       uint64
	Committed     uint64
	LeadingSince  time.Time
	Members       []Member
}

// Member is one server of the cluster's configuration.
type Member struct {
	ID      string
	Address string
	// APIAddress is where its API answers; empty if that is not known.
	APIAddress string
	Leader     bool
	Voter      bool
	// Host is what its machine is called, Version what it runs, and Seen when it
	// was last known to be there; empty if nothing is known of it.
	Host    string
	Version string
	Seen    time.Time
}

// Info is what the server was told about itself.
type Info struct {
	Version     string
	BuildDate   string
	ClusterName string
	APIAddr     string
	ClusterAddr string
	StorageType string
	StartTime   time.Time
	// Sanitized is the configuration without anything secret.
	Sanitized map[string]any
}

// Config is what a Core is made of.
type Config struct {
	Node    Node
	Engines []*engines.Engine
	Limits  mounts.Limits
	Logger  *slog.Logger
	Info    Info
	// Wrapper, if set, unseals the node without key shares.
	Wrapper seal.Wrapper
	// RawStorage allows sys/raw.
	RawStorage bool
	// Metrics returns the node's metrics as text, with its content type.
	Metrics func() (body []byte, contentType string, err error)
	// Reload is called for sys/config/reload.
	Reload func(subsystem string) error
	Audit  audit.Config
	// Peers reaches the other nodes; nil: there are none.
	Peers Peers
	// Joiner reaches clusters to join; nil: the node cannot join any.
	Joiner Joiner
	// Members changes who belongs to the cluster; nil: nothing can.
	Members members.Cluster
	// IndexWait bounds how long a request waits for the index that it requires;
	// DefaultIndexWait if 0.
	IndexWait time.Duration
	// Logs, if set, are what sys/loggers and sys/monitor work on.
	Logs *logs.Hub
}

// Core is a node's core, sealed or not. It is safe for concurrent use.
//
// Lock order: mu is taken by ceremonies only and never while serving requests.
type Core struct {
	cfg     Config
	log     *slog.Logger
	current atomic.Pointer[Unsealed]
	// clusterID never changes once the cluster has one.
	clusterID atomic.Pointer[string]
	// invited is set while the node is about to join a cluster.
	invited atomic.Pointer[invitation]

	mu sync.Mutex
	// stopSeeking ends an earlier attempt to get an invitation.
	stopSeeking context.CancelFunc
	unseal      *seal.Ceremony
	// unsealFor is the generation of shares that unseal collects.
	unsealFor string
	rekeying  [2]*rekeying // by target
	rooting   *rooting

	background sync.WaitGroup
	ctx        context.Context //nolint:containedctx // ends the background work with Close
	cancel     context.CancelFunc
}

// The boot rows.
const (
	bootSeal     = "seal"
	bootKeyring  = "keyring"
	bootRoot     = "root-key"
	bootRecovery = "recovery"
	bootCluster  = "cluster"
	bootBackup   = "rekey-backup"
)

// sealRow says how the root key is kept.
type sealRow struct {
	// Type is "shamir" or the wrapper's type.
	Type       string          `json:"type"`
	Generation seal.Generation `json:"generation"`
}

// recoveryRow says how the recovery key is kept, with auto-unseal.
type recoveryRow struct {
	Generation seal.Generation `json:"generation"`
	Verifier   []byte          `json:"verifier"`
}

// clusterRow identifies the cluster.
type clusterRow struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

const sealShamir = "shamir"

// New returns the core of a node, sealed. ctx bounds its background work.
func New(ctx context.Context, cfg Config) (*Core, error) {
	if _, err := mounts.New(cfg.Engines, cfg.Limits, nil); err != nil {
		return nil, err
	}
	cfg.Audit.Logger = cfg.Logger
	if err := cfg.Audit.Check(); err != nil {
		return nil, err
	}
	if cfg.IndexWait <= 0 {
		cfg.IndexWait = DefaultIndexWait
	}
	c := &Core{cfg: cfg, log: cfg.Logger}
	c.ctx, c.cancel = context.WithCancel(ctx)
	return c, nil
}

// Close seals the node and waits for its background work.
func (c *Core) Close() {
	c.cancel()
	c.lock()
	c.background.Wait()
}

// Unsealed returns the serving part, or nil while the node is sealed.
func (c *Core) Unsealed() *Unsealed { return c.current.Load() }

// Info is what the server was told about itself.
func (c *Core) Info() Info { return c.cfg.Info }

// Logs is the node's log; nil if it is not shown.
func (c *Core) Logs() *logs.Hub { return c.cfg.Logs }

// Node is the node's place in the cluster.
func (c *Core) Node() NodeStatus { return c.cfg.Node.Status() }

// Handle answers one request.
func (c *Core) Handle(ctx context.Context, in *Inbound) (*Outbound, error) {
	u := c.current.Load()
	if u == nil {
		return nil, c.notServing()
	}
	return u.handle(ctx, in)
}

// notServing says why the node answers no requests.
func (c *Core) notServing() error {
	if ok, err := c.Initialized(); err == nil && !ok {
		return engines.Errorf(engines.KindUnavailable, "Coffer is not initialized")
	}
	return ErrSealed()
}

// ErrSealed is the answer of a sealed node, in the words that clients know.
func ErrSealed() error { return engines.Errorf(engines.KindUnavailable, "Vault is sealed") }

// Initialized reports whether the cluster has been initialised that the node is
// part of, or about to join.
func (c *Core) Initialized() (bool, error) {
	row, err := c.readBoot(bootSeal)
	return row != nil, err
}

// boot reads a boot row as JSON; false if there is none.
func (c *Core) boot(name string, into any) (bool, error) {
	raw, err := c.readBoot(name)
	if err != nil || raw == nil {
		return false, err
	}
	return true, json.Unmarshal(raw, into)
}

// SealStatus is what sys/seal-status tells.
type SealStatus struct {
	Type             string `json:"type"`
	Initialized      bool   `json:"initialized"`
	Sealed           bool   `json:"sealed"`
	Threshold        int    `json:"t"`
	Shares           int    `json:"n"`
	Progress         int    `json:"progress"`
	Nonce            string `json:"nonce"`
	Version          string `json:"version"`
	BuildDate        string `json:"build_date"`
	Migration        bool   `json:"migration"`
	ClusterName      string `json:"cluster_name,omitempty"`
	ClusterID        string `json:"cluster_id,omitempty"`
	RecoverySeal     bool   `json:"recovery_seal"`
	RecoverySealType string `json:"recovery_seal_type,omitempty"`
	StorageType      string `json:"storage_type,omitempty"`
}

// SealStatus tells whether the node is sealed and how far unsealing is.
func (c *Core) SealStatus() (SealStatus, error) {
	out := SealStatus{
		Type: sealShamir, Sealed: c.current.Load() == nil, StorageType: c.cfg.Info.StorageType,
		Version: c.cfg.Info.Version, BuildDate: c.cfg.Info.BuildDate,
	}
	if c.cfg.Wrapper != nil {
		out.Type, out.RecoverySeal, out.RecoverySealType = c.cfg.Wrapper.Type(), true, sealShamir
	}
	var row sealRow
	found, err := c.boot(bootSeal, &row)
	if err != nil || !found {
		return out, err
	}
	out.Initialized, out.Type = true, row.Type
	g := row.Generation
	if row.Type != sealShamir {
		var recovery recoveryRow
		if _, err := c.boot(bootRecovery, &recovery); err != nil {
			return out, err
		}
		g = recovery.Generation
	}
	out.Threshold, out.Shares = g.Threshold, g.Shares
	if !out.Sealed {
		var cluster clusterRow
		if _, err := c.boot(bootCluster, &cluster); err != nil {
			return out, err
		}
		out.ClusterID, out.ClusterName = cluster.ID, cluster.Name
		return out, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.unseal != nil {
		if out.Progress = c.unseal.Progress(); out.Progress > 0 {
			out.Nonce = c.unseal.Nonce()
		}
	}
	return out, nil
}

// StepDown hands leadership to another node.
func (c *Core) StepDown(ctx context.Context) error {
	if len(c.cfg.Node.Status().Members) == 1 {
		return engines.Invalidf("this node is the only one: there is no other to hand leadership to")
	}
	if err := c.cfg.Node.StepDown(ctx); err != nil {
		return &engines.Error{Kind: engines.KindUnavailable, Message: "leadership could not be handed over", Cause: err}
	}
	return nil
}

// Reload asks the server to read a part of its configuration again.
func (c *Core) Reload(subsystem string) error {
	if c.cfg.Reload == nil {
		return engines.Invalidf("nothing can be reloaded")
	}
	return c.cfg.Reload(subsystem)
}
