package proxy_test

import (
	"bufio"
	"net"
	"os"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/chaos/proxy"
	"github.com/coffer-secrets/coffer/testing/harness/netns"
)

// scene is a host that says again what it is told, and this process as another.
type scene struct {
	*proxy.Network
	t         *testing.T
	own, echo *netns.Host
	at        string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := target.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					line, err := in.ReadString('\n')
					if err != nil {
						return
					}
					_, _ = conn.Write([]byte(line))
				}
			}()
		}
	}()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scene{Network: proxy.New(), t: t, own: new(netns.Host), echo: new(netns.Host), at: free.Addr().String()}
	_ = free.Close()
	s.Process(s.own, os.Getpid)
	s.Process(s.echo, func() int { return 0 })
	if err := s.Add(s.echo, s.at, target.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		_ = target.Close()
		<-done
	})
	return s
}

func (s *scene) dial() net.Conn {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.at)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// says has something said again within a time, and returns how long that took; 0:
// it was not.
func (s *scene) says(conn net.Conn, within time.Duration) time.Duration {
	s.t.Helper()
	began := time.Now()
	if _, err := conn.Write([]byte("hello\n")); err != nil {
		s.t.Fatal(err)
	}
	_ = conn.SetReadDeadline(began.Add(within))
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		return 0
	}
	return time.Since(began)
}

const (
	soon = 5 * time.Second
	// brief is how long is waited for what must not come.
	brief = 300 * time.Millisecond
)

func TestCut(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]func(s *scene){
		"both ways": func(s *scene) { s.Cut(s.own, s.echo) },
		"there":     func(s *scene) { s.CutOneWay(s.own, s.echo) },
		"back":      func(s *scene) { s.CutOneWay(s.echo, s.own) },
		"groups":    func(s *scene) { s.Partition([]*netns.Host{s.own}, []*netns.Host{s.echo}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			conn := s.dial()
			if s.says(conn, soon) == 0 {
				t.Fatal("nothing is heard before")
			}
			cut(s)
			if s.says(conn, brief) != 0 || s.says(s.dial(), brief) != 0 {
				t.Error("it is heard though it is cut")
			}
			s.Heal()
			if s.says(conn, soon) == 0 || s.says(s.dial(), soon) == 0 {
				t.Error("nothing is heard once it is healed")
			}
		})
	}
}

func TestShape(t *testing.T) {
	t.Parallel()
	for name, how := range map[string]netns.Link{
		"late": {Delay: 150 * time.Millisecond}, "lost": {Loss: 1}, "slow": {BytesPerSecond: 40},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			conn := s.dial()
			s.Shape(s.echo, s.own, how)
			if took := s.says(conn, 20*time.Second); took < 140*time.Millisecond {
				t.Errorf("it took %s", took)
			}
		})
	}
}
