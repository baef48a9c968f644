package tokens

import (
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// The types of tokens.
const (
	Service = "service"
	Batch   = "batch"
)

// RootPolicy is the policy that allows everything.
const RootPolicy = "root"

// wrappingPolicy is that of the tokens that wrapping makes, and of no others.
const wrappingPolicy = "response-wrapping"

// DefaultPolicy is given to every token that does not refuse it.
const DefaultPolicy = "default"

// Token is one token. What is in the state is its JSON form; the key, the
// expiry and the parent are the row's.
type Token struct {
	Accessor    string            `json:"accessor,omitempty"`
	Type        string            `json:"type"`
	Policies    []string          `json:"policies"`
	Path        string            `json:"path"`
	Meta        map[string]string `json:"meta,omitempty"`
	DisplayName string            `json:"display_name"`
	EntityID    string            `json:"entity_id,omitempty"`
	Role        string            `json:"role,omitempty"`
	BoundCIDRs  []netip.Prefix    `json:"bound_cidrs,omitempty"`
	// NumUses is how many uses are left; 0 means any number.
	NumUses int64 `json:"num_uses,omitempty"`
	Limits
	Times
	// Parent is the key of the parent token; nil for orphans.
	Parent []byte `json:"parent,omitempty"`
	// Way is the accessor of the way to log in that made the token, and Private
	// what its engine keeps for the token's renewal.
	Way     string `json:"way,omitempty"`
	Private []byte `json:"private,omitempty"`
	// Counted is what the token counts against, for Deps.Free.
	Counted string `json:"counted,omitempty"`
	// Gone marks what is left of a revoked token until its many children have
	// been made orphans. It is no token any more, and its children are orphans.
	Gone bool `json:"gone,omitempty"`

	// key is the row's; empty for batch tokens. text is its hex form, if it was
	// read from the state.
	key  []byte
	text string
}

// Limits are what bounds a token's life.
type Limits struct {
	CreationTTL    time.Duration `json:"creation_ttl"`
	ExplicitMaxTTL time.Duration `json:"explicit_max_ttl,omitempty"`
	Period         time.Duration `json:"period,omitempty"`
	// MaxTTL, if set, takes the place of the mount's limit.
	MaxTTL    time.Duration `json:"max_ttl,omitempty"`
	Renewable bool          `json:"renewable,omitempty"`
}

// Times are when things happened to a token, in cluster time.
type Times struct {
	Created     time.Time `json:"created"`
	LastRenewal time.Time `json:"last_renewal,omitzero"`
	// Expiry is the zero time for tokens that do not end.
	Expiry time.Time `json:"expiry,omitzero"`
}

// Key identifies the token inside the core: the hex form of its row's key, or
// nothing for a batch token.
func (t *Token) Key() string {
	if t.text != "" {
		return t.text
	}
	return hex.EncodeToString(t.key)
}

// RawKey is what the rows that belong to the token are keyed by. Batch tokens
// have none.
func (t *Token) RawKey() ([]byte, error) {
	if len(t.key) == 0 {
		return nil, engines.Invalidf("batch tokens cannot own anything")
	}
	return t.key, nil
}

// IsRoot reports whether the token holds the root policy.
func (t *Token) IsRoot() bool { return slices.Contains(t.Policies, RootPolicy) }

// Orphan reports whether the token has no parent.
func (t *Token) Orphan() bool { return len(t.Parent) == 0 }

// TTL is what is left at now; 0 for tokens that do not end.
func (t *Token) TTL(now time.Time) time.Duration {
	if t.Expiry.IsZero() {
		return 0
	}
	return max(0, t.Expiry.Sub(now))
}

// AllowsAddr reports whether the token may be used from addr.
func (t *Token) AllowsAddr(addr netip.Addr) bool {
	if len(t.BoundCIDRs) == 0 {
		return true
	}
	addr = addr.Unmap()
	return slices.ContainsFunc(t.BoundCIDRs, func(p netip.Prefix) bool { return p.Contains(addr) })
}

func (t *Token) expired(now time.Time) bool { return !t.Expiry.IsZero() && !now.Before(t.Expiry) }

// quotaRole is the role that the token was made in, as quotas name it: that of
// auth/token, or what the way to log in says of itself.
func (t *Token) quotaRole() string {
	if t.Role != "" {
		return t.Role
	}
	for _, name := range []string{"role_name", "role"} {
		if role := t.Meta[name]; role != "" && t.Way != "" {
			return role
		}
	}
	return ""
}

// put stores a service token.
func (t *Token) put(tx *state.Tx) error {
	value, err := json.Marshal(t)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(rowKey(t.key), value, state.PutOptions{Expiry: t.Expiry, Owner: t.Parent})
}

func rowKey(key []byte) []byte { return state.Key(state.Tokens, state.RootNamespace, key) }

// NormalizePolicies lower-cases, trims, sorts and dedupes policy names.
func NormalizePolicies(names []string) []string {
	out := make([]string, 0, len(names)+1)
	for _, name := range names {
		if name = strings.ToLower(strings.TrimSpace(name)); name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ParseCIDRs reads address prefixes; a bare address is the prefix of itself.
func ParseCIDRs(list []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, 0, len(list))
	for _, text := range list {
		text = strings.TrimSpace(text)
		if addr, err := netip.ParseAddr(text); err == nil {
			out = append(out, netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()))
			continue
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, engines.Invalidf("bound CIDRs: an entry is neither an address nor address/bits")
		}
		out = append(out, prefix.Masked())
	}
	return out, nil
}

// Lookup is what `auth/token/lookup` shows of the token.
func (t *Token) Lookup(id string, now time.Time) map[string]any {
	cidrs := []string(nil)
	for _, p := range t.BoundCIDRs {
		cidrs = append(cidrs, p.String())
	}
	out := map[string]any{
		"id": id, "accessor": t.Accessor, "policies": t.Policies, "path": t.Path, "meta": nilMap(t.Meta),
		"display_name": t.DisplayName, "num_uses": t.NumUses, "orphan": t.Orphan(),
		"creation_time": t.Created.Unix(), "creation_ttl": seconds(t.CreationTTL), "ttl": seconds(t.TTL(now)),
		"explicit_max_ttl": seconds(t.ExplicitMaxTTL), "entity_id": t.EntityID, "type": t.Type,
		"expire_time": nil, "renewable": t.Renewable, "issue_time": t.Created.Format(time.RFC3339Nano),
	}
	if !t.Expiry.IsZero() {
		out["expire_time"] = t.Expiry.Format(time.RFC3339Nano)
	}
	if t.Period > 0 {
		out["period"] = seconds(t.Period)
	}
	if t.Role != "" {
		out["role"] = t.Role
	}
	if len(cidrs) > 0 {
		out["bound_cidrs"] = cidrs
	}
	if !t.LastRenewal.IsZero() {
		out["last_renewal"] = t.LastRenewal.Format(time.RFC3339Nano)
		out["last_renewal_time"] = t.LastRenewal.Unix()
	}
	return out
}

func nilMap(m map[string]string) any {
	if len(m) == 0 {
		return nil
	}
	return m
}

// seconds rounds up, so that what is left never shows as nothing.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }
