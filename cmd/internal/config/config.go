package config

import (
	"net/netip"
	"time"
)

// Defaults, which are Vault's.
const (
	DefaultLeaseTTL       = 768 * time.Hour
	DefaultAddress        = "127.0.0.1:8200"
	DefaultMaxRequestSize = 32 << 20
	DefaultMaxDuration    = 90 * time.Second
)

// Config is the configuration of a server.
type Config struct {
	Storage   Storage
	Listeners []Listener
	Seal      Seal
	Telemetry Telemetry
	Log       Log
	Audit     Audit
	Snapshots Snapshots

	// APIAddr is where clients reach this node, ClusterAddr where its peers do.
	APIAddr     string
	ClusterAddr string
	ClusterName string

	DefaultLeaseTTL time.Duration
	MaxLeaseTTL     time.Duration
	// MaxRequestDuration is for listeners that have none of their own.
	MaxRequestDuration time.Duration

	PIDFile         string
	UI              bool
	RawStorage      bool
	PluginDirectory string

	// Files are those that were read, Warnings what in them has no effect.
	Files    []string
	Warnings []string
}

// Values of Storage.LogStore.
const (
	LogStoreBolt = "bolt"
	LogStoreWAL  = "wal"
)

// Storage is the stanza storage "raft".
type Storage struct {
	place

	Path     string
	NodeID   string
	LogStore string
	// PerformanceMultiplier stretches the timeouts of elections; 0 for 1.
	PerformanceMultiplier int
	TrailingLogs          uint64
	SnapshotThreshold     uint64
	SnapshotInterval      time.Duration
	MaxEntrySize          int64
	RetryJoin             []RetryJoin
	NonVoter              bool
	// AutopilotInterval is how often the health of the peers is looked at.
	AutopilotInterval time.Duration
	RedundancyZone    string
}

// minSnapshotInterval keeps a mistake from filling the disk.
const minSnapshotInterval = time.Second

// Snapshots is the stanza snapshots: the node that leads writes one to a folder
// every so often.
type Snapshots struct {
	place

	Path     string
	Interval time.Duration
	// Retain is how many are kept.
	Retain int
}

// RetryJoin names a node to ask for membership. Certificates and keys are files
// or PEM.
type RetryJoin struct {
	place

	LeaderAPIAddr  string
	ServerName     string
	CACertFile     string
	ClientCertFile string
	ClientKeyFile  string
	CACert         string
	ClientCert     string
	ClientKey      string
}

// Types of listeners.
const (
	ListenerTCP  = "tcp"
	ListenerUnix = "unix"
)

// Listener is a stanza listener "tcp" or "unix".
type Listener struct {
	place

	Type           string
	Address        string
	ClusterAddress string
	TLS            TLS
	Unix           Unix
	Proxies        Proxies
	Timeouts       Timeouts
	MaxRequestSize int64
	// Headers are added to answers, by status: "default", "4xx", "404".
	Headers map[string]map[string]string
	// OpenMetrics and OpenProfiling answer without a token.
	OpenMetrics   bool
	OpenProfiling bool
}

// TLS says how a listener speaks TLS.
type TLS struct {
	Disable      bool
	CertFile     string
	KeyFile      string
	MinVersion   string
	MaxVersion   string
	CipherSuites []uint16
	ClientCAFile string
	// RequireClientCert refuses clients without a certificate that
	// ClientCAFile vouches for; DisableClientCerts does not ask for any.
	RequireClientCert  bool
	DisableClientCerts bool
}

// Unix says whose a Unix socket is.
type Unix struct {
	Mode  uint32
	User  string
	Group string
}

// Proxies says whose X-Forwarded-For is believed.
type Proxies struct {
	Trusted []netip.Prefix
	Hops    int
	// AllowUntrusted ignores the header of other peers instead of refusing
	// them, AllowMissing takes requests without it.
	AllowUntrusted bool
	AllowMissing   bool
}

// Timeouts of a listener; 0 for none.
type Timeouts struct {
	ReadHeader time.Duration
	Read       time.Duration
	Write      time.Duration
	Idle       time.Duration
	Request    time.Duration
}

// Types of seals.
const (
	SealShamir  = "shamir"
	SealStatic  = "static"
	SealTransit = "transit"
)

// Seal says how the node is unsealed. Keys and Transit hold secrets.
type Seal struct {
	place

	Type    string
	Keys    StaticKeys
	Transit Transit
}

// StaticKeys are the settings of seal "static".
type StaticKeys struct {
	CurrentKeyID  string
	CurrentKey    string
	PreviousKeyID string
	PreviousKey   string
}

// Transit are the settings of seal "transit".
type Transit struct {
	Address        string
	Token          string
	KeyName        string
	MountPath      string
	Namespace      string
	CACert         string
	ClientCert     string
	ClientKey      string
	ServerName     string
	SkipVerify     bool
	DisableRenewal bool
}

// Telemetry is what the server tells of itself. Only the Prometheus form is
// offered, and it is always there.
type Telemetry struct {
	PrometheusRetention time.Duration
	DisableHostname     bool
	UsageGaugePeriod    time.Duration
}

// Log says what is logged, and how.
type Log struct {
	Level  string // trace, debug, info, warn or error
	Format string // standard or json
	// File, if set, gets a copy of what goes to standard error.
	File string
}
