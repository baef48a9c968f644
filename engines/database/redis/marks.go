package redis

import (
	"context"
	"regexp"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/database"
)

// optionMark is the connection's choice to mark users. A mark is a selector with a
// key but without commands, which therefore allows nothing.
const optionMark = "mark_users"

// marked finds a mark in a user's rules as ACL LIST shows them.
var marked = regexp.MustCompile(`\(~(` + regexp.QuoteMeta(engines.MarkPrefix) + `[0-9a-f:]+) (?:resetchannels )?-@all\)`) //nolint:gochecknoglobals // a constant

var _ database.Marker = (*server)(nil)

func (s *server) marks() bool { return s.settings.Options[optionMark] == "true" }

// Marked implements database.Marker.
func (s *server) Marked(ctx context.Context) ([]database.MarkedUser, error) {
	if !s.marks() {
		return nil, database.ErrNoMarks
	}
	list, err := s.client.Do(ctx, "ACL", "LIST").StringSlice()
	if err != nil {
		return nil, s.explain(err)
	}
	var out []database.MarkedUser
	for _, line := range list {
		words := strings.Fields(line) // user <name> <rules>, and no name has spaces
		mark := marked.FindStringSubmatch(line)
		if len(words) < 2 || words[0] != "user" || words[1] == s.user() || mark == nil {
			continue
		}
		out = append(out, database.MarkedUser{Name: words[1], Mark: mark[1]})
	}
	return out, nil
}
