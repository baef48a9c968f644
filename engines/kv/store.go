package kv

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	configRow = "config"
	metaDir   = "meta/"
	dataDir   = "data/"
	v1Dir     = "v1/"
)

// config is the settings row of a mount.
type config struct {
	MaxVersions         uint32 `json:"max_versions,omitempty"`
	CASRequired         bool   `json:"cas_required,omitempty"`
	MetadataCASRequired bool   `json:"metadata_cas_required,omitempty"`
	// DeleteVersionAfter is in nanoseconds; negative means never, whatever a
	// secret's own setting says.
	DeleteVersionAfter time.Duration `json:"delete_version_after,omitempty"`
	// Upgraded says that rows of version 1 may be left below v1/.
	Upgraded bool `json:"upgraded,omitempty"`
}

func loadConfig(tx engines.Tx) (config, error) {
	var c config
	entry, err := tx.Get(configRow)
	if err != nil || entry == nil {
		return c, err
	}
	return c, json.Unmarshal(entry.Value, &c)
}

func (c config) store(tx engines.Tx) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return tx.Put(configRow, text)
}

// secret is a secret of version 2 as one transaction sees it.
type secret struct {
	tx   engines.Tx
	path string
	meta *metadata
	// old is the row of version 1 that stands for version 1 of the secret until
	// something of it changes.
	old *row
}

// secretPath returns the field "path" if it can name a secret.
func secretPath(req *engines.Request) (string, error) {
	path := req.Fields.String("path")
	if path == "" || strings.HasSuffix(path, "/") {
		if req.Op == engines.Read {
			return "", engines.NotFound()
		}
		return "", engines.Invalidf("missing path")
	}
	return path, nil
}

// load gets the request's secret, nil if there is none.
func load(req *engines.Request, tx engines.Tx) (*secret, error) {
	path, err := secretPath(req)
	if err != nil {
		return nil, err
	}
	return loadPath(tx, path, nil)
}

// loadPath is load for any path. It reads the settings itself, if it has to,
// unless it is given them.
func loadPath(tx engines.Tx, path string, cfg *config) (*secret, error) {
	entry, err := tx.Get(metaDir + path)
	if err != nil {
		return nil, err
	}
	if entry != nil {
		meta, err := decodeMetadata(entry.Value)
		if err != nil {
			return nil, engines.Internal(err)
		}
		return &secret{tx: tx, path: path, meta: meta}, nil
	}
	if cfg == nil {
		loaded, err := loadConfig(tx)
		if err != nil {
			return nil, err
		}
		cfg = &loaded
	}
	if !cfg.Upgraded {
		return nil, nil
	}
	old, err := loadRow(tx, path)
	if err != nil || old == nil {
		return nil, err
	}
	meta := &metadata{created: old.written, updated: old.written, current: 1, versions: []versionInfo{{created: old.written}}}
	return &secret{tx: tx, path: path, meta: meta, old: old}, nil
}

// value returns the JSON text of version n, which is kept.
func (s *secret) value(n uint64) (json.RawMessage, error) {
	if s.old != nil {
		return s.old.value, nil
	}
	entry, err := s.tx.Get(s.dataRow(n))
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, engines.Internal(errCorrupt)
	}
	return entry.Value, nil
}

func (s *secret) dataRow(n uint64) string {
	return dataDir + s.path + "/" + strconv.FormatUint(n, 10)
}

// save writes the metadata, and moves a row of version 1 to its new place.
func (s *secret) save() error {
	if s.old != nil {
		if !s.meta.versions[0].destroyed {
			if err := s.tx.Put(s.dataRow(1), s.old.value); err != nil {
				return err
			}
		}
		if err := s.tx.Delete(v1Dir + s.path); err != nil {
			return err
		}
		s.old = nil
	}
	return s.tx.Put(metaDir+s.path, s.meta.encode())
}

// write adds a version and prunes the oldest.
func (s *secret) write(cfg config, value []byte, now instant) error {
	limit := uint64(max(s.meta.maxVersions, cfg.MaxVersions))
	if limit == 0 {
		limit = defaultMaxVersions
	}
	pruned := s.meta.add(versionInfo{created: now, deletion: deletionTime(cfg, s.meta, now)}, limit)
	if err := s.save(); err != nil {
		return err
	}
	for _, n := range pruned {
		if err := s.tx.Delete(s.dataRow(n)); err != nil {
			return err
		}
	}
	return s.tx.Put(s.dataRow(s.meta.current), value)
}

// remove deletes the secret with all its versions.
func (s *secret) remove() error {
	if s.old != nil {
		return s.tx.Delete(v1Dir + s.path)
	}
	for n := s.meta.first(); n <= s.meta.current; n++ {
		if s.meta.version(n).destroyed {
			continue
		}
		if err := s.tx.Delete(s.dataRow(n)); err != nil {
			return err
		}
	}
	return s.tx.Delete(metaDir + s.path)
}

// deletionTime is when a version that is made now goes by itself: after the
// shorter of the mount's and the secret's time, where set.
func deletionTime(cfg config, m *metadata, now instant) instant {
	after := m.deleteAfter
	if after == 0 || cfg.DeleteVersionAfter != 0 && cfg.DeleteVersionAfter < after {
		after = cfg.DeleteVersionAfter
	}
	if cfg.DeleteVersionAfter < 0 || after == 0 {
		return 0
	}
	if deletion := now + instant(after); deletion > now {
		return deletion
	}
	return 0 // beyond the year 2262
}

// row is a secret of version 1.
type row struct {
	written instant
	// ttl is what the secret's own "ttl" or "lease" says; negative if neither.
	ttl   time.Duration
	value json.RawMessage
}

// rowFormat is the first byte of an encoded row.
const rowFormat = 1

func loadRow(tx engines.Tx, path string) (*row, error) {
	entry, err := tx.Get(v1Dir + path)
	if err != nil || entry == nil {
		return nil, err
	}
	r := reader{b: entry.Value}
	if r.byte() != rowFormat {
		return nil, engines.Internal(errCorrupt)
	}
	old := &row{written: instant(r.varint()), ttl: time.Duration(r.varint())}
	old.value = r.b
	if r.bad {
		return nil, engines.Internal(errCorrupt)
	}
	return old, nil
}

// encode writes a format byte, two varints and the JSON text.
func (r *row) encode() []byte {
	b := make([]byte, 0, 24+len(r.value))
	b = append(b, rowFormat)
	b = binary.AppendVarint(b, int64(r.written))
	b = binary.AppendVarint(b, int64(r.ttl))
	return append(b, r.value...)
}
