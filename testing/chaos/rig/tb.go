package rig

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// stopped is what ends the work of a step that went wrong.
type stopped struct{ text string }

// tb lets testing/harness run outside of a test. What would end a test panics
// with stopped, which try makes an error.
type tb struct {
	testing.TB

	dir     string
	say     func(text string)
	closing bool
	mu      sync.Mutex
	wrong   []string
	undo    []func()
}

func (t *tb) Helper() {}

func (t *tb) Logf(format string, args ...any) {
	if !t.closing {
		t.say(fmt.Sprintf(format, args...))
	}
}

func (t *tb) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrong = append(t.wrong, fmt.Sprintf(format, args...))
}

func (t *tb) Fatalf(format string, args ...any) { panic(stopped{fmt.Sprintf(format, args...)}) }

func (t *tb) Fatal(args ...any) { panic(stopped{fmt.Sprint(args...)}) }

// Failed is so at the end, when the rig itself has looked for what is wrong.
func (t *tb) Failed() bool { return t.closing }

func (t *tb) TempDir() string {
	dir, err := os.MkdirTemp(t.dir, "node-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (t *tb) Cleanup(undo func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.undo = append(t.undo, undo)
}

// try runs a step of the harness.
func (t *tb) try(step func()) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case stopped:
			err = fmt.Errorf("rig: %s", r.text)
		default:
			panic(r)
		}
	}()
	step()
	return nil
}

// took returns what was wrong until now, once.
func (t *tb) took() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	wrong := t.wrong
	t.wrong = nil
	return wrong
}

// close undoes everything, the last first.
func (t *tb) close() {
	t.closing = true
	for len(t.undo) > 0 {
		last := t.undo[len(t.undo)-1]
		t.undo = t.undo[:len(t.undo)-1]
		_ = t.try(last)
	}
}
