package aws

import (
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	// rootDue is what the key of config/root is scheduled by.
	rootDue = "root"
	// undoTimeout bounds removing a key that could not be committed.
	undoTimeout = 10 * time.Second
	// takenWithin bounds how long a new key may need to be taken, until all begins
	// with another call of Due.
	takenWithin = time.Minute
	// maxWaiting bounds how many requests wait for one rotation.
	maxWaiting = 32
	// waitFor bounds how long a request waits for what goes on without it.
	waitFor = time.Minute
)

// errChanged says that somebody else changed what Due works on.
var errChanged = errors.New("aws: what was worked on has been changed or taken away meanwhile")

// rotation is one of the key of config/root that is under way.
type rotation struct {
	// IDs are what requests wait for it by.
	IDs []string `json:"ids,omitempty"`
	// Asked is the last time when AWS was asked for the new key.
	Asked *asked `json:"asked,omitempty"`
	// Next is the new key until it takes its place, and Old the one that has lost
	// its place until it is removed.
	Next *pair  `json:"next,omitempty"`
	Old  string `json:"old,omitempty"`
}

// found is the config/root whose user has the one key.
type found struct{ version uint64 }

func needKey(tx engines.Tx) (*root, error) {
	c, err := loadRoot(tx)
	if err == nil && c.Key.ID == "" {
		err = engines.Invalidf("config/root has no access_key and secret_key that could be changed")
	}
	return c, err
}

// findKeys asks which keys there are.
func (e *engine) findKeys(_ context.Context, _ *engines.Request, tx engines.Tx) (func(ctx context.Context) (any, error), error) {
	c, err := needKey(tx)
	if err != nil || c.Rotation != nil {
		return nil, err
	}
	return func(ctx context.Context) (any, error) {
		return found{version: c.version}, e.onlyKey(ctx, c)
	}, nil
}

// onlyKey sees that the user has the one key, so that there is room for another.
func (e *engine) onlyKey(ctx context.Context, c *root) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	have, err := e.clients.base(c).held(ctx, nil)
	if err != nil {
		return failure("the keys of the user of config/root", err)
	}
	if ids := without(have.ids, c.Lost.lost(have, &c.Key)); len(ids) != 1 || ids[0] != c.Key.ID {
		return engines.Invalidf("the user of config/root has to have access_key as its only key, and has %d: remove the others first", len(ids))
	}
	return nil
}

// begin has a rotation under way, which takes on what is still to be looked for.
func (c *root) begin() { c.Rotation, c.Lost = &rotation{Asked: c.Lost}, nil }

// rotated is the answer; the key is known when the rotation is over.
type rotated struct {
	AccessKey string `json:"access_key"`
}

// rotateRoot commits that the key is to be changed, and waits until Due has done
// it. One that is under way is waited for.
func (e *engine) rotateRoot(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	if req.Wrapped {
		return nil, engines.Invalidf("the answer cannot be wrapped: it is not known when it would be")
	}
	c, err := needKey(tx)
	if err != nil {
		return nil, err
	}
	if c.Rotation == nil {
		have, ok := req.Ahead.(found)
		if !ok || have.version != c.version {
			return nil, engines.ErrStale
		}
		c.begin()
	}
	id := rand.Text()
	c.Rotation.IDs = append(c.Rotation.IDs, id)
	if len(c.Rotation.IDs) > maxWaiting {
		return nil, engines.Errorf(engines.KindRateLimited, "%d requests wait for the rotation that is under way", maxWaiting)
	}
	if err := errors.Join(c.store(tx), tx.Schedule(rootDue, req.Now)); err != nil {
		return nil, err
	}
	out := new(rotated)
	return &engines.Response{Data: out, Then: func(ctx context.Context) error {
		key, err := e.outcomes.Wait(ctx, id, waitFor)
		out.AccessKey = key
		return err
	}}, nil
}

// base is AWS with the key of config/root itself, without its role.
func (l *clients) base(c *root) *api {
	return l.with(c, staticKey(c.Key))
}

// rotateDue does what rotateRoot ordered, or what the period asks for.
func (e *engine) rotateDue(ctx context.Context, r *engines.Reach) error {
	c, err := e.begun(ctx, r)
	if err != nil || c == nil {
		return err
	}
	err = e.rotate(ctx, r, c)
	if err != nil {
		e.outcomes.Tell(c.Rotation.IDs, "", err)
	}
	return err
}

