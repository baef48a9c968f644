package oidc

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Key is a named key with its ring. What it signs with is made when it is
// written, or first referred to.
type Key struct {
	Algorithm    string        `json:"algorithm"`
	Rotation     time.Duration `json:"rotation"`
	Verification time.Duration `json:"verification"`
	Allowed      []string      `json:"allowed,omitempty"`
	Current      *pair         `json:"current,omitempty"`
	Next         *pair         `json:"next,omitempty"`
	Retired      []retired     `json:"retired,omitempty"`
	// Due is when the next rotation is.
	Due time.Time `json:"due,omitzero"`
}

const (
	day         = 24 * time.Hour
	minRotation = time.Minute
	// maxRetired bounds what a ring publishes, whatever the TTLs are.
	maxRetired = 64
)

func (o *OIDC) keyRoutes() []engines.Route {
	name := field("name", engines.String, "The key's name.")
	return []engines.Route{
		{Pattern: "oidc/key", Help: "List the keys.", Ops: []engines.Op{list(listNames(keyDir, defaultName))}},
		{Pattern: "oidc/key/{name}", Help: "Read, write and delete a key.", Fields: []engines.Field{
			name, {Name: "rotation_period", Type: engines.Seconds, Default: day, Help: "How often it is rotated."},
			{Name: "verification_ttl", Type: engines.Seconds, Default: day, Help: "How long its public keys stay published after a rotation."},
			{Name: "algorithm", Type: engines.String, Default: "RS256", Allowed: algorithms(), Help: "What it signs with."},
			field("allowed_client_ids", engines.Strings, "Ids of the roles and clients that may use it, or \"*\"."),
		}, Ops: []engines.Op{read(o.readKey), update(o.writeKey), remove(o.deleteKey)}},
		{Pattern: "oidc/key/{name}/rotate", Help: "Rotate a key.", Fields: []engines.Field{
			name, field("verification_ttl", engines.Seconds, "How long what has signed stays published; the key's own if not given."),
		}, Ops: []engines.Op{update(o.rotateKey)}},
	}
}

// keyByName returns a key, or nil. The default one is always there.
func keyByName(tx *state.Tx, name string) (*Key, error) {
	k, err := named[Key](tx, keyDir, name)
	if err == nil && k == nil && name == defaultName {
		k = &Key{Algorithm: "RS256", Rotation: day, Verification: day, Allowed: []string{anyID}}
	}
	return k, err
}

// usableKey returns a key that can sign.
func usableKey(tx *state.Tx, name string) (*Key, error) {
	k, err := keyByName(tx, name)
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, engines.Invalidf("key %q does not exist", name)
	}
	if k.Current != nil {
		return k, nil
	}
	if err := k.fill(tx.Now()); err != nil {
		return nil, err
	}
	return k, save(region(tx), keyDir+name, k, state.PutOptions{})
}

// fill gives a key what it signs with now and next.
func (k *Key) fill(now time.Time) (err error) {
	if k.Current, err = newPair(k.Algorithm); err != nil {
		return err
	}
	if k.Next, err = newPair(k.Algorithm); err != nil {
		return err
	}
	k.Due = now.Add(k.Rotation)
	return nil
}

// rotate makes the next key the one that signs; fresh follows it.
func (k *Key) rotate(now time.Time, ttl time.Duration, fresh *pair) error {
	old, err := k.Current.retire(k.Algorithm, now.Add(ttl))
	if err != nil {
		return err
	}
	k.Current, k.Next, k.Due = k.Next, fresh, now.Add(k.Rotation)
	k.retire(now, old)
	return nil
}

// retire keeps what has signed published, and forgets what no longer is.
func (k *Key) retire(now time.Time, old ...retired) {
	k.Retired = slices.DeleteFunc(append(slices.Clone(k.Retired), old...), func(r retired) bool { return !now.Before(r.Until) })
	if n := len(k.Retired) - maxRetired; n > 0 {
		k.Retired = k.Retired[n:]
	}
}

