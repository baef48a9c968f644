package harness

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/daemon"
	"github.com/coffer-secrets/coffer/testing/harness/netns"
)

// Timeouts of what a test waits for; a slow machine stays far below them.
const (
	startTimeout   = 60 * time.Second
	requestTimeout = 30 * time.Second
	maxAnswer      = 64 << 20
	logTail        = 16 << 10
)

// Options of a server; the zero value is one node with a single key share.
type Options struct {
	// Storage and Listener are added to those stanzas, Extra stands outside.
	Storage, Listener, Extra string
	// Env is added to the process's environment.
	Env []string
	// Args are added to the command line.
	Args []string
	// Shares and Threshold are those of the unseal keys; 0: one.
	Shares, Threshold int
	// NodeID is the node's; "node-1" if empty.
	NodeID string
	// Uninitialized leaves the server as it starts for the first time.
	Uninitialized bool
	// Prepare fills the folder of the data before the first start; nil: it is empty.
	Prepare func(data string) error
	// Binary is what is run; "": Binary's.
	Binary string
	// Between is told the address at which peers are to reach a node of a cluster on
	// a host, and says at which it listens; nil: there.
	Between func(host *netns.Host, address string) (bind string, err error)
	// Host is where the server runs; nil: on this machine's loopback.
	Host *netns.Host

	bind string
}

// Server is a server process under test. Its methods are for the test's own
// goroutine, but for Do and Send, which any may call.
type Server struct {
	// Address is the URL of the listener. It stays over a Restart.
	Address string
	// RootToken and Keys are what initialising gave.
	RootToken string
	Keys      []string
	// Dir is the folder of the server: its configuration, its data in "data".
	Dir string
	// Banner is what the process has told on its standard output.
	Banner string

	t       testing.TB
	options Options
	cmd     *exec.Cmd
	ended   chan struct{}
	err     error // how the process ended, once ended is closed
	http    *http.Client
}

// Start starts a server, initialises and unseals it.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	s := &Server{t: t, options: options, Dir: t.TempDir(), http: &http.Client{Timeout: requestTimeout, Transport: &http.Transport{
		MaxIdleConnsPerHost: 256,
	}}}
	t.Cleanup(s.cleanup)
	if options.Prepare != nil {
		if err := options.Prepare(s.DataDir()); err != nil {
			t.Fatalf("fill the folder of the data: %s", err)
		}
	}
	if options.Host != nil {
		s.launch(net.JoinHostPort(options.Host.Addr.String(), "0"))
	} else {
		s.launch(net.JoinHostPort(daemon.Host(), "0"))
	}
	if !options.Uninitialized {
		s.Init()
		s.Unseal()
	}
	return s
}

func (s *Server) cleanup() {
	s.http.CloseIdleConnections()
	if s.cmd != nil {
		s.Kill()
	}
	if !s.t.Failed() {
		return
	}
	if text, err := os.ReadFile(s.LogPath()); err == nil {
		s.t.Logf("log of the server:\n%s", text[max(0, len(text)-logTail):])
	}
}

// LogPath is the file that the server logs to.
func (s *Server) LogPath() string { return filepath.Join(s.Dir, "coffer.log") }

// DataDir is the folder of the server's data.
func (s *Server) DataDir() string { return filepath.Join(s.Dir, "data") }

// Pid is that of the process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// launch starts the process and waits until it listens.
func (s *Server) launch(address string) {
	s.t.Helper()
	if err := s.start(address); err != nil {
		s.t.Fatalf("start the server: %s", err)
	}
}

func (s *Server) start(address string) error {
	config := filepath.Join(s.Dir, "coffer.hcl")
	listener := s.options.Listener
	if s.options.bind != "" {
		listener += fmt.Sprintf("\n  cluster_address = %q", s.options.bind)
	}
	text := fmt.Sprintf("storage \"raft\" {\n  path = %q\n  node_id = %q\n%s\n}\nlistener \"tcp\" {\n  address = %q\n  tls_disable = true\n%s\n}\n%s\n",
		s.DataDir(), cmp.Or(s.options.NodeID, "node-1"), s.options.Storage, address, listener, s.options.Extra)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	log, err := os.OpenFile(s.LogPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := append([]string{"server", "-config=" + config}, s.options.Args...)
	host := cmp.Or(s.options.Host, new(netns.Host))
	binary := s.options.Binary
	if binary == "" {
		binary = Binary(s.t)
	}
	cmd := host.Command(context.Background(), binary, args...)
	cmd.Env, cmd.Stderr = append(Environment(), s.options.Env...), log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.cmd, s.ended = cmd, make(chan struct{})
	banner := make(chan string, 1)
	go func() {
		banner <- readBanner(stdout)
		_, _ = io.Copy(io.Discard, stdout)
		s.err = cmd.Wait()
		close(s.ended)
	}()
	return s.awaitBanner(banner)
}

// started is the line that the server tells when it listens.
const started = "==> Coffer server started!"

func readBanner(r io.Reader) string {
	var b strings.Builder
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		b.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), started) {
			break
		}
	}
	return b.String()
}

