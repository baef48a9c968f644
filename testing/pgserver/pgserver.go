package pgserver

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/coffer-secrets/coffer/testing/daemon"
)

// Admin is the superuser, and Password its password at first.
const (
	Admin    = "vault-admin"
	Password = "first'password\\1"
)

// initTimeout bounds how long the making of a database cluster may take.
const initTimeout = 60 * time.Second

// Place is where a server runs, if not on this machine's own network.
type Place struct {
	// Address is where it listens, and Network from where it is reached, as
	// 198.18.0.0/24.
	Address, Network string
	// Command makes a command that runs there as it would here.
	Command func(ctx context.Context, name string, args ...string) *exec.Cmd
	// Connections is how many it takes at once; 0: some.
	Connections int
}

// Server is one PostgreSQL.
type Server struct {
	*daemon.Daemon
	dir   string
	bin   string
	as    *syscall.SysProcAttr
	place Place
	// options are arguments of the server.
	options []string
}

// TLS is what a server shows that speaks TLS, all in PEM, and whose clients it
// trusts.
type TLS struct{ Certificate, Key, ClientCA []byte }

// tlsHost is where servers that speak TLS listen: certificates name it.
const tlsHost = "127.0.0.1"

// CertificateRole is the role whose members log in with a certificate of ClientCA
// that is for their name, and CertifiedUser one who has to show any such beside
// its password.
const (
	CertificateRole = "with_certificate"
	CertifiedUser   = "certified"
)

// Start makes a database cluster and starts a server on it.
func Start() (*Server, error) { return start(nil, Place{}) }

// StartTLS is Start for a server that speaks TLS too.
func StartTLS(t TLS) (*Server, error) { return start(&t, Place{}) }

// StartAt is Start for a server at another place.
func StartAt(p Place) (*Server, error) { return start(nil, p) }

// ownPort is where a server listens that has a place to itself.
const ownPort = 5432

func start(t *TLS, p Place) (*Server, error) {
	if t != nil {
		p.Address = tlsHost
	}
	if p.Network == "" {
		p.Network = "127.0.0.0/8"
	}
	if p.Connections == 0 {
		p.Connections = 200
	}
	s := &Server{as: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}, place: p}
	var err error
	if s.bin, err = binaries(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "pgserver"); err != nil {
		return nil, err
	}
	// What is frozen does not hear that it is to end.
	fixed := 0
	if p.Command != nil {
		fixed = ownPort
	}
	s.Daemon = &daemon.Daemon{Fixed: fixed, Dir: s.dir, Host: p.Address, Command: s.serve, Ready: s.ready, End: syscall.SIGQUIT, Ending: s.Thaw}
	if err := s.initialize(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if t != nil {
		err = s.speakTLS(t)
	} else {
		err = s.admit(p.Network)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, s.Start()
}

// binaries finds where PostgreSQL's binaries are.
func binaries() (string, error) {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); len(found) > 0 {
		slices.Sort(found)
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("these tests need PostgreSQL, and find no initdb: install it (Debian: apt-get install postgresql)")
	}
	path, err = filepath.EvalSymlinks(path)
	return filepath.Dir(path), err
}

