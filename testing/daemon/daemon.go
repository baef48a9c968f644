package daemon

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// startTimeout bounds how long a server may take to be there.
	startTimeout = 60 * time.Second
	askEvery     = 20 * time.Millisecond
	// attempts are made with another port each: somebody may listen at all hosts.
	attempts = 5
)

// Host is an address of this machine that is most likely nobody else's.
func Host() string {
	return netip.AddrFrom4([4]byte{127, byte(1 + rand.IntN(254)), byte(rand.IntN(256)), byte(1 + rand.IntN(254))}).String() //nolint:gosec // not a secret
}

// FreeAddress is a host and port that nobody listens on.
func FreeAddress() (string, error) { return freeAddress(Host()) }

func freeAddress(host string) (string, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// Daemon is a server. Its fields are set before Start.
type Daemon struct {
	// Fixed is the port on a host that nobody else listens on; 0: a free one is
	// looked for, which takes a host of this machine.
	Fixed int
	// Dir is the server's folder, which Close removes.
	Dir string
	// Host is where it listens; "": a host of its own.
	Host string
	// Command makes the process that serves at the host and port. Its standard
	// error, and output, if they are not set, are told when it ends by itself.
	Command func(ctx context.Context, port int) *exec.Cmd
	// Ready reports whether it serves.
	Ready func(ctx context.Context) bool
	// End is the signal that ends it at once; 0: it is killed.
	End syscall.Signal
	// Ending, if set, is called after that.
	Ending func()

	port int
	cmd  *exec.Cmd
	// done is closed when the process has ended, as ended says.
	done  chan struct{}
	ended error
}

// Start starts the server for the first time and waits until it serves. One that does
// not start is closed.
func (d *Daemon) Start() (err error) {
	if d.Host == "" {
		d.Host = Host()
	}
	if d.Fixed != 0 {
		d.port = d.Fixed
		if err = d.Resume(); err == nil {
			return nil
		}
		return errors.Join(err, d.Close())
	}
	for range attempts {
		var at string
		if at, err = freeAddress(d.Host); err != nil {
			break
		}
		_, port, _ := net.SplitHostPort(at)
		if d.port, err = strconv.Atoi(port); err != nil {
			break
		}
		if err = d.Resume(); err == nil {
			return nil
		}
	}
	return errors.Join(err, d.Close())
}

// Resume starts the server again after Stop, where it was, and waits until it serves.
func (d *Daemon) Resume() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cmd, said := d.Command(context.WithoutCancel(ctx), d.port), new(strings.Builder)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	d.cmd, d.done = cmd, done
	go func() {
		defer close(done)
		d.ended = cmd.Wait()
	}()
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		select {
		case <-done:
			d.cmd = nil
			return fmt.Errorf("%s ended: %w: %s", cmd.Path, d.ended, said.String())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s does not serve in time: %w", cmd.Path, ctx.Err()), d.Stop())
		case <-ticker.C:
			if d.Ready(ctx) {
				return nil
			}
		}
	}
}

// Pid is the process's, 0 if there is none.
func (d *Daemon) Pid() int {
	if d.cmd == nil {
		return 0
	}
	return d.cmd.Process.Pid
}

// Stop ends the server at once, as a crash would. Its folder stays.
func (d *Daemon) Stop() error {
	if d.cmd == nil {
		return nil
	}
	end := d.End
	if end == 0 {
		end = syscall.SIGKILL
	}
	if err := d.cmd.Process.Signal(end); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if d.Ending != nil {
		d.Ending()
	}
	<-d.done
	d.cmd = nil
	return nil
}

// Close stops the server and removes its folder.
func (d *Daemon) Close() error { return errors.Join(d.Stop(), os.RemoveAll(d.Dir)) }

// Address is the host and port where the server listens.
func (d *Daemon) Address() string { return net.JoinHostPort(d.Host, strconv.Itoa(d.port)) }

// Port is where the server listens, on its host.
func (d *Daemon) Port() int { return d.port }
