package postgres

import (
	"context"
	"regexp"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/database"
)

// optionMark is the connection's choice to mark users.
const optionMark = "mark_users"

// makesRole finds the statement that makes the user, without which there is none
// to stand a comment beside.
var makesRole = regexp.MustCompile(`(?i)\bCREATE\s+(ROLE|USER)\s+"\{\{(name|username)\}\}"`)

// marked lists who has a comment that begins as a mark. The length is that of one
// at most: a comment can be long.
const marked = `SELECT r.rolname || E'\n' || d.description FROM pg_catalog.pg_shdescription d JOIN pg_catalog.pg_roles r ON r.oid = d.objoid
WHERE d.classoid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.description LIKE $1 || '%' AND length(d.description) <= 200 AND r.rolname <> $2`

func (s *server) marks() bool { return s.settings.Options[optionMark] == "true" }

// mark is what is sent after the statements that make a user, if they do, and say
// nothing beside it themselves.
func (s *server) mark(u *database.User) string {
	text := strings.Join(u.Statements, "\n")
	if u.Mark == "" || !s.marks() || !makesRole.MatchString(text) || strings.Contains(strings.ToUpper(text), "COMMENT") {
		return ""
	}
	quote := func(text, by string) string { return by + strings.ReplaceAll(text, by, by+by) + by }
	return "COMMENT ON ROLE " + quote(u.Name, `"`) + " IS " + quote(u.Mark, "'") + "\n;\n"
}

// Marked implements database.Marker.
func (s *server) Marked(ctx context.Context) ([]database.MarkedUser, error) {
	if !s.marks() {
		return nil, database.ErrNoMarks
	}
	rows, err := s.texts(ctx, s.db, marked, engines.MarkPrefix, s.config.User)
	if err != nil {
		return nil, s.explain(err, "")
	}
	out := make([]database.MarkedUser, 0, len(rows))
	for _, row := range rows {
		at := strings.LastIndexByte(row, '\n')
		out = append(out, database.MarkedUser{Name: row[:at], Mark: row[at+1:]})
	}
	return out, nil
}