// initialize makes the data folder. PostgreSQL does not run as root.
func (s *Server) initialize() error {
	if os.Geteuid() == 0 {
		uid, gid := 65534, 65534
		if u, err := user.Lookup("postgres"); err == nil {
			uid, _ = strconv.Atoi(u.Uid)
			gid, _ = strconv.Atoi(u.Gid)
		}
		s.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, uid, gid); err != nil {
			return err
		}
	}
	secret, err := s.write("password", []byte(Password))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), initTimeout)
	defer cancel()
	cmd := s.command(ctx, "initdb", "-D", s.data(), "-U", Admin, "--pwfile", secret, "--auth=scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

// write writes a file that the server may read.
func (s *Server) write(name string, text []byte) (path string, err error) {
	path = filepath.Join(s.dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", err
	}
	if c := s.as.Credential; c != nil {
		return path, os.Chown(path, int(c.Uid), int(c.Gid))
	}
	return path, nil
}

// speakTLS has the server take connections with and without TLS.
func (s *Server) speakTLS(t *TLS) error {
	who := "hostssl all +" + CertificateRole + " " + tlsHost + "/32 cert\n" +
		"hostssl all " + CertifiedUser + " " + tlsHost + "/32 scram-sha-256 clientcert=verify-ca\n" +
		"host all all " + tlsHost + "/32 scram-sha-256\n"
	s.options = []string{"-c", "ssl=on"}
	for name, text := range map[string][]byte{"ssl_cert_file": t.Certificate, "ssl_key_file": t.Key, "ssl_ca_file": t.ClientCA, "hba_file": []byte(who)} {
		path, err := s.write(name, text)
		if err != nil {
			return err
		}
		s.options = append(s.options, "-c", name+"="+path)
	}
	return nil
}

// admit has the server take connections from a network.
func (s *Server) admit(network string) error {
	path, err := s.write("hba_file", []byte("local all all scram-sha-256\nhost all all "+network+" scram-sha-256\n"))
	s.options = []string{"-c", "hba_file=" + path}
	return err
}

// serve is the command that is the server. Another place may need rights to get
// to that the server must not have.
func (s *Server) serve(ctx context.Context, port int) *exec.Cmd {
	args := append([]string{
		"-D", s.data(), "-k", s.dir, "-p", strconv.Itoa(port),
		"-c", "listen_addresses=" + s.Host, "-c", "fsync=off", "-c", "max_connections=" + strconv.Itoa(s.place.Connections),
	}, s.options...)
	if s.place.Command == nil {
		return s.command(ctx, "postgres", args...)
	}
	words := []string{filepath.Join(s.bin, "postgres")}
	if c := s.as.Credential; c != nil {
		words = []string{"setpriv", "--reuid", fmt.Sprint(c.Uid), "--regid", fmt.Sprint(c.Gid), "--clear-groups", "--pdeathsig", "KILL", words[0]}
	}
	words = append(words, args...)
	cmd := s.place.Command(ctx, words[0], words[1:]...)
	cmd.Dir, cmd.Env = s.dir, s.environment()
	return cmd
}

func (s *Server) ready(ctx context.Context) bool {
	return s.command(ctx, "pg_isready", "-q", "-h", s.dir, "-p", strconv.Itoa(s.Port())).Run() == nil
}

func (s *Server) environment() []string {
	return []string{"PATH=" + s.bin + ":/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "TZ=UTC"}
}

func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...) //nolint:gosec // PostgreSQL's own
	cmd.Dir = s.dir
	cmd.SysProcAttr = s.as
	cmd.Env = s.environment()
	return cmd
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// Freeze stops all processes of the server from running. Thaw has them go on.
func (s *Server) Freeze() { s.signal(syscall.SIGSTOP) }

// Thaw ends a Freeze.
func (s *Server) Thaw() { s.signal(syscall.SIGCONT) }

// signal tells the server and its children, the server first, so that it makes
// no more of them when it is stopped.
func (s *Server) signal(sig syscall.Signal) {
	pid := s.Pid()
	if pid == 0 {
		return
	}
	_ = syscall.Kill(pid, sig)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		text, err := os.ReadFile(path) // #nosec G304 -- of this machine's processes
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(text), ") ") // behind the name come state and parent
		fields := strings.Fields(after)
		child, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			_ = syscall.Kill(child, sig)
		}
	}
}

// URL is where a user reaches a database.
func (s *Server) URL(name, password, database string) string {
	return s.url(url.UserPassword(name, password).String(), database)
}

// Template is the URL of a database with placeholders for user and password.
func (s *Server) Template(database string) string {
	return s.url("{{username}}:{{password}}", database)
}

func (s *Server) url(who, database string) string {
	return fmt.Sprintf("postgresql://%s@%s/%s?sslmode=disable", who, s.Address(), database)
}
