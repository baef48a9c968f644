package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/gorilla/mux"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"

	"github.com/coffer-secrets/coffer/testing/bench/load"
)

// entryBytes is the size of what the floors open and commit.
const entryBytes = 400

// floorLine is what a floor's process says when it listens.
const floorLine = "floor ready"

// plainPath is answered without gorilla/mux.
const plainPath = "/plain"

// startHTTPFloor starts the floor of reads in a process of its own, as the
// server under load is: within one process, a request costs no change of it.
func startHTTPFloor(ctx context.Context) (*target, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(ctx, floorLine, self, "-serve-floor")
}

// serveHTTPFloor serves a bare gorilla/mux handler that opens one sealed value:
// what any server of this API has to do for a read. It runs until it is stopped.
func serveHTTPFloor(ctx context.Context) error {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	nonce := make([]byte, aead.NonceSize())
	sealed := aead.Seal(nil, nonce, make([]byte, entryBytes), nil)
	router := mux.NewRouter().SkipClean(true)
	router.PathPrefix("/v1/").HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		plain, err := aead.Open(nil, nonce, sealed, nil)
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(plain)
	})
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("Listener 1: tcp (addr: \"%s\")\n%s\n", listener.Addr(), floorLine)
	plain := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != plainPath {
			router.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(nonce)
	}
	server := &http.Server{Handler: http.HandlerFunc(plain), ReadHeaderTimeout: time.Minute}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	select {
	case err := <-stopped:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

// raftFloor is bare hashicorp/raft: the log in raft-boltdb, the state in Pebble
// without its own log. It is one node; others are those that follow it.
type raftFloor struct {
	raft   *raft.Raft
	store  *raftboltdb.BoltStore
	db     *pebble.DB
	others []*raftFloor
}

// newRaftFloor starts nodes, all in this process, of which the first leads.
// Several talk over loopback.
func newRaftFloor(dir string, nodes int) (*raftFloor, error) {
	f, server, err := openRaftFloor(dir, 0, nodes > 1)
	if err != nil {
		return nil, err
	}
	servers := []raft.Server{server}
	for i := 1; i < nodes && err == nil; i++ {
		var other *raftFloor
		if other, server, err = openRaftFloor(dir, i, true); err == nil {
			f.others, servers = append(f.others, other), append(servers, server)
		}
	}
	if err == nil {
		err = f.raft.BootstrapCluster(raft.Configuration{Servers: servers}).Error()
	}
	if err != nil {
		f.close()
		return nil, err
	}
	select {
	case <-f.raft.LeaderCh():
		return f, nil
	case <-time.After(time.Minute):
		f.close()
		return nil, errors.New("the floor's node does not lead")
	}
}

func openRaftFloor(dir string, i int, network bool) (f *raftFloor, server raft.Server, err error) {
	f = new(raftFloor)
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	server.ID = raft.ServerID(fmt.Sprint(i))
	dir = filepath.Join(dir, "floor-"+string(server.ID))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return f, server, err
	}
	f.store, err = raftboltdb.New(raftboltdb.Options{
		Path: filepath.Join(dir, "raft.db"), BoltOptions: &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType},
	})
	if err != nil {
		return f, server, err
	}
	if f.db, err = pebble.Open(filepath.Join(dir, "state"), &pebble.Options{DisableWAL: true, Logger: silent{}}); err != nil {
		return f, server, err
	}
	var transport raft.Transport
	if server.Address, transport = raft.NewInmemTransport(""); network {
		if transport, err = raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, 10*time.Second, hclog.NewNullLogger()); err != nil {
			return f, server, err
		}
		server.Address = transport.LocalAddr()
	}
	c := raft.DefaultConfig()
	c.LocalID, c.Logger = server.ID, hclog.NewNullLogger()
	c.MaxAppendEntries, c.BatchApplyCh = 512, true
	f.raft, err = raft.NewRaft(c, &floorMachine{f.db}, f.store, f.store, raft.NewDiscardSnapshotStore(), transport)
	return f, server, err
}

func (f *raftFloor) close() {
	for _, other := range f.others {
		other.close()
	}
	if f.raft != nil {
		_ = f.raft.Shutdown().Error()
	}
	if f.db != nil {
		_ = f.db.Close()
	}
	if f.store != nil {
		_ = f.store.Close()
	}
}

// workers propose entries of entryBytes.
func (f *raftFloor) workers(n int) []load.Worker {
	list := make([]load.Worker, n)
	for i := range list {
		data := make([]byte, entryBytes)
		_, _ = rand.Read(data)
		list[i] = &proposer{raft: f.raft, data: data}
	}
	return list
}

type proposer struct {
	raft *raft.Raft
	data []byte
}

func (p *proposer) Do(n int) error {
	data := append([]byte(nil), p.data...)
	binary.BigEndian.PutUint64(data[8:], uint64(n)) // #nosec G115 -- a counter
	return p.raft.Apply(data, time.Minute).Error()
}

func (p *proposer) Close() {}

// floorMachine stores each entry as a row, and the index beside it.
type floorMachine struct{ db *pebble.DB }

var _ raft.BatchingFSM = (*floorMachine)(nil)

func (m *floorMachine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

func (m *floorMachine) ApplyBatch(logs []*raft.Log) []any {
	batch := m.db.NewBatch()
	for _, l := range logs {
		if l.Type == raft.LogCommand {
			_ = batch.Set(l.Data[:16], l.Data[16:], nil)
		}
	}
	_ = batch.Set([]byte("index"), binary.BigEndian.AppendUint64(nil, logs[len(logs)-1].Index), nil)
	if err := batch.Commit(pebble.NoSync); err != nil {
		panic(fmt.Errorf("bench: floor: %w", err))
	}
	return make([]any, len(logs))
}

func (m *floorMachine) Snapshot() (raft.FSMSnapshot, error) {
	return nil, errors.New("bench: the floor takes no snapshots")
}

func (m *floorMachine) Restore(io.ReadCloser) error {
	return errors.New("bench: the floor takes no snapshots")
}

// silent keeps the floor's store quiet.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("bench: floor: "+format, args...))
}
