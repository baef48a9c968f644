package backup

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
)

const maxEntry = 64 << 10 // of those that are kept in memory

// Errors of reading. Nothing that was read before one of them counts.
var (
	// ErrArchive is wrapped by the error for what is not a whole, sound archive.
	ErrArchive = errors.New("malformed snapshot archive")
	// ErrUnsigned: the archive is sound, and not of the cluster whose key was
	// given.
	ErrUnsigned = errors.New("the snapshot archive was not made with this cluster's keys")
)

// Reader reads an archive. As an io.Reader it is the state, whose end comes
// only if everything after it is in order; otherwise an error does.
type Reader struct {
	meta   Meta
	tar    *tar.Reader
	zipped *gzip.Reader
	key    []byte
	digest hash.Hash
	list   []byte
	err    error
}

// Open reads what an archive says of itself. With a key, an archive that was
// not made with it ends in ErrUnsigned.
func Open(r io.Reader, key []byte) (*Reader, error) {
	zipped, err := gzip.NewReader(r)
	if err != nil {
		return nil, damaged(err)
	}
	zipped.Multistream(false)
	a := &Reader{tar: tar.NewReader(zipped), zipped: zipped, key: key, digest: sha256.New()}
	text, err := a.small(entryMeta)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(text, &a.meta) != nil || a.meta.Format != formatVersion {
		return nil, fmt.Errorf("%w: it is of another format", ErrArchive)
	}
	header, err := a.next(entryState)
	if err != nil {
		return nil, err
	}
	if header.Size != a.meta.Size {
		return nil, fmt.Errorf("%w: the state has another size than it says", ErrArchive)
	}
	return a, nil
}

// Meta is what the archive says of itself; whether that is true, only its end
// tells.
func (a *Reader) Meta() Meta { return a.meta }

// Read implements io.Reader.
func (a *Reader) Read(p []byte) (int, error) {
	if a.err != nil {
		return 0, a.err
	}
	n, err := a.tar.Read(p)
	a.digest.Write(p[:n])
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		if a.err = a.finish(); a.err == nil {
			a.err = io.EOF
		}
	default:
		a.err = damaged(err)
	}
	return n, a.err
}

// finish checks what comes after the state.
func (a *Reader) finish() error {
	a.list = fmt.Appendf(a.list, "%s  %s\n", hex.EncodeToString(a.digest.Sum(nil)), entryState)
	want := slices.Clone(a.list)
	list, err := a.small(entrySums)
	if err != nil {
		return err
	}
	if !bytes.Equal(list, want) {
		return fmt.Errorf("%w: its digests are others", ErrArchive)
	}
	sealed, err := a.small(entrySealed)
	if err != nil {
		return err
	}
	if _, err := a.tar.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it goes on after its end", ErrArchive)
	}
	if _, err := io.Copy(io.Discard, io.LimitReader(a.zipped, maxEntry)); err != nil {
		return damaged(err) // the digest of the gzip
	}
	if a.key != nil && !hmac.Equal(sealed, seal(a.key, list)) {
		return ErrUnsigned
	}
	return nil
}

// small reads an entry that is kept in memory.
func (a *Reader) small(name string) ([]byte, error) {
	header, err := a.next(name)
	if err != nil {
		return nil, err
	}
	if header.Size > maxEntry {
		return nil, fmt.Errorf("%w: %s is too large", ErrArchive, name)
	}
	text, err := io.ReadAll(a.tar)
	if err != nil {
		return nil, damaged(err)
	}
	a.list = fmt.Appendf(a.list, "%x  %s\n", sha256.Sum256(text), name)
	return text, nil
}

// next goes to the next entry, which has to be a certain one: no name is ever
// taken for a file's.
func (a *Reader) next(name string) (*tar.Header, error) {
	header, err := a.tar.Next()
	if err != nil {
		return nil, damaged(err)
	}
	if header.Name != name || header.Typeflag != tar.TypeReg || header.Size < 0 {
		return nil, fmt.Errorf("%w: %s is expected", ErrArchive, name)
	}
	return header, nil
}

// damaged says that what could not be read is no archive, or not all of one. An
// error of the reader below stays visible.
func damaged(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: %w", ErrArchive, err)
}

// Inspect reads an archive to its end and returns what it says of itself.
func Inspect(r io.Reader) (Meta, error) {
	a, err := Open(r, nil)
	if err != nil {
		return Meta{}, err
	}
	_, err = io.Copy(io.Discard, a)
	return a.meta, err
}
