package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/coffer-secrets/coffer/crash"
)

// controlWithin bounds one order to a node.
const controlWithin = 2 * time.Second

// Skew is how a wall clock is wrong: by how much, and by how much more each
// second.
type Skew struct {
	Offset time.Duration `json:"offset"`
	Drift  float64       `json:"drift"`
}

// SetClock sets the wall clock of a node that is up. It stays so over restarts.
func (r *Rig) SetClock(ctx context.Context, i int, to Skew) error {
	return r.order(ctx, i, map[string]any{"clock": to})
}

// Arm has a node end itself when a step of it begins for the nth time, or has
// ended. Restart, Disarm and Heal end that.
func (r *Rig) Arm(ctx context.Context, i int, step crash.Step, after bool, nth int) error {
	r.MayEnd(i)
	return r.order(ctx, i, map[string]any{"arm": map[string]any{"step": step, "after": after, "nth": nth}})
}

// Disarm ends an Arm.
func (r *Rig) Disarm(ctx context.Context, i int) error {
	return r.order(ctx, i, map[string]any{"disarm": true})
}

// order tells a node something over its control socket.
func (r *Rig) order(ctx context.Context, i int, what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, controlWithin)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", r.Nodes[i].DataDir()+".control")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(controlWithin)); err != nil {
		return err
	}
	if _, err := conn.Write(text); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && !bytes.Equal(answer, []byte("\n")) {
		err = fmt.Errorf("rig: node %d: %s", i, answer)
	}
	return err
}

// rightClock ends what SetClock and Arm did to a node, which may be down.
func (r *Rig) rightClock(i int) error {
	if !r.Up(i) {
		if err := os.Remove(r.Nodes[i].DataDir() + ".clock"); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	}
	return r.order(context.Background(), i, map[string]any{"clock": Skew{}, "disarm": true})
}
