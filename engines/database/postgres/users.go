package postgres

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/coffer-secrets/coffer/engines/database"
)

const (
	// expiration is how a statement's {{expiration}} is written.
	expiration = "2006-01-02 15:04:05-0700"
	// tries is how often statements run that lost to others at the same rows.
	tries = 10

	extendUser = `ALTER ROLE "{{name}}" VALID UNTIL '{{expiration}}'`
	rotateUser = `ALTER ROLE "{{name}}" WITH PASSWORD '{{password}}'`
)

// Create runs the creation statements, all or none.
func (s *server) Create(ctx context.Context, u *database.User) error {
	if len(u.Statements) == 0 {
		return &database.Refusal{Text: "the role has no creation_statements"}
	}
	err := s.make(ctx, u)
	var refused *database.Refusal
	if errors.As(err, &refused) && len(u.Rollback) > 0 {
		// What statements did that end their own transaction.
		_ = s.run(ctx, u, u.Rollback)
	}
	return err
}

// Extend moves the end of a user.
func (s *server) Extend(ctx context.Context, u *database.User) error {
	return s.run(ctx, u, orDefault(u.Statements, extendUser))
}

// Rotate sets a password.
func (s *server) Rotate(ctx context.Context, u *database.User) error {
	if u.Overtake {
		if err := s.endOthers(ctx); err != nil {
			return err
		}
	}
	return s.run(ctx, u, orDefault(u.Statements, rotateUser))
}

func orDefault(statements []string, text string) []string {
	if len(statements) > 0 {
		return statements
	}
	return []string{text}
}

// make makes a user, with others if that can be.
func (s *server) make(ctx context.Context, u *database.User) error {
	text, verifier, err := s.text(ctx, u, u.Statements)
	if err != nil {
		return err
	}
	text += s.mark(u)
	if !together(u.Statements) {
		return s.mend(s.alone(ctx, text), u.Password, verifier)
	}
	err = s.inGroup(&making{ctx: ctx, text: text, done: make(chan error, 1)}, u.Statements) //nolint:contextcheck // each of a group has its own
	return s.mend(err, u.Password, verifier)
}

// run sends statements as one message, which is one transaction.
func (s *server) run(ctx context.Context, u *database.User, statements []string) error {
	text, verifier, err := s.text(ctx, u, statements)
	if err != nil {
		return err
	}
	return s.mend(s.alone(ctx, text), u.Password, verifier)
}

// text is what is sent of statements about a user, with what its password has
// become in it.
func (s *server) text(ctx context.Context, u *database.User, statements []string) (text, kept string, err error) {
	v := &values{fill: map[string]string{"name": u.Name, "username": u.Name, "password": u.Password}}
	if u.PublicKey != "" {
		v.fill["public_key"] = u.PublicKey
	}
	if !u.Expires.IsZero() {
		v.fill["expiration"] = u.Expires.UTC().Format(expiration)
	}
	if u.Password != "" {
		scram, err := s.keepsVerifiers(ctx)
		if err != nil {
			return "", "", untold(err)
		}
		if scram {
			v.verifier, _ = verifier(u.Password)
		}
	}
	if text, err = fill(statements, v); err != nil {
		return "", "", &database.Refusal{Text: err.Error()}
	}
	return text, v.verifier, nil
}

// untold is an error from before the server was told anything about a user.
func untold(err error) error {
	var refused *database.Refusal
	if errors.As(err, &refused) {
		return err
	}
	return &database.Unreached{Text: err.Error()}
}

// mend explains an error whose text may hold a password or its verifier.
func (s *server) mend(err error, password, verifier string) error {
	explained := s.explain(err, password)
	var refused *database.Refusal
	if verifier != "" && errors.As(explained, &refused) {
		refused.Text = strings.ReplaceAll(refused.Text, verifier, "[password]")
	}
	return explained
}

// execer is a pool or one connection of it.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// exec runs a text without arguments, and again if others were at the same rows,
// as they are when many are granted the same tables at once. Nothing of a text
// that failed stays.
func (s *server) exec(ctx context.Context, on execer, text string) error {
	for n := 1; ; n++ {
		_, err := on.ExecContext(ctx, text)
		if err == nil || n == tries || !lostRace(err) {
			return err
		}
	}
}

// noSuchFunction is the code for one that a server does not have.
const noSuchFunction = "42883"

