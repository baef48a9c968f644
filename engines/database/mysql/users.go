package mysql

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/coffer-secrets/coffer/engines/database"
)

const (
	// expiration is how a statement's {{expiration}} is written.
	expiration = "2006-01-02 15:04:05-0700"
	// tidyTimeout bounds what is done about a call that failed, endTimeout how
	// long a session that was killed may take to end, in seconds.
	tidyTimeout = 8 * time.Second
	endTimeout  = 5
	// anyHost is where a user comes from where nobody can be asked.
	anyHost = "%"
)

// Create runs the creation statements. The server takes nothing back when one of
// them fails, so the user is dropped then.
func (s *server) Create(ctx context.Context, u *database.User) error {
	if len(u.Statements) == 0 {
		return &database.Refusal{Text: "the role has no creation_statements"}
	}
	text, err := s.text(u, u.Statements)
	if err != nil {
		return err
	}
	mark, err := s.mark(ctx, u)
	if err != nil {
		return err
	}
	err = s.alone(ctx, u.Name, u.Password, mark+text)
	var refused *database.Refusal
	if !errors.As(err, &refused) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
	defer cancel()
	if len(u.Rollback) > 0 {
		if text, err := s.text(u, u.Rollback); err == nil {
			_, _ = s.db.ExecContext(ctx, text)
		}
	}
	_ = s.drop(ctx, []string{u.Name}) // or else when its lease is revoked
	return err
}

// Extend has nothing to do: the server does not know when a user ends, unless
// the role has statements that tell it.
func (s *server) Extend(ctx context.Context, u *database.User) error {
	if len(u.Statements) == 0 {
		return nil
	}
	text, err := s.text(u, u.Statements)
	if err != nil {
		return err
	}
	return s.alone(ctx, u.Name, u.Password, text)
}

// Rotate sets a password.
func (s *server) Rotate(ctx context.Context, u *database.User) error {
	if u.Overtake {
		if err := s.stop(ctx, []string{u.Name}); err != nil {
			return err
		}
	}
	if len(u.Statements) > 0 {
		text, err := s.text(u, u.Statements)
		if err != nil {
			return err
		}
		return s.alone(ctx, u.Name, u.Password, text)
	}
	accounts, err := s.accounts(ctx, []string{u.Name})
	if err != nil {
		return err
	}
	list := accounts[u.Name]
	if len(list) == 0 {
		return &database.Refusal{Text: "there is no such user"}
	}
	return s.alone(ctx, u.Name, u.Password, "ALTER USER "+strings.Join(list, " IDENTIFIED BY "+literal(u.Password)+", ")+" IDENTIFIED BY "+literal(u.Password))
}

// text is what is sent of statements about a user.
func (s *server) text(u *database.User, statements []string) (string, error) {
	values := map[string]string{"name": u.Name, "username": u.Name, "password": u.Password}
	if u.PublicKey != "" {
		values["public_key"] = u.PublicKey
	}
	if !u.Expires.IsZero() {
		values["expiration"] = u.Expires.UTC().Format(expiration)
	}
	text, err := fill(statements, values)
	if err != nil {
		return "", &database.Refusal{Text: err.Error()}
	}
	return text, nil
}

// lock is the name of a user's lock. It says nothing about the user.
func lock(name string) string {
	sum := sha256.Sum256([]byte(name))
	return literal("coffer-" + hex.EncodeToString(sum[:16]))
}

// alone sends statements in a session that has the user's lock. If it is not
// known how they went, the session ends before alone returns, or else when the
// user is revoked.
func (s *server) alone(ctx context.Context, name, password, text string) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return s.explain(err, "")
	}
	defer func() { _ = conn.Close() }()
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, "SELECT GET_LOCK("+lock(name)+", 0)").Scan(&got); err != nil {
		return s.untold(err)
	}
	if got.Int64 != 1 {
		return errors.New("another session is at the same user") // and may have made it
	}
	// A process that was stopped may have the lock later than anybody waits for
	// it to be taken. What is sent from here on is not taken from a session that
	// was killed.
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // which ends it
		return &database.Unreached{Text: "it did not answer in time"}
	}
	_, err = conn.ExecContext(ctx, text+"\n;\nDO RELEASE_LOCK("+lock(name)+")")
	if err == nil {
		return nil
	}
	explained := s.explain(err, password)
	tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
	defer cancel()
	var refused *database.Refusal
	if errors.As(explained, &refused) {
		if _, err := conn.ExecContext(tidy, "DO RELEASE_LOCK("+lock(name)+")"); err == nil {
			return explained
		}
	}
	_ = conn.Close() // there may be no other
	_ = s.stop(tidy, []string{name})
	return explained
}

