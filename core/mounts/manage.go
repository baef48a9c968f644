package mounts

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/coffer-secrets/coffer/auth/lockout"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

const maxMounts = 10000

// reserved are first segments that no secrets engine may be mounted at.
var reserved = []string{"auth/", "sys/", "cubbyhole/", "identity/", "audit/", "root/"}

// Enable adds a mount. For ways to log in, e.Path starts with "auth/".
func (m *Mounts) Enable(ctx context.Context, tx *state.Tx, e Entry) error {
	if err := m.Normalize(&e); err != nil {
		return err
	}
	return m.Install(ctx, tx, e)
}

// Install is Enable for the mounts that are there from the beginning, whose
// paths nobody else may take.
func (m *Mounts) Install(ctx context.Context, tx *state.Tx, e Entry) error {
	r, err := m.change(tx)
	if err != nil {
		return err
	}
	if len(r.sorted) >= maxMounts {
		return engines.Invalidf("there are %d mounts already, which is the limit", maxMounts)
	}
	if other, ok := r.conflict(e.Path); ok {
		return engines.Invalidf("path is already in use at %s", other.Path)
	}
	engine, ok := m.engines[engineName(e.Class, e.Type)]
	if !ok {
		return engines.Invalidf("unknown type %q: the types are %s", e.Type, strings.Join(m.Types(e.Class), ", "))
	}
	mounted, err := m.mounted(e)
	if err != nil {
		return err
	}
	if err := e.put(tx); err != nil {
		return err
	}
	if engine.Mounted != nil {
		return engine.Mounted(ctx, mounted.Info, mounted.Storage(tx))
	}
	return nil
}

// change reads the table for writing: two changes cannot commit side by side.
func (m *Mounts) change(tx *state.Tx) (*Router, error) {
	row, err := tx.Get(generationKey())
	if err != nil {
		return nil, err
	}
	var n uint64
	if row != nil && len(row.Value) == 8 {
		n = binary.BigEndian.Uint64(row.Value)
	}
	r, err := m.build(tx, 0) // sees the transaction's own changes too
	if err != nil {
		return nil, err
	}
	return r, tx.Put(generationKey(), binary.BigEndian.AppendUint64(nil, n+1), state.PutOptions{})
}

// Disable removes a mount of a class and everything that it stored. What a mount
// stored that may have issued something stays, for that to be undone: whoever
// calls sees to it, and then calls Empty.
func (m *Mounts) Disable(tx *state.Tx, class engines.Class, path string) (*Mounted, error) {
	r, err := m.change(tx)
	if err != nil {
		return nil, err
	}
	mounted, ok := r.Get(path)
	if !ok {
		return nil, nil
	}
	if (mounted.Class == engines.ClassAuth) != (class == engines.ClassAuth) {
		return nil, engines.Invalidf("cannot disable %q here: it is a way to log in", path)
	}
	if permanent(path) {
		return nil, engines.Invalidf("cannot disable %q: it is part of the system", path)
	}
	key, err := mounted.Key()
	if err != nil {
		return nil, engines.Internal(err)
	}
	if err := tx.Delete(key); err != nil {
		return nil, err
	}
	if mounted.Engine.Revoke != nil {
		return mounted, nil
	}
	return mounted, mounted.Empty(tx)
}

// Empty removes everything that a mount stored and scheduled.
func (m *Mounted) Empty(tx *state.Tx) error {
	return errors.Join(tx.DeletePrefix(m.prefix), tx.DeletePrefix(m.DuePrefix()))
}

// DuePrefix is the start of the keys of what the mount's engine has scheduled. It
// is PrefixBytes long.
func (m *Mounted) DuePrefix() []byte {
	due := slices.Clone(m.prefix)
	due[0] = byte(state.Due)
	return due
}

// DueName opens the name of what the mount's engine has scheduled.
func (m *Mounted) DueName(b *seal.Barrier, key []byte) (string, error) {
	data := slices.Clone(key)
	data[0] = byte(state.Data)
	return b.OpenName(m.prefix, data)
}

// Of resolves an entry to its engine.
func (m *Mounts) Of(e Entry) (*Mounted, error) { return m.mounted(e) }

// Move gives a mount another path; what it stored stays as it is. It
// returns the mount as it was.
func (m *Mounts) Move(tx *state.Tx, from, to string) (*Mounted, error) {
	r, err := m.change(tx)
	if err != nil {
		return nil, err
	}
	mounted, ok := r.Get(from)
	if !ok {
		return nil, engines.Invalidf("no matching mount at %q", from)
	}
	if permanent(from) {
		return nil, engines.Invalidf("cannot remount %q: it is part of the system", from)
	}
	e := mounted.Entry
	if strings.HasPrefix(from, "auth/") != strings.HasPrefix(to, "auth/") {
		return nil, engines.Invalidf("cannot move %q to %q: a secrets engine cannot become a way to log in, nor the reverse", from, to)
	}
	e.Path = to
	if err := m.Normalize(&e); err != nil {
		return nil, err
	}
	if other, ok := r.conflict(e.Path); ok {
		return nil, engines.Invalidf("path is already in use at %s", other.Path)
	}
	return mounted, e.put(tx)
}

