package postgres

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/database"
)

const (
	// maxUsername is NAMEDATALEN less one.
	maxUsername = 63
	// connectTimeout bounds one try to connect where the URL has none.
	connectTimeout = 10 * time.Second
	// idleTime is how long an unused connection stays open.
	idleTime = 5 * time.Minute
)

// Plugin is PostgreSQL, as the database engine takes it.
func Plugin() *database.Plugin {
	return &database.Plugin{
		Names:       []string{"postgresql-database-plugin"},
		Username:    `{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 8) (.RoleName | truncate 8) (random 20) (unix_time) | truncate 63 }}`,
		MaxUsername: maxUsername,
		Fields: []engines.Field{
			{Name: "tls_ca", Type: engines.String, Help: "Authorities that may vouch for the server, in PEM"},
			{Name: "tls_certificate", Type: engines.String, Help: "Certificate to show to the server, in PEM"},
			{Name: "private_key", Type: engines.String, Secret: true, Help: "Key of tls_certificate, in PEM"},
			{
				Name: "password_authentication", Type: engines.String, Allowed: []string{"", "password", "scram-sha-256"},
				Help: `How statements hold passwords: "scram-sha-256" as verifiers, "password" as they are; by itself, as the server keeps them`,
			},
			{Name: optionMark, Type: engines.Bool, Help: "Have a comment stand beside each user who is made, by which sys/leases/reconcile finds those left behind."},
		},
		Open:  open,
		Check: check,
	}
}

// server is one connection.
type server struct {
	settings *database.Settings
	config   *pgx.ConnConfig
	db       *sql.DB
	// good is the password that was taken last.
	good atomic.Int64
	// scram is whether the server keeps verifiers: unknown until asked.
	scram  atomic.Pointer[bool]
	fence  *fence
	groups groups
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
	pg := &server{settings: s, config: config, fence: newFence(s)}
	config.RuntimeParams["application_name"] = pg.fence.name
	pg.db = sql.OpenDB(&connector{server: pg, config: config})
	pg.db.SetMaxOpenConns(s.MaxOpen)
	pg.db.SetMaxIdleConns(s.MaxIdle)
	pg.db.SetConnMaxLifetime(s.MaxLifetime)
	pg.db.SetConnMaxIdleTime(idleTime)
	return pg, nil
}

// parse reads the URL. The parser's own errors may repeat it, and so are kept.
func parse(s *database.Settings) (*pgx.ConnConfig, error) {
	text := strings.NewReplacer("{{username}}", userMark, "{{password}}", passwordMark).Replace(s.URL)
	if strings.TrimSpace(text) == "" {
		return nil, errors.New("connection_url is missing")
	}
	if name := foreign(text); name != "" {
		return nil, fmt.Errorf("connection_url must not have %s: use username, password, tls_ca, tls_certificate and private_key", name)
	}
	config, err := pgx.ParseConfig(text)
	if err != nil {
		return nil, errors.New("connection_url is none that PostgreSQL takes, such as postgresql://{{username}}:{{password}}@host:5432/database")
	}
	if config.User == userMark {
		config.User = s.Username
	}
	// A password that the environment of this server holds is not for others.
	if config.Password != passwordMark && !holdsPassword(text, config.Password) {
		config.Password = ""
	}
	if strings.Contains(config.Host+config.Database, passwordMark) || len(s.Passwords) == 0 && config.Password == passwordMark {
		return nil, errors.New("connection_url has {{password}}, but there is no password, or it stands where there can be none")
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = connectTimeout
	}
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	config.RuntimeParams["standard_conforming_strings"] = "on"
	return config, secure(config, s.Options)
}

// foreign finds members of a URL that would have files of this server read, or
// what is meant for itself.
func foreign(text string) string {
	text = strings.ToLower(text)
	members := text
	if parsed, err := url.Parse(text); err == nil {
		for name := range parsed.Query() { // as it is once it is decoded
			members += " " + name + "="
		}
	}
	for _, name := range []string{"passfile", "service", "servicefile", "sslkey", "sslcert", "sslrootcert", "sslpassword"} {
		for rest := members; ; {
			_, after, ok := strings.Cut(rest, name)
			if !ok {
				break
			}
			if rest = after; strings.HasPrefix(strings.TrimLeft(after, " \t\r\n\f\v"), "=") {
				return name
			}
		}
	}
	return ""
}

func holdsPassword(text, password string) bool {
	return password != "" && (strings.Contains(text, password) || strings.Contains(text, url.QueryEscape(password)) || strings.Contains(text, url.PathEscape(password)))
}

