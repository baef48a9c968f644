package seal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/tink-crypto/tink-go/v2/daead/subtle"
)

// Limits of names, in bytes.
const (
	// MaxSegment is the longest path segment.
	MaxSegment = 512

	// MaxSealedName is the longest sealed name, its prefix included.
	MaxSealedName = 4096
)

const (
	sivOverhead     = 16
	componentHeader = 2
	minComponent    = componentHeader + sivOverhead + 1 // of a segment of one byte
	maxComponent    = componentHeader + sivOverhead + MaxSegment

	dirBit = 0x8000 // of a component's length: more components can follow

	// What follows the sealed parent in a component's additional data, so that
	// a leaf and a directory of one name are unrelated.
	leafMark = 0
	dirMark  = 1
)

// SealName seals a path of segments joined by '/' below prefix, which is opaque
// and stays as it is. A trailing slash asks for the directory: the common prefix
// of all names below it. The empty path is prefix itself.
//
// An empty segment is ErrInvalidName. A segment over MaxSegment, or a result
// over MaxSealedName, is ErrNameTooLong.
func (b *Barrier) SealName(prefix []byte, path string) ([]byte, error) {
	if err := checkPath(prefix, path); err != nil {
		return nil, err
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return nil, ErrSealed
	}
	var buf [256]byte
	key := cacheKey(buf[:0], prefix, path)
	head := len(key) - len(path)
	if sealed, ok := b.cache.Get(key); ok {
		return sealed, nil
	}

	// Begin at the longest directory that is known.
	sealed, done := prefix, 0
	for at := parentEnd(path); at > 0; at = parentEnd(path[:at]) {
		if dir, ok := b.cache.Get(key[:head+at]); ok {
			sealed, done = dir, at
			break
		}
	}
	out := make([]byte, len(sealed), len(sealed)+sealedSize(path[done:])+1)
	copy(out, sealed)
	for done < len(path) {
		segment, _, dir := strings.Cut(path[done:], "/")
		var err error
		if out, err = appendComponent(b.names, out, segment, dir); err != nil {
			return nil, err
		}
		done += len(segment)
		if dir {
			done++
		}
		b.cache.Put(key[:head+done], out)
	}
	return out, nil
}

// SealSegment returns the component of one segment below parent, a sealed name
// or prefix. Its errors are those of SealName.
func (b *Barrier) SealSegment(parent []byte, segment string, dir bool) ([]byte, error) {
	if segment == "" || strings.Contains(segment, "/") {
		return nil, ErrInvalidName
	}
	if len(segment) > MaxSegment || len(parent)+sealedSize(segment) > MaxSealedName {
		return nil, ErrNameTooLong
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return nil, ErrSealed
	}
	out := make([]byte, len(parent), len(parent)+sealedSize(segment)+1)
	copy(out, parent)
	out, err := appendComponent(b.names, out, segment, dir)
	if err != nil {
		return nil, err
	}
	return out[len(parent):], nil
}

// OpenComponent opens the first component that follows parent in a sealed name,
// which must begin with parent. It returns the segment, whether it is a
// directory, and the length n of the component: sealed[:len(parent)+n] is the
// sealed name of what was opened. The error is ErrMalformed or ErrCorrupt.
func (b *Barrier) OpenComponent(parent, sealed []byte) (segment string, dir bool, n int, err error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return "", false, 0, ErrSealed
	}
	if !bytes.HasPrefix(sealed, parent) {
		return "", false, 0, fmt.Errorf("%w: name component", ErrMalformed)
	}
	return b.openComponent(len(parent), sealed)
}

// OpenName returns the path that SealName sealed below prefix; sealed begins
// with prefix. The error is ErrMalformed or ErrCorrupt.
func (b *Barrier) OpenName(prefix, sealed []byte) (string, error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if b.closed {
		return "", ErrSealed
	}
	if len(sealed) > MaxSealedName || !bytes.HasPrefix(sealed, prefix) {
		return "", fmt.Errorf("%w: name", ErrMalformed)
	}
	var path strings.Builder
	for at := len(prefix); at < len(sealed); {
		segment, dir, n, err := b.openComponent(at, sealed)
		if err != nil {
			return "", err
		}
		at += n
		path.WriteString(segment)
		if dir {
			path.WriteByte('/')
		} else if at != len(sealed) {
			return "", fmt.Errorf("%w: name goes on below a leaf", ErrMalformed)
		}
	}
	return path.String(), nil
}

// appendComponent appends a component to its parent.
func appendComponent(siv *subtle.AESSIV, parent []byte, segment string, dir bool) ([]byte, error) {
	length, mark := uint16(sivOverhead+len(segment)), byte(leafMark)
	if dir {
		length, mark = length|dirBit, dirMark
	}
	// The additional data is laid out where the component will go.
	sealed, err := siv.EncryptDeterministically([]byte(segment), append(parent, mark))
	if err != nil {
		return nil, fmt.Errorf("seal: name: %w", err)
	}
	return append(binary.BigEndian.AppendUint16(parent, length), sealed...), nil
}

// openComponent opens the component that follows the first at bytes of a name. A
// component that was opened before under the same parent need not be proven
// again: it is the same text.
func (b *Barrier) openComponent(at int, sealed []byte) (segment string, dir bool, n int, err error) {
	if len(sealed)-at < minComponent {
		return "", false, 0, fmt.Errorf("%w: name component", ErrMalformed)
	}
	length := binary.BigEndian.Uint16(sealed[at:])
	dir = length&dirBit != 0
	n = componentHeader + int(length&^dirBit)
	if n < minComponent || n > maxComponent || n > len(sealed)-at {
		return "", false, 0, fmt.Errorf("%w: name component length", ErrMalformed)
	}
	var buf [512]byte
	key := append(binary.AppendUvarint(buf[:0], uint64(at)), sealed[:at+n]...) // #nosec G115 -- a length
	if segment, ok := b.opened.Text(key); ok {
		return segment, dir, n, nil
	}
	ad := append(slices.Clone(sealed[:at]), leafMark)
	if dir {
		ad[at] = dirMark
	}
	plain, err := b.names.DecryptDeterministically(sealed[at+componentHeader:at+n], ad)
	if err != nil {
		return "", false, 0, ErrCorrupt
	}
	b.opened.Offer(key, plain)
	return string(plain), dir, n, nil
}

// checkPath checks all that can be known of a path before it is sealed.
func checkPath(prefix []byte, path string) error {
	if len(prefix)+sealedSize(path) > MaxSealedName {
		return ErrNameTooLong
	}
	for rest := path; rest != ""; {
		segment, after, _ := strings.Cut(rest, "/")
		if segment == "" {
			return ErrInvalidName
		}
		if len(segment) > MaxSegment {
			return ErrNameTooLong
		}
		rest = after
	}
	return nil
}

// sealedSize returns the length of the components of a path without empty
// segments.
func sealedSize(path string) int {
	slashes := strings.Count(path, "/")
	segments := slashes
	if path != "" && path[len(path)-1] != '/' {
		segments++
	}
	return len(path) - slashes + segments*(componentHeader+sivOverhead)
}

// parentEnd returns the length of the directory that path is in, its slash
// included; 0 if it is in none.
func parentEnd(path string) int {
	return strings.LastIndexByte(strings.TrimSuffix(path, "/"), '/') + 1
}

// cacheKey appends a key for a path below prefix: every key of another prefix
// differs, and that of a directory is a prefix of those below it.
func cacheKey(dst, prefix []byte, path string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(prefix)))
	dst = append(dst, prefix...)
	return append(dst, path...)
}
