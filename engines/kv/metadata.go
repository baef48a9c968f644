package kv

import (
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"slices"
	"time"
)

// Limits of what a secret's metadata may hold. Vault's, but for maxVersions,
// which bounds the row that every write of a secret rewrites.
const (
	defaultMaxVersions  = 10
	maxVersionsLimit    = 10_000
	maxCustomKeys       = 64
	maxCustomKeyBytes   = 128
	maxCustomValueBytes = 512
)

// metadataFormat is the first byte of an encoded metadata row.
const metadataFormat = 1

// instant is a time in nanoseconds since 1970, 0 for none.
type instant int64

func at(t time.Time) instant { return instant(t.UnixNano()) }

// String is RFC 3339 in UTC with nanoseconds as needed, empty for none.
func (i instant) String() string {
	if i == 0 {
		return ""
	}
	return time.Unix(0, int64(i)).UTC().Format(time.RFC3339Nano)
}

// metadata is what is known of a secret apart from its values.
type metadata struct {
	created, updated instant
	// current is the number of the newest version, 0 before the first.
	current uint64
	// oldest is the number of the oldest version that is kept, 0 while nothing
	// could have been pruned.
	oldest uint64
	// changes counts changes of the metadata itself (current_metadata_version).
	changes     uint64
	maxVersions uint32
	deleteAfter time.Duration
	// casRequired is for writes of data, metaCASRequired for those of metadata.
	casRequired     bool
	metaCASRequired bool
	custom          map[string]string
	// versions are those that are kept, without a gap, the newest last.
	versions []versionInfo
}

// versionInfo is what is known of one version.
type versionInfo struct {
	created, deletion instant
	destroyed         bool
}

// gone reports whether the version cannot be read.
func (v *versionInfo) gone(now instant) bool {
	return v.destroyed || v.deleted(now)
}

// deleted reports whether the deletion time has come.
func (v *versionInfo) deleted(now instant) bool {
	return v.deletion != 0 && v.deletion <= now
}

// first is the number of the first version in versions.
func (m *metadata) first() uint64 { return m.current - uint64(len(m.versions)) + 1 }

// version returns version n, nil if it is not kept.
func (m *metadata) version(n uint64) *versionInfo {
	if n == 0 || n > m.current || n < m.first() {
		return nil
	}
	return &m.versions[n-m.first()]
}

// add appends a version and prunes the oldest beyond limit. It returns the
// numbers of those whose rows must go.
func (m *metadata) add(v versionInfo, limit uint64) (pruned []uint64) {
	m.current++
	m.versions = append(m.versions, v)
	m.updated = v.created
	if m.created == 0 {
		m.created = v.created
	}
	if m.current-m.oldest < limit {
		return nil
	}
	m.oldest = m.current - limit + 1
	for m.first() < m.oldest {
		pruned = append(pruned, m.first())
		m.versions = m.versions[1:]
	}
	return pruned
}

// The flags of encoded metadata and versions.
const (
	flagCASRequired = 1 << iota
	flagMetaCASRequired
)

const (
	flagDestroyed = 1 << iota
	flagDeletion
)

// encode writes the row: a format byte, flags, then varints (times of versions
// relative to the one before), then the custom metadata sorted by key.
func (m *metadata) encode() []byte {
	b := make([]byte, 0, 64+16*len(m.versions))
	var flags byte
	if m.casRequired {
		flags |= flagCASRequired
	}
	if m.metaCASRequired {
		flags |= flagMetaCASRequired
	}
	b = append(b, metadataFormat, flags)
	b = binary.AppendVarint(b, int64(m.created))
	b = binary.AppendVarint(b, int64(m.updated))
	b = binary.AppendUvarint(b, m.current)
	b = binary.AppendUvarint(b, m.oldest)
	b = binary.AppendUvarint(b, m.changes)
	b = binary.AppendUvarint(b, uint64(m.maxVersions))
	b = binary.AppendVarint(b, int64(m.deleteAfter))
	b = binary.AppendUvarint(b, uint64(len(m.versions)))
	previous := m.created
	for _, v := range m.versions {
		var flags byte
		if v.destroyed {
			flags |= flagDestroyed
		}
		if v.deletion != 0 {
			flags |= flagDeletion
		}
		b = append(b, flags)
		b = binary.AppendVarint(b, int64(v.created-previous))
		if v.deletion != 0 {
			b = binary.AppendVarint(b, int64(v.deletion-v.created))
		}
		previous = v.created
	}
	b = binary.AppendUvarint(b, uint64(len(m.custom)))
	for _, key := range slices.Sorted(maps.Keys(m.custom)) {
		b = appendString(appendString(b, key), m.custom[key])
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errCorrupt = errors.New("kv: a stored row does not decode")

// decodeMetadata reads what encode wrote.
func decodeMetadata(b []byte) (*metadata, error) {
	r := reader{b: b}
	if r.byte() != metadataFormat {
		return nil, errCorrupt
	}
	flags := r.byte()
	m := &metadata{
		casRequired:     flags&flagCASRequired != 0,
		metaCASRequired: flags&flagMetaCASRequired != 0,
		created:         instant(r.varint()),
		updated:         instant(r.varint()),
		current:         r.uvarint(),
		oldest:          r.uvarint(),
		changes:         r.uvarint(),
		maxVersions:     uint32(min(r.uvarint(), math.MaxUint32)),
		deleteAfter:     time.Duration(r.varint()),
	}
	// One slot is left for the version that a write adds.
	count := r.count(2)
	m.versions = make([]versionInfo, 0, count+1)
	previous := m.created
	for range count {
		flags := r.byte()
		v := versionInfo{created: previous + instant(r.varint()), destroyed: flags&flagDestroyed != 0}
		if flags&flagDeletion != 0 {
			v.deletion = v.created + instant(r.varint())
		}
		previous = v.created
		m.versions = append(m.versions, v)
	}
	if custom := r.count(2); custom > 0 {
		m.custom = make(map[string]string, custom)
		for range custom {
			key := r.string()
			m.custom[key] = r.string()
		}
	}
	if r.bad || len(r.b) != 0 || uint64(len(m.versions)) > m.current {
		return nil, errCorrupt
	}
	return m, nil
}

// reader takes a row apart. After a mistake it returns zeros and is bad.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

func (r *reader) take(n int) bool {
	if n <= 0 {
		r.bad, r.b = true, nil
		return false
	}
	r.b = r.b[n:]
	return true
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if !r.take(n) {
		return 0
	}
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if !r.take(n) {
		return 0
	}
	return v
}

// count reads a number of items that take at least size bytes each.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) string() string {
	n := r.count(1)
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}
