package sim

import (
	"encoding/binary"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// journal is a log, with term and vote, in memory. What it has returned from is
// durable.
type journal struct {
	mu      sync.Mutex
	entries map[uint64]raft.Log
	first   uint64
	last    uint64
	stable  map[string][]byte
	// dead says that the node has crashed: nothing becomes durable any more, and
	// nobody may be told otherwise.
	dead bool
}

// deadFor is how long a crashed node keeps silent about what it did not make
// durable: longer than any peer waits for its answer.
const deadFor = 5 * time.Second

var (
	errDead  = errors.New("sim: the node has crashed")
	errNoKey = errors.New("not found") // the text that Raft looks for
)

func newJournal() *journal {
	return &journal{entries: make(map[uint64]raft.Log), stable: make(map[string][]byte)}
}

// crash returns what is durable, and makes the rest of the journal's life void.
func (j *journal) crash() *journal {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dead = true
	return &journal{entries: maps.Clone(j.entries), first: j.first, last: j.last, stable: maps.Clone(j.stable)}
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
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.dead {
		return errDead
	}
	for _, e := range entries {
		if j.first == 0 {
			j.first = e.Index
		}
		j.entries[e.Index], j.last = *e, e.Index
	}
	return nil
}

func (j *journal) DeleteRange(from, to uint64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.dead {
		return errDead
	}
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
	return nil
}

// Set keeps a term or a vote. Raft does not go on when it cannot, so a node that
// has crashed hangs here until nobody waits for its vote any more.
func (j *journal) Set(key, value []byte) error {
	j.mu.Lock()
	dead := j.dead
	if !dead {
		j.stable[string(key)] = value
	}
	j.mu.Unlock()
	if !dead {
		return nil
	}
	time.Sleep(deadFor)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stable[string(key)] = value
	return nil
}

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
