package client

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// SealStatus tells whether a node is sealed and how far unsealing is.
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

// Leader tells who leads the cluster.
type Leader struct {
	HAEnabled            bool      `json:"ha_enabled"`
	IsSelf               bool      `json:"is_self"`
	ActiveTime           time.Time `json:"active_time"`
	LeaderAddress        string    `json:"leader_address"`
	LeaderClusterAddress string    `json:"leader_cluster_address"`
	PerfStandby          bool      `json:"performance_standby"`
	RaftCommittedIndex   uint64    `json:"raft_committed_index,omitempty"`
	RaftAppliedIndex     uint64    `json:"raft_applied_index,omitempty"`
}

// Health is what load balancers ask for.
type Health struct {
	Initialized bool   `json:"initialized"`
	Sealed      bool   `json:"sealed"`
	Standby     bool   `json:"standby"`
	Version     string `json:"version"`
	ClusterName string `json:"cluster_name,omitempty"`
	ClusterID   string `json:"cluster_id,omitempty"`
}

// call sends a request and reads the answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, req *Request, out any) error {
	req.Plain = true
	resp, err := c.Do(ctx, req)
	if err != nil || out == nil {
		return err
	}
	return resp.Decode(out)
}

func (c *Client) get(ctx context.Context, path string, out any) error {
	return c.call(ctx, &Request{Method: http.MethodGet, Path: path}, out)
}

func (c *Client) put(ctx context.Context, path string, body, out any) error {
	return c.call(ctx, &Request{Method: http.MethodPut, Path: path, Body: body}, out)
}

func (c *Client) remove(ctx context.Context, path string, body any) error {
	return c.call(ctx, &Request{Method: http.MethodDelete, Path: path, Body: body}, nil)
}

// SealStatus needs no token.
func (c *Client) SealStatus(ctx context.Context) (*SealStatus, error) {
	out := new(SealStatus)
	return out, c.get(ctx, "sys/seal-status", out)
}

// Leader needs no token; a sealed node refuses it.
func (c *Client) Leader(ctx context.Context) (*Leader, error) {
	out := new(Leader)
	return out, c.get(ctx, "sys/leader", out)
}

// Health answers for a node in any state: what it is, is in the answer.
func (c *Client) Health(ctx context.Context) (*Health, error) {
	out, codes := new(Health), url.Values{}
	for _, name := range []string{"uninitcode", "sealedcode", "standbycode", "drsecondarycode", "performancestandbycode"} {
		codes.Set(name, "299")
	}
	return out, c.call(ctx, &Request{Method: http.MethodGet, Path: "sys/health", Query: codes}, out)
}

// StepDown makes the leader hand over.
func (c *Client) StepDown(ctx context.Context) error { return c.put(ctx, "sys/step-down", nil, nil) }

// Seal seals the node.
func (c *Client) Seal(ctx context.Context) error { return c.put(ctx, "sys/seal", nil, nil) }

// Mount tells of a secrets engine or a way to log in: sys/mounts and sys/auth
// have one by path.
type Mount struct {
	UUID                  string            `json:"uuid"`
	Type                  string            `json:"type"`
	Description           string            `json:"description"`
	Accessor              string            `json:"accessor"`
	Config                MountConfig       `json:"config"`
	Options               map[string]string `json:"options"`
	Local                 bool              `json:"local"`
	SealWrap              bool              `json:"seal_wrap"`
	ExternalEntropyAccess bool              `json:"external_entropy_access"`
	PluginVersion         string            `json:"plugin_version"`
	RunningVersion        string            `json:"running_plugin_version"`
	DeprecationStatus     string            `json:"deprecation_status"`
}

// MountConfig is what is tuned.
type MountConfig struct {
	DefaultLeaseTTL           int64    `json:"default_lease_ttl"` // seconds
	MaxLeaseTTL               int64    `json:"max_lease_ttl"`     // seconds
	ForceNoCache              bool     `json:"force_no_cache"`
	AuditNonHMACRequestKeys   []string `json:"audit_non_hmac_request_keys,omitempty"`
	AuditNonHMACResponseKeys  []string `json:"audit_non_hmac_response_keys,omitempty"`
	ListingVisibility         string   `json:"listing_visibility,omitempty"`
	PassthroughRequestHeaders []string `json:"passthrough_request_headers,omitempty"`
	AllowedResponseHeaders    []string `json:"allowed_response_headers,omitempty"`
	TokenType                 string   `json:"token_type,omitempty"`
}

// UIMount tells of the mount that a path is in. It is asked before commands that
// must know the engine's version, by callers who may not list mounts.
type UIMount struct {
	Path    string            `json:"path"`
	Type    string            `json:"type"`
	Options map[string]string `json:"options"`
}

// UIMount finds the mount of a path.
func (c *Client) UIMount(ctx context.Context, path string) (*UIMount, error) {
	var out struct {
		Data UIMount `json:"data"`
	}
	err := c.get(ctx, "sys/internal/ui/mounts/"+strings.TrimLeft(path, "/"), &out)
	if err != nil {
		return nil, err
	}
	return &out.Data, nil
}

// Help returns what a path is for, in words.
func (c *Client) Help(ctx context.Context, path string) (string, error) {
	var out struct {
		Help string `json:"help"`
	}
	err := c.call(ctx, &Request{Method: http.MethodGet, Path: path, Query: url.Values{"help": {"1"}}}, &out)
	return out.Help, err
}
