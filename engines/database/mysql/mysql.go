package mysql

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/database"
)

const (
	// connectTimeout bounds one try to connect where the URL has none.
	connectTimeout = 10 * time.Second
	// idleTime is how long an unused connection stays open.
	idleTime = 5 * time.Minute
	// session is what statements are read by, whatever the server has; and a
	// statement that waits for others does so no longer than we wait for it.
	session = "SET NAMES utf8mb4, SESSION sql_mode = 'TRADITIONAL', SESSION lock_wait_timeout = 20"
)

// Plugins are MySQL and MariaDB, and MySQL of the time when names were short, as
// the database engine takes them.
func Plugins() []*database.Plugin {
	kind := func(most int, template string, names ...string) *database.Plugin {
		return &database.Plugin{Names: names, Username: template, MaxUsername: most, Fields: fields(), Open: open, Check: check}
	}
	const (
		long  = `{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 10) (.RoleName | truncate 10) (random 20) (unix_time) | truncate 32 }}`
		short = `{{ printf "v-%s-%s" (.RoleName | truncate 4) (random 20) | truncate 16 }}`
	)
	return []*database.Plugin{
		kind(32, long, "mysql-database-plugin"),
		kind(80, long, "mariadb-database-plugin"),
		kind(16, short, "mysql-legacy-database-plugin", "mysql-aurora-database-plugin", "mysql-rds-database-plugin"),
	}
}

func fields() []engines.Field {
	return []engines.Field{
		{Name: "tls_ca", Type: engines.String, Help: "Authorities that may vouch for the server, in PEM"},
		{Name: "tls_certificate_key", Type: engines.String, Secret: true, Help: "Certificate to show to the server and its key, in PEM"},
		{Name: "tls_server_name", Type: engines.String, Help: "Name that the server's certificate has to be for, instead of the host"},
		{Name: "tls_skip_verify", Type: engines.Bool, Help: "Take any certificate of the server"},
		{Name: optionMark, Type: engines.Bool, Help: "Keep a mark of each user who is made in the table coffer.users, by which sys/leases/reconcile finds those left behind."},
	}
}

// server is one connection.
type server struct {
	settings *database.Settings
	config   *mysql.Config
	db       *sql.DB
	// good is the password that was taken last.
	good atomic.Int64
	// table says that the table of marks is there.
	table atomic.Bool
}

// The user and the password stand in the URL as these while it is parsed.
const (
	userMark     = "coffer-username-mark"
	passwordMark = "coffer-password-mark"
)

func open(s *database.Settings) (database.Database, error) {
	config, err := parse(s)
	if err != nil {
		return nil, err
	}
	my := &server{settings: s, config: config}
	my.db = sql.OpenDB(&connector{server: my})
	my.db.SetMaxOpenConns(s.MaxOpen)
	my.db.SetMaxIdleConns(s.MaxIdle)
	my.db.SetConnMaxLifetime(s.MaxLifetime)
	my.db.SetConnMaxIdleTime(idleTime)
	return my, nil
}

// parse reads the URL. The parser's own errors may repeat it, and so are kept.
func parse(s *database.Settings) (*mysql.Config, error) {
	text := strings.NewReplacer("{{username}}", userMark, "{{password}}", passwordMark).Replace(s.URL)
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("connection_url is missing")
	}
	config, err := mysql.ParseDSN(text)
	if err != nil {
		return nil, errors.New("connection_url is none that MySQL takes, such as {{username}}:{{password}}@tcp(host:3306)/database")
	}
	switch {
	case config.Net != "tcp" && config.Net != "unix":
		return nil, errors.New("connection_url has to reach the server by tcp(host:port) or unix(path)")
	case config.AllowAllFiles:
		return nil, errors.New("connection_url must not have allowAllFiles: it lets the server read files from here")
	case config.Passwd == passwordMark && len(s.Passwords) == 0, strings.Contains(config.Addr+config.DBName, passwordMark):
		return nil, errors.New("connection_url has {{password}}, but there is no password, or it stands where there can be none")
	}
	if config.User == userMark {
		config.User = s.Username
	}
	if config.Timeout == 0 {
		config.Timeout = connectTimeout
	}
	config.MultiStatements = true
	config.Logger = log.New(io.Discard, "", 0) // it would write to standard error
	return config, secure(config, s.Options)
}

