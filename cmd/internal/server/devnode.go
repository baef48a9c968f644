package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

const (
	devFolder     = "coffer-dev-"
	ephemeralFlag = "dev-ephemeral"

	devStartTimeout = 60 * time.Second
	devStopTimeout  = 40 * time.Second
	// tailBytes of a log are shown when a node does not start.
	tailBytes = 2 << 10
)

// devNode is a node that runs as a process of its own.
type devNode struct {
	cmd     *exec.Cmd
	address string
	logPath string
	ready   chan struct{} // closed when the listeners are open
	done    chan struct{} // closed when the process has ended; err is set before
	err     error
}

// startDevNode writes a configuration and starts a node with it, which joins the
// node at the address join, if there is one. It returns when the node's
// listeners are open.
func startDevNode(ctx context.Context, dir, id, address, join string, keep bool) (*devNode, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	configPath := filepath.Join(dir, "coffer.hcl")
	if join != "" {
		join = fmt.Sprintf("\n  retry_join {\n    leader_api_addr = %q\n  }\n", join)
	}
	text := fmt.Sprintf("storage \"raft\" {\n  path    = %q\n  node_id = %q\n%s}\n\n"+
		"listener \"tcp\" {\n  address     = %q\n  tls_disable = true\n}\n\nui = true\n",
		filepath.Join(dir, "data"), id, join, address)
	if err := publish(configPath, []byte(text), 0o600); err != nil {
		return nil, err
	}
	n := &devNode{
		address: "http://" + address, logPath: filepath.Join(dir, "coffer.log"),
		ready: make(chan struct{}), done: make(chan struct{}),
	}
	if err := n.start(context.WithoutCancel(ctx), configPath, keep); err != nil {
		return nil, err
	}
	timer := time.NewTimer(devStartTimeout)
	defer timer.Stop()
	select {
	case <-n.ready:
		return n, nil
	case <-n.done:
		return nil, fmt.Errorf("the node did not start: %w", n.failure())
	case <-timer.C:
		return nil, errors.Join(errors.New("the node did not start in time"), n.stop())
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), n.stop())
	}
}

// start starts the process. It dies with this one: the kernel ties it to the
// thread that started it, which therefore stays until the process has ended.
func (n *devNode) start(ctx context.Context, configPath string, keep bool) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(n.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	args := []string{"server", "-config=" + configPath}
	if !keep {
		args = append(args, "-"+ephemeralFlag)
	}
	n.cmd = exec.CommandContext(ctx, program, args...) // #nosec G204 -- this very program
	n.cmd.Env, n.cmd.Stderr, n.cmd.SysProcAttr = plainEnvironment(), log, childAttributes()
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		return errors.Join(err, log.Close())
	}
	began := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := n.cmd.Start()
		began <- errors.Join(err, log.Close())
		if err != nil {
			return
		}
		n.awaitReady(stdout)
		n.err = n.cmd.Wait()
		close(n.done)
	}()
	return <-began
}

// removeDevNode removes a node's folder, and with the last of them the cluster's:
// whoever started the nodes may have been killed. It touches no other folder.
func removeDevNode(dir string) error {
	parent := filepath.Dir(dir)
	if !strings.HasPrefix(filepath.Base(parent), devFolder) || !strings.HasPrefix(filepath.Base(dir), "node-") {
		return fmt.Errorf("%s is not a folder of a dev cluster", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Remove(parent); err != nil && !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// awaitReady reads what the process tells, until it tells no more.
func (n *devNode) awaitReady(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	told := false
	for lines.Scan() {
		if lines.Text() == started && !told {
			told = true
			close(n.ready)
		}
	}
}

// failure says why the process has ended, with the end of its log.
func (n *devNode) failure() error {
	text, err := os.ReadFile(n.logPath)
	if err != nil {
		return errors.Join(n.err, err)
	}
	text = bytes.TrimSpace(text[max(0, len(text)-tailBytes):])
	if n.err == nil {
		return fmt.Errorf("it stopped by itself:\n%s", text)
	}
	return fmt.Errorf("%w:\n%s", n.err, text)
}

// stop ends the process, gently at first.
func (n *devNode) stop() error {
	select {
	case <-n.done:
		return nil
	default:
	}
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	timer := time.NewTimer(devStopTimeout)
	defer timer.Stop()
	select {
	case <-n.done:
		return nil
	case <-timer.C:
	}
	err := n.cmd.Process.Kill()
	<-n.done
	return errors.Join(errors.New("a node did not stop in time and was killed"), err)
}

// plainEnvironment is the environment without what would change the node's
// configuration.
func plainEnvironment() []string {
	var out []string
	for _, pair := range os.Environ() {
		if strings.HasPrefix(pair, "COFFER_") || strings.HasPrefix(pair, "VAULT_") || strings.HasPrefix(pair, "BAO_") ||
			strings.HasPrefix(pair, "NOTIFY_SOCKET=") {
			continue
		}
		out = append(out, pair)
	}
	return out
}
