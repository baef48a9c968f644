//go:build chaos

package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/cluster"
	"github.com/coffer-secrets/coffer/crash"
)

// What is beside the folder of the data in a build for tests: the socket, and
// what the clock was set to, which stays when the process ends.
const (
	controlSuffix = ".control"
	clockSuffix   = ".clock"
	// maxOrder bounds what one connection tells, and orderWithin how long that takes.
	maxOrder    = 4 << 10
	orderWithin = 5 * time.Second
)

// order is what a test tells a node. Each connection has one, and is answered
// with an empty line or what is wrong.
type order struct {
	// Clock sets the wall clock.
	Clock *skew `json:"clock"`
	// Arm has the process end at a step; Disarm ends that.
	Arm *struct {
		Step  crash.Step `json:"step"`
		After bool       `json:"after"`
		Nth   int        `json:"nth"`
	} `json:"arm"`
	Disarm bool `json:"disarm"`
}

// skew is how a wall clock is wrong: by an offset at some moment, and by how much
// more for each second since.
type skew struct {
	Offset time.Duration `json:"offset"`
	Drift  float64       `json:"drift"`
	Since  time.Time     `json:"since"`
}

// skewedClock is the machine's, as a test has set it.
type skewedClock struct {
	start time.Time
	path  string

	mu   sync.Mutex
	skew skew
}

var _ cluster.Clock = (*skewedClock)(nil)

func openClock(path string) (*skewedClock, error) {
	c := &skewedClock{start: time.Now(), path: path}
	text, err := os.ReadFile(path) // #nosec G304 -- beside the data
	if errors.Is(err, os.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &c.skew)
	}
	return c, err
}

// Monotonic implements cluster.Clock.
func (c *skewedClock) Monotonic() time.Duration { return time.Since(c.start) }

// Wall implements cluster.Clock.
func (c *skewedClock) Wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	drifted := time.Duration(c.skew.Drift * float64(now.Sub(c.skew.Since)))
	if c.skew.Since.IsZero() {
		drifted = 0
	}
	return now.Add(c.skew.Offset + drifted)
}

func (c *skewedClock) set(to skew) error {
	to.Since = time.Now()
	text, err := json.Marshal(to)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skew = to
	return os.WriteFile(c.path, text, 0o600)
}

// control opens the socket by which a test sets the clock, and tells the process
// at which step to end.
func (s *Server) control(ctx context.Context) (cluster.Clock, error) {
	clock, err := openClock(s.cfg.Storage.Path + clockSuffix)
	if err != nil {
		return nil, err
	}
	path := s.cfg.Storage.Path + controlSuffix
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			obey(conn, clock)
		}
	}()
	s.later(func() error {
		err := l.Close()
		<-done
		return err
	})
	s.log.Warn("this build is for tests only: who may write to the socket sets its clock, and ends it", "socket", path)
	return clock, nil
}

// obey does what one connection tells.
func obey(conn net.Conn, clock *skewedClock) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(orderWithin))
	buf := make([]byte, maxOrder)
	n, err := conn.Read(buf)
	var o order
	if err == nil {
		err = json.Unmarshal(buf[:n], &o)
	}
	if err == nil && o.Clock != nil {
		err = clock.set(*o.Clock)
	}
	if err == nil && o.Disarm {
		crash.Disarm()
	}
	if err == nil && o.Arm != nil {
		err = crash.Arm(o.Arm.Step, o.Arm.After, o.Arm.Nth)
	}
	text := "\n"
	if err != nil {
		text = err.Error() + "\n"
	}
	_, _ = conn.Write([]byte(text))
}
