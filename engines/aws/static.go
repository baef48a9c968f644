package aws

import (
	"context"
	"crypto/rand"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/recurring"
)

// maxUserKeys is how many keys IAM lets a user have.
const maxUserKeys = 2

// static is a row: a user whose key is kept, and changed in time.
type static struct {
	Username string `json:"username"`
	UserID   string `json:"user_id"`
	recurring.Times
	// AssumeARN and the next two are of a role that may manage the user, in
	// another account.
	AssumeARN     string `json:"assume_arn,omitempty"`
	AssumeSession string `json:"assume_session,omitempty"`
	AssumeID      string `json:"assume_id,omitempty"`
	// Current is what callers get, and Next a key that AWS may not take yet.
	Current *pair     `json:"current,omitempty"`
	Next    *pair     `json:"next,omitempty"`
	Rotated time.Time `json:"rotated,omitzero"`
	// Asked is the last time when AWS was asked for a key, if nothing is known to
	// have become of all that was asked for.
	Asked *asked `json:"asked,omitempty"`
	// Born tells a row from a later one of the same name, and IDs are what
	// requests wait for its first key by.
	Born string   `json:"born"`
	IDs  []string `json:"ids,omitempty"`
}

// dropped is a row: keys of a user that are to be removed.
type dropped struct {
	static
	Keys []string `json:"keys"`
}

func staticFields() []engines.Field {
	return append([]engines.Field{
		{Name: "username", Help: "The user, who has to be there."},
		{Name: "assume_role_arn", Help: "A role to assume for it, such as one of another account."},
		{Name: "assume_role_session_name", Help: "How the role's session is called."},
		{Name: "external_id", Help: "The external id that the role asks for."},
	}, recurring.Fields("the key", "1m")...)
}

// loadStatic returns nil if there is none of the name.
func loadStatic(tx engines.Tx, name string) (*static, error) {
	s := new(static)
	version, err := load(tx, staticDir+name, s)
	if err != nil || version == 0 {
		return nil, err
	}
	return s, nil
}

func (s *static) data(name string) map[string]any {
	data := map[string]any{"name": name, "id": s.UserID, "username": s.Username}
	s.Show(data)
	if s.AssumeARN != "" {
		data["assume_role_arn"], data["assume_role_session_name"], data["external_id"] = s.AssumeARN, s.AssumeSession, s.AssumeID
	}
	return data
}

func readStatic(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	s, err := loadStatic(tx, name)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, engines.NotFound()
	}
	return &engines.Response{Data: s.data(name)}, nil
}

func readStaticCreds(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	s, err := loadStatic(tx, name)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, engines.Invalidf("unknown static role: %s", name)
	}
	if s.Current == nil {
		return nil, engines.Errorf(engines.KindUnavailable, "the first key of the static role is being made: try again")
	}
	return &engines.Response{Data: map[string]any{
		"access_key": s.Current.ID, "secret_key": s.Current.Secret, "expiration": s.Times.Next(s.Rotated, req.Now).UTC().Format(time.RFC3339),
	}}, nil
}

