package scratch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
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

	"github.com/jackc/pgx/v5"
)

// Admin is the superuser.
const Admin = "coffer-admin"

const (
	startTimeout = 30 * time.Second
	askEvery     = 50 * time.Millisecond
)

// ErrNone says that there is no PostgreSQL on this machine.
var ErrNone = errors.New("no PostgreSQL is installed")

// identity is who PostgreSQL runs as, where this process is root.
type identity struct{ uid, gid uint32 }

// Postgres is a running server.
type Postgres struct {
	dir      string
	bin      string
	port     int
	password string
	as       *identity
	cmd      *exec.Cmd
	done     chan struct{}
}

// Start makes a database cluster and starts a server on it.
func Start(ctx context.Context) (*Postgres, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	p := &Postgres{bin: bin, password: rand.Text()}
	if p.dir, err = os.MkdirTemp("", "coffer-dev-postgres-"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.initialize(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.serve(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// binaries finds where PostgreSQL's binaries are: Debian keeps them off the path.
func binaries() (string, error) {
	if found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb"); err == nil && len(found) > 0 {
		slices.Sort(found)
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("initdb")
	if err != nil {
		return "", ErrNone
	}
	path, err = filepath.EvalSymlinks(path)
	return filepath.Dir(path), err
}

// initialize makes the data folder. PostgreSQL does not run as root.
func (p *Postgres) initialize(ctx context.Context) error {
	secret := filepath.Join(p.dir, "password")
	if err := os.WriteFile(secret, []byte(p.password), 0o600); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		who, err := user.Lookup("postgres")
		if err != nil {
			return errors.New("root cannot run PostgreSQL, and there is no user postgres")
		}
		uid, err := strconv.ParseUint(who.Uid, 10, 32)
		if err != nil {
			return err
		}
		gid, err := strconv.ParseUint(who.Gid, 10, 32)
		if err != nil {
			return err
		}
		p.as = &identity{uid: uint32(uid), gid: uint32(gid)}
		if err := errors.Join(os.Chown(p.dir, int(uid), int(gid)), os.Chown(secret, int(uid), int(gid))); err != nil {
			return err
		}
	}
	cmd := p.command(ctx, "initdb", "-D", p.data(), "-U", Admin, "--pwfile", secret, "--auth=scram-sha-256", "-E", "UTF8", "--locale=C", "--no-sync")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return os.Remove(secret)
}

func (p *Postgres) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, name), args...) // #nosec G204 -- PostgreSQL's own
	cmd.Dir = p.dir
	cmd.SysProcAttr = attributes(p.as)
	cmd.Env = []string{"PATH=" + p.bin + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	return cmd
}

func (p *Postgres) data() string { return filepath.Join(p.dir, "data") }

// serve starts the server and waits until it answers.
func (p *Postgres) serve(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		return err
	}
	if p.port, err = strconv.Atoi(port); err != nil {
		return err
	}
	p.cmd = p.command(context.WithoutCancel(ctx), "postgres", "-D", p.data(), "-k", p.dir, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
	log := new(strings.Builder)
	p.cmd.Stderr = log
	if err := p.cmd.Start(); err != nil {
		p.cmd = nil
		return err
	}
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		select {
		case <-p.done:
			return fmt.Errorf("postgres has ended: %s", log.String())
		case <-ctx.Done():
			return errors.Join(errors.New("postgres did not start in time"), ctx.Err())
		case <-ticker.C:
			if p.command(ctx, "pg_isready", "-q", "-h", p.dir, "-p", port).Run() == nil {
				return nil
			}
		}
	}
}

// Close stops the server at once and removes its data.
func (p *Postgres) Close() error {
	if p.cmd != nil {
		if err := p.cmd.Process.Signal(syscall.SIGQUIT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		<-p.done
	}
	return os.RemoveAll(p.dir)
}

// Address is where the server listens.
func (p *Postgres) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// Password is that of Admin.
func (p *Postgres) Password() string { return p.password }

// URL is where the database is, with placeholders for the user and the password.
func (p *Postgres) URL() string {
	return "postgresql://{{username}}:{{password}}@" + p.Address() + "/postgres?sslmode=disable"
}

// Use logs in and runs a statement.
func (p *Postgres) Use(ctx context.Context, username, password, statement string) error {
	at := url.URL{Scheme: "postgresql", User: url.UserPassword(username, password), Host: p.Address(), Path: "/postgres", RawQuery: "sslmode=disable"}
	conn, err := pgx.Connect(ctx, at.String())
	if err != nil {
		return errors.New("the database refuses the login") // the driver's text may hold more
	}
	_, err = conn.Exec(ctx, statement)
	return errors.Join(err, conn.Close(ctx))
}
