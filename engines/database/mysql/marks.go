package mysql

import (
	"context"
	"errors"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/database"
)

// optionMark is the connection's choice to mark users. MariaDB has no place for a
// text beside a user, and so marks stand in a table of Coffer's own.
const optionMark = "mark_users"

const (
	makeMarks = "CREATE DATABASE IF NOT EXISTS coffer;\n" +
		"CREATE TABLE IF NOT EXISTS coffer.users (user VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, mark VARCHAR(200) CHARACTER SET ascii NOT NULL)"
	// marked compares bytes, whatever the server keeps names in.
	marked = "SELECT DISTINCT m.user, m.mark FROM coffer.users m JOIN mysql.user u ON CAST(u.User AS BINARY) = CAST(m.user AS BINARY)"
)

// The codes for a database and a table that there are not.
const (
	noSuchDatabase = 1049
	noSuchTable    = 1146
)

var _ database.Marker = (*server)(nil)

func (s *server) marks() bool { return s.settings.Options[optionMark] == "true" }

// mark is what is sent before the statements that make a user.
func (s *server) mark(ctx context.Context, u *database.User) (string, error) {
	if u.Mark == "" || !s.marks() {
		return "", nil
	}
	if !s.table.Load() {
		if _, err := s.db.ExecContext(ctx, makeMarks); err != nil {
			return "", s.untold(err)
		}
		s.table.Store(true)
	}
	return "REPLACE INTO coffer.users VALUES (" + literal(u.Name) + ", " + literal(u.Mark) + ")\n;\n", nil
}

// unmark removes the marks of users that are gone.
func (s *server) unmark(ctx context.Context, names []string) error {
	if !s.marks() {
		return nil
	}
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = literal(name)
	}
	_, err := s.db.ExecContext(ctx, "DELETE FROM coffer.users WHERE user IN ("+strings.Join(quoted, ", ")+")") // #nosec G202 -- literals
	return answered(s.explain(err, ""))
}

// Marked implements database.Marker.
func (s *server) Marked(ctx context.Context) ([]database.MarkedUser, error) {
	if !s.marks() {
		return nil, database.ErrNoMarks
	}
	rows, err := s.db.QueryContext(ctx, marked)
	var refused *mysql.MySQLError
	if errors.As(err, &refused) && (refused.Number == noSuchDatabase || refused.Number == noSuchTable) {
		return nil, nil // nobody was marked yet
	}
	if err != nil {
		return nil, s.explain(err, "")
	}
	defer func() { _ = rows.Close() }()
	var out []database.MarkedUser
	for rows.Next() {
		var u database.MarkedUser
		if err := rows.Scan(&u.Name, &u.Mark); err != nil {
			return nil, s.explain(err, "")
		}
		if strings.HasPrefix(u.Mark, engines.MarkPrefix) && u.Name != s.config.User {
			out = append(out, u)
		}
	}
	return out, s.explain(rows.Err(), "")
}