// Tune changes a mount's settings. change edits a copy of the entry.
func (m *Mounts) Tune(ctx context.Context, tx *state.Tx, path string, change func(e *Entry) error) error {
	r, err := m.change(tx)
	if err != nil {
		return err
	}
	mounted, ok := r.Get(path)
	if !ok {
		return engines.Invalidf("cannot fetch sysview for path %q", path)
	}
	e := mounted.Entry
	e.Options = maps.Clone(e.Options)
	if err := change(&e); err != nil {
		return err
	}
	if err := m.checkConfig(&e); err != nil {
		return err
	}
	after, err := m.mounted(e)
	if err != nil {
		return err
	}
	if tuned := mounted.Engine.Tuned; tuned != nil && !maps.Equal(mounted.Options, e.Options) {
		if err := tuned(ctx, mounted.Info, after.Info, mounted.Storage(tx)); err != nil {
			return err
		}
	}
	return e.put(tx)
}

func permanent(path string) bool {
	switch path {
	case "sys/", "cubbyhole/", "identity/", "auth/token/":
		return true
	}
	return false
}

// Normalize brings an entry to its one form and refuses what cannot be mounted.
func (m *Mounts) Normalize(e *Entry) error {
	path, err := normalizePath(e.Path)
	if err != nil {
		return err
	}
	e.Path = path
	if e.Class == engines.ClassAuth {
		bare := strings.TrimPrefix(path, "auth/")
		if bare == path || bare == "" || bare == "token/" {
			return engines.Invalidf("path %q is not for a way to log in", path)
		}
	} else {
		for _, r := range reserved {
			if strings.HasPrefix(strings.ToLower(path), r) {
				return engines.Invalidf("path %q is reserved: choose one that does not start with %s", path, r)
			}
		}
	}
	if (e.Type == "kv-v1" || e.Type == "kv-v2") && e.Class == engines.ClassSecret {
		options := maps.Clone(e.Options)
		if options == nil {
			options = make(map[string]string, 1)
		}
		options["version"] = strings.TrimPrefix(e.Type, "kv-v")
		e.Type, e.Options = "kv", options
	}
	if e.Type == "generic" && e.Class == engines.ClassSecret {
		e.Type = "kv"
	}
	switch e.Type {
	case "system", "token", "cubbyhole", "identity":
		return engines.Invalidf("type %q is part of the system and cannot be enabled", e.Type)
	}
	return m.checkConfig(e)
}

func normalizePath(path string) (string, error) {
	path = strings.Trim(path, "/") + "/"
	if path == "/" || len(path) > 1024 || !utf8.ValidString(path) {
		return "", engines.Invalidf("a mount needs a path of at most 1024 bytes of UTF-8")
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(path, "/"), "/") {
		if segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, "+*{}%\\") || strings.ContainsFunc(segment, isControl) {
			return "", engines.Invalidf("a mount's path cannot have empty segments, '.', '..', nor any of + * { } %% \\ or control characters")
		}
	}
	return path, nil
}

func isControl(r rune) bool { return r < 0x20 || r == 0x7f }

func (m *Mounts) checkConfig(e *Entry) error {
	const maxDescription, maxOptions, maxSettings = 4096, 64, 64 << 10
	if len(e.Description) > maxDescription {
		return engines.Invalidf("description: at most %d bytes", maxDescription)
	}
	if len(e.Options) > maxOptions {
		return engines.Invalidf("options: at most %d", maxOptions)
	}
	if text, err := json.Marshal(e); err != nil || len(text) > maxSettings {
		return engines.Errorf(engines.KindTooLarge, "the mount's settings are larger than the limit of %d bytes", maxSettings)
	}
	c := &e.Config
	if _, err := lockout.Parse(c.UserLockout); err != nil {
		return err
	}
	if c.DefaultLeaseTTL < 0 || c.MaxLeaseTTL < 0 {
		return engines.Invalidf("lease durations cannot be negative")
	}
	limit := c.MaxLeaseTTL
	if limit == 0 {
		limit = int64(m.limits.Max.Seconds())
	}
	if c.DefaultLeaseTTL > limit {
		return engines.Invalidf("default_lease_ttl of %ds is greater than the effective max_lease_ttl of %ds", c.DefaultLeaseTTL, limit)
	}
	switch c.ListingVisibility {
	case "", "hidden", "unauth":
	default:
		return engines.Invalidf("invalid listing_visibility %q: it is \"hidden\", \"unauth\" or empty", c.ListingVisibility)
	}
	switch c.TokenType {
	case "", "default-service", "default-batch", "service", "batch":
	default:
		return engines.Invalidf("invalid token_type %q", c.TokenType)
	}
	return nil
}
