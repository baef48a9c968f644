package server_test

import (
	"bufio"
	"bytes"
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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/daemon"
	"github.com/coffer-secrets/coffer/testing/harness"
)

const processTimeout = 60 * time.Second

// process is the binary under test, with what it tells.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	home  string
	temp  string
	ended chan struct{}
	err   error

	mu   sync.Mutex
	out  strings.Builder
	errs bytes.Buffer
}

// run starts the binary with a home and a folder for temporary files of its own
// and waits for a line of its output.
func run(t *testing.T, line string, args ...string) *process {
	t.Helper()
	p := &process{t: t, home: t.TempDir(), temp: t.TempDir(), ended: make(chan struct{})}
	p.cmd = exec.Command(harness.Binary(t), args...)
	p.cmd.Env = append(harness.Environment(), "HOME="+p.home, "TMPDIR="+p.temp)
	p.cmd.Stderr = &p.errs
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	seen := make(chan struct{})
	go p.watch(stdout, line, seen)
	// Killed, it would end before its nodes, which then still write to its folder.
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		_ = p.wait()
	})
	timer := time.NewTimer(processTimeout)
	defer timer.Stop()
	select {
	case <-seen:
	case <-timer.C:
		t.Fatalf("it did not say %q:\n%s", line, p.text())
	case <-p.ended:
		if line != "" {
			t.Fatalf("it ended (%v) before it said %q:\n%s\n%s", p.err, line, p.text(), p.errs.String())
		}
	}
	return p
}

func (p *process) watch(stdout io.Reader, line string, seen chan struct{}) {
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		p.mu.Lock()
		p.out.WriteString(lines.Text() + "\n")
		p.mu.Unlock()
		if line != "" && strings.Contains(lines.Text(), line) {
			close(seen)
			line = ""
		}
	}
	p.err = p.cmd.Wait()
	close(p.ended)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.out.String()
}

// wait returns how the process ended.
func (p *process) wait() error {
	timer := time.NewTimer(processTimeout)
	defer timer.Stop()
	select {
	case <-p.ended:
		return p.err
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("it had to be killed")
	}
}

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.wait()
}

// find returns what a pattern's group matches in the output.
func (p *process) find(pattern string) string {
	p.t.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(p.text())
	if found == nil {
		p.t.Fatalf("no %s in:\n%s", pattern, p.text())
	}
	return found[1]
}

func get(t *testing.T, address, path, token string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/v1/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	out := make(map[string]any)
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Errorf("%s: %s", path, err)
	}
	return resp.StatusCode, out
}

