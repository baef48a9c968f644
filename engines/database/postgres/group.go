package postgres

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/coffer-secrets/coffer/engines/database"
)

// maxGroup bounds how many users a group is of. Small ones keep both the server
// and us at work.
const maxGroup = 4

// groups has users that are made by the same statements made together when more
// are asked for at once than there are connections: they cost one transaction.
type groups struct {
	mu sync.Mutex
	of map[string]*group
}

// group are those of the same statements. What is in it is the groups' mutex's.
type group struct {
	waiting []*making
	running int
}

// making is one user that is to be made.
type making struct {
	ctx   context.Context //nolint:containedctx // of who waits
	text  string
	taken bool
	done  chan error
}

// together reports whether statements can be in one transaction with others: they
// end none, and leave nothing behind in the session.
func together(statements []string) bool {
	for _, text := range statements {
		shape, err := shapeOf(text)
		if err != nil {
			return false
		}
		for statement := range strings.SplitSeq(shape, ";") {
			words := strings.Fields(strings.ToUpper(statement))
			switch {
			case len(words) == 0, words[0] == "GRANT":
			case len(words) > 1 && (words[0] == "CREATE" || words[0] == "ALTER") && (words[1] == "ROLE" || words[1] == "USER"):
			default:
				return false
			}
		}
	}
	return true
}

// shapeOf is a statement without what is inside of quotes and comments.
func shapeOf(text string) (string, error) {
	r := &reader{text: text}
	var shape strings.Builder
	for r.at < len(text) {
		at, in := r.at, r.in
		r.step()
		if in == plain && r.in == plain {
			shape.WriteString(text[at:r.at])
		}
	}
	if r.in != plain && r.in != line {
		return "", errors.New("a statement ends inside of a quote or a comment")
	}
	return shape.String(), nil
}

// inGroup makes a user with others of the same statements, and returns the
// server's error.
func (s *server) inGroup(m *making, statements []string) error {
	key := strings.Join(statements, "\x00")
	g := &s.groups
	g.mu.Lock()
	if g.of == nil {
		g.of = make(map[string]*group)
	}
	of := g.of[key]
	if of == nil {
		of = new(group)
		g.of[key] = of
	}
	of.waiting = append(of.waiting, m)
	if of.running < max(s.settings.MaxOpen, 1) {
		of.running++
		go s.runGroups(key, of)
	}
	g.mu.Unlock()
	select {
	case err := <-m.done:
		return err
	case <-m.ctx.Done():
	}
	g.mu.Lock()
	taken := m.taken
	m.taken = true
	g.mu.Unlock()
	if !taken {
		return &database.Unreached{Text: "it did not answer in time"}
	}
	return <-m.done // it ends with the first of its group, if not before
}

// runGroups makes one group after the other until nobody waits.
func (s *server) runGroups(key string, of *group) {
	for {
		members := s.nextGroup(key, of)
		if members == nil {
			return
		}
		s.makeGroup(members)
	}
}

func (s *server) nextGroup(key string, of *group) []*making {
	g := &s.groups
	g.mu.Lock()
	defer g.mu.Unlock()
	var members []*making
	for len(of.waiting) > 0 && len(members) < maxGroup {
		m := of.waiting[0]
		of.waiting = of.waiting[1:]
		if !m.taken { // or it has given up
			m.taken = true
			members = append(members, m)
		}
	}
	if members == nil {
		if of.running--; of.running == 0 {
			delete(g.of, key)
		}
	}
	return members
}

// makeGroup makes the users of a group, within the time of who has waited
// longest. If the server refuses, each is made by itself: one of them may be at
// fault.
func (s *server) makeGroup(members []*making) {
	ctx := context.WithoutCancel(members[0].ctx)
	if deadline, ok := members[0].ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline)
		defer cancel()
	}
	var text strings.Builder
	for _, m := range members {
		text.WriteString(m.text)
	}
	err := s.alone(ctx, text.String())
	var refused *database.Refusal
	for _, m := range members {
		if len(members) > 1 && errors.As(s.explain(err, ""), &refused) {
			m.done <- s.alone(m.ctx, m.text)
			continue
		}
		m.done <- err
	}
}
