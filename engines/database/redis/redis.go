package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/database"
)

const (
	// connectTimeout bounds one try to connect, answerTimeout one answer.
	connectTimeout = 10 * time.Second
	answerTimeout  = 20 * time.Second
	// idleTime is how long an unused connection stays open.
	idleTime = 5 * time.Minute
	// ownName is that of connections which are at no user.
	ownName = "coffer"

	maxUsername = 128
)

// Values of persistence_mode.
const (
	saveIfFile  = ""
	saveFile    = "ACLFILE"
	saveConfig  = "REWRITE"
	saveNothing = "NONE"
)

// Plugin is Redis and Valkey, as the database engine takes them.
func Plugin() *database.Plugin {
	redis.SetLogger(quiet{})
	return &database.Plugin{
		Names:       []string{"redis-database-plugin", "valkey-database-plugin"},
		Username:    `{{ printf "V_%s_%s_%s_%s" (.DisplayName | uppercase | truncate 32) (.RoleName | uppercase | truncate 32) (random 20 | uppercase) (unix_time) | truncate 128 }}`,
		MaxUsername: maxUsername, PasswordsOnly: true,
		Fields: []engines.Field{
			{Name: "host", Type: engines.String, Help: "Name or address of a Redis"},
			{Name: "port", Type: engines.Int, Help: "Its port"},
			{Name: "tls", Type: engines.Bool, Help: "Use TLS"},
			{Name: "insecure_tls", Type: engines.Bool, Help: "Take any certificate of the server"},
			{Name: "ca_cert", Type: engines.String, Help: "Authorities that may vouch for the server, in PEM"},
			{
				Name: "persistence_mode", Type: engines.String, Allowed: []string{saveIfFile, saveFile, saveConfig, saveNothing},
				Help: "How a Redis keeps users: ACLFILE by ACL SAVE, REWRITE by CONFIG REWRITE, NONE not at all; by itself, in its file of users if it has one",
			},
			{Name: optionMark, Type: engines.Bool, Help: "Give each user who is made a selector that allows nothing, by which sys/leases/reconcile finds those left behind; from Redis 7 on."},
		},
		Open:  open,
		Check: func(statements []string) error { _, err := rules(statements, ""); return err },
	}
}

// quiet logs nothing: the library would write to standard error.
type quiet struct{}

// Printf drops a line.
func (quiet) Printf(context.Context, string, ...any) {}

// server is one connection.
type server struct {
	settings *database.Settings
	address  string
	tls      *tls.Config
	client   *redis.Client
	// good is the password that was taken last.
	good atomic.Int64
}

func open(s *database.Settings) (database.Database, error) {
	r := &server{settings: s}
	if err := r.parse(); err != nil {
		return nil, err
	}
	r.client = r.newClient(s.MaxOpen)
	return r, nil
}

// parse reads where the server is.
func (s *server) parse() error {
	options := s.settings.Options
	port, err := strconv.ParseUint(options["port"], 10, 16)
	host := options["host"]
	switch {
	case s.settings.URL != "":
		return errors.New("a Redis has no connection_url: give host and port")
	case host == "" || strings.ContainsAny(host, "/ @?#"):
		return errors.New("host is missing, or is no name or address")
	case err != nil || port == 0:
		return errors.New("port is missing, or is none")
	case s.settings.Username != "" && len(s.settings.Passwords) == 0:
		return errors.New("username has no password")
	}
	s.address = net.JoinHostPort(strings.Trim(host, "[]"), strconv.FormatUint(port, 10))
	if options["tls"] != "true" {
		if options["ca_cert"] != "" || options["insecure_tls"] == "true" {
			return errors.New("ca_cert and insecure_tls need tls=true")
		}
		return nil
	}
	s.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, InsecureSkipVerify: options["insecure_tls"] == "true"} //nolint:gosec // as the operator says
	if ca := options["ca_cert"]; ca != "" {
		s.tls.RootCAs = x509.NewCertPool()
		if !s.tls.RootCAs.AppendCertsFromPEM([]byte(ca)) {
			return errors.New("ca_cert holds no certificates in PEM")
		}
	}
	return nil
}

// newClient makes a pool. Nothing is sent twice by itself: who asked knows
// whether it may be.
func (s *server) newClient(most int) *redis.Client {
	return redis.NewClient(&redis.Options{
		Addr: s.address, Dialer: s.dial, DialerRetries: 1, DialTimeout: connectTimeout, MaxRetries: -1, Protocol: 2, ClientName: ownName, DisableIdentity: true,
		ReadTimeout: answerTimeout, WriteTimeout: answerTimeout, PoolTimeout: answerTimeout, ContextTimeoutEnabled: true,
		PoolSize: most, MaxActiveConns: most, MaxIdleConns: max(s.settings.MaxIdle, 0), ConnMaxLifetime: s.settings.MaxLifetime, ConnMaxIdleTime: idleTime,
	})
}

// user is the one that Coffer itself logs in as.
func (s *server) user() string {
	if s.settings.Username == "" {
		return "default"
	}
	return s.settings.Username
}

// Close closes the pool.
func (s *server) Close() error { return s.client.Close() }

// Verify connects anew, since connections of the pool outlive a password, and
// sees whether what every change begins with may be done.
func (s *server) Verify(ctx context.Context) (int, error) {
	client := s.newClient(1)
	defer func() { _ = client.Close() }()
	conn := client.Conn()
	defer func() { _ = conn.Close() }()
	if err := conn.ClientSetName(ctx, ownName).Err(); err != nil {
		return 0, s.explain(err)
	}
	return int(s.good.Load()), nil
}

// explain makes a Refusal of what the database answered. Answers hold no
// passwords, since it is sent none.
func (s *server) explain(err error) error {
	var untold *database.Unreached
	var answer redis.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &untold):
		return untold
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &answer):
		text := answer.Error()
		code, _, _ := strings.Cut(text, " ")
		switch code {
		// Not an answer: it is busy with itself, is not whom one can ask, or has
		// run out of something.
		case "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "READONLY", "TRYAGAIN", "MISCONF", "OOM", "NOREPLICAS", "NOAUTH":
			return errors.New(text)
		}
		return &database.Refusal{Text: text}
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("it did not answer in time")
	}
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		return errors.New("it did not answer in time")
	}
	return errors.New("the connection to it broke")
}
