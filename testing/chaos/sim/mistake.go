package sim

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/fsm"
)

// appliedRow is where the state keeps its index, term and time, as package fsm
// does. Were that to change, the mistake that needs it would not be found.
var appliedRow = []byte{0, 'a'}

// setApplied gives the state on a host's disk the index that its node had before
// it crashed, though not what had been applied up to it.
func (h *host) setApplied() error {
	var last raft.Log
	if err := h.journal.GetLog(h.applied, &last); err != nil {
		return nil //nolint:nilerr // nothing was applied, or all of it is in a snapshot
	}
	dir := h.disk.PathJoin("node", cluster.StateDir)
	name, err := h.current(dir)
	if err != nil {
		return nil //nolint:nilerr // nothing of the state had become durable
	}
	db, err := pebble.Open(h.disk.PathJoin(dir, name), &pebble.Options{FS: h.disk, DisableWAL: true, Logger: silent{}})
	if err != nil {
		return err
	}
	return errors.Join(advance(db, &last), db.Close())
}

func (h *host) current(dir string) (string, error) {
	f, err := h.disk.Open(h.disk.PathJoin(dir, fsm.CurrentFile))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(f)
	return strings.TrimSpace(string(text)), errors.Join(err, f.Close())
}

func advance(db *pebble.DB, to *raft.Log) error {
	value, closer, err := db.Get(appliedRow)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil // nothing has been applied
	}
	if err != nil {
		return err
	}
	row := append([]byte(nil), value...)
	if err := closer.Close(); err != nil {
		return err
	}
	binary.BigEndian.PutUint64(row, to.Index)
	binary.BigEndian.PutUint64(row[8:], to.Term)
	if err := db.Set(appliedRow, row, pebble.NoSync); err != nil {
		return err
	}
	return db.Flush()
}

// silent logs nothing.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(string, ...any) {}