// untold is an error from before the server was told anything about a user.
func (s *server) untold(err error) error {
	explained := s.explain(err, "")
	var refused *database.Refusal
	if errors.As(explained, &refused) {
		return explained
	}
	return &database.Unreached{Text: explained.Error()}
}

// stop ends the sessions that have the locks of users, and waits until they have
// ended.
func (s *server) stop(ctx context.Context, names []string) error {
	asked := make([]string, len(names))
	for i, name := range names {
		asked[i] = "SELECT " + strconv.Itoa(i) + ", IS_USED_LOCK(" + lock(name) + ")"
	}
	rows, err := s.pairs(ctx, strings.Join(asked, " UNION ALL "))
	if err != nil {
		return err
	}
	for _, row := range rows {
		if row[1] == "" {
			continue
		}
		at, err := strconv.Atoi(row[0])
		if err != nil || at < 0 || at >= len(names) {
			return errors.New("it answers what was not asked")
		}
		if _, err := strconv.ParseUint(row[1], 10, 64); err != nil {
			return errors.New("it answers what was not asked")
		}
		// Who has gone by itself is no longer there to be killed.
		_, _ = s.db.ExecContext(ctx, "KILL CONNECTION "+row[1])
		if err := s.ended(ctx, names[at]); err != nil {
			return err
		}
	}
	return nil
}

// ended waits until nobody has a user's lock.
func (s *server) ended(ctx context.Context, name string) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return s.explain(err, "")
	}
	defer func() { _ = conn.Close() }()
	var got sql.NullInt64
	if err := conn.QueryRowContext(ctx, fmt.Sprintf("SELECT GET_LOCK(%s, %d)", lock(name), endTimeout)).Scan(&got); err != nil {
		return s.explain(err, "")
	}
	if got.Int64 != 1 {
		return errors.New("a session that is at the user does not end")
	}
	_, err = conn.ExecContext(ctx, "DO RELEASE_LOCK("+lock(name)+")")
	return s.explain(err, "")
}

// pairs runs a query of two columns, with nothing for NULL.
func (s *server) pairs(ctx context.Context, query string) ([][2]string, error) {
	rows, err := s.db.QueryContext(ctx, query)
	if err != nil {
		return nil, s.explain(err, "")
	}
	defer func() { _ = rows.Close() }()
	var out [][2]string
	for rows.Next() {
		var a, b sql.NullString
		if err := rows.Scan(&a, &b); err != nil {
			return nil, s.explain(err, "")
		}
		out = append(out, [2]string{a.String, b.String})
	}
	return out, s.explain(rows.Err(), "")
}

// noSelect are the codes for a table that one may not read.
const (
	noSelectCommand = 1142
	noSelectColumn  = 1143
	noDatabase      = 1044
)

// accounts are what is there of users: one for each host that they come from.
// Where Coffer's own user may not look, they are supposed to come from anywhere.
func (s *server) accounts(ctx context.Context, names []string) (map[string][]string, error) {
	out := make(map[string][]string, len(names))
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = literal(name)
	}
	rows, err := s.db.QueryContext(ctx, "SELECT User, Host FROM mysql.user WHERE User IN ("+strings.Join(quoted, ", ")+")") // #nosec G202 -- literals
	if err != nil {
		var refused *mysql.MySQLError
		if errors.As(err, &refused) && (refused.Number == noSelectCommand || refused.Number == noSelectColumn || refused.Number == noDatabase) {
			for i, name := range names {
				out[name] = []string{quoted[i] + "@" + literal(anyHost)}
			}
			return out, nil
		}
		return nil, s.explain(err, "")
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name, host string
		if err := rows.Scan(&name, &host); err != nil {
			return nil, s.explain(err, "")
		}
		out[name] = append(out[name], literal(name)+"@"+literal(host))
	}
	return out, s.explain(rows.Err(), "")
}

