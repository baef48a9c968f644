package seal_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"
)

// pattern returns n fixed bytes that differ by name.
func pattern(name string, n int) []byte {
	var out []byte
	for i := 0; len(out) < n; i++ {
		sum := sha256.Sum256([]byte{byte(i)})
		sum = sha256.Sum256(append(sum[:], name...))
		out = append(out, sum[:]...)
	}
	return out[:n]
}

func referenceKeyring() refKeyring {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC).UnixNano()
	return refKeyring{
		NameKey:    pattern("name key", 64),
		DeriveRoot: pattern("derivation root", 32),
		Terms: []refTerm{
			{Number: 1, Key: pattern("term 1", 32), InstallTime: at, Encryptions: 77},
			{Number: 2, Key: pattern("term 2", 32), InstallTime: at + 1e9, Encryptions: 1 << 31},
		},
	}
}

// referenceVectors returns the content of each file of testdata.
func referenceVectors(t testing.TB) map[string]vectorFile {
	t.Helper()
	rootKey, nonce := pattern("root key", 32), pattern("keyring nonce", 12)
	sealed := referenceKeyring().seal(rootKey, nonce)
	return map[string]vectorFile{
		"keyring": {Comment: "Opening a keyring under a root key.", Cases: keyringVectors(rootKey, nonce, sealed)},
		"values": {
			Comment: "Opening a value at its place.",
			RootKey: rootKey, Keyring: sealed, Cases: valueVectors(),
		},
		"names": {
			Comment: "Sealing a path below a prefix, and opening it. Without a sealed name, sealing fails.",
			RootKey: rootKey, Keyring: sealed, Cases: nameVectors(),
		},
		"shamir": {Comment: "Combining shares.", Cases: shamirVectors()},
		"blob":   {Comment: "Parsing what an auto-unseal wrapper made.", Cases: blobVectors()},
	}
}

// edit returns a copy of b that do has changed.
func edit(b []byte, do func(b []byte) []byte) []byte { return do(slices.Clone(b)) }

func flip(b []byte, at int) []byte {
	return edit(b, func(b []byte) []byte { b[(at+len(b))%len(b)] ^= 1; return b })
}

func keyringVectors(rootKey, nonce, sealed []byte) []vector {
	var terms []vectorTerm
	ring := referenceKeyring()
	for _, term := range ring.Terms {
		terms = append(terms, vectorTerm{term.Number, time.Unix(0, term.InstallTime).UTC(), term.Encryptions})
	}
	resealed := func(change func(k *refKeyring)) []byte {
		k := referenceKeyring()
		change(&k)
		return k.seal(rootKey, nonce)
	}
	plain := func(b []byte) []byte {
		return append([]byte{1}, refGCM(rootKey, nonce, b, []byte("coffer/v1/keyring"))...)
	}
	return []vector{
		{Comment: "two terms", RootKey: rootKey, Keyring: sealed, Terms: terms, Keys: map[string]hexBytes{
			"token":    refDerive(ring.DeriveRoot, "coffer/v1/derive/token", 32),
			"accessor": refDerive(ring.DeriveRoot, "coffer/v1/derive/accessor", 64),
		}},
		{Comment: "other root key", Error: "wrong key", RootKey: flip(rootKey, 0), Keyring: sealed},
		{Comment: "short root key", Error: "wrong key", RootKey: rootKey[:16], Keyring: sealed},
		{Comment: "changed", Error: "wrong key", RootKey: rootKey, Keyring: flip(sealed, -1)},
		{Comment: "other label", Error: "wrong key", RootKey: rootKey,
			Keyring: append([]byte{1}, refGCM(rootKey, nonce, ring.plain(), []byte("coffer/v1/value"))...)},
		{Comment: "unknown version", Error: "malformed", RootKey: rootKey, Keyring: flip(sealed, 0)},
		{Comment: "truncated", Error: "malformed", RootKey: rootKey, Keyring: sealed[:28]},
		{Comment: "empty", Error: "malformed", RootKey: rootKey},
		{Comment: "no terms", Error: "malformed", RootKey: rootKey,
			Keyring: resealed(func(k *refKeyring) { k.Terms = nil })},
		{Comment: "terms out of order", Error: "malformed", RootKey: rootKey,
			Keyring: resealed(func(k *refKeyring) { slices.Reverse(k.Terms) })},
		{Comment: "content of unknown version", Error: "malformed", RootKey: rootKey, Keyring: plain(flip(ring.plain(), 0))},
		{Comment: "content too long", Error: "malformed", RootKey: rootKey, Keyring: plain(append(ring.plain(), 0))},
		{Comment: "content too short", Error: "malformed", RootKey: rootKey, Keyring: plain(ring.plain()[:100])},
		{Comment: "more terms than are there", Error: "malformed", RootKey: rootKey,
			Keyring: plain(edit(ring.plain(), func(b []byte) []byte { b[97] = 0xff; return b }))},
	}
}

