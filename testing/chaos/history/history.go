package history

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Outcome is how an operation ended, as the client was told.
type Outcome string

// Refused and Failed both mean that nothing was done: by a rule of the API, and
// since the cluster could not. Unknown may have been done, or be done later.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused"
	Failed  Outcome = "failed"
	Unknown Outcome = "unknown"
)

// Op is one operation. Times are nanoseconds of the harness's monotonic clock
// since the run began.
type Op struct {
	Work   string `json:"work"`
	Kind   string `json:"kind"`
	Key    string `json:"key"`
	Client int    `json:"client"`
	Node   int    `json:"node"`
	// Value is what was written or read, List what was listed.
	Value string   `json:"value,omitempty"`
	List  []string `json:"list,omitempty"`
	// Expected is the version that a compare-and-set asks for, Version the one
	// that the answer tells. With single-use things it is how many uses they have.
	Expected int64   `json:"expected,omitempty"`
	Version  int64   `json:"version,omitempty"`
	Call     int64   `json:"call"`
	Return   int64   `json:"return"`
	Outcome  Outcome `json:"outcome"`
	Status   int     `json:"status"`
	// Index is that of the state which the answer rests on; 0: none was told.
	Index uint64 `json:"index,omitempty"`
}

// Recorder writes operations to a file as they end, and keeps them.
type Recorder struct {
	began time.Time
	mu    sync.Mutex
	ops   []Op
	file  *os.File
	out   *bufio.Writer
	err   error
}

// Create makes the file of a new history.
func Create(path string) (*Recorder, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) // #nosec G304 -- the caller's own
	if err != nil {
		return nil, err
	}
	return &Recorder{began: time.Now(), file: file, out: bufio.NewWriter(file)}, nil
}

// Now is the time on the history's clock.
func (r *Recorder) Now() int64 { return int64(time.Since(r.began)) }

// Add keeps an operation.
func (r *Recorder) Add(op Op) {
	text, err := json.Marshal(op)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ops = append(r.ops, op)
	if err == nil {
		_, err = r.out.Write(append(text, '\n'))
	}
	r.err = errors.Join(r.err, err)
}

// Ops are the operations until now.
func (r *Recorder) Ops() []Op {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Op(nil), r.ops...)
}

// Close writes what is left.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.err, r.out.Flush(), r.file.Close())
}

// Load reads a history.
func Load(path string) ([]Op, error) {
	file, err := os.Open(path) // #nosec G304 -- the caller's own
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var ops []Op
	in := json.NewDecoder(bufio.NewReader(file))
	for {
		var op Op
		if err := in.Decode(&op); errors.Is(err, io.EOF) {
			return ops, nil
		} else if err != nil {
			return nil, fmt.Errorf("operation %d of %s: %w", len(ops)+1, path, err)
		}
		ops = append(ops, op)
	}
}
