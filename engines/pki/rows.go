package pki

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/coffer-secrets/coffer/engines"
)

// The folders and rows of a mount.
const (
	keyDir      = "keys/"
	keyNameDir  = "keynames/"
	issuerDir   = "issuers/"
	nameDir     = "names/"
	roleDir     = "roles/"
	certDir     = "certs/"
	revokedDir  = "revoked/"
	entryDir    = "entries/"
	listDir     = "lists/"
	issuersRow  = "config/issuers"
	keysRow     = "config/keys"
	urlsRow     = "config/urls"
	crlRow      = "config/crl"
	clusterRow  = "config/cluster"
	autoTidyRow = "config/auto-tidy"
	tidyRow     = "tidy"
)

// load reads a row of JSON; nil if it is not there.
func load[T any](tx engines.Tx, path string) (*T, error) {
	entry, err := tx.Get(path)
	if err != nil || entry == nil {
		return nil, err
	}
	value := new(T)
	if err := json.Unmarshal(entry.Value, value); err != nil {
		return nil, engines.Internal(err)
	}
	return value, nil
}

func save(tx engines.Tx, path string, value any) error {
	row, err := json.Marshal(value)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(path, row)
}

// newID makes an id in the form of a UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it does not fail
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := hex.EncodeToString(b[:])
	return fmt.Sprintf("%s-%s-%s-%s-%s", text[:8], text[8:12], text[12:16], text[16:20], text[20:])
}

// maxParsed bounds how many rows a cache keeps.
const maxParsed = 4096

// parsed keeps rows that issuing rests on as they are parsed. What it kept counts
// only for the very bytes that the transaction reads, so nothing has to tell it of
// a change.
type parsed[T any] struct {
	mu   sync.RWMutex
	rows map[rowKey]parsedRow[T]
}

type rowKey struct{ mount, path string }

type parsedRow[T any] struct {
	text  []byte
	value *T
}

// get reads and parses a row, nil if it is not there. The value is shared: it must
// not be changed.
func (p *parsed[T]) get(m engines.Mount, tx engines.Tx, path string, parse func(text []byte) (*T, error)) (*T, error) {
	entry, err := tx.Get(path)
	if err != nil || entry == nil {
		return nil, err
	}
	key := rowKey{m.UUID, path}
	p.mu.RLock()
	got := p.rows[key]
	p.mu.RUnlock()
	if got.value != nil && bytes.Equal(got.text, entry.Value) {
		return got.value, nil
	}
	value, err := parse(entry.Value)
	if err != nil {
		return nil, engines.Internal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.rows) >= maxParsed || p.rows == nil {
		p.rows = make(map[rowKey]parsedRow[T]) // start over: a miss costs one parse
	}
	p.rows[key] = parsedRow[T]{bytes.Clone(entry.Value), value}
	return value, nil
}
