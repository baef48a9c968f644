package audit

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Bounds of what can be enabled.
const (
	maxDevices = 16
	maxHeaders = 128
	maxText    = 4096
	maxPath    = 128
)

// Entry is a device as it was enabled.
type Entry struct {
	// Path is its name, with a trailing slash.
	Path        string            `json:"path"`
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Options     map[string]string `json:"options,omitempty"`
	Local       bool              `json:"local"`
	UUID        string            `json:"uuid"`

	// configured devices stand in the configuration of this node, whose
	// operator may name any file.
	configured bool
}

// Configured reports whether the device stands in the node's configuration.
func (e *Entry) Configured() bool { return e.configured }

// same reports whether a device that runs as e need not change to run as other.
func (e *Entry) same(other *Entry) bool {
	return e.UUID == other.UUID && e.Type == other.Type && maps.Equal(e.Options, other.Options)
}

// Table is what the state holds of auditing.
type Table struct {
	Devices []Entry `json:"devices,omitempty"`
	// Headers are the request headers that records carry, in lower case;
	// true for those whose values are hashed.
	Headers map[string]bool `json:"headers,omitempty"`
}

// The table is one row, so that no two changes of it commit side by side.
func tableKey() []byte { return state.Key(state.Audit, state.RootNamespace, []byte("table")) }

// ReadTable returns the table as a transaction sees it.
func ReadTable(tx *state.Tx) (Table, error) {
	var t Table
	row, err := tx.Get(tableKey())
	if err != nil || row == nil {
		return t, err
	}
	if err := json.Unmarshal(row.Value, &t); err != nil {
		return t, engines.Internal(err)
	}
	return t, nil
}

func (t *Table) put(tx *state.Tx) error {
	value, err := json.Marshal(t)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(tableKey(), value, state.PutOptions{})
}

func (t *Table) find(path string) int {
	return slices.IndexFunc(t.Devices, func(e Entry) bool { return e.Path == path })
}

var pathForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$`)

// normalize checks what a caller or the configuration says of a device.
func (e *Entry) normalize() error {
	name := strings.Trim(e.Path, "/")
	if len(name) > maxPath || !pathForm.MatchString(name) {
		return engines.Invalidf("path: expected at most %d letters, digits, \"_\", \".\" and \"-\"", maxPath)
	}
	e.Path = name + "/"
	if len(e.Description) > maxText {
		return engines.Invalidf("description: longer than %d bytes", maxText)
	}
	for _, value := range e.Options {
		if len(value) > maxText {
			return engines.Invalidf("options: a value is longer than %d bytes", maxText)
		}
	}
	return nil
}

// Enable adds a device to the table, when it has taken a test record.
func (b *Broker) Enable(tx *state.Tx, e Entry) error {
	if err := e.normalize(); err != nil {
		return err
	}
	t, err := ReadTable(tx)
	if err != nil {
		return err
	}
	if t.find(e.Path) >= 0 || b.isConfigured(e.Path) {
		return engines.Invalidf("path already in use")
	}
	if len(t.Devices) >= maxDevices {
		return engines.Invalidf("there are %d audit devices already, which is the limit", maxDevices)
	}
	e.UUID, e.configured = newUUID(), false
	if err := b.try(&e); err != nil {
		return err
	}
	t.Devices = append(t.Devices, e)
	return t.put(tx)
}

// Disable removes a device from the table. One that is not there is no error.
func (b *Broker) Disable(tx *state.Tx, path string) error {
	path = strings.Trim(path, "/") + "/"
	if b.isConfigured(path) {
		return engines.Invalidf("the device stands in the server's configuration and can only be disabled there")
	}
	t, err := ReadTable(tx)
	if err != nil {
		return err
	}
	at := t.find(path)
	if at < 0 {
		return nil
	}
	t.Devices = slices.Delete(t.Devices, at, at+1)
	return t.put(tx)
}

func (b *Broker) isConfigured(path string) bool {
	return slices.ContainsFunc(b.cfg.Devices, func(e Entry) bool { return e.Path == path })
}

// Devices lists the configured devices and those of the table.
func (b *Broker) Devices(tx *state.Tx) ([]Entry, error) {
	t, err := ReadTable(tx)
	return slices.Concat(b.cfg.Devices, t.Devices), err
}

var headerForm = regexp.MustCompile("^[a-z0-9!#$%&'*+.^_`|~-]{1,128}$")

// neverPlain are headers that carry what lets someone in.
func neverPlain(header string) bool {
	switch header {
	case "authorization", "proxy-authorization", "cookie", "x-vault-token", "x-coffer-token", "x-vault-mfa":
		return true
	}
	return false
}

// SetHeader makes records carry a request header, or no longer with a nil hash.
func SetHeader(tx *state.Tx, name string, hash *bool) error {
	name = strings.ToLower(name)
	t, err := ReadTable(tx)
	if err != nil {
		return err
	}
	if hash == nil {
		if _, ok := t.Headers[name]; !ok {
			return nil
		}
		delete(t.Headers, name)
		return t.put(tx)
	}
	switch {
	case !headerForm.MatchString(name):
		return engines.Invalidf("header: that is not the name of a header")
	case len(t.Headers) >= maxHeaders:
		return engines.Invalidf("header: there are %d already, which is the limit", maxHeaders)
	case !*hash && neverPlain(name):
		return engines.Invalidf("hmac: this header is a secret and can only be recorded with hmac=true")
	}
	if t.Headers == nil {
		t.Headers = make(map[string]bool)
	}
	t.Headers[name] = *hash
	return t.put(tx)
}

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
