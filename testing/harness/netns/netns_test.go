package netns_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness/netns"
)

// role and to tell this very binary, run on a host, what it is there.
const (
	role = "COFFER_TEST_ROLE"
	port = "7000"
)

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		os.Exit(netns.Main(m))
	case "hear":
		hear(os.Args[1])
	case "say":
		say(os.Args[1], os.Args[2])
	case "leave":
		leave()
	}
}

// hear prints what is sent to an address.
func hear(addr string) {
	conn, err := net.ListenPacket("udp", net.JoinHostPort(addr, port))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	buf := make([]byte, 64)
	for {
		size, _, err := conn.ReadFrom(buf)
		if err != nil {
			os.Exit(1)
		}
		fmt.Println(string(buf[:size]))
	}
}

// say sends words to an address.
func say(addr, words string) {
	conn, err := net.Dial("udp", net.JoinHostPort(addr, port))
	if err != nil {
		os.Exit(1)
	}
	if _, err := conn.Write([]byte(words)); err != nil {
		os.Exit(1)
	}
}

// scene is a network on which every host listens.
type scene struct {
	*netns.Network
	t     *testing.T
	heard map[*netns.Host]chan string
	said  atomic.Int64
}

// newScene is nil where no hosts can be made.
func newScene(t *testing.T, hosts int) *scene {
	t.Helper()
	n, err := netns.Up(t.Context(), hosts)
	if err != nil {
		t.Logf("NOT TESTED HERE: no hosts can be made on this machine: %v", err)
		return nil
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &scene{Network: n, t: t, heard: make(map[*netns.Host]chan string)}
	for _, h := range s.all() {
		s.listen(h)
	}
	return s
}

func (s *scene) all() []*netns.Host { return append([]*netns.Host{s.Outside}, s.Hosts...) }

func (s *scene) listen(h *netns.Host) {
	s.t.Helper()
	cmd := s.command(h, "hear", h.Addr.String())
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	lines := make(chan string, 64)
	s.heard[h] = lines
	done := make(chan struct{})
	go func() {
		defer close(done)
		for in := bufio.NewScanner(out); in.Scan(); {
			lines <- in.Text()
		}
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		_ = cmd.Wait()
	})
	if got := <-lines; got != "ready" {
		s.t.Fatal(got)
	}
}

func (s *scene) command(h *netns.Host, what string, args ...string) *exec.Cmd {
	cmd := h.Command(s.t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), role+"="+what)
	return cmd
}

// reaches sends from one host to another, and returns how long it took to be
// heard and how often it was; 0 if it was not.
func (s *scene) reaches(from, to *netns.Host) (after time.Duration, times int) {
	s.t.Helper()
	words := strconv.FormatInt(s.said.Add(1), 10)
	began := time.Now()
	if out, err := s.command(from, "say", to.Addr.String(), words).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	patience := time.After(400 * time.Millisecond)
	for {
		select {
		case got := <-s.heard[to]:
			if got != words {
				continue
			}
			if times++; times == 1 {
				after = time.Since(began)
				patience = time.After(30 * time.Millisecond) // for another
			}
		case <-patience:
			return after, times
		}
	}
}

func (s *scene) want(from, to *netns.Host, want int) {
	s.t.Helper()
	if _, got := s.reaches(from, to); got != want {
		s.t.Errorf("%s was heard by %s %d times, want %d", from.Addr, to.Addr, got, want)
	}
}

func TestLinksAreCutAndHealed(t *testing.T) {
	t.Parallel()
	s := newScene(t, 3)
	if s == nil {
		return
	}
	a, b, c := s.Hosts[0], s.Hosts[1], s.Hosts[2]
	for _, from := range s.all() {
		for _, to := range s.all() {
			if from != to {
				s.want(from, to, 1)
			}
		}
	}
	s.Partition([]*netns.Host{a}, []*netns.Host{b, c})
	s.want(a, b, 0)
	s.want(b, a, 0)
	s.want(c, a, 0)
	s.want(b, c, 1)
	s.want(s.Outside, a, 1)
	s.Heal()
	s.want(a, b, 1)
	s.CutOneWay(b, c)
	s.want(b, c, 0)
	s.want(c, b, 1)
}

// TestTap sees what is sent, by whom and to whom, also what is lost.
func TestTap(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2)
	if s == nil {
		return
	}
	a, b := s.Hosts[0], s.Hosts[1]
	words := strconv.FormatInt(s.said.Load()+1, 10)
	var seen, others atomic.Int64
	s.Tap(func(from, to *netns.Host, packet []byte) {
		if from == a && to == b && strings.HasSuffix(string(packet), words) {
			seen.Add(1)
		} else {
			others.Add(1)
		}
	})
	s.Cut(a, b)
	s.want(a, b, 0)
	if seen.Load() != 1 || others.Load() != 0 {
		t.Errorf("seen %d times, and %d other packets", seen.Load(), others.Load())
	}
}

func TestLinksAreShaped(t *testing.T) {
	t.Parallel()
	s := newScene(t, 2)
	if s == nil {
		return
	}
	a, b := s.Hosts[0], s.Hosts[1]
	s.Shape(a, b, netns.Link{Delay: 150 * time.Millisecond})
	if took, times := s.reaches(a, b); times != 1 || took < 150*time.Millisecond {
		t.Errorf("heard %d times after %s, over a link of 150 ms", times, took)
	}
	s.want(b, a, 1)
	s.Shape(a, b, netns.Link{Loss: 1})
	s.want(a, b, 0)
	s.Shape(a, b, netns.Link{Duplicate: 1})
	s.want(a, b, 2)
	s.Shape(a, b, netns.Link{BytesPerSecond: 200})
	if took, times := s.reaches(a, b); times != 1 || took < 100*time.Millisecond {
		t.Errorf("heard %d times after %s, over a link of 200 bytes in a second", times, took)
	}
}

// TestNothingIsLeftOfWhoWasKilled has a process make a network and be killed.
func TestNothingIsLeftOfWhoWasKilled(t *testing.T) {
	t.Parallel()
	if newScene(t, 1) == nil {
		return
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0]) // #nosec G204 -- this very test
	cmd.Env = append(os.Environ(), role+"=leave")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("nothing was made")
	}
	name := lines.Text()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if !slices.Contains(namespaces(t), name) {
		t.Fatalf("%q is gone already", name)
	}
	newScene(t, 1)
	if slices.Contains(namespaces(t), name) {
		t.Errorf("%q is still there", name)
	}
}

// leave makes a host with a process on it, tells its name, and waits to be killed.
func leave() {
	ctx := context.Background()
	n, err := netns.Up(ctx, 1)
	if err != nil {
		os.Exit(1)
	}
	if err := n.Hosts[0].Command(ctx, "sleep", "60").Start(); err != nil {
		os.Exit(1)
	}
	fmt.Println(n.Hosts[0].Name)
	select {}
}

func namespaces(t *testing.T) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ip", "netns", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(out))
}
