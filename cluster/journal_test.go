package cluster_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/hashicorp/raft"
)

// journal is a log, with term and vote, in memory: what it has returned from is
// durable. It tells of every step, before and after it.
type journal struct {
	mu      sync.Mutex
	entries map[uint64]raft.Log
	first   uint64
	last    uint64
	stable  map[string][]byte
	appends []int // entries of each append

	// step, if set, is called around what becomes durable, without the lock.
	step func(name string)
}

func newJournal() *journal {
	return &journal{entries: make(map[uint64]raft.Log), stable: make(map[string][]byte)}
}

// clone is what a loss of power would leave.
func (j *journal) clone() *journal {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &journal{appends: j.appends[:len(j.appends):len(j.appends)], entries: maps.Clone(j.entries), first: j.first, last: j.last, stable: maps.Clone(j.stable)}
}

func (j *journal) durable(name string, change func()) {
	j.tell("before " + name)
	j.mu.Lock()
	change()
	j.mu.Unlock()
	j.tell(name)
}

func (j *journal) tell(step string) {
	if j.step != nil {
		j.step(step)
	}
}

func (j *journal) FirstIndex() (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.first, nil
}

func (j *journal) LastIndex() (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last, nil
}

func (j *journal) GetLog(index uint64, entry *raft.Log) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	e, ok := j.entries[index]
	if !ok {
		return raft.ErrLogNotFound
	}
	*entry = e
	return nil
}

func (j *journal) StoreLog(entry *raft.Log) error { return j.StoreLogs([]*raft.Log{entry}) }

func (j *journal) StoreLogs(entries []*raft.Log) error {
	j.durable(fmt.Sprintf("append of %d", len(entries)), func() {
		for _, e := range entries {
			if j.first == 0 {
				j.first = e.Index
			}
			j.entries[e.Index], j.last = *e, e.Index
		}
		j.appends = append(j.appends, len(entries))
	})
	return nil
}

func (j *journal) DeleteRange(from, to uint64) error {
	j.durable("truncation", func() {
		for i := from; i <= to; i++ {
			delete(j.entries, i)
		}
		if from == j.first {
			j.first = to + 1
		} else {
			j.last = from - 1
		}
		if len(j.entries) == 0 {
			j.first, j.last = 0, 0
		}
	})
	return nil
}

func (j *journal) Set(key, value []byte) error {
	j.durable("set", func() { j.stable[string(key)] = value })
	return nil
}

// errNoKey has the text that the library looks for.
var errNoKey = errors.New("not found")

func (j *journal) Get(key []byte) ([]byte, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if value, ok := j.stable[string(key)]; ok {
		return value, nil
	}
	return nil, errNoKey
}

func (j *journal) SetUint64(key []byte, value uint64) error {
	return j.Set(key, binary.BigEndian.AppendUint64(nil, value))
}

func (j *journal) GetUint64(key []byte) (uint64, error) {
	value, err := j.Get(key)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint64(value), nil
}

func (j *journal) Close() error { return nil }
