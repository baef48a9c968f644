package state

import "encoding/binary"

// Table is the first byte of every key.
type Table byte

// The tables. Their letters are on disk: never reuse one.
const (
	// Boot holds rows with plain names that a sealed node needs.
	Boot Table = 'b'
	// Config holds the system's settings.
	Config Table = 'c'
	// Data holds what mounts store, below the mount's id.
	Data Table = 'd'
	// Mounts holds the mount entries.
	Mounts Table = 'm'
	// Policies holds ACL and password policies.
	Policies Table = 'p'
	// Tokens holds tokens by the HMAC of their id.
	Tokens Table = 't'
	// Accessors holds the accessors of tokens.
	Accessors Table = 'a'
	// Cubbyholes holds wrapped answers by the key of their token.
	Cubbyholes Table = 'w'
	// Identities holds entities, aliases and groups.
	Identities Table = 'i'
	// Reap holds tokens that are gone and whose descendants are not yet.
	Reap Table = 'z'
	// Audit holds the audit devices and which headers their records carry.
	Audit Table = 'u'
	// Factors holds the second factors of logins: methods, where they are asked
	// for, and the secrets.
	Factors Table = 'f'
	// Issuers holds what identity tokens are made from: keys, roles and clients.
	Issuers Table = 'o'
	// Passing holds what counts until its expiry and is then removed, such as a
	// login that waits for a passcode.
	Passing Table = 'x'
	// Quotas holds the quotas, and Counts how many leases count against each.
	Quotas Table = 'q'
	Counts Table = 'n'
	// Leases holds the leases of what engines made, by their ids; Undoing, those
	// of them that are to be undone, by target; Endings, what is gone and has
	// leases left, and which tokens own any.
	Leases  Table = 'l'
	Undoing Table = 'r'
	Endings Table = 'e'
	// Due holds what engines have scheduled, by mount and name as in Data.
	Due Table = 'k'
)

// RootNamespace is the namespace every path is in until there are others.
const RootNamespace uint32 = 0

// Prefix is the start of every key of a table in a namespace.
func Prefix(t Table, namespace uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{byte(t)}, namespace)
}

// BootKey is the key of a row with a plain name.
func BootKey(name string) []byte { return append([]byte{byte(Boot)}, name...) }

// Key appends an id that says nothing of a secret's name to a table's prefix.
func Key(t Table, namespace uint32, id ...[]byte) []byte {
	key := Prefix(t, namespace)
	for _, part := range id {
		key = append(key, part...)
	}
	return key
}

// prefixEnd returns the first key after every key that starts with prefix, or
// nil if there is none.
func prefixEnd(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return end[:i+1]
		}
	}
	return nil
}