// begun returns config/root with a rotation that has been committed, nil if none
// is due.
func (e *engine) begun(ctx context.Context, r *engines.Reach) (*root, error) {
	var c *root
	err := r.Look(func(tx engines.Tx) (err error) {
		c, err = loadRoot(tx)
		return err
	})
	if err != nil || c.Rotation != nil {
		return c, err
	}
	if now := r.Now(); c.Lost != nil && !now.Before(c.Lost.Until) {
		return nil, e.sweepRoot(ctx, r, c)
	}
	if next := c.next(r.Now()); c.Key.ID == "" || next.IsZero() || r.Now().Before(next) {
		_, err := turn(ctx, r, func(now *root) error {
			if now.version != c.version {
				return errChanged
			}
			return nil
		})
		return nil, err
	}
	if err := e.onlyKey(ctx, c); err != nil {
		return nil, err
	}
	return turn(ctx, r, func(now *root) error {
		if now.Rotation != nil || now.Key.ID != c.Key.ID || !now.Lost.same(c.Lost) {
			return errChanged
		}
		now.begin()
		return nil
	})
}

// sweepRoot looks once more for what killed processes may have asked for.
func (e *engine) sweepRoot(ctx context.Context, r *engines.Reach, c *root) error {
	change := func(lost *asked) error {
		_, err := turn(ctx, r, func(now *root) error {
			if now.Rotation != nil || now.Key.ID != c.Key.ID || !now.Lost.same(c.Lost) {
				return errChanged
			}
			now.Lost = lost
			return nil
		})
		return err
	}
	err := e.clients.base(c).sweep(ctx, nil, c.Lost, func() error { return change(c.Lost) }, &c.Key)
	if err != nil {
		return failure("a key of config/root that was made and lost", err)
	}
	return change(nil)
}

// turn commits a change of config/root, and returns it as it is then.
func turn(ctx context.Context, r *engines.Reach, change func(now *root) error) (*root, error) {
	var out *root
	err := r.Change(ctx, func(tx engines.Tx) error {
		now, err := loadRoot(tx)
		if err != nil {
			return err
		}
		if err := change(now); err != nil {
			return err
		}
		out = now
		if err := now.store(tx); err != nil || now.Rotation != nil {
			return err
		}
		return tx.Schedule(rootDue, now.due(r.Now()))
	})
	return out, err
}

// same reports whether a rotation goes on, at the same point.
func (c *root) same(now *root) bool {
	return now.Rotation != nil && now.Key == c.Key && now.Rotation.Asked.same(c.Rotation.Asked) &&
		now.Rotation.Old == c.Rotation.Old && (now.Rotation.Next == nil) == (c.Rotation.Next == nil)
}

// rotate takes a rotation on from where it is.
func (e *engine) rotate(ctx context.Context, r *engines.Reach, c *root) error {
	var err error
	if c.Rotation.Next != nil {
		if c, err = e.stillThere(ctx, r, c); err != nil {
			return err
		}
	}
	if c.Rotation.Next == nil && c.Rotation.Old == "" {
		if c, err = e.makeNext(ctx, r, c); err != nil {
			return err
		}
	}
	if c.Rotation.Next != nil {
		if err := e.taken(ctx, c, *c.Rotation.Next); err != nil {
			return err
		}
		c, err = turn(ctx, r, func(now *root) error {
			if !c.same(now) {
				return errChanged
			}
			now.Rotation.Old, now.Key, now.Rotation.Next = now.Key.ID, *now.Rotation.Next, nil
			return nil
		})
		if err != nil {
			return err
		}
	}
	a := e.clients.base(c)
	if err := a.dropKey(ctx, nil, c.Rotation.Old); err != nil {
		return failure("the old key of config/root", err)
	}
	if err := a.sweep(ctx, nil, c.Rotation.Asked, func() error { return goOn(ctx, r, c) }, &c.Key); err != nil {
		return failure("a key of config/root that was made and lost", err)
	}
	ids := c.Rotation.IDs
	c, err = turn(ctx, r, func(now *root) error {
		if !c.same(now) {
			return errChanged
		}
		ids = now.Rotation.IDs
		now.end(r.Now())
		return nil
	})
	if err == nil {
		e.outcomes.Tell(ids, c.Key.ID, nil)
	}
	return err
}

