package conformance_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// nodesVariable says that tests share a follower of so many nodes, instead of a
// server of its own.
const nodesVariable = "COFFER_CONFORMANCE_NODES"

// patience bounds what must happen, but nobody knows when.
const patience = 30 * time.Second

var (
	// binary is the server's program, awsStandIn that of what answers as AWS, and
	// dev the server that most tests share.
	binary     string
	awsStandIn string
	dev        *server
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "coffer-conformance-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = prepare(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = m.Run()
	if err := dev.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// prepare builds the programs that there are not, and starts the shared server.
func prepare(dir string) (err error) {
	// What the developer's shell says of servers must not reach the clients.
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		if strings.HasPrefix(name, "VAULT_") || strings.HasPrefix(name, "BAO_") || strings.HasPrefix(name, "COFFER_") && name != "COFFER_BINARY" && name != nodesVariable {
			if err := os.Unsetenv(name); err != nil {
				return err
			}
		}
	}
	build := map[string]string{"aws": "./testing/awsfake/serve"}
	if binary, awsStandIn = os.Getenv("COFFER_BINARY"), filepath.Join(dir, "aws"); binary == "" {
		binary, build["coffer"] = filepath.Join(dir, "coffer"), "./cmd/coffer"
	}
	for name, of := range build {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, name), of)
		cmd.Dir = filepath.Join("..", "..")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", of, err, out)
		}
	}
	if err := os.Setenv("HOME", dir); err != nil { // keep the clients from the developer's token
		return err
	}
	token := "root-" + rand.Text()
	if nodes := os.Getenv(nodesVariable); nodes != "" {
		dev, err = startFollower(nodes, token)
	} else {
		dev, err = start("server", "-dev", "-dev-no-store-token", "-dev-root-token-id="+token, "-dev-listen-address=127.0.0.1:0")
	}
	if err == nil {
		dev.token = token
	}
	return err
}

// server is a Coffer process.
type server struct {
	address string
	token   string
	// others is how many nodes there are beside it, one of which leads then.
	others int

	cmd  *exec.Cmd
	log  lockedBuffer
	done chan struct{} // closed when the process has ended; err is set before
	err  error
}

var listens = regexp.MustCompile(`Listener 1: tcp \(addr: "([^"]+)"`)

// follower is the line that "coffer dev" tells of its last node.
var follower = regexp.MustCompile(`node-(\d+) +http://([0-9.:]+), process`)

// startFollower starts a cluster, and returns a node of it that does not lead. The
// process is that of the cluster.
func startFollower(nodes, token string) (*server, error) {
	size, err := strconv.Atoi(nodes)
	if err != nil || size < 2 {
		return nil, fmt.Errorf("%s: expected 2 or more", nodesVariable)
	}
	s, err := start("dev", "-nodes="+nodes, "-listen-address=127.0.0.1:0", "-root-token-id="+token)
	if err == nil {
		s.others = size - 1
	}
	return s, err
}

// start runs the program and returns when its listener is open.
func start(args ...string) (*server, error) {
	s := &server{done: make(chan struct{})}
	s.cmd = exec.Command(binary, args...)
	s.cmd.Stderr = &s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	go func() {
		defer close(s.done)
		awaitStart(stdout, ready)
		s.err = s.cmd.Wait()
	}()
	select {
	case address := <-ready:
		s.address = "http://" + address
		return s, nil
	case <-s.done:
		return nil, fmt.Errorf("the server did not start: %w\n%s", s.err, s.log.String())
	case <-time.After(patience):
		return nil, errors.Join(errors.New("the server did not start in time"), s.stop())
	}
}

// awaitStart reads all that the process tells; its address comes before the line
// that says it has started.
func awaitStart(stdout io.Reader, ready chan<- string) {
	address := ""
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if m := listens.FindStringSubmatch(lines.Text()); m != nil {
			address = m[1]
		}
		if m := follower.FindStringSubmatch(lines.Text()); m != nil {
			address = m[2] // the last counts: the first node has founded the cluster, and leads
		}
		if strings.Contains(lines.Text(), "server started!") || strings.Contains(lines.Text(), "Ctrl-C stops") {
			ready <- address
		}
	}
}

// stop ends the process. A server that panicked under way has failed.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.done:
	case <-time.After(patience):
		err := s.cmd.Process.Kill()
		<-s.done
		return errors.Join(errors.New("the server did not stop in time and was killed"), err)
	}
	if text := s.log.String(); s.err != nil || strings.Contains(text, "panic") {
		return fmt.Errorf("the server failed: %w\n%s", s.err, text)
	}
	return nil
}

// configured starts a server of the test's own that nobody has initialised.
func configured(t *testing.T, stanzas string) *server {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "coffer.hcl")
	text := fmt.Sprintf("storage \"raft\" {\n  path = %q\n  node_id = \"node\"\n}\n"+
		"listener \"tcp\" {\n  address = \"127.0.0.1:0\"\n  tls_disable = true\n}\n%s\n", filepath.Join(dir, "data"), stanzas)
	check(t, os.WriteFile(file, []byte(text), 0o600))
	s := must(start("server", "-config="+file))(t)
	t.Cleanup(func() { check(t, s.stop()) })
	return s
}

// client returns a client of the server that has its root token.
func (s *server) client(t testing.TB) *api.Client {
	t.Helper()
	cfg := api.DefaultConfig()
	check(t, cfg.Error)
	cfg.Address = s.address
	c := must(api.NewClient(cfg))(t)
	c.SetToken(s.token)
	return c
}

// as returns a client like c with another token.
func as(t testing.TB, c *api.Client, token string) *api.Client {
	t.Helper()
	other := must(c.Clone())(t)
	other.SetToken(token)
	return other
}

// lockedBuffer is a buffer that a process writes while a test reads.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
