package cluster

import (
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/coffer-secrets/coffer/crash"
	"github.com/coffer-secrets/coffer/fsm"
)

// stateMachine is the store as Raft sees it.
type stateMachine struct {
	store *fsm.Store
	// before and after surround the application of a batch.
	before func() (stop func())
	after  func(last *raft.Log)
}

var _ raft.BatchingFSM = (*stateMachine)(nil)

// ApplyBatch implements raft.BatchingFSM. A response is a *fsm.Result.
func (m *stateMachine) ApplyBatch(logs []*raft.Log) []any {
	entries := make([]fsm.Entry, len(logs))
	for i, l := range logs {
		entries[i] = fsm.Entry{Index: l.Index, Term: l.Term}
		if l.Type == raft.LogCommand {
			entries[i].Data = l.Data
		}
	}
	stop := m.before()
	crash.Before(crash.Apply)
	results := m.store.ApplyBatch(entries)
	crash.After(crash.Apply)
	stop()
	m.after(logs[len(logs)-1])
	responses := make([]any, len(logs))
	for i := range results {
		responses[i] = &results[i]
	}
	return responses
}

// Apply implements raft.FSM.
func (m *stateMachine) Apply(l *raft.Log) any { return m.ApplyBatch([]*raft.Log{l})[0] }

// Snapshot implements raft.FSM.
func (m *stateMachine) Snapshot() (raft.FSMSnapshot, error) {
	s, err := m.store.Snapshot()
	if err != nil {
		return nil, err
	}
	return stateSnapshot{s}, nil
}

// Restore implements raft.FSM.
func (m *stateMachine) Restore(r io.ReadCloser) error {
	return errors.Join(m.store.Restore(r), r.Close())
}

// checkpointSink is a sink that takes the state itself instead of a stream.
type checkpointSink interface {
	Checkpoint(state *fsm.Snapshot) error
}

// stateSnapshot is the state as Raft stores it.
type stateSnapshot struct{ s *fsm.Snapshot }

// Persist implements raft.FSMSnapshot.
func (s stateSnapshot) Persist(sink raft.SnapshotSink) error {
	k, ok := sink.(checkpointSink)
	if !ok {
		return fmt.Errorf("cluster: cannot store a checkpoint in a %T", sink)
	}
	return k.Checkpoint(s.s)
}

// Release implements raft.FSMSnapshot.
func (s stateSnapshot) Release() { s.s.Release() }
