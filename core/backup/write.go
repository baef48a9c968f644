package backup

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"
	"time"
)

// Label names the key of the MAC, which is derived from the keyring.
const Label = "coffer/v1/backup"

// KeyBytes is the length of that key.
const KeyBytes = 32

// The entries of an archive, in their order.
const (
	entryMeta   = "meta.json"
	entryState  = "state.bin"
	entrySums   = "SHA256SUMS"
	entrySealed = "SHA256SUMS.sealed"
)

// formatVersion is that of the archive.
const formatVersion = 1

// Meta says what an archive is of.
type Meta struct {
	Format  int       `json:"format"`
	Cluster string    `json:"cluster_id"`
	Version string    `json:"version"`
	Index   uint64    `json:"index"`
	Term    uint64    `json:"term"`
	Size    int64     `json:"size"`
	Time    time.Time `json:"time"`
}

// Source is a state that stays as it is while it is written.
type Source interface {
	WriteSnapshot(ctx context.Context, w io.Writer, clusterID []byte) error
}

// Write writes an archive. The state is read twice, the first time for its
// size, which a tar tells beforehand: a second copy would need as much memory
// or disk as the state.
func Write(ctx context.Context, w io.Writer, key []byte, meta Meta, state Source) error {
	var size counter
	if err := state.WriteSnapshot(ctx, &size, nil); err != nil {
		return err
	}
	meta.Format, meta.Size = formatVersion, int64(size)
	text, err := json.Marshal(meta)
	if err != nil {
		return err
	}
	zipped, err := gzip.NewWriterLevel(w, gzip.BestSpeed) // ciphertext does not get smaller
	if err != nil {
		return err
	}
	out := archive{tar: tar.NewWriter(zipped), at: meta.Time, sums: sha256.New}
	if err := out.entry(entryMeta, text); err != nil {
		return err
	}
	digest := out.sums()
	if err := out.begin(entryState, meta.Size); err != nil {
		return err
	}
	if err := state.WriteSnapshot(ctx, io.MultiWriter(out.tar, digest), nil); err != nil {
		return err
	}
	out.note(entryState, digest)
	list := slices.Clone(out.list)
	if err := out.entry(entrySums, list); err != nil {
		return err
	}
	if err := out.entry(entrySealed, seal(key, list)); err != nil {
		return err
	}
	if err := out.tar.Close(); err != nil {
		return err
	}
	return zipped.Close()
}

// seal is the MAC of the list of digests.
func seal(key, list []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(list)
	return mac.Sum(nil)
}

// archive is a tar that is being written, with the digests of its entries.
type archive struct {
	tar  *tar.Writer
	at   time.Time
	sums func() hash.Hash
	list []byte
}

func (a *archive) begin(name string, size int64) error {
	return a.tar.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: size, ModTime: a.at, Typeflag: tar.TypeReg})
}

func (a *archive) entry(name string, content []byte) error {
	if err := a.begin(name, int64(len(content))); err != nil {
		return err
	}
	if _, err := a.tar.Write(content); err != nil {
		return err
	}
	digest := a.sums()
	digest.Write(content)
	a.note(name, digest)
	return nil
}

func (a *archive) note(name string, digest hash.Hash) {
	a.list = fmt.Appendf(a.list, "%s  %s\n", hex.EncodeToString(digest.Sum(nil)), name)
}

// counter counts what is written to it.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
