package netns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// prefix begins the names of all namespaces; the id of the process follows.
	prefix = "coffer-"
	// device is what a host's device is called on it.
	device = "net0"
	mtu    = "9000"
	// maxHosts leaves room for the address of this process.
	maxHosts = 200
)

// made counts the networks of this process, since names must differ.
var made atomic.Int64

// Host is a machine on the network.
type Host struct {
	// Name is that of its namespace; empty for Network.Outside.
	Name string
	Addr netip.Addr

	file *os.File
}

// Network is some hosts, and the links between them.
type Network struct {
	// Hosts are those that Up made. Outside is where this process is, and what it
	// starts by other means than Host.Command.
	Hosts   []*Host
	Outside *Host

	carriers sync.WaitGroup
	byAddr   map[netip.Addr]*Host

	// tap sees every packet before it is carried or lost; nil: nobody does.
	tap atomic.Pointer[func(from, to *Host, packet []byte)]

	mu    sync.RWMutex
	links map[pair]*link
}

// Tap has f see every packet from now on, as a host sends it. It must not keep the
// packet, and is called by several goroutines at once.
func (n *Network) Tap(f func(from, to *Host, packet []byte)) { n.tap.Store(&f) }

// Up makes a network of hosts that all reach each other and this process.
func Up(ctx context.Context, hosts int) (*Network, error) {
	if hosts < 1 || hosts > maxHosts {
		return nil, fmt.Errorf("netns: %d hosts, possible are 1 to %d", hosts, maxHosts)
	}
	unlock, err := lock()
	if err != nil {
		return nil, fmt.Errorf("netns: choose addresses: %w", err)
	}
	defer unlock()
	if err := removeStale(ctx); err != nil {
		return nil, err
	}
	subnet, err := freeSubnet()
	if err != nil {
		return nil, err
	}
	n := &Network{byAddr: make(map[netip.Addr]*Host), links: make(map[pair]*link)}
	id := fmt.Sprintf("%d-%d", os.Getpid(), made.Add(1))
	addr := subnet.Next()
	for i := range hosts + 1 {
		h := &Host{Addr: addr}
		if i > 0 {
			h.Name = prefix + id + "-" + strconv.Itoa(i)
		}
		if err := n.add(ctx, h, "cf"+strings.ReplaceAll(id, "-", "x")+"x"+strconv.Itoa(i)); err != nil {
			return nil, errors.Join(err, n.close(context.WithoutCancel(ctx)))
		}
		addr = addr.Next()
	}
	for _, h := range n.byAddr {
		n.carriers.Go(func() { n.carry(h) })
	}
	return n, nil
}

// add makes a host and its device.
func (n *Network) add(ctx context.Context, h *Host, name string) (err error) {
	if h.file, err = openTUN(name); err != nil {
		return err
	}
	n.byAddr[h.Addr] = h
	on := []string{}
	if h.Name == "" {
		n.Outside = h
	} else {
		if err := ip(ctx, "netns", "add", h.Name); err != nil {
			return err
		}
		n.Hosts = append(n.Hosts, h)
		on = []string{"-n", h.Name}
		if err := ip(ctx, "link", "set", "dev", name, "netns", h.Name, "name", device); err != nil {
			return err
		}
		name = device
		if err := ip(ctx, "-n", h.Name, "link", "set", "dev", "lo", "up"); err != nil {
			return err
		}
	}
	if err := ip(ctx, append(on, "addr", "add", h.Addr.String()+"/24", "dev", name)...); err != nil {
		return err
	}
	return ip(ctx, append(on, "link", "set", "dev", name, "mtu", mtu, "up")...)
}

// Close ends what runs on the hosts, and the network.
func (n *Network) Close() error { return n.close(context.Background()) }

func (n *Network) close(ctx context.Context) error {
	var errs []error
	for _, h := range n.Hosts {
		errs = append(errs, removeHost(ctx, h.Name))
	}
	for _, h := range n.byAddr {
		errs = append(errs, h.file.Close())
	}
	n.carriers.Wait()
	return errors.Join(errs...)
}

// Command is a command to be run on the host. The process that it starts is the
// command itself, so that signals reach it.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	if h.Name == "" {
		return exec.CommandContext(ctx, name, args...) // #nosec G204 -- a test's own command
	}
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.Name, name}, args...)...) // #nosec G204 -- a test's own command
}

// freeSubnet is a /24 that this machine has no address in, of those that are set
// aside for tests of networks (RFC 2544).
func freeSubnet() (netip.Addr, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("netns: list the addresses of this machine: %w", err)
	}
	taken := make(map[netip.Prefix]bool)
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			taken[netip.PrefixFrom(p.Addr(), 24).Masked()] = true
		}
	}
	for i := range 512 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{198, byte(18 + i/256), byte(i), 0}), 24)
		if !taken[p] {
			return p.Addr(), nil
		}
	}
	return netip.Addr{}, errors.New("netns: no addresses are left")
}

// removeStale removes what processes have left behind that were killed.
func removeStale(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "ip", "netns", "list").Output()
	if err != nil {
		return fmt.Errorf("netns: list the namespaces: %w", err)
	}
	var errs []error
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest, ours := strings.CutPrefix(name, prefix)
		owner, _, ok := strings.Cut(rest, "-")
		if _, err := strconv.Atoi(owner); !ours || !ok || err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + owner); errors.Is(err, os.ErrNotExist) {
			errs = append(errs, removeHost(ctx, name))
		}
	}
	return errors.Join(errs...)
}

// removeHost kills what runs in a namespace, and removes it.
func removeHost(ctx context.Context, name string) error {
	out, err := exec.CommandContext(ctx, "ip", "netns", "pids", name).Output() // #nosec G204 -- a name of ours
	if err != nil {
		return fmt.Errorf("netns: list the processes of %s: %w", name, err)
	}
	for _, text := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			continue
		}
		if p, err := os.FindProcess(pid); err == nil {
			_ = p.Kill() // it may have ended by itself
		}
	}
	return ip(ctx, "netns", "del", name)
}

func ip(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil { // #nosec G204 -- arguments of ours
		return fmt.Errorf("netns: ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
