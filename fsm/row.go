package fsm

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// The keys of the store. Rows stand under the keys that the commands give,
// whose first byte is a table; everything else stands below them.
const (
	spaceMeta    = 0x00
	spaceRequest = 0x01 // request id -> index, reply
	spaceExpiry  = 0x02 // expiry, row key -> nothing
	spaceOwner   = 0x03 // owner, row key -> nothing
)

// Names within spaceMeta.
const (
	metaApplied = 'a' // index, term and time applied
	metaIndexed = 'i' // tables that ever held a row with an expiry or an owner
)

// Row is a stored value with what the state machine knows of it.
type Row struct {
	// Version is the Raft index of the last modification.
	Version uint64
	// Expiry is in Unix nanoseconds; 0: none. The state machine does nothing at
	// that time but finds the row by it.
	Expiry int64
	// Owner is what the row is found by besides its key; empty: none.
	Owner []byte
	Value []byte
}

// Flags of an encoded row.
const (
	rowHasExpiry = 1 << iota
	rowHasOwner
	rowFlags = rowHasExpiry | rowHasOwner
)

var errRow = errors.New("malformed row")

// appendRow encodes a row: flags, version, then the expiry and the owner if
// there are any, then the value.
func appendRow(dst []byte, r Row) []byte {
	var flags byte
	if r.Expiry != 0 {
		flags |= rowHasExpiry
	}
	if len(r.Owner) > 0 {
		flags |= rowHasOwner
	}
	dst = append(dst, flags)
	dst = binary.BigEndian.AppendUint64(dst, r.Version)
	if r.Expiry != 0 {
		dst = binary.BigEndian.AppendUint64(dst, uint64(r.Expiry))
	}
	if len(r.Owner) > 0 {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(r.Owner)))
		dst = append(dst, r.Owner...)
	}
	return append(dst, r.Value...)
}

// parseRow decodes a row; its owner and value share memory with b.
func parseRow(b []byte) (Row, error) {
	if len(b) < 9 || b[0]&^rowFlags != 0 {
		return Row{}, errRow
	}
	flags := b[0]
	r := Row{Version: binary.BigEndian.Uint64(b[1:])}
	b = b[9:]
	if flags&rowHasExpiry != 0 {
		if len(b) < 8 {
			return Row{}, errRow
		}
		if r.Expiry = int64(binary.BigEndian.Uint64(b)); r.Expiry <= 0 {
			return Row{}, errRow
		}
		b = b[8:]
	}
	if flags&rowHasOwner != 0 {
		if len(b) < 2 {
			return Row{}, errRow
		}
		n := int(binary.BigEndian.Uint16(b))
		if n == 0 || n > MaxOwnerBytes || len(b) < 2+n {
			return Row{}, errRow
		}
		r.Owner, b = b[2:2+n:2+n], b[2+n:]
	}
	r.Value = b
	return r, nil
}

// indexed reports whether the row has entries in the secondary indexes.
func (r *Row) indexed() bool { return r.Expiry != 0 || len(r.Owner) > 0 }

// clone returns a row that shares no memory with r.
func (r *Row) clone() Row {
	c := *r
	c.Owner, c.Value = bytes.Clone(r.Owner), bytes.Clone(r.Value)
	return c
}

// appendExpiryKey encodes the place of a row in the expiry index.
func appendExpiryKey(dst []byte, expiry int64, key []byte) []byte {
	dst = append(dst, spaceExpiry)
	dst = binary.BigEndian.AppendUint64(dst, uint64(expiry))
	return append(dst, key...)
}

// appendOwnerKey encodes the place of a row in the owner index. The length
// before the owner keeps one owner's rows apart from those of a longer name.
func appendOwnerKey(dst, owner, key []byte) []byte {
	dst = append(dst, spaceOwner)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(owner)))
	dst = append(dst, owner...)
	return append(dst, key...)
}

// appendRequestKey encodes the place of a request id, or of a prefix of one.
func appendRequestKey(dst, id []byte) []byte {
	return append(append(dst, spaceRequest), id...)
}

// prefixEnd returns the first key after every key with the prefix. The prefix
// is a row key, whose first byte is not 0xff, so there is one.
func prefixEnd(prefix []byte) []byte {
	end := bytes.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] != 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}

// state is where the store stands in the log, written in one batch with the
// change that brought it there.
type state struct {
	index, term uint64
	time        int64
}

const stateBytes = 24

func (st state) append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, st.index)
	dst = binary.BigEndian.AppendUint64(dst, st.term)
	return binary.BigEndian.AppendUint64(dst, uint64(st.time))
}

func parseState(b []byte) (state, error) {
	if len(b) != stateBytes {
		return state{}, errors.New("malformed applied state")
	}
	return state{
		index: binary.BigEndian.Uint64(b),
		term:  binary.BigEndian.Uint64(b[8:]),
		time:  int64(binary.BigEndian.Uint64(b[16:])),
	}, nil
}

// tableSet is a set of tables, one bit each.
type tableSet [16]byte

func (s *tableSet) has(table byte) bool { return s[table>>3&15]&(1<<(table&7)) != 0 }
func (s *tableSet) add(table byte)      { s[table>>3&15] |= 1 << (table & 7) }

func stateKey() []byte   { return []byte{spaceMeta, metaApplied} }
func indexedKey() []byte { return []byte{spaceMeta, metaIndexed} }