func valueVectors() []vector {
	ring := referenceKeyring()
	place, nonce, text := []byte("place"), pattern("value nonce", 12), []byte("Tr0ub4dor&3")
	first := refValue(ring.Terms[0].Key, 1, nonce, place, text)
	second := refValue(ring.Terms[1].Key, 2, nonce, place, text)
	term := func(n uint32) []byte {
		return edit(first, func(b []byte) []byte { binary.BigEndian.PutUint32(b[1:], n); return b })
	}
	return []vector{
		{Comment: "active term", Place: place, Plaintext: text, Sealed: second},
		{Comment: "older term", Place: place, Plaintext: text, Sealed: first},
		{Comment: "empty value, no place", Sealed: refValue(ring.Terms[1].Key, 2, nonce, nil, nil)},
		{Comment: "wrong place", Error: "corrupt", Place: []byte("places"), Sealed: second},
		{Comment: "no place", Error: "corrupt", Sealed: second},
		{Comment: "wrong term", Error: "corrupt", Place: place, Sealed: term(2)},
		{Comment: "term 0", Error: "unknown term", Place: place, Sealed: term(0)},
		{Comment: "term to come", Error: "unknown term", Place: place, Sealed: term(3)},
		{Comment: "greatest term", Error: "unknown term", Place: place, Sealed: term(1<<32 - 1)},
		{Comment: "flipped nonce", Error: "corrupt", Place: place, Sealed: flip(second, 5)},
		{Comment: "flipped ciphertext", Error: "corrupt", Place: place, Sealed: flip(second, 17)},
		{Comment: "flipped tag", Error: "corrupt", Place: place, Sealed: flip(second, -1)},
		{Comment: "truncated by a byte", Error: "corrupt", Place: place, Sealed: second[:len(second)-1]},
		{Comment: "truncated below its overhead", Error: "malformed", Place: place, Sealed: second[:32]},
		{Comment: "longer by a byte", Error: "corrupt", Place: place, Sealed: append(slices.Clone(second), 0)},
		{Comment: "unknown version", Error: "malformed", Place: place,
			Sealed: edit(second, func(b []byte) []byte { b[0] = 2; return b })},
		{Comment: "empty", Error: "malformed", Place: place},
	}
}

func nameVectors() []vector {
	key, prefix := referenceKeyring().NameKey, []byte{0x01, 0xaa, 0xbb}
	name := func(path string) []byte { return refName(key, prefix, path) }
	var out []vector
	for _, path := range []string{
		"", "foo", "foo/", "foo/bar", "foo/bar/baz", "database/master", "sixteen bytes ok", "seventeen bytes ok",
		"ünï/cödé", "a b/\x00\x7f", ".", "../..", strings.Repeat("s", 512), strings.Repeat("d/", 200),
	} {
		out = append(out, vector{Comment: "path " + path[:min(len(path), 20)], Prefix: prefix, Path: path, Sealed: name(path)})
	}
	out = append(out, vector{Comment: "no prefix", Path: "foo", Sealed: refName(key, nil, "foo")})

	leaf, dir, deep := name("foo"), name("foo/"), name("foo/bar")
	bad := func(comment, err string, sealed []byte) {
		out = append(out, vector{Comment: comment, Error: err, Prefix: prefix, Sealed: sealed})
	}
	bad("other prefix", "malformed", refName(key, []byte{0x02, 0xaa, 0xbb}, "foo"))
	bad("shorter than its prefix", "malformed", prefix[:2])
	bad("component under another parent", "corrupt", append(slices.Clone(name("fop/")), deep[len(dir):]...))
	bad("leaf as a directory", "corrupt", edit(leaf, func(b []byte) []byte { b[3] ^= 0x80; return b }))
	bad("directory as a leaf", "corrupt", edit(dir, func(b []byte) []byte { b[3] ^= 0x80; return b }))
	bad("leaf with a component below", "malformed", append(slices.Clone(leaf), refComponent(key, leaf, "x", 0, 0)...))
	bad("flipped", "corrupt", flip(leaf, -1))
	bad("truncated", "malformed", leaf[:len(leaf)-1])
	bad("truncated length", "malformed", append(slices.Clone(dir), 0))
	bad("longer", "malformed", append(slices.Clone(dir), 0, 17, 1))
	bad("empty segment", "malformed", append(slices.Clone(dir), refComponent(key, dir, "", 0, 0)...))
	hollow := append(slices.Clone(dir), refComponent(key, dir, "", 0x8000, 1)...)
	bad("empty directory", "malformed", append(hollow, refComponent(key, hollow, "x", 0, 0)...))
	bad("segment too long", "malformed", append(slices.Clone(dir), refComponent(key, dir, strings.Repeat("s", 513), 0, 0)...))
	bad("name too long", "malformed", name(strings.Repeat("d/", 300)))

	unsealable := func(err string, paths ...string) {
		for _, path := range paths {
			out = append(out, vector{
				Comment: "unsealable " + path[:min(len(path), 20)], Error: err, Prefix: prefix, Path: path,
			})
		}
	}
	unsealable("invalid name", "/", "//", "/foo", "foo//", "foo//bar")
	unsealable("name too long", strings.Repeat("s", 513), "foo/"+strings.Repeat("t", 513)+"/", strings.Repeat("d/", 300))
	return out
}

