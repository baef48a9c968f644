package database

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

var errChanged = engines.Errorf(engines.KindConflict, "the static role was changed meanwhile: try again")

// due changes the password of a static role when it is due.
func (e *engine) due(ctx context.Context, r *engines.Reach, scheduled string) error {
	name, ok := strings.CutPrefix(scheduled, staticDir)
	if !ok {
		return r.Change(ctx, func(tx engines.Tx) error { return tx.Schedule(scheduled, time.Time{}) })
	}
	w := &rotation{e: e, r: r, name: name}
	err := r.Look(func(tx engines.Tx) (err error) {
		if w.s, err = loadStatic(tx, name); err != nil || w.s == nil {
			return err
		}
		w.c, err = e.needConnection(tx, w.s.Connection)
		return err
	})
	if err == nil && (w.s == nil || !w.wanted()) {
		return r.Change(ctx, func(tx engines.Tx) error { return again(tx, name, r.Now()) })
	}
	if err == nil {
		err = w.run(ctx)
	}
	if w.s != nil {
		e.outcomes.Tell(w.s.Orders, struct{}{}, err)
	}
	return err
}

// again schedules a static role as its row says. A time that a window has passed
// for is passed over.
func again(tx engines.Tx, name string, now time.Time) error {
	s, err := loadStatic(tx, name)
	if err != nil {
		return err
	}
	if s == nil {
		return tx.Schedule(staticDir+name, time.Time{})
	}
	if s.missed(now) {
		s.Due = s.Times.Next(s.Rotated, now)
	}
	return s.store(tx, name, now)
}

// missed reports whether the time for the change is over. One that has begun goes
// on: the database may have the password.
func (s *static) missed(now time.Time) bool {
	return s.Next == nil && s.Current != nil && len(s.Orders) == 0 && s.Missed(s.Due, now)
}

// rotation is the change of one static role's password.
type rotation struct {
	e    *engine
	r    *engines.Reach
	name string
	s    *static
	c    *connection
	// again says that somebody may have set what Next is, or what it was before;
	// doubt is until when others can still begin to.
	again bool
	doubt time.Time
}

// late is by how much clocks may differ about the end of an attempt.
const late = 5 * time.Second

func (w *rotation) wanted() bool {
	s, now := w.s, w.r.Now()
	if s.Next == nil && now.Before(s.Until) {
		return false // what is set now could be overtaken by what was Next
	}
	return s.Next != nil || s.Current == nil || len(s.Orders) > 0 || !now.Before(s.Due) && !s.missed(now)
}

// run commits what the password will be, sets it, and commits that it is so.
// Whoever finds the first without the last sets the same password once more, and
// no other one until whoever came first cannot set it any more: that is so when
// the time has passed within which an attempt may begin to, which is committed with
// it, and what is under way has been ended.
func (w *rotation) run(ctx context.Context) error {
	attempt, cancel := context.WithTimeout(ctx, callTimeout) // from before Until is reckoned
	defer cancel()
	until := w.r.Now().Add(callTimeout + late)
	w.again = !w.s.Until.IsZero()
	if w.r.Now().Before(w.s.Until) {
		w.doubt = w.s.Until
	}
	made := w.s.Next
	if made == nil {
		var err error
		if made, err = w.s.Credential.newSecret(w.s.turn(), w.r.Password, w.c.PasswordPolicy); err != nil {
			return err
		}
	}
	if err := w.change(attempt, func(now *static) { now.Next, now.Until = made, until }); err != nil {
		return err
	}
	refused, err := w.set(attempt)
	if err != nil {
		return errors.Join(err, w.failed(ctx, refused, err))
	}
	return w.change(ctx, func(now *static) {
		now.Current, now.Next, now.Until, now.Rotated, now.Orders, now.Failed = now.Next, nil, w.doubt, w.r.Now(), nil, ""
		now.Due = now.Times.Next(now.Rotated, now.Rotated)
	})
}

// turn is the user whose password is changed next.
func (s *static) turn() string {
	if s.Current == nil {
		return s.Usernames[0]
	}
	at := slices.Index(s.Usernames, s.Current.Username)
	return s.Usernames[(at+1)%len(s.Usernames)]
}

// set has the database take the password. It reports whether it refused it.
func (w *rotation) set(ctx context.Context) (refused bool, err error) {
	// The connection may be of another kind by now.
	if err := w.s.Credential.fits(w.c.plugin, "rotation_statements", w.s.Statements); err != nil {
		return true, err
	}
	u := &User{Name: w.s.Next.Username, Password: w.s.Next.Password, PublicKey: w.s.Next.PublicKey, Statements: w.s.Statements, Overtake: w.again}
	rotate := func(db Database) error {
		err := db.Rotate(ctx, u)
		var no *Refusal
		refused = errors.As(err, &no)
		return err
	}
	if !w.s.Own {
		return refused, w.e.pools.with(w.r.Mount, w.c, func(db Database) error { return rotate(db) })
	}
	settings := w.c.settings()
	settings.Username, settings.Passwords = u.Name, []string{w.s.Next.Password}
	if w.s.Current != nil {
		settings.Passwords = append(settings.Passwords, w.s.Current.Password)
	}
	db, err := w.c.plugin.Open(settings)
	if err != nil {
		return false, engines.Invalidf("the connection %q cannot be used: %s", w.c.Name, err.Error())
	}
	defer closeLater(db)
	return refused, upstream(w.c.Name, rotate(db))
}

// failed notes a failure. A password that the database refused is not tried again,
// for a policy of its own may be the reason; and a static role that never had one
// is not kept if nothing can have come of it.
func (w *rotation) failed(ctx context.Context, refused bool, failure error) error {
	nothing := !w.again && (refused || errors.Is(failure, engines.ErrNotMade))
	if w.s.Current == nil && nothing {
		return w.r.Change(ctx, func(tx engines.Tx) error {
			now, err := loadStatic(tx, w.name)
			if err != nil || now == nil || now.Born != w.s.Born || now.Current != nil {
				return err
			}
			return now.drop(tx, w.name)
		})
	}
	text := failure.Error()
	text = text[:min(len(text), maxName)]
	if !refused && w.s.Failed == text {
		return nil
	}
	return w.change(ctx, func(now *static) {
		if now.Failed = text; refused {
			now.Next, now.Until, now.Orders = nil, w.doubt, nil
			now.Due = earlier(now.Due, w.r.Now())
		}
	})
}

// change commits a change of the row, if it is as this work left it.
func (w *rotation) change(ctx context.Context, fn func(now *static)) error {
	var left *static
	var orders []string
	err := w.r.Change(ctx, func(tx engines.Tx) error {
		now, err := loadStatic(tx, w.name)
		if err != nil {
			return err
		}
		if now == nil || now.Born != w.s.Born || (now.Next == nil) != (w.s.Next == nil) || now.Next != nil && *now.Next != *w.s.Next {
			return errChanged
		}
		orders = now.Orders
		fn(now)
		left = now
		return now.store(tx, w.name, w.r.Now())
	})
	if err == nil {
		left.Orders, w.s = orders, left
	}
	return err
}