// code is that of an answer, if it is one.
func code(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// lostRace tells "tuple concurrently updated", which has the code of internal
// errors, serialization failures and deadlocks.
func lostRace(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && (refused.Code == "XX000" || refused.Code == "40001" || refused.Code == "40P01")
}

// Revoke removes users. Those that have statements of their own are done one by
// one, the rest together; if that fails, in halves, so that one that cannot be
// removed does not keep the others.
func (s *server) Revoke(ctx context.Context, users []database.User) []error {
	out := make([]error, len(users))
	there, err := s.existing(ctx, users)
	if err == nil && len(there) < len(users) {
		// Whoever is not there may be about to be made.
		if err = s.endOthers(ctx); err == nil {
			there, err = s.existing(ctx, users)
		}
	}
	if err != nil {
		for i := range out {
			out[i] = err
		}
		return out
	}
	var together []int
	for i := range users {
		switch {
		case users[i].Name == s.config.User:
			out[i] = &database.Refusal{Text: "this is the user that Coffer itself logs in as"}
		case !there[users[i].Name]:
		case len(users[i].Statements) > 0:
			out[i] = s.run(ctx, &users[i], users[i].Statements)
			if out[i] == nil {
				out[i] = s.end(ctx, users[i].Name)
			}
		default:
			together = append(together, i)
		}
	}
	s.drop(ctx, users, together, out)
	return out
}

func (s *server) existing(ctx context.Context, users []database.User) (map[string]bool, error) {
	names := make([]string, len(users))
	for i := range users {
		names[i] = users[i].Name
	}
	found, err := s.texts(ctx, s.db, "SELECT rolname FROM pg_catalog.pg_roles WHERE rolname = ANY($1)", names)
	if err != nil {
		return nil, s.explain(err, "")
	}
	there := make(map[string]bool, len(found))
	for _, name := range found {
		there[name] = true
	}
	return there, nil
}

// texts runs a query of one column.
func (s *server) texts(ctx context.Context, on execer, query string, args ...any) ([]string, error) {
	rows, err := on.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var out []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, rows.Err()
}

// end ends the sessions of a user that its own statements left.
func (s *server) end(ctx context.Context, name string) error {
	_, err := s.texts(ctx, s.db, endSessions, []string{name})
	var refused *database.Refusal
	if err = s.explain(err, ""); errors.As(err, &refused) {
		return nil // the user is gone, and that is what was asked
	}
	return err
}

// drop removes the users at some indices of a list.
func (s *server) drop(ctx context.Context, users []database.User, which []int, out []error) {
	if len(which) == 0 {
		return
	}
	names := make([]string, len(which))
	for i, n := range which {
		names[i] = users[n].Name
	}
	err := s.dropAll(ctx, names)
	var refused *database.Refusal
	if errors.As(err, &refused) && len(which) > 1 {
		half := len(which) / 2
		s.drop(ctx, users, which[:half], out)
		s.drop(ctx, users, which[half:], out)
		return
	}
	for _, n := range which {
		out[n] = err
	}
}

const (
	endSessions = "SELECT pg_catalog.pg_terminate_backend(pid)::text FROM pg_catalog.pg_stat_activity WHERE usename = ANY($1)"
	// dependent are the databases where something belongs to, or is granted to,
	// some roles. What is granted on databases themselves belongs to none.
	dependent = `SELECT DISTINCT d.datname FROM pg_catalog.pg_shdepend s
		JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
		JOIN pg_catalog.pg_database d ON d.oid = s.dbid
		WHERE s.refclassid = 'pg_catalog.pg_authid'::regclass AND d.datname <> pg_catalog.current_database() AND r.rolname = ANY($1)`
)

// dropAll removes users, or none of them. First nobody can log in as them any
// more, then their sessions end, then what they own goes to Coffer's own user, in
// every database, and then they do.
func (s *server) dropAll(ctx context.Context, names []string) error {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = pgx.Identifier{name}.Sanitize()
	}
	list := strings.Join(quoted, ", ")
	if err := s.exec(ctx, s.db, "ALTER ROLE "+strings.Join(quoted, " NOLOGIN; ALTER ROLE ")+" NOLOGIN"); err != nil {
		return s.explain(err, "")
	}
	couldNot := s.belong(ctx, list)
	if _, err := s.texts(ctx, s.db, endSessions, names); err != nil && couldNot == nil {
		couldNot = s.explain(err, "")
	}
	elsewhere, err := s.texts(ctx, s.db, dependent, names)
	if err != nil {
		return s.explain(err, "")
	}
	disown := "REASSIGN OWNED BY " + list + " TO CURRENT_USER; DROP OWNED BY " + list
	for _, name := range elsewhere {
		if err := s.in(ctx, name, disown); err != nil && couldNot == nil {
			couldNot = s.inDatabase(name, err)
		}
	}
	err = s.explain(s.exec(ctx, s.db, disown+"; DROP ROLE IF EXISTS "+list), "")
	var refused *database.Refusal
	if errors.As(err, &refused) {
		// Without the right to what the users own: if they own nothing, they can go.
		err = s.explain(s.exec(ctx, s.db, "DROP ROLE IF EXISTS "+list), "")
	}
	if errors.As(err, &refused) && couldNot != nil {
		return &database.Refusal{Text: refused.Text + "; before that: " + couldNot.Error()}
	}
	return err
}

// belong makes Coffer's own user a member of others, which it has to be to
// give away what they own, unless it is a superuser.
func (s *server) belong(ctx context.Context, list string) error {
	super, err := s.texts(ctx, s.db, "SELECT rolsuper::text FROM pg_catalog.pg_roles WHERE rolname = current_user")
	if err != nil {
		return s.explain(err, "")
	}
	if len(super) == 1 && super[0] == "true" {
		return nil
	}
	return s.explain(s.exec(ctx, s.db, "GRANT "+list+" TO CURRENT_USER"), "")
}

// in runs a text in another database of the same server.
func (s *server) in(ctx context.Context, name, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*connectTimeout)
	defer cancel()
	config := s.config.Copy()
	config.Database = name
	db := sql.OpenDB(&connector{server: s, config: config})
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	db.SetConnMaxLifetime(time.Minute)
	return s.explain(s.exec(ctx, db, text), "")
}

func (s *server) inDatabase(name string, err error) error {
	return &database.Refusal{Text: "in database " + pgx.Identifier{name}.Sanitize() + ": " + err.Error()}
}
