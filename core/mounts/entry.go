package mounts

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Entry is one row of the mount table.
type Entry struct {
	// Path has a trailing slash and, for ways to log in, starts with "auth/".
	Path        string            `json:"path"`
	Class       engines.Class     `json:"class"`
	Type        string            `json:"type"`
	UUID        string            `json:"uuid"`
	Accessor    string            `json:"accessor"`
	Description string            `json:"description"`
	Options     map[string]string `json:"options,omitempty"`
	Local       bool              `json:"local"`
	SealWrap    bool              `json:"seal_wrap"`
	Config      Config            `json:"config"`
}

// Config is what can be tuned. Durations are seconds; 0 means the system's.
type Config struct {
	DefaultLeaseTTL           int64             `json:"default_lease_ttl"`
	MaxLeaseTTL               int64             `json:"max_lease_ttl"`
	ForceNoCache              bool              `json:"force_no_cache"`
	ListingVisibility         string            `json:"listing_visibility,omitempty"`
	AuditNonHMACRequestKeys   []string          `json:"audit_non_hmac_request_keys,omitempty"`
	AuditNonHMACResponseKeys  []string          `json:"audit_non_hmac_response_keys,omitempty"`
	PassthroughRequestHeaders []string          `json:"passthrough_request_headers,omitempty"`
	AllowedResponseHeaders    []string          `json:"allowed_response_headers,omitempty"`
	TokenType                 string            `json:"token_type,omitempty"`
	UserLockout               map[string]string `json:"user_lockout_config,omitempty"`
}

// Limits are the lease limits of the whole system.
type Limits struct {
	Default time.Duration
	Max     time.Duration
}

// NewEntry gives a mount its id and accessor. path is canonical.
func NewEntry(class engines.Class, typ, path string) Entry {
	return Entry{Path: path, Class: class, Type: typ, UUID: newUUID(), Accessor: newAccessor(class, typ)}
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

func newAccessor(class engines.Class, typ string) string {
	var id [4]byte
	_, _ = rand.Read(id[:])
	prefix := ""
	if class == engines.ClassAuth {
		prefix = "auth_"
	}
	return prefix + typ + "_" + hex.EncodeToString(id[:])
}

// rawID returns the 16 bytes of the entry's UUID, which begin all its keys.
func (e *Entry) rawID() ([]byte, error) {
	id, err := hex.DecodeString(strings.ReplaceAll(e.UUID, "-", ""))
	if err != nil || len(id) != 16 {
		return nil, fmt.Errorf("mounts: entry with a malformed id")
	}
	return id, nil
}

// Key is the entry's row in the mount table.
func (e *Entry) Key() ([]byte, error) {
	id, err := e.rawID()
	if err != nil {
		return nil, err
	}
	return state.Key(state.Mounts, state.RootNamespace, id), nil
}

// PrefixBytes is how long DataPrefix is: a table, a namespace and an id.
const PrefixBytes = 1 + 4 + 16

// DataPrefix begins the keys of everything that the mount stores.
func (e *Entry) DataPrefix() ([]byte, error) {
	id, err := e.rawID()
	if err != nil {
		return nil, err
	}
	return state.Key(state.Data, state.RootNamespace, id), nil
}

// TTLs returns the effective default and greatest lease durations.
func (e *Entry) TTLs(system Limits) (def, limit time.Duration) {
	def, limit = system.Default, system.Max
	if e.Config.MaxLeaseTTL > 0 {
		limit = time.Duration(e.Config.MaxLeaseTTL) * time.Second
	}
	if e.Config.DefaultLeaseTTL > 0 {
		def = time.Duration(e.Config.DefaultLeaseTTL) * time.Second
	}
	return min(def, limit), limit
}

// Engine is the entry as its engine sees it.
func (e *Entry) Engine(system Limits) engines.Mount {
	def, limit := e.TTLs(system)
	return engines.Mount{
		Path: e.Path, Type: e.Type, UUID: e.UUID, Accessor: e.Accessor,
		Options: e.Options, DefaultTTL: def, MaxTTL: limit, Lockout: e.Config.UserLockout,
	}
}

func (e *Entry) put(tx *state.Tx) error {
	key, err := e.Key()
	if err != nil {
		return engines.Internal(err)
	}
	value, err := json.Marshal(e)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(key, value, state.PutOptions{})
}