func shamirVectors() []vector {
	secret := pattern("shared secret", 32)
	var polynomials [][]byte
	for i, b := range secret {
		polynomials = append(polynomials, append([]byte{b}, pattern("coefficients"+string(rune('a'+i)), 2)...))
	}
	shares := refShares(polynomials, []byte{1, 2, 255, 128, 77})
	wrong := secretOf(shares[:2])
	pick := func(at ...int) (out []hexBytes) {
		for _, i := range at {
			out = append(out, shares[i])
		}
		return out
	}
	with := func(last []byte) []hexBytes { return append(pick(0, 1), last) }
	return []vector{
		{Comment: "three of five", Shares: pick(0, 1, 2), Secret: secret},
		{Comment: "another three, in another order", Shares: pick(4, 2, 3), Secret: secret},
		{Comment: "all five", Shares: pick(0, 1, 2, 3, 4), Secret: secret},
		{Comment: "two of five give something else", Shares: pick(0, 1), Secret: wrong},
		{Comment: "a single share is the secret", Shares: []hexBytes{secret}, Secret: secret},
		{Comment: "no shares", Error: "invalid shares"},
		{Comment: "an empty share", Error: "invalid shares", Shares: []hexBytes{{}}},
		{Comment: "two empty shares", Error: "invalid shares", Shares: []hexBytes{{}, {}}},
		{Comment: "shares of a coordinate only", Error: "invalid shares", Shares: []hexBytes{{1}, {2}}},
		{Comment: "one share twice", Error: "invalid shares", Shares: pick(0, 1, 0)},
		{Comment: "one coordinate twice", Error: "invalid shares", Shares: with(flip(shares[0], 3))},
		{Comment: "coordinate 0", Error: "invalid shares", Shares: with(append(bytes.Clone(shares[2][:32]), 0))},
		{Comment: "a short share", Error: "invalid shares", Shares: with(shares[2][1:])},
		{Comment: "a long share", Error: "invalid shares", Shares: with(append([]byte{0}, shares[2]...))},
	}
}

// secretOf combines shares by the reference.
func secretOf(shares [][]byte) (secret []byte) {
	size := len(shares[0]) - 1
	for at := range size {
		var xs, ys []byte
		for _, share := range shares {
			xs, ys = append(xs, share[size]), append(ys, share[at])
		}
		secret = append(secret, refInterpolate(xs, ys))
	}
	return secret
}

func blobVectors() []vector {
	good := []byte("\x01\x06static\x00\x02k1\x00\x00\x00\x03abc")
	return []vector{
		{Comment: "static", Sealed: good, Type: "static", KeyID: "k1", Ciphertext: []byte("abc")},
		{Comment: "empty", Error: "malformed"},
		{Comment: "unknown version", Error: "malformed", Sealed: flip(good, 0)},
		{Comment: "truncated", Error: "malformed", Sealed: good[:len(good)-1]},
		{Comment: "cut before its key id", Error: "malformed", Sealed: good[:9]},
		{Comment: "longer", Error: "malformed", Sealed: append(slices.Clone(good), 0)},
		{Comment: "no type", Error: "malformed", Sealed: []byte("\x01\x00\x00\x02k1\x00\x00\x00\x03abc")},
		{Comment: "no key id", Error: "malformed", Sealed: []byte("\x01\x06static\x00\x00\x00\x00\x00\x03abc")},
		{Comment: "no ciphertext", Error: "malformed", Sealed: []byte("\x01\x06static\x00\x02k1\x00\x00\x00\x00")},
		{Comment: "type too long", Error: "malformed", Sealed: slices.Concat([]byte{1, 33}, make([]byte, 99))},
		{Comment: "ciphertext too long", Error: "malformed",
			Sealed: []byte("\x01\x06static\x00\x02k1\xff\xff\xff\xffabc")},
	}
}
