package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/stdlib"

	"github.com/coffer-secrets/coffer/engines/database"
)

// fence ends sessions that may yet do what nobody waits for any more: what was
// sent can reach the server late, and a process that was stopped goes on where it
// was. Each pool has a name of its own, by which its sessions are known, in a
// family that is the same on all nodes.
type fence struct {
	family, name string

	mu sync.Mutex
	// doubtful are sessions of this pool of which it is not known what became, and
	// settled counts those that are so no more: calls settle them side by side.
	doubtful []int64
	settled  int
}

func newFence(s *database.Settings) *fence {
	sum := sha256.Sum256([]byte(s.URL + "\x00" + s.Username))
	var own [6]byte
	_, _ = rand.Read(own[:]) // never fails
	family := "coffer-" + hex.EncodeToString(sum[:6]) + "-"
	return &fence{family: family, name: family + hex.EncodeToString(own[:])}
}

// maxDoubtful bounds the sessions that are remembered; a pool has fewer.
const maxDoubtful = 4096

func (f *fence) doubt(session int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if session != 0 && len(f.doubtful) < maxDoubtful {
		f.doubtful = append(f.doubtful, session)
	}
}

// doubts are the doubtful sessions, and upTo is what settle is told of them.
func (f *fence) doubts() (sessions []int64, upTo int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]int64{}, f.doubtful...), f.settled + len(f.doubtful)
}

// settle forgets what doubts has told, as far as another call has not done so.
func (f *fence) settle(upTo int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := max(0, upTo-f.settled)
	f.doubtful, f.settled = f.doubtful[n:], f.settled+n
}

const (
	// tidyTimeout bounds what is done about a call that failed.
	tidyTimeout = 8 * time.Second
	// endOthers ends sessions of the family, and counts those that have not ended
	// within five seconds.
	endOthers = `SELECT count(*) FROM (SELECT pg_catalog.pg_terminate_backend(pid, 5000) AS ended FROM pg_catalog.pg_stat_activity
		WHERE usename = current_user AND pid <> pg_catalog.pg_backend_pid() AND (pg_catalog.starts_with(application_name, $1) AND application_name <> $2
		OR application_name = $2 AND pid = ANY($3))) AS sessions WHERE NOT ended`
	// endOthersOld is for PostgreSQL before 14, which does not wait for them.
	endOthersOld = `SELECT count(*) FROM (SELECT pg_catalog.pg_terminate_backend(pid) AS ended FROM pg_catalog.pg_stat_activity
		WHERE usename = current_user AND pid <> pg_catalog.pg_backend_pid() AND (pg_catalog.strpos(application_name, $1) = 1 AND application_name <> $2
		OR application_name = $2 AND pid = ANY($3))) AS sessions WHERE NOT ended`
)

// endOthers ends the sessions of other pools of the family, which are those of
// processes that led before, and the doubtful ones of this pool.
func (s *server) endOthers(ctx context.Context) error {
	f := s.fence
	doubtful, upTo := f.doubts()
	left, err := s.texts(ctx, s.db, endOthers, f.family, f.name, doubtful)
	if code(err) == noSuchFunction {
		left, err = s.texts(ctx, s.db, endOthersOld, f.family, f.name, doubtful)
	}
	if err != nil {
		return s.explain(err, "")
	}
	if len(left) != 1 || left[0] != "0" {
		return errors.New("a session that may be at the user does not end")
	}
	f.settle(upTo)
	return nil
}

// alone sends a text in one session, once. If it is not known how that went, the
// session ends before alone returns, or else when a user that was to be made is
// revoked.
func (s *server) alone(ctx context.Context, text string) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	// A process that was stopped may come here when nobody waits any more.
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return &database.Unreached{Text: "it did not answer in time"}
	}
	session := sessionOf(conn)
	err = s.exec(ctx, conn, text)
	var refused *database.Refusal
	if err == nil || errors.As(s.explain(err, ""), &refused) {
		return err
	}
	_ = conn.Close() // there may be no other
	s.fence.doubt(session)
	tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
	defer cancel()
	_, _ = s.texts(tidy, s.db, endOne, session, s.fence.name)
	return err
}

// endOne ends a session of this pool.
const endOne = `SELECT pg_catalog.pg_terminate_backend(pid)::text FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND application_name = $2`

// sessionOf is the server's number of a session.
func sessionOf(conn *sql.Conn) int64 {
	var session int64
	_ = conn.Raw(func(driverConn any) error {
		if c, ok := driverConn.(*stdlib.Conn); ok {
			session = int64(c.Conn().PgConn().PID())
		}
		return nil
	})
	return session
}