var listenerLine = regexp.MustCompile(`Listener 1: tcp \(addr: "([^"]+)".*tls: "(enabled|disabled)"`)

func (s *Server) awaitBanner(banner <-chan string) error {
	timer := time.NewTimer(startTimeout)
	defer timer.Stop()
	select {
	case s.Banner = <-banner:
	case <-timer.C:
		s.Kill()
		return fmt.Errorf("it did not listen in time")
	}
	found := listenerLine.FindStringSubmatch(s.Banner)
	if found == nil {
		<-s.ended
		text, _ := os.ReadFile(s.LogPath())
		return fmt.Errorf("it ended: %w\n%s", s.err, text[max(0, len(text)-logTail):])
	}
	s.Address = "http://" + found[1]
	if found[2] == "enabled" {
		s.Address = "https://" + found[1]
	}
	return nil
}

// Wait returns how the process ended, once it has.
func (s *Server) Wait() error {
	<-s.ended
	s.http.CloseIdleConnections()
	return s.err
}

// Kill ends the process at once, as a loss of power would.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.ended
	s.http.CloseIdleConnections()
}

// Stop asks the process to end and returns how it did.
func (s *Server) Stop() error {
	if err := s.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.Wait()
}

// Signal sends the process a signal.
func (s *Server) Signal(sig os.Signal) error { return s.cmd.Process.Signal(sig) }

// Restart starts the process again after Kill or Stop, with the same folder and
// address. It is sealed then, unless it unseals itself.
func (s *Server) Restart() {
	s.t.Helper()
	_, address, _ := strings.Cut(s.Address, "://")
	s.launch(address)
}

// Init initialises the server and keeps what that gives.
func (s *Server) Init() {
	s.t.Helper()
	body := map[string]int{"secret_shares": max(1, s.options.Shares), "secret_threshold": max(1, s.options.Threshold)}
	if strings.Contains(s.options.Extra, `seal "static"`) || strings.Contains(s.options.Extra, `seal "transit"`) {
		body = map[string]int{"recovery_shares": max(1, s.options.Shares), "recovery_threshold": max(1, s.options.Threshold)}
	}
	status, answer := s.Do(http.MethodPut, "sys/init", "", body)
	if status != http.StatusOK {
		s.t.Fatalf("initialise the server: status %d: %s", status, answer)
	}
	var made struct {
		Keys      []string `json:"keys_base64"`
		RootToken string   `json:"root_token"`
	}
	if err := json.Unmarshal(answer, &made); err != nil {
		s.t.Fatalf("initialise the server: %s", err)
	}
	s.Keys, s.RootToken = made.Keys, made.RootToken
}

// Unseal gives the server as many key shares as it needs.
func (s *Server) Unseal() {
	s.t.Helper()
	for _, key := range s.Keys {
		status, answer := s.Do(http.MethodPut, "sys/unseal", "", map[string]string{"key": key})
		var state struct {
			Sealed bool `json:"sealed"`
		}
		if err := json.Unmarshal(answer, &state); status != http.StatusOK || err != nil {
			s.t.Fatalf("unseal the server: status %d: %s", status, answer)
		}
		if !state.Sealed {
			return
		}
	}
}

// Do sends a request and returns status and body. path is below /v1/; a body
// that is not nil is sent as JSON. A server that does not answer is status 0.
func (s *Server) Do(method, path, token string, body any) (status int, answer []byte) {
	s.t.Helper()
	header := make(http.Header)
	if token != "" {
		header.Set("X-Vault-Token", token)
	}
	return s.Send(method, path, header, body)
}

// Send is Do with any header.
func (s *Server) Send(method, path string, header http.Header, body any) (status int, answer []byte) {
	s.t.Helper()
	var payload io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			s.t.Errorf("encode a request: %s", err)
			return 0, nil
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, s.Address+"/v1/"+path, payload)
	if err != nil {
		s.t.Errorf("make a request: %s", err)
		return 0, nil
	}
	req.Header = header
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, []byte(err.Error())
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, []byte(err.Error())
	}
	return resp.StatusCode, answer
}

// Root sends a request with the root token and decodes the answer, if any. A
// status that is not a success fails the test.
func (s *Server) Root(method, path string, body any) map[string]any {
	s.t.Helper()
	status, answer := s.Do(method, path, s.RootToken, body)
	if status < 200 || status > 299 {
		s.t.Fatalf("%s %s: status %d: %s", method, path, status, answer)
	}
	out := make(map[string]any)
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &out); err != nil {
			s.t.Fatalf("%s %s: %s", method, path, err)
		}
	}
	return out
}