// end forgets a rotation, but for what may still come of it.
func (c *root) end(rotated time.Time) {
	if k := c.Rotation.Asked; k != nil && k.Again {
		c.Lost = k
	}
	c.Rotation, c.Rotated = nil, rotated
}

// goOn commits that a rotation is where it was.
func goOn(ctx context.Context, r *engines.Reach, c *root) error {
	_, err := turn(ctx, r, func(now *root) error {
		if !c.same(now) {
			return errChanged
		}
		return nil
	})
	return err
}

// taken waits until AWS takes a new key.
func (e *engine) taken(ctx context.Context, c *root, key pair) error {
	ctx, cancel := context.WithTimeout(ctx, takenWithin)
	defer cancel()
	return e.clients.usable(ctx, c, key)
}

// makeNext makes the new key, once those are gone that were made before and lost.
func (e *engine) makeNext(ctx context.Context, r *engines.Reach, c *root) (*root, error) {
	a := e.clients.base(c)
	have, err := a.held(ctx, nil)
	if err != nil {
		return nil, failure("the keys of the user of config/root", err)
	}
	lost, asking := c.Rotation.Asked.lost(have, &c.Key), c.Rotation.Asked.next(have, r.Now())
	c, err = turn(ctx, r, func(now *root) error {
		if !c.same(now) {
			return errChanged
		}
		now.Rotation.Asked = asking
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := every(lost, func(id string) error { return a.dropKey(ctx, nil, id) }); err != nil {
		return nil, failure("a key that was made and lost", err)
	}
	next, err := a.newKey(ctx, nil, func(made *pair) *api { return e.clients.with(c, staticKey(*made)) })
	if err != nil {
		failed := failure("the new key of the user of config/root", err)
		// Nothing of it is left to be taken on, unless a key that a leader before
		// this one asked for came late, and takes the place: it is removed next time.
		if refusal(err) != nil && !is(err, "LimitExceeded") {
			_, err = turn(ctx, r, func(now *root) error {
				if !c.same(now) {
					return errChanged
				}
				now.end(now.Rotated)
				return nil
			})
			failed = errors.Join(failed, err)
		}
		return nil, failed
	}
	made, err := turn(ctx, r, func(now *root) error {
		if !c.same(now) {
			return errChanged
		}
		now.Rotation.Next = next
		return nil
	})
	if errors.Is(err, errChanged) {
		a.forget(ctx, nil, next.ID)
	}
	return made, err
}

// stillThere has a new key made once more if somebody has removed it.
func (e *engine) stillThere(ctx context.Context, r *engines.Reach, c *root) (*root, error) {
	have, err := e.clients.base(c).held(ctx, nil)
	if err != nil || slices.Contains(have.ids, c.Rotation.Next.ID) {
		return c, failure("the keys of the user of config/root", err)
	}
	return turn(ctx, r, func(now *root) error {
		if !c.same(now) {
			return errChanged
		}
		now.Rotation.Next = nil
		return nil
	})
}

// newKey makes a key. A lead may end while AWS is asked, and AWS may make the key
// later, when the next leader has long made another: so the call goes on without
// the caller, and the key that nobody waits for any more is removed by who as
// tells.
func (a *api) newKey(ctx context.Context, name *string, as func(made *pair) *api) (*pair, error) {
	type answer struct {
		made *pair
		err  error
	}
	done := make(chan answer)
	go func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), takenWithin)
		defer cancel()
		var got answer
		out, err := a.iam.CreateAccessKey(late, &iam.CreateAccessKeyInput{UserName: name})
		if got.err = err; err == nil {
			got.made = &pair{aws.ToString(out.AccessKey.AccessKeyId), aws.ToString(out.AccessKey.SecretAccessKey)}
		}
		select {
		case done <- got:
			return
		case <-ctx.Done():
		}
		for attempt := 0; got.made != nil; attempt++ { // a key is taken some time after it was made
			if as(got.made).dropKey(late, name, got.made.ID) == nil || wait(late, pause(attempt)) != nil {
				return
			}
		}
	}()
	select {
	case got := <-done:
		return got.made, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// forget removes a key that certainly was not committed, because what it is for
// is gone.
func (a *api) forget(ctx context.Context, name *string, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	_ = a.dropKey(ctx, name, id)
}