// secure takes certificates as the settings hold them.
func secure(config *pgx.ConnConfig, options map[string]string) error {
	if options["tls_ca"] == "" && options["tls_certificate"] == "" {
		return nil
	}
	if config.TLSConfig == nil {
		return errors.New("connection_url turns TLS off, which the certificates need: give it sslmode=verify-full")
	}
	config.Fallbacks = nil
	c := config.TLSConfig.Clone()
	c.MinVersion = tls.VersionTLS12
	if ca := options["tls_ca"]; ca != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return errors.New("tls_ca holds no certificates in PEM")
		}
		c.InsecureSkipVerify, c.VerifyPeerCertificate, c.ServerName = false, nil, config.Host
	}
	if pem := options["tls_certificate"]; pem != "" {
		pair, err := tls.X509KeyPair([]byte(pem), []byte(options["private_key"]))
		if err != nil {
			return errors.New("tls_certificate and private_key are no pair in PEM")
		}
		c.Certificates = []tls.Certificate{pair}
	}
	config.TLSConfig = c
	return nil
}

// connector opens connections to one database with whichever password is good.
type connector struct {
	server *server
	config *pgx.ConnConfig
}

var _ driver.Connector = (*connector)(nil)

// Driver returns pgx's.
func (c *connector) Driver() driver.Driver { return stdlib.GetDefaultDriver() }

// Connect opens a connection.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.config.Password != passwordMark {
		return stdlib.GetConnector(*c.config).Connect(ctx)
	}
	passwords := c.server.settings.Passwords
	first := int(c.server.good.Load())
	var failed error
	for i := range passwords {
		n := (first + i) % len(passwords)
		config := c.config.Copy()
		config.Password = passwords[n]
		conn, err := stdlib.GetConnector(*config).Connect(ctx)
		if err == nil {
			c.server.good.Store(int64(n))
			return conn, nil
		}
		failed = err
		if !wrongPassword(err) {
			break
		}
	}
	return nil, failed
}

func wrongPassword(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code[:2] == "28"
}

// Close closes the pool.
func (s *server) Close() error { return s.db.Close() }

// Verify connects anew, since connections of the pool outlive a password.
func (s *server) Verify(ctx context.Context) (int, error) {
	db := sql.OpenDB(&connector{server: s, config: s.config})
	defer func() { _ = db.Close() }()
	if err := db.PingContext(ctx); err != nil {
		return 0, s.explain(err, "")
	}
	return int(s.good.Load()), nil
}

// keepsVerifiers asks once how the server keeps passwords.
func (s *server) keepsVerifiers(ctx context.Context) (bool, error) {
	switch s.settings.Options["password_authentication"] {
	case "password":
		return false, nil
	case "scram-sha-256":
		return true, nil
	}
	if known := s.scram.Load(); known != nil {
		return *known, nil
	}
	var way string
	if err := s.db.QueryRowContext(ctx, "SHOW password_encryption").Scan(&way); err != nil {
		return false, s.explain(err, "")
	}
	scram := way == "scram-sha-256"
	s.scram.Store(&scram)
	return scram, nil
}

// explain makes a Refusal of what the database answered, and leaves out
// passwords from whatever it is.
func (s *server) explain(err error, password string) error {
	if err == nil {
		return nil
	}
	var refused *pgconn.PgError
	var connecting *pgconn.ConnectError
	var untold *database.Unreached
	if errors.As(err, &untold) {
		return untold
	}
	if errors.As(err, &refused) {
		text := refused.Severity + ": " + refused.Message + " (SQLSTATE " + refused.Code + ")"
		text = s.mask(text, password)
		if errors.As(err, &connecting) {
			return &database.Unreached{Text: "it refused the connection: " + text}
		}
		// Not an answer: the connection broke, resources ran out, an operator
		// intervened, the system failed.
		switch refused.Code[:2] {
		case "08", "53", "57", "58":
			return errors.New(text)
		}
		return &database.Refusal{Text: text}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &connecting):
		return database.Unreachable(err)
	case errors.Is(err, context.DeadlineExceeded), pgconn.Timeout(err):
		return errors.New("it did not answer in time")
	}
	return errors.New("the connection to it broke")
}

// mask takes passwords out of a text.
func (s *server) mask(text, password string) string {
	for _, secret := range append([]string{password}, s.settings.Passwords...) {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[password]")
			text = strings.ReplaceAll(text, strings.ReplaceAll(secret, "'", "''"), "[password]")
		}
	}
	return text
}
