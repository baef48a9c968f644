package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const (
	nodeIDFile   = "node-id"
	maxNodeIDLen = 128
)

// nodeID is the id of the node whose data are in a folder: what was configured,
// or what was made up when the folder was new. Raft knows the node by it, so it
// never changes.
func nodeID(dir, configured string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("make the storage's folder: %w", err)
	}
	path := filepath.Join(dir, nodeIDFile)
	text, err := os.ReadFile(path)
	kept := strings.TrimSpace(string(text))
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("read the node's id: %w", err)
	case kept == "":
	case configured != "" && configured != kept:
		return "", fmt.Errorf("the data in %s are of node %q, and node_id is %q: a node keeps its id", dir, kept, configured)
	default:
		return kept, nil
	}
	id := configured
	if id == "" {
		id = "node-" + strings.ToLower(rand.Text()[:16])
	}
	if len(id) > maxNodeIDLen || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", fmt.Errorf("node_id must be up to %d printable ASCII characters without spaces", maxNodeIDLen)
	}
	return id, publish(path, []byte(id+"\n"), 0o600)
}

// publish writes a file so that it is there whole or not at all.
func publish(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path+".tmp"))
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