// secure takes certificates as the settings hold them.
func secure(config *mysql.Config, options map[string]string) error {
	ca, pair, name, anyone := options["tls_ca"], options["tls_certificate_key"], options["tls_server_name"], options["tls_skip_verify"] == "true"
	if ca == "" && pair == "" && name == "" && !anyone {
		return nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name, InsecureSkipVerify: anyone} //nolint:gosec // as the operator says
	if name == "" && config.Net == "tcp" {
		c.ServerName, _, _ = net.SplitHostPort(config.Addr)
	}
	if ca != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return errors.New("tls_ca holds no certificates in PEM")
		}
	}
	if pair != "" {
		both, err := tls.X509KeyPair([]byte(pair), []byte(pair))
		if err != nil {
			return errors.New("tls_certificate_key holds no certificate with its key in PEM")
		}
		c.Certificates = []tls.Certificate{both}
	}
	config.TLS, config.AllowFallbackToPlaintext = c, false
	return nil
}

// connector opens connections with whichever password is good.
type connector struct{ server *server }

var _ driver.Connector = (*connector)(nil)

// Driver returns MySQL's.
func (c *connector) Driver() driver.Driver { return &mysql.MySQLDriver{} }

// notConnected is why there is no connection.
type notConnected struct{ error }

// Unwrap returns the driver's error.
func (n notConnected) Unwrap() error { return n.error }

// Connect opens a connection.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	s := c.server
	if s.config.Passwd != passwordMark {
		return connect(ctx, s.config)
	}
	passwords := s.settings.Passwords
	first := int(s.good.Load())
	var failed error
	for i := range passwords {
		n := (first + i) % len(passwords)
		config := s.config.Clone()
		config.Passwd = passwords[n]
		conn, err := connect(ctx, config)
		if err == nil {
			s.good.Store(int64(n))
			return conn, nil
		}
		failed = err
		if !wrongPassword(err) {
			break
		}
	}
	return nil, failed
}

func connect(ctx context.Context, config *mysql.Config) (driver.Conn, error) {
	made, err := mysql.NewConnector(config)
	if err != nil {
		return nil, notConnected{err}
	}
	conn, err := made.Connect(ctx)
	if err != nil {
		return nil, notConnected{err}
	}
	execer, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("the driver runs no statements"), conn.Close())
	}
	if _, err := execer.ExecContext(ctx, session, nil); err != nil {
		_ = conn.Close()
		return nil, notConnected{err}
	}
	return conn, nil
}

// Codes that the server answers with.
const (
	tooManyConnections = 1040
	accessDenied       = 1045
	shuttingDown       = 1053
	tooManyOfUser      = 1203
	lockWait           = 1205
	deadlock           = 1213
	overLimit          = 1226
	interrupted        = 1317
	accessDeniedPlugin = 1698
	killed             = 1927
	statementTime      = 1969
	executionTime      = 3024
)

func wrongPassword(err error) bool {
	var refused *mysql.MySQLError
	return errors.As(err, &refused) && (refused.Number == accessDenied || refused.Number == accessDeniedPlugin)
}

// Close closes the pool.
func (s *server) Close() error { return s.db.Close() }

// Verify connects anew, since connections of the pool outlive a password.
func (s *server) Verify(ctx context.Context) (int, error) {
	db := sql.OpenDB(&connector{server: s})
	defer func() { _ = db.Close() }()
	if err := db.PingContext(ctx); err != nil {
		return 0, s.explain(err, "")
	}
	return int(s.good.Load()), nil
}

// explain makes a Refusal of what the database answered, and leaves out
// passwords from whatever it is.
func (s *server) explain(err error, password string) error {
	if err == nil {
		return nil
	}
	var refused *mysql.MySQLError
	var away notConnected
	connecting := errors.As(err, &away)
	if errors.As(err, &refused) {
		text := s.mask(fmt.Sprintf("%s (error %d)", refused.Message, refused.Number), password)
		if connecting {
			return &database.Unreached{Text: "it refused the connection: " + text}
		}
		switch refused.Number {
		case tooManyConnections, shuttingDown, tooManyOfUser, lockWait, deadlock, overLimit, interrupted, killed, statementTime, executionTime:
			return errors.New(text) // not an answer
		}
		return &database.Refusal{Text: text}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case connecting:
		return database.Unreachable(err)
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("it did not answer in time")
	}
	return errors.New("the connection to it broke")
}

// leastShown is how many characters of a password may be told: the server cuts
// off what it repeats of a statement, and so a password may stand there in part.
const leastShown = 3

// mask takes passwords, and what they begin with, out of a text.
func (s *server) mask(text, password string) string {
	for _, secret := range append([]string{password}, s.settings.Passwords...) {
		for _, form := range []string{escape(secret, "'"), escape(secret, `"`), secret} {
			for n := len(form); n > leastShown; n-- {
				text = strings.ReplaceAll(text, form[:n], "[password]")
			}
		}
	}
	return text
}