func TestDevServer(t *testing.T) {
	p := run(t, "Development mode should NOT", "server", "-dev", "-dev-root-token-id=r00t", "-dev-listen-address=127.0.0.1:0", "-log-format=json")
	address := p.find(`export VAULT_ADDR='(http://127\.0\.0\.1:[0-9]+)'`)
	if p.find(`Root Token: (\S+)`) != "r00t" || p.find(`Unseal Key: (\S+)`) == "" {
		t.Errorf("it says:\n%s", p.text())
	}
	for _, want := range []string{
		"==> Coffer server configuration:", "Listener 1: tcp (addr: \"127.0.0.1:", "==> Coffer server started! Log data will stream in below:",
		"export COFFER_ADDR='" + address + "'", "Storage: raft", "Log Level: info",
	} {
		if !strings.Contains(p.text(), want) {
			t.Errorf("it does not say %q:\n%s", want, p.text())
		}
	}
	status, mounts := get(t, address, "sys/mounts", "r00t")
	secret, _ := mounts["secret/"].(map[string]any)
	if status != http.StatusOK || secret["type"] != "kv" || secret["options"].(map[string]any)["version"] != "2" {
		t.Errorf("status %d: secret/ is %v", status, secret)
	}
	if token, err := os.ReadFile(filepath.Join(p.home, ".coffer-token")); err != nil || string(token) != "r00t" {
		t.Errorf("the token that is kept is %q (%v)", token, err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", p.cmd.Process.Pid))
	if err != nil || !regexp.MustCompile(`Max core file size +0 +0`).Match(limits) {
		t.Errorf("core files may be written: %v", err)
	}
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM ended it with: %v\n%s", err, p.errs.String())
	}
	wantEmpty(t, p.temp)
	if strings.Contains(p.errs.String(), "r00t") || !strings.HasPrefix(p.errs.String(), "{") {
		t.Errorf("the log is:\n%s", p.errs.String())
	}
}

func wantEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestDevServerVariants(t *testing.T) {
	p := run(t, "Development mode should NOT", "server", "-dev", "-dev-tls", "-dev-kv-v1", "-dev-no-store-token", "-dev-listen-address=127.0.0.1:0")
	address, ca := p.find(`export VAULT_ADDR='(https://[^']+)'`), p.find(`export VAULT_CACERT='([^']+)'`)
	cmd := exec.Command(harness.Binary(t), "secrets", "list", "-detailed", "-format=json")
	cmd.Env = append(harness.Environment(), "HOME="+p.home, "VAULT_ADDR="+address, "VAULT_CACERT="+ca, "VAULT_TOKEN="+p.find(`Root Token: (\S+)`))
	out, err := cmd.CombinedOutput()
	if err != nil || !regexp.MustCompile(`"version": "1"`).Match(out) {
		t.Errorf("over TLS: %v\n%s", err, out)
	}
	wantEmpty(t, p.home)
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	wantEmpty(t, p.temp)
}

func TestRefusedCommandLines(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	bad := filepath.Join(t.TempDir(), "bad.hcl")
	if err := os.WriteFile(bad, []byte("\napi_adr = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"nothing":     {[]string{"server"}, "give the configuration's file with -config, or start a dev server with -dev"},
		"recovery":    {[]string{"server", "-recovery", "-config=" + bad}, "-recovery is not offered"},
		"mistyped":    {[]string{"server", "-config=" + bad}, bad + `:2: unknown key "api_adr" in the configuration: did you mean "api_addr"?`},
		"level":       {[]string{"server", "-dev", "-log-level=loud"}, `-log-level: unknown value "loud"`},
		"dev address": {[]string{"server", "-dev", "-dev-listen-address=" + taken.Addr().String()}, "choose another address with -dev-listen-address"},
		"address":     {[]string{"dev", "-listen-address=" + taken.Addr().String()}, "choose another address with -port or -listen-address"},
	} {
		t.Run(name, func(t *testing.T) {
			p := run(t, "", c.args...)
			_ = p.wait()
			if code := p.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(p.errs.String(), c.want) {
				t.Errorf("code %d, not 1: %s", code, p.errs.String())
			}
			wantEmpty(t, p.temp)
		})
	}
}

func TestDevCluster(t *testing.T) {
	p := run(t, "Ctrl-C stops", "dev", "-listen-address="+freeAddress(t), "-root-token-id=r00t")
	address := p.find(`Address: +(\S+)`)
	status, secret := get(t, address, "secret/data/demo", "r00t")
	if status != http.StatusOK || !strings.Contains(fmt.Sprint(secret), "greeting:hello") {
		t.Errorf("status %d: %v", status, secret)
	}
	wantSameOfAll(t, address, "r00t")
	if err := p.stop(); err != nil {
		t.Errorf("SIGTERM ended it with: %v\n%s", err, p.errs.String())
	}
	wantEmpty(t, p.temp)
	if status, _ := get(t, address, "sys/health", ""); status != 0 {
		t.Errorf("the node still answers: %d", status)
	}
}

func TestDevClusterKeepsItsData(t *testing.T) {
	dir, address := t.TempDir(), freeAddress(t)
	p := run(t, "Ctrl-C stops", "dev", "-listen-address="+address, "-data-dir="+dir)
	token := p.find(`Root token: +(\S+)`)
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	again := run(t, "Ctrl-C stops", "dev", "-listen-address="+address, "-data-dir="+dir)
	if status, _ := get(t, "http://"+address, "secret/data/demo", token); status != http.StatusOK {
		t.Errorf("the secret is gone: %d", status)
	}
	if err := again.stop(); err != nil {
		t.Error(err)
	}
}

// wantSameOfAll checks that the three nodes which one knows of have the same state.
func wantSameOfAll(t *testing.T, address, token string) {
	t.Helper()
	var states []harness.State
	until(t, "three nodes whose addresses are known", func() bool {
		states = nil
		_, members := get(t, address, "sys/ha-status", token)
		list, _ := members["nodes"].([]any)
		for _, m := range list {
			member, _ := m.(map[string]any)
			if at, _ := member["api_address"].(string); at != "" {
				states = append(states, func() ([]byte, bool) { return fetch(t, at, harness.SnapshotPath, token) })
			}
		}
		return len(states) == 3
	})
	harness.SameStates(t, len(states), states...)
}

// fetch reads what is no JSON.
func fetch(t *testing.T, address, path, token string) (body []byte, ok bool) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address+"/v1/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, false
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return body, err == nil && resp.StatusCode == http.StatusOK
}

// freeAddress is one that nothing listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	at, err := daemon.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// TestServiceManager follows what systemd is told through a reload and the end.
func TestServiceManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	if err := manager.SetReadDeadline(time.Now().Add(processTimeout)); err != nil {
		t.Fatal(err)
	}
	told := func(want string) {
		t.Helper()
		buffer := make([]byte, 1024)
		n, err := manager.Read(buffer)
		if err != nil || !strings.HasPrefix(string(buffer[:n]), want) {
			t.Fatalf("told %q (%v), not %q", buffer[:n], err, want)
		}
	}
	s := harness.Start(t, harness.Options{Env: []string{"NOTIFY_SOCKET=" + path}, Extra: "log_level = \"info\""})
	told("READY=1")
	config := filepath.Join(s.Dir, "coffer.hcl")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, bytes.Replace(text, []byte(`"info"`), []byte(`"off"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	told("RELOADING=1\nMONOTONIC_USEC=")
	told("READY=1")
	if err := s.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	told("STOPPING=1")
	if err := s.Wait(); err != nil {
		t.Errorf("it ended with: %v", err)
	}
	log, err := os.ReadFile(s.LogPath())
	if err != nil || strings.Contains(string(log), "msg=stopping") {
		t.Errorf("the log's level was not reloaded: %v\n%s", err, log)
	}
}