// Revoke removes users. Those that have statements of their own are done one by
// one, the rest together; if that fails, in halves, so that one that cannot be
// removed does not keep the others.
func (s *server) Revoke(ctx context.Context, users []database.User) []error {
	out := make([]error, len(users))
	var names []string
	var together []int
	for i := range users {
		if users[i].Name == s.config.User {
			out[i] = &database.Refusal{Text: "this is the user that Coffer itself logs in as"}
			continue
		}
		names = append(names, users[i].Name)
		if len(users[i].Statements) == 0 {
			together = append(together, i)
		}
	}
	if len(names) == 0 {
		return out
	}
	there, err := s.quiet(ctx, names)
	for i := range users {
		switch {
		case out[i] != nil:
		case err != nil:
			out[i] = err
		case len(users[i].Statements) > 0 && len(there[users[i].Name]) > 0:
			out[i] = s.byStatements(ctx, &users[i])
		}
	}
	if err == nil {
		s.dropAll(ctx, users, together, out)
	}
	return out
}

// quiet sees that nobody makes any of the users any more, and says what is there
// of them.
func (s *server) quiet(ctx context.Context, names []string) (map[string][]string, error) {
	if err := s.stop(ctx, names); err != nil {
		return nil, err
	}
	return s.accounts(ctx, names)
}

func (s *server) byStatements(ctx context.Context, u *database.User) error {
	text, err := s.text(u, u.Statements)
	if err != nil {
		return err
	}
	if _, err := s.db.ExecContext(ctx, text); err != nil {
		return s.explain(err, "")
	}
	return errors.Join(s.end(ctx, []string{u.Name}), s.unmark(ctx, []string{u.Name}))
}

// dropAll drops the users at some indices of a list.
func (s *server) dropAll(ctx context.Context, users []database.User, which []int, out []error) {
	if len(which) == 0 {
		return
	}
	names := make([]string, len(which))
	for i, n := range which {
		names[i] = users[n].Name
	}
	err := s.drop(ctx, names)
	var refused *database.Refusal
	if errors.As(err, &refused) && len(which) > 1 {
		half := len(which) / 2
		s.dropAll(ctx, users, which[:half], out)
		s.dropAll(ctx, users, which[half:], out)
		return
	}
	for _, n := range which {
		out[n] = err
	}
}

// drop drops users, from whatever hosts they come, and ends their sessions,
// which the server lets go on.
func (s *server) drop(ctx context.Context, names []string) error {
	there, err := s.accounts(ctx, names)
	if err != nil {
		return err
	}
	var list []string
	for _, name := range names {
		list = append(list, there[name]...)
	}
	if len(list) > 0 {
		if _, err := s.db.ExecContext(ctx, "DROP USER IF EXISTS "+strings.Join(list, ", ")); err != nil {
			return s.explain(err, "")
		}
	}
	return errors.Join(s.end(ctx, names), s.unmark(ctx, names))
}

// end ends the sessions of users that are gone, if Coffer's own user may.
func (s *server) end(ctx context.Context, names []string) error {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = literal(name)
	}
	sessions, err := s.pairs(ctx, "SELECT ID, USER FROM information_schema.PROCESSLIST WHERE USER IN ("+strings.Join(quoted, ", ")+")")
	if err != nil {
		return answered(err)
	}
	for _, session := range sessions {
		if _, err := strconv.ParseUint(session[0], 10, 64); err != nil {
			return errors.New("it answers what was not asked")
		}
		if _, err := s.db.ExecContext(ctx, "KILL CONNECTION "+session[0]); err != nil && answered(s.explain(err, "")) != nil {
			return s.explain(err, "")
		}
	}
	return nil
}

// answered leaves out refusals: the user is gone, and that is what was asked.
func answered(err error) error {
	var refused *database.Refusal
	if errors.As(err, &refused) {
		return nil
	}
	return err
}
