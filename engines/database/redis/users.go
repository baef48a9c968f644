package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/coffer-secrets/coffer/engines/database"
)

// tidyTimeout bounds what is done about a call that failed.
const tidyTimeout = 8 * time.Second

// Create sets a user up anew, whatever there was of it.
func (s *server) Create(ctx context.Context, u *database.User) error {
	list, err := rules(u.Statements, u.Name)
	if err != nil {
		return &database.Refusal{Text: err.Error()}
	}
	words := []any{"ACL", "SETUSER", u.Name, "reset", "on", hash(u.Password)}
	if u.Mark != "" && s.marks() {
		words = append(words, "(~"+u.Mark+")")
	}
	for _, rule := range list {
		words = append(words, rule)
	}
	err = s.alone(ctx, u.Name, words)
	var refused *database.Refusal
	if errors.As(err, &refused) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
		defer cancel()
		_ = s.delete(ctx, []string{u.Name}) // or else when its lease is revoked
	}
	return err
}

// hash is the rule that gives a user a password, without the password.
func hash(password string) string {
	sum := sha256.Sum256([]byte(password))
	return "#" + hex.EncodeToString(sum[:])
}

// Extend has nothing to do: Redis does not know when a user ends.
func (s *server) Extend(context.Context, *database.User) error { return nil }

// Rotate sets a password, which is then the user's only one.
func (s *server) Rotate(ctx context.Context, u *database.User) error {
	if u.Overtake {
		if err := s.stop(ctx, []string{u.Name}); err != nil {
			return err
		}
	}
	err := s.client.Do(ctx, "ACL", "GETUSER", u.Name).Err()
	if errors.Is(err, redis.Nil) {
		return &database.Refusal{Text: "there is no such user"}
	}
	if err != nil {
		return s.explain(err)
	}
	return s.alone(ctx, u.Name, []any{"ACL", "SETUSER", u.Name, "resetpass", hash(u.Password)})
}

// mark is the name of a connection that is at a user. It says nothing about the
// user.
func mark(name string) string {
	sum := sha256.Sum256([]byte(name))
	return ownName + "-" + hex.EncodeToString(sum[:16])
}

// alone sends a command in a connection that has the user's mark. If it is not
// known how it went, the connection ends before alone returns, or else when the
// user is revoked.
func (s *server) alone(ctx context.Context, name string, words []any) error {
	conn := s.client.Conn()
	defer func() { _ = conn.Close() }()
	if err := s.explain(conn.ClientSetName(ctx, mark(name)).Err()); err != nil {
		var refused *database.Refusal
		if errors.As(err, &refused) {
			return err
		}
		return &database.Unreached{Text: err.Error()}
	}
	// A process that was stopped may have the mark later than anybody waits for
	// it. What is sent from here on is not taken from a connection that was ended.
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return &database.Unreached{Text: "it did not answer in time"}
	}
	var changed, saved *redis.Cmd
	_, err := conn.Pipelined(ctx, func(p redis.Pipeliner) error {
		changed = p.Do(ctx, words...)
		if save := s.saving(); save != nil {
			saved = p.Do(ctx, save...)
		}
		p.ClientSetName(ctx, ownName)
		return nil
	})
	explained := s.explain(changed.Err())
	if explained == nil {
		explained = s.saved(saved)
	}
	if explained == nil || err == nil {
		return explained
	}
	var refused *database.Refusal
	if !errors.As(explained, &refused) {
		_ = conn.Close() // there may be no other
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
		defer cancel()
		_ = s.stop(tidy, []string{name})
	}
	return explained
}

// saving is the command by which users are kept, if any.
func (s *server) saving() []any {
	switch s.settings.Options["persistence_mode"] {
	case saveNothing:
		return nil
	case saveConfig:
		return []any{"CONFIG", "REWRITE"}
	}
	return []any{"ACL", "SAVE"}
}

// saved is how keeping the users went. A server without a file of users has
// nothing to keep them in, which is in order unless the operator says it has.
func (s *server) saved(cmd *redis.Cmd) error {
	if cmd == nil || cmd.Err() == nil {
		return nil
	}
	// The one code for all errors of ACL SAVE is ERR, and this is how that of a
	// server without a file goes on.
	if s.settings.Options["persistence_mode"] == saveIfFile && redis.HasErrorPrefix(cmd.Err(), "This ") {
		return nil
	}
	return s.explain(cmd.Err())
}

// stop ends the connections that are at users.
func (s *server) stop(ctx context.Context, names []string) error {
	marks := make(map[string]bool, len(names))
	for _, name := range names {
		marks[mark(name)] = true
	}
	list, err := s.client.ClientList(ctx).Result()
	if err != nil {
		return s.explain(err)
	}
	for line := range strings.Lines(list) {
		id, name := client(line)
		if id == "" || !marks[name] {
			continue
		}
		// Who has gone by itself is no longer there to be ended.
		if err := s.client.ClientKillByFilter(ctx, "ID", id).Err(); err != nil {
			return s.explain(err)
		}
	}
	return nil
}

// client reads a line of CLIENT LIST.
func client(line string) (id, name string) {
	for _, member := range strings.Fields(line) {
		key, value, _ := strings.Cut(member, "=")
		switch key {
		case "id":
			id = value
		case "name":
			name = value
		}
	}
	return id, name
}

// Revoke deletes users, all at once. Redis ends their connections then.
func (s *server) Revoke(ctx context.Context, users []database.User) []error {
	out := make([]error, len(users))
	var names []string
	for i := range users {
		if users[i].Name == s.user() || users[i].Name == "default" {
			out[i] = &database.Refusal{Text: "this is the user that Coffer itself logs in as, or Redis' own"}
			continue
		}
		names = append(names, users[i].Name)
	}
	if len(names) == 0 {
		return out
	}
	err := s.stop(ctx, names)
	if err == nil {
		err = s.delete(ctx, names)
	}
	for i := range out {
		if out[i] == nil {
			out[i] = err
		}
	}
	return out
}

// delete deletes users and keeps that, also if they are gone already: whoever
// deleted them may not have come to keep it.
func (s *server) delete(ctx context.Context, names []string) error {
	words := []any{"ACL", "DELUSER"}
	for _, name := range names {
		words = append(words, name)
	}
	var deleted, saved *redis.Cmd
	_, _ = s.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		deleted = p.Do(ctx, words...)
		if save := s.saving(); save != nil {
			saved = p.Do(ctx, save...)
		}
		return nil
	})
	if err := deleted.Err(); err != nil {
		return s.explain(err)
	}
	return s.saved(saved)
}