func (o *OIDC) readKey(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	k, err := keyByName(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if k == nil {
		return nil, engines.NotFound()
	}
	return data(map[string]any{
		"algorithm": k.Algorithm, "rotation_period": int64(k.Rotation / time.Second),
		"verification_ttl": int64(k.Verification / time.Second), "allowed_client_ids": texts(k.Allowed),
	}), nil
}

func (o *OIDC) writeKey(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f, name := req.Fields, req.Fields.String("name")
	k, err := keyByName(tx, name)
	if err != nil {
		return nil, err
	}
	made := k == nil
	if err := checkName(tx, keyDir, name, made); err != nil {
		return nil, err
	}
	if made {
		k = &Key{Algorithm: f.String("algorithm"), Rotation: f.Duration("rotation_period"), Verification: f.Duration("verification_ttl")}
	}
	before := *k
	if f.Has("algorithm") {
		k.Algorithm = f.String("algorithm")
	}
	if f.Has("rotation_period") {
		k.Rotation = f.Duration("rotation_period")
	}
	if f.Has("verification_ttl") {
		k.Verification = f.Duration("verification_ttl")
	}
	if f.Has("allowed_client_ids") {
		if k.Allowed, err = clean("allowed_client_ids", f.Strings("allowed_client_ids")); err != nil {
			return nil, err
		}
	}
	switch {
	case k.Rotation < minRotation:
		return nil, engines.Invalidf("rotation_period must be at least one minute")
	case k.Verification < 0 || k.Verification > 10*k.Rotation:
		return nil, engines.Invalidf("verification_ttl cannot be longer than 10x rotation_period")
	}
	if err := checkTTLs(tx, name, k.Verification); err != nil {
		return nil, err
	}
	if err := k.change(&before, req.Now); err != nil {
		return nil, err
	}
	return nil, save(region(tx), keyDir+name, k, state.PutOptions{})
}

// change brings the ring in line with what was written.
func (k *Key) change(before *Key, now time.Time) error {
	if k.Current == nil {
		return k.fill(now)
	}
	if k.Algorithm != before.Algorithm {
		old, err := k.Current.retire(before.Algorithm, now.Add(k.Verification))
		if err != nil {
			return err
		}
		k.retire(now, old)
		return k.fill(now)
	}
	if k.Rotation != before.Rotation {
		k.Due = now.Add(k.Rotation)
	}
	return nil
}

// checkTTLs sees to it that no token outlives the key that verifies it.
func checkTTLs(tx *state.Tx, name string, verification time.Duration) error {
	roles, err := all[Role](tx, roleDir)
	if err != nil {
		return err
	}
	for role, r := range roles {
		if r.Key == name && r.TTL > verification {
			return engines.Invalidf("unable to update key %q because it is currently referenced by one or more roles with a token ttl greater than %d seconds: %s", name, int64(verification/time.Second), role)
		}
	}
	clients, err := all[Client](tx, clientDir)
	if err != nil {
		return err
	}
	for client, c := range clients {
		if c.Key == name && c.IDTTL > verification {
			return engines.Invalidf("unable to update key %q because it is currently referenced by one or more clients with an id_token_ttl greater than %d seconds: %s", name, int64(verification/time.Second), client)
		}
	}
	return nil
}

func (o *OIDC) deleteKey(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	if name == defaultName {
		return nil, engines.Invalidf("deletion of key %q not allowed", name)
	}
	roles, err := all[Role](tx, roleDir)
	if err != nil {
		return nil, err
	}
	clients, err := all[Client](tx, clientDir)
	if err != nil {
		return nil, err
	}
	var users []string
	for role, r := range roles {
		if r.Key == name {
			users = append(users, role)
		}
	}
	for client, c := range clients {
		if c.Key == name {
			users = append(users, client)
		}
	}
	if len(users) > 0 {
		slices.Sort(users)
		return nil, engines.Invalidf("unable to delete key %q because it is currently referenced by: %s", name, strings.Join(users, ", "))
	}
	if k, err := keyByName(tx, name); err != nil || k == nil {
		return nil, err
	}
	return nil, region(tx).Delete(keyDir + name)
}

func (o *OIDC) rotateKey(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	k, err := usableKey(tx, name)
	if err != nil {
		return nil, err
	}
	ttl := k.Verification
	if req.Fields.Has("verification_ttl") {
		ttl = req.Fields.Duration("verification_ttl")
	}
	if ttl < 0 || ttl > 10*k.Rotation {
		return nil, engines.Invalidf("verification_ttl cannot be longer than 10x rotation_period")
	}
	fresh, err := newPair(k.Algorithm)
	if err != nil {
		return nil, err
	}
	if err := k.rotate(req.Now, ttl, fresh); err != nil {
		return nil, err
	}
	return nil, save(region(tx), keyDir+name, k, state.PutOptions{})
}

// due is when the first key of a state of the table has to be rotated.
type due struct {
	index uint64
	at    time.Time // zero for never
}

// Rotate rotates the keys whose time has come. It is the leader's work, and
// costs nothing while none has.
func (o *OIDC) Rotate(ctx context.Context, store *state.Store) error {
	var ready map[string]*pair
	err := store.Local(func(tx *state.Tx) (err error) {
		ready, err = o.ready(tx)
		return err
	})
	if err != nil || len(ready) == 0 {
		return err
	}
	_, err = store.Update(ctx, func(tx *state.Tx) error {
		for name, fresh := range ready {
			k, err := load[Key](region(tx), keyDir+name)
			if err != nil {
				return err
			}
			if k == nil || k.Current == nil || tx.Now().Before(k.Due) {
				continue // somebody was faster
			}
			if err := k.rotate(tx.Now(), k.Verification, fresh); err != nil {
				return err
			}
			if err := save(region(tx), keyDir+name, k, state.PutOptions{}); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// ready makes what shall follow in the rings whose time has come, before the
// transaction that rotates them: it takes long.
func (o *OIDC) ready(tx *state.Tx) (map[string]*pair, error) {
	index := tx.TableIndex(state.Issuers)
	if known := o.due.Load(); known != nil && known.index == index && (known.at.IsZero() || tx.Now().Before(known.at)) {
		return nil, nil
	}
	keys, err := all[Key](tx, keyDir)
	if err != nil {
		return nil, err
	}
	fresh, next := make(map[string]*pair), due{index: index}
	for name, k := range keys {
		if k.Current == nil {
			continue
		}
		if !tx.Now().Before(k.Due) {
			if fresh[name], err = newPair(k.Algorithm); err != nil {
				return nil, err
			}
		}
		if next.at.IsZero() || k.Due.Before(next.at) {
			next.at = k.Due
		}
	}
	o.due.Store(&next)
	return fresh, nil
}
