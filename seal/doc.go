// Package seal holds Coffer's keys and nothing else: it knows no storage, no
// replication and no request.
//
// # Hierarchy
//
//	shares (Shamir) or an auto-unseal key
//	  └─ root key, 32 bytes
//	       └─ keyring, one sealed blob
//	            ├─ terms 1..n: AES-256-GCM keys for values; the highest is active
//	            ├─ name key: AES-SIV (RFC 5297), 64 bytes, never rotated
//	            └─ derivation root: HKDF-SHA256, one label per purpose
//
// A Keyring is an immutable value; Rotate returns another with one more term. A
// Barrier is what the request path uses: it is built from a keyring, takes a
// rotated one by Install, and forgets everything on Close.
//
// # Formats
//
// All integers are big-endian. Parsing is strict: an unknown version, a short or
// an overlong input is ErrMalformed, and what does not authenticate is
// ErrCorrupt.
//
//	value       0x01 | term u32 | nonce 12 | ciphertext | tag 16, AD = place
//	name        prefix | component*
//	component   u16 (0x8000: directory | length) | AES-SIV(segment), AD = parent | 0x00 leaf or 0x01 directory
//	keyring     0x01 | nonce 12 | ciphertext | tag 16, AD = label
//	blob        0x01 | u8 type | u16 key id | u32 ciphertext, each a length and its bytes
//	share       y bytes | x byte
//
// # Invariants
//
//   - A value opens only at the place it was sealed for, and a component only
//     below the parent it was sealed under.
//   - The sealed name of a directory is a prefix of the sealed name of all that
//     is below it, and of nothing else.
//   - One key never seals more than MaxEncryptions values under random nonces.
//   - No error text holds a key, a share, a value or a name.
//   - Comparisons of secrets, and arithmetic on them, take time that depends on
//     lengths only.
//
// # Locks
//
// Barrier.mu is held for reading during each operation and for writing by
// Install and Close, so that keys are zeroed only when no one reads them.
// Shards of the name caches have a mutex each, taken after Barrier.mu and never
// two at once. Ceremony.mu is taken alone.
package seal
