package seal

import "errors"

// Errors of this package, wrapped with what failed where that helps. Compare
// with errors.Is.
var (
	// ErrSealed is returned by a Barrier or wrapper that has been closed.
	ErrSealed = errors.New("seal: sealed")

	// ErrWrongKey says that a key does not open what it was tried on: the
	// shares were wrong, too few, or of another generation.
	ErrWrongKey = errors.New("seal: wrong key")

	// ErrCorrupt says that sealed data does not authenticate: it was changed,
	// moved from its place, or sealed under another key.
	ErrCorrupt = errors.New("seal: sealed data does not authenticate")

	// ErrMalformed says that an encoding is truncated, overlong, of an unknown
	// version or otherwise not what this package writes.
	ErrMalformed = errors.New("seal: malformed encoding")

	// ErrUnknownTerm says that a value was sealed under a term that this
	// keyring does not have: it is newer than the keyring, or foreign.
	ErrUnknownTerm = errors.New("seal: unknown key term")

	// ErrKeyExhausted says that the active term has sealed MaxEncryptions
	// values; the keyring must be rotated before it seals another.
	ErrKeyExhausted = errors.New("seal: key exhausted, rotate the keyring")

	// ErrKeyringMismatch says that a keyring does not continue the one in use:
	// it is older, or of another cluster.
	ErrKeyringMismatch = errors.New("seal: keyring does not continue the one in use")

	// ErrInvalidName says that a path has an empty segment.
	ErrInvalidName = errors.New("seal: invalid name: empty path segment")

	// ErrNameTooLong says that a segment is over MaxSegment bytes, or a sealed
	// name over MaxSealedName.
	ErrNameTooLong = errors.New("seal: name too long")

	// ErrInvalidShares says that shares cannot be combined: none, too many, of
	// unequal or impossible length, or two with one x coordinate.
	ErrInvalidShares = errors.New("seal: invalid key shares")

	// ErrUnknownShare says that a share is not of the generation asked for.
	ErrUnknownShare = errors.New("seal: key share is not of this generation")

	// ErrInvalidThreshold says that a number of shares and a threshold do not
	// go together.
	ErrInvalidThreshold = errors.New("seal: invalid share threshold")

	// ErrWrongNonce says that a share was meant for another ceremony.
	ErrWrongNonce = errors.New("seal: nonce does not match the ceremony in progress")

	// ErrInvalidPGPKey says that a public key cannot be encrypted to.
	ErrInvalidPGPKey = errors.New("seal: invalid PGP key")

	// ErrInvalidOTP says that a one-time password and a token, or its encoded
	// form, do not go together.
	ErrInvalidOTP = errors.New("seal: invalid one-time password")
)
