package mariadbserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Admin may do everything, and Password is its password at first.
const (
	Admin    = "vault-admin"
	Password = "first'password\\1"
)

// startTimeout bounds how long a server may take to be there.
const startTimeout = 40 * time.Second

// first is run whenever the server starts: a statement a line.
const first = `CREATE USER IF NOT EXISTS 'vault-admin'@'%' IDENTIFIED BY 'first''password\\1';
GRANT ALL ON *.* TO 'vault-admin'@'%' WITH GRANT OPTION;
`

// Server is one MariaDB.
type Server struct {
	dir    string
	daemon string
	port   int
	as     *syscall.SysProcAttr
	cmd    *exec.Cmd
	// options are arguments of the server.
	options []string
	// done is closed when the process has ended, as ended says.
	done  chan struct{}
	ended error
}

// TLS is what a server shows that speaks TLS, all in PEM, and whose clients it
// trusts.
type TLS struct{ Certificate, Key, ClientCA []byte }

// Start makes a data folder and starts a server on it.
func Start() (*Server, error) { return start(nil) }

// StartTLS is Start for a server that speaks TLS too.
func StartTLS(t TLS) (*Server, error) { return start(&t) }

func start(t *TLS) (*Server, error) {
	s := &Server{as: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}}
	install, err := exec.LookPath("mariadb-install-db")
	if err != nil {
		return nil, errors.New("these tests need MariaDB, and find no mariadb-install-db: install it (Debian: apt-get install mariadb-server-core)")
	}
	if s.daemon, err = binary(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "mariadbserver"); err != nil {
		return nil, err
	}
	if err := s.initialize(install); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if t != nil {
		if err := s.speakTLS(t); err != nil {
			return nil, errors.Join(err, os.RemoveAll(s.dir))
		}
	}
	// Somebody else may take the port first.
	for range 5 {
		if err = s.Resume(); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(s.dir))
}

// binary finds the server, which Debian keeps out of the path of most users.
func binary() (string, error) {
	if path, err := exec.LookPath("mariadbd"); err == nil {
		return path, nil
	}
	path, err := exec.LookPath("/usr/sbin/mariadbd")
	if err != nil {
		return "", errors.New("these tests need MariaDB, and find no mariadbd: install it (Debian: apt-get install mariadb-server-core)")
	}
	return path, nil
}

// initialize makes the data folder. MariaDB does not run as root.
func (s *Server) initialize(install string) error {
	if err := os.WriteFile(s.file("first.sql"), []byte(first), 0o600); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		uid, gid := 65534, 65534
		if u, err := user.Lookup("mysql"); err == nil {
			uid, _ = strconv.Atoi(u.Uid)
			gid, _ = strconv.Atoi(u.Gid)
		}
		s.as.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := errors.Join(os.Chown(s.dir, uid, gid), os.Chown(s.file("first.sql"), uid, gid)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	cmd := s.command(ctx, install, "--no-defaults", "--datadir="+s.file("data"), "--auth-root-authentication-method=normal", "--skip-test-db")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w: %s", err, out)
	}
	return nil
}

// speakTLS has the server take connections with and without TLS.
func (s *Server) speakTLS(t *TLS) error {
	for name, text := range map[string][]byte{"ssl-cert": t.Certificate, "ssl-key": t.Key, "ssl-ca": t.ClientCA} {
		path := s.file(name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
		if c := s.as.Credential; c != nil {
			if err := os.Chown(path, int(c.Uid), int(c.Gid)); err != nil {
				return err
			}
		}
		s.options = append(s.options, "--"+name+"="+path)
	}
	return nil
}

func (s *Server) command(ctx context.Context, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // MariaDB's own
	cmd.Dir = s.dir
	cmd.SysProcAttr = s.as
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "TZ=UTC"}
	return cmd
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// Resume starts the server, again if it was stopped, and waits until it answers.
func (s *Server) Resume() error {
	if s.port == 0 {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.port = l.Addr().(*net.TCPAddr).Port
		_ = l.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	said := new(strings.Builder)
	args := append([]string{
		"--no-defaults", "--datadir=" + s.file("data"), "--socket=" + s.file("socket"),
		"--pid-file=" + s.file("pid"), "--port=" + strconv.Itoa(s.port), "--bind-address=127.0.0.1", "--init-file=" + s.file("first.sql"),
		"--skip-name-resolve", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=16M", "--max-connections=200",
	}, s.options...)
	s.cmd = s.command(context.WithoutCancel(ctx), s.daemon, args...)
	s.cmd.Stderr = said
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		s.ended = s.cmd.Wait()
	}()
	db, err := s.Open("root", "")
	if err != nil {
		return errors.Join(err, s.Stop())
	}
	defer func() { _ = db.Close() }()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-s.done:
			s.cmd, s.port = nil, 0
			return fmt.Errorf("mariadbd ended: %w: %s", s.ended, said.String())
		case <-ctx.Done():
			return errors.Join(ctx.Err(), s.Stop())
		case <-ticker.C:
			if db.PingContext(ctx) == nil {
				return nil
			}
		}
	}
}

// Stop ends the server at once, as a crash would. Its data stay.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Kill(); err != nil {
		return err
	}
	<-s.done
	s.cmd = nil
	return nil
}

// Close stops the server and removes its data.
func (s *Server) Close() error { return errors.Join(s.Stop(), os.RemoveAll(s.dir)) }

// Open opens connections of a user, of root by the socket.
func (s *Server) Open(name, password string) (*sql.DB, error) {
	config := mysql.NewConfig()
	config.User, config.Passwd, config.Net, config.Addr = name, password, "tcp", s.Address()
	if name == "root" {
		config.Net, config.Addr = "unix", s.file("socket")
	}
	config.MultiStatements = true
	config.Logger = log.New(io.Discard, "", 0)
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

// Address is where the server listens.
func (s *Server) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Template is the URL of a database with placeholders for user and password.
func (s *Server) Template(database string) string {
	return "{{username}}:{{password}}@tcp(" + s.Address() + ")/" + database
}
