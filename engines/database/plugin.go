package database

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// Plugin is one kind of database.
type Plugin struct {
	// Names are the values of plugin_name that mean it, the first being its own.
	Names []string
	// Username is the template of user names where a connection has none.
	Username string
	// MaxUsername is how many bytes of a user name the database takes.
	MaxUsername int
	// Fields are the members of a connection that only this kind has. Their
	// values come as Settings.Options; what is Secret is shown to nobody.
	Fields []engines.Field
	// PasswordsOnly says that users log in with passwords, and not with keys or
	// certificates.
	PasswordsOnly bool
	// Open makes a connection of its settings, and reaches out to nothing. Its
	// error says what is wrong with the settings, and holds no secret.
	Open func(s *Settings) (Database, error)
	// Check says what is wrong with statements that somebody wrote.
	Check func(statements []string) error
}

// Settings are what a connection is made of.
type Settings struct {
	URL      string
	Username string
	// Passwords are tried in this order until one lets the user in: while one is
	// being replaced, nobody knows which.
	Passwords   []string
	MaxOpen     int
	MaxIdle     int
	MaxLifetime time.Duration
	Options     map[string]string
}

// Database is one connection, which many use at once. Each method but Close may
// be called for what it has done already. An error of type *Refusal is the
// database's answer; any other means that it could not be asked, and *Unreached
// that it was told nothing.
type Database interface {
	// Verify returns which of the passwords lets the user in.
	Verify(ctx context.Context) (int, error)
	Create(ctx context.Context, u *User) error
	// Extend tells the database how long a user is good from now on.
	Extend(ctx context.Context, u *User) error
	// Revoke removes many users, and returns an error for each, nil for those
	// that are gone; or nil if all are.
	Revoke(ctx context.Context, users []User) []error
	// Rotate changes the password of a user.
	Rotate(ctx context.Context, u *User) error
	Close() error
}

// User is a user of a database, and the statements for what shall become of it;
// without any, it is what the kind of database does by itself.
type User struct {
	Name     string
	Password string
	// PublicKey, in PEM, is that of a user who logs in with a key.
	PublicKey  string
	Expires    time.Time
	Statements []string
	// Rollback are statements for when Statements fail half-way.
	Rollback []string
	// Overtake has Rotate first see that nobody else who was told to set a password
	// of the user can do so later.
	Overtake bool
	// Mark is to stand beside the user who is made, if the database can do that.
	Mark string
}

// Refusal is what a database said no with. Its text holds no passwords.
type Refusal struct{ Text string }

// Error returns the database's text.
func (r *Refusal) Error() string { return r.Text }

// Unreached says that there was no connection, and so nothing was done.
type Unreached struct{ Text string }

// Unreachable says why no connection can be made, as far as the error tells that
// without telling of what was sent.
func Unreachable(err error) *Unreached {
	var name *net.DNSError
	var slow net.Error
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	why := ""
	switch {
	case errors.As(err, &authority), errors.As(err, &host), errors.As(err, &invalid):
		why = ": it shows a certificate that is not trusted, or for another name"
	case errors.As(err, &name):
		why = ": the name of its host cannot be looked up"
	case errors.Is(err, syscall.ECONNREFUSED):
		why = ": nothing listens there"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		why = ": there is no way to its host"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &slow) && slow.Timeout():
		why = ": it does not answer in time"
	}
	return &Unreached{Text: "no connection to it can be made" + why}
}

// Error returns what stood in the way. It holds no passwords.
func (u *Unreached) Error() string { return u.Text }

// Unwrap tells the core.
func (u *Unreached) Unwrap() error { return engines.ErrNotMade }
