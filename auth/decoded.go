package auth

import (
	"bytes"
	"encoding/json"
	"sync"

	"github.com/coffer-secrets/coffer/engines"
)

// maxDecoded bounds how many rows a Decoded keeps.
const maxDecoded = 4096

// Decoded keeps rows that many logins rest on as they are decoded. It is given
// the row as the transaction has it, and what it kept counts only for those very
// bytes, so nothing has to tell it of a change. It is safe for concurrent use.
type Decoded[T any] struct {
	mu   sync.RWMutex
	rows map[decodedKey]decoded[T]
}

type decodedKey struct{ mount, path string }

type decoded[T any] struct {
	text  []byte
	value *T
}

// Get decodes a row of a mount. The value is shared: it must not be changed.
func (d *Decoded[T]) Get(m engines.Mount, path string, row *engines.Entry) (*T, error) {
	key := decodedKey{m.UUID, path}
	d.mu.RLock()
	got := d.rows[key]
	d.mu.RUnlock()
	if got.value != nil && bytes.Equal(got.text, row.Value) {
		return got.value, nil
	}
	got = decoded[T]{text: row.Value, value: new(T)}
	if err := json.Unmarshal(row.Value, got.value); err != nil {
		return nil, engines.Internal(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.rows) >= maxDecoded || d.rows == nil {
		d.rows = make(map[decodedKey]decoded[T]) // start over: a miss costs one decode
	}
	d.rows[key] = got
	return got.value, nil
}