var userNames = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`) //nolint:gochecknoglobals // a constant

// changed is the static role with what the request gives.
func changed(req *engines.Request, tx engines.Tx) (*static, error) {
	v := req.Fields
	s, err := loadStatic(tx, v.String("name"))
	if err != nil {
		return nil, err
	}
	if s == nil {
		s = &static{Username: v.String("username")}
	}
	if err := s.Take(v); err != nil {
		return nil, err
	}
	for field, to := range map[string]*string{
		"assume_role_arn": &s.AssumeARN, "assume_role_session_name": &s.AssumeSession, "external_id": &s.AssumeID,
	} {
		if v.Has(field) {
			*to = v.String(field)
		}
	}
	switch {
	case !userNames.MatchString(s.Username):
		return nil, engines.Invalidf("username has to be that of a user of IAM: 1 to 64 letters, digits and +=,.@_-")
	case v.Has("username") && v.String("username") != s.Username:
		return nil, engines.Invalidf("username cannot be changed: delete the static role, or write another one")
	case s.None():
		return nil, engines.Invalidf("rotation_period or rotation_schedule is missing")
	case (s.AssumeARN == "") != (s.AssumeSession == ""):
		return nil, engines.Invalidf("assume_role_arn and assume_role_session_name: give both, or neither")
	case s.AssumeID != "" && (s.AssumeARN == "" || !isExternal(s.AssumeID)):
		return nil, engines.Invalidf("external_id takes 2 to %d letters, digits and +=,.@:/_-, and goes with assume_role_arn", maxExternal)
	case s.AssumeARN != "" && !sessionNames.MatchString(s.AssumeSession):
		return nil, engines.Invalidf("assume_role_session_name takes 2 to 64 letters, digits and +=,.@_-")
	}
	if err := s.Check(leastPeriod); err != nil {
		return nil, err
	}
	if s.AssumeARN != "" {
		return s, checkARN("assume_role_arn", s.AssumeARN, "role/")
	}
	return s, nil
}

// as is AWS with who may manage the user.
func (e *engine) as(ctx context.Context, m engines.Mount, c *root, s *static) (*api, error) {
	a, err := e.clients.of(ctx, m, c)
	if err != nil || s.AssumeARN == "" {
		return a, err
	}
	return e.clients.assuming(a, c, s.AssumeARN, s.AssumeSession, s.AssumeID), nil
}

// seen is what AWS says of the user of a static role.
type seen struct {
	static
	root   uint64
	userID string
}

func (a *api) userID(ctx context.Context, name string) (string, error) {
	got, err := a.iam.GetUser(ctx, &iam.GetUserInput{UserName: &name})
	if err != nil {
		return "", failure("username", err)
	}
	return aws.ToString(got.User.UserId), nil
}

// findUser asks whether the user is there.
func (e *engine) findUser(_ context.Context, req *engines.Request, tx engines.Tx) (func(ctx context.Context) (any, error), error) {
	s, err := changed(req, tx)
	if err != nil {
		return nil, err
	}
	c, err := loadRoot(tx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		a, err := e.as(ctx, req.Mount, c, s)
		if err != nil {
			return nil, err
		}
		id, err := a.userID(ctx, s.Username)
		return seen{static: *s, root: c.version, userID: id}, err
	}, nil
}

// writeStatic commits what is to be kept. The first key is made by Due, for which
// the request waits.
func (e *engine) writeStatic(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	s, err := changed(req, tx)
	if err != nil {
		return nil, err
	}
	c, err := loadRoot(tx)
	if err != nil {
		return nil, err
	}
	was, ok := req.Ahead.(seen)
	if !ok || was.root != c.version || was.Username != s.Username || was.AssumeARN != s.AssumeARN || was.Born != s.Born {
		return nil, engines.ErrStale
	}
	if s.UserID != "" && s.UserID != was.userID {
		return nil, engines.Invalidf("username: the user of this name is not the one that the static role was written for: delete it and write it again")
	}
	s.UserID = was.userID
	if s.Current != nil {
		return &engines.Response{Data: s.data(name)}, errors.Join(store(tx, staticDir+name, s), tx.Schedule(staticDir+name, s.due(req.Now)))
	}
	if s.Born == "" {
		s.Born = rand.Text()
	}
	id := rand.Text()
	if s.IDs = append(s.IDs, id); len(s.IDs) > maxWaiting {
		return nil, engines.Errorf(engines.KindRateLimited, "%d requests wait for the first key", maxWaiting)
	}
	if err := errors.Join(store(tx, staticDir+name, s), tx.Schedule(staticDir+name, req.Now)); err != nil {
		return nil, err
	}
	return &engines.Response{Data: s.data(name), Then: func(ctx context.Context) error {
		_, err := e.outcomes.Wait(ctx, id, waitFor)
		return err
	}}, nil
}

// deleteStatic forgets a user, and orders that the keys be removed.
func (e *engine) deleteStatic(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	s, err := loadStatic(tx, name)
	if err != nil || s == nil {
		return nil, err
	}
	id := rand.Text()
	d := dropped{static: *s}
	for _, key := range []*pair{s.Current, s.Next} {
		if key != nil {
			d.Keys = append(d.Keys, key.ID)
		}
	}
	d.Current, d.Next, d.IDs = nil, nil, []string{id}
	err = errors.Join(tx.Delete(staticDir+name), tx.Schedule(staticDir+name, time.Time{}), store(tx, dropDir+id, d), tx.Schedule(dropDir+id, req.Now))
	if err != nil {
		return nil, err
	}
	return &engines.Response{Then: func(ctx context.Context) error {
		_, err := e.outcomes.Wait(ctx, id, waitFor)
		return err
	}}, nil
}

// due does what has been scheduled.
func (e *engine) due(ctx context.Context, r *engines.Reach, name string) error {
	if name == rootDue {
		return e.rotateDue(ctx, r)
	}
	if id, ok := strings.CutPrefix(name, dropDir); ok {
		return e.dropDue(ctx, r, id)
	}
	if of, ok := strings.CutPrefix(name, staticDir); ok {
		return e.staticDue(ctx, r, of)
	}
	return r.Change(ctx, func(tx engines.Tx) error { return tx.Schedule(name, time.Time{}) })
}

// dropDue removes the keys of a static role that is gone.
func (e *engine) dropDue(ctx context.Context, r *engines.Reach, id string) error {
	var d dropped
	var c *root
	err := r.Look(func(tx engines.Tx) (err error) {
		if c, err = loadRoot(tx); err == nil {
			_, err = load(tx, dropDir+id, &d)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err = e.dropAll(ctx, r, c, id, &d); err == nil {
		err = r.Change(ctx, func(tx engines.Tx) error {
			if d.Asked != nil && r.Now().Before(d.Asked.Until) {
				return later(tx, id, d)
			}
			return errors.Join(tx.Delete(dropDir+id), tx.Schedule(dropDir+id, time.Time{}))
		})
	}
	e.outcomes.Tell(d.IDs, "", err)
	return err
}

// later has keys looked for when nothing of what was asked for can come any more.
func later(tx engines.Tx, id string, d dropped) error {
	d.Keys, d.IDs = nil, nil
	return errors.Join(store(tx, dropDir+id, d), tx.Schedule(dropDir+id, d.Asked.Until))
}

func (e *engine) dropAll(ctx context.Context, r *engines.Reach, c *root, id string, d *dropped) error {
	if len(d.Keys) == 0 && d.Asked == nil {
		return nil
	}
	a, err := e.as(ctx, r.Mount, c, &d.static)
	if err != nil {
		return err
	}
	err = every(d.Keys, func(key string) error { return a.dropKey(ctx, &d.Username, key) })
	if err == nil && d.Asked != nil {
		err = a.sweep(ctx, &d.Username, d.Asked, func() error {
			return r.Change(ctx, func(tx engines.Tx) error { return store(tx, dropDir+id, d) })
		})
	}
	return failure("the key of the static role, which is gone itself", err)
}

// staticDue makes the key that is due.
func (e *engine) staticDue(ctx context.Context, r *engines.Reach, name string) error {
	var s *static
	var c *root
	err := r.Look(func(tx engines.Tx) (err error) {
		if c, err = loadRoot(tx); err == nil {
			s, err = loadStatic(tx, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	now := r.Now()
	if s == nil || now.Before(s.due(now)) {
		return r.Change(ctx, func(tx engines.Tx) error { return again(tx, name, r.Now()) })
	}
	w := &work{e: e, r: r, name: name, s: s, c: c}
	if !s.wanted(now) {
		return w.lookAgain(ctx)
	}
	if err = w.rotate(ctx); err != nil && s.Current == nil && engines.KindOf(err) == engines.KindInvalid {
		// What AWS refuses at first is not kept.
		err = errors.Join(err, w.drop(ctx))
	}
	e.outcomes.Tell(w.s.IDs, "", err)
	return err
}

// again schedules a static role as its row says.
func again(tx engines.Tx, name string, now time.Time) error {
	s, err := loadStatic(tx, name)
	if err != nil {
		return err
	}
	next := time.Time{}
	if s != nil {
		next = s.due(now)
	}
	return tx.Schedule(staticDir+name, next)
}

// wanted reports whether a key is to be made, or to be put in its place.
func (s *static) wanted(now time.Time) bool {
	return s.Current == nil || s.Next != nil || !now.Before(s.Times.Next(s.Rotated, now))
}

// due is when there is something to do for it.
func (s *static) due(now time.Time) time.Time {
	if s.Current == nil || s.Next != nil {
		return now
	}
	at := s.Times.Next(s.Rotated, now)
	if s.Asked != nil && s.Asked.Until.Before(at) {
		at = s.Asked.Until
	}
	return at
}

// work is a rotation of a static role.
type work struct {
	e    *engine
	r    *engines.Reach
	name string
	s    *static
	c    *root
}

// rotate makes a key, commits it, and puts it in its place once AWS takes it.
func (w *work) rotate(ctx context.Context) error {
	if w.s.Next != nil {
		if err := w.stillThere(ctx); err != nil {
			return err
		}
	}
	if w.s.Next == nil {
		if err := w.next(ctx); err != nil {
			return err
		}
	}
	if err := w.e.taken(ctx, w.c, *w.s.Next); err != nil {
		return err
	}
	if err := w.sweep(ctx); err != nil {
		return err
	}
	return w.change(ctx, func(now *static) {
		now.Current, now.Next, now.Rotated, now.IDs = now.Next, nil, w.r.Now(), nil
		if now.Asked != nil && !now.Asked.Again {
			now.Asked = nil
		}
	})
}

// sweep removes the keys that were made for the static role and lost.
func (w *work) sweep(ctx context.Context) error {
	if w.s.Asked == nil {
		return nil
	}
	a, err := w.e.as(ctx, w.r.Mount, w.c, w.s)
	if err != nil {
		return err
	}
	goOn := func() error { return w.change(ctx, func(*static) {}) }
	return failure("a key of the static role's user that was made and lost", a.sweep(ctx, &w.s.Username, w.s.Asked, goOn, w.s.Current, w.s.Next))
}

// lookAgain looks once more for what killed processes may have asked for.
func (w *work) lookAgain(ctx context.Context) error {
	if err := w.sweep(ctx); err != nil {
		return err
	}
	return w.change(ctx, func(now *static) { now.Asked = nil })
}

// change commits a change of the row, if it is where this work left it.
func (w *work) change(ctx context.Context, fn func(now *static)) error {
	var left *static
	var ids []string
	err := w.r.Change(ctx, func(tx engines.Tx) error {
		now, err := loadStatic(tx, w.name)
		if err != nil {
			return err
		}
		if now == nil || now.Born != w.s.Born || (now.Next == nil) != (w.s.Next == nil) || now.Next != nil && *now.Next != *w.s.Next || !now.Asked.same(w.s.Asked) {
			return errChanged
		}
		ids = now.IDs
		fn(now)
		left = now
		return errors.Join(store(tx, staticDir+w.name, now), tx.Schedule(staticDir+w.name, now.due(w.r.Now())))
	})
	if err == nil {
		left.IDs, w.s = ids, left
	}
	return err
}

// next makes the next key and commits it. Of the keys that there are, one has to
// go if IAM allows no more: one that nobody knows here before one that is kept.
func (w *work) next(ctx context.Context) error {
	a, err := w.e.as(ctx, w.r.Mount, w.c, w.s)
	if err != nil {
		return err
	}
	id, err := a.userID(ctx, w.s.Username)
	if err != nil {
		return err
	}
	if id != w.s.UserID {
		return engines.Invalidf("username: the user of this name is not the one that the static role was written for")
	}
	have, err := a.held(ctx, &w.s.Username)
	if err != nil {
		return failure("the keys of the static role's user", err)
	}
	gone, asking := w.s.Asked.lost(have, w.s.Current), w.s.Asked.next(have, w.r.Now())
	for keys := without(have.ids, gone); len(keys) >= maxUserKeys; keys = without(have.ids, gone) {
		at := max(slices.IndexFunc(keys, func(id string) bool { return w.s.Current == nil || id != w.s.Current.ID }), 0)
		gone = append(gone, keys[at])
	}
	if err := w.change(ctx, func(now *static) { now.Asked = asking }); err != nil {
		return err
	}
	if err := every(gone, func(id string) error { return a.dropKey(ctx, &w.s.Username, id) }); err != nil {
		return failure("the oldest key of the static role's user", err)
	}
	made, err := a.newKey(ctx, &w.s.Username, func(*pair) *api { return a })
	if err != nil {
		return failure("the new key of the static role's user", err)
	}
	err = w.change(ctx, func(now *static) { now.Next = made })
	if errors.Is(err, errChanged) {
		a.forget(ctx, &w.s.Username, made.ID)
	}
	return err
}

// stillThere has a new key made once more if somebody has removed it.
func (w *work) stillThere(ctx context.Context) error {
	a, err := w.e.as(ctx, w.r.Mount, w.c, w.s)
	if err != nil {
		return err
	}
	have, err := a.held(ctx, &w.s.Username)
	if err != nil || slices.Contains(have.ids, w.s.Next.ID) {
		return failure("the keys of the static role's user", err)
	}
	return w.change(ctx, func(now *static) { now.Next = nil })
}

// drop removes a row that never had a key. If keys may come that killed processes
// asked for, they are looked for later.
func (w *work) drop(ctx context.Context) error {
	if err := w.sweep(ctx); err != nil {
		return err
	}
	return w.r.Change(ctx, func(tx engines.Tx) error {
		now, err := loadStatic(tx, w.name)
		if err != nil || now == nil || now.Born != w.s.Born || now.Current != nil || now.Next != nil {
			return err
		}
		err = errors.Join(tx.Delete(staticDir+w.name), tx.Schedule(staticDir+w.name, time.Time{}))
		if now.Asked != nil && now.Asked.Again {
			err = errors.Join(err, later(tx, rand.Text(), dropped{static: *now}))
		}
		return err
	})
}
