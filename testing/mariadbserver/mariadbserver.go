package mariadbserver

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/coffer-secrets/coffer/testing/daemon"
)

// Admin may do everything, and Password is its password at first.
const (
	Admin    = "vault-admin"
	Password = "first'password\\1"
)

const (
	// initTimeout bounds how long the making of a data folder may take.
	initTimeout = 90 * time.Second
	// tlsHost is where servers that speak TLS listen: certificates name it.
	tlsHost = "127.0.0.1"
)

// first is run whenever the server starts: a statement a line.
const first = `CREATE USER IF NOT EXISTS 'vault-admin'@'%' IDENTIFIED BY 'first''password\\1';
GRANT ALL ON *.* TO 'vault-admin'@'%' WITH GRANT OPTION;
`

// Server is one MariaDB.
type Server struct {
	*daemon.Daemon
	dir    string
	binary string
	as     *syscall.SysProcAttr
	// options are arguments of the server.
	options []string
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
	if s.binary, err = binary(); err != nil {
		return nil, err
	}
	if s.dir, err = os.MkdirTemp("", "mariadbserver"); err != nil {
		return nil, err
	}
	s.Daemon = &daemon.Daemon{Dir: s.dir, Command: s.serve, Ready: s.ready}
	if err := s.initialize(install); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if t != nil {
		s.Host = tlsHost
		if err := s.speakTLS(t); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, s.Start()
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
	ctx, cancel := context.WithTimeout(context.Background(), initTimeout)
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
	// A server that starts removes the temporary tables that it finds: those of others,
	// if they share a folder.
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "TZ=UTC", "TMPDIR=" + s.dir}
	return cmd
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// serve is the command that is the server.
func (s *Server) serve(ctx context.Context, port int) *exec.Cmd {
	return s.command(ctx, s.binary, append([]string{
		"--no-defaults", "--datadir=" + s.file("data"), "--socket=" + s.file("socket"),
		"--pid-file=" + s.file("pid"), "--port=" + strconv.Itoa(port), "--bind-address=" + s.Host, "--init-file=" + s.file("first.sql"),
		"--skip-name-resolve", "--innodb-flush-log-at-trx-commit=2", "--innodb-buffer-pool-size=16M", "--max-connections=200",
	}, s.options...)...)
}

func (s *Server) ready(ctx context.Context) bool {
	db, err := s.Open("root", "")
	if err != nil {
		return false
	}
	defer func() { _ = db.Close() }()
	return db.PingContext(ctx) == nil
}

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

// Template is the URL of a database with placeholders for user and password.
func (s *Server) Template(database string) string {
	return "{{username}}:{{password}}@tcp(" + s.Address() + ")/" + database
}
