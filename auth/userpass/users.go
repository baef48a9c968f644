package userpass

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/auth/lockout"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/tokenparams"
)

const userDir = "user/"

// maxPasswordBytes is bcrypt's: it would ignore what comes after.
const maxPasswordBytes = 72

// maxCost bounds the cost of a hash that is brought along: each more doubles
// the time that a login keeps a processor.
const maxCost = 14

// form is that of a hash: version, cost, and 53 digits of salt and hash.
var form = regexp.MustCompile(`^\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}$`)

// user is the row of a user.
type user struct {
	Hash  []byte              `json:"hash"`
	Token engines.TokenParams `json:"token"`
}

func load(tx engines.Tx, name string) (*user, error) {
	entry, err := tx.Get(userDir + name)
	if err != nil || entry == nil {
		return nil, err
	}
	u := new(user)
	if err := json.Unmarshal(entry.Value, u); err != nil {
		return nil, engines.Internal(err)
	}
	return u, nil
}

func (u *user) store(tx engines.Tx, name string) error {
	value, err := json.Marshal(u)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(userDir+name, value)
}

// setPassword takes the hash of the password that was made ahead, or the one
// that was given.
func (u *user) setPassword(req *engines.Request) error {
	f := req.Fields
	password, hash := f.String("password"), f.String("password_hash")
	switch {
	case password != "" && hash != "":
		return engines.Invalidf("password and password_hash cannot be given both")
	case hash != "":
		if cost, err := bcrypt.Cost([]byte(hash)); err != nil || !form.MatchString(hash) || cost > maxCost {
			return engines.Invalidf("password_hash: it is not a bcrypt hash of a cost of at most %d", maxCost)
		}
		u.Hash = []byte(hash)
		return nil
	case password == "":
		return engines.Invalidf("missing password")
	case strings.Contains(password, "\x00"):
		return engines.Invalidf("password: it contains a zero byte, which bcrypt takes for its end")
	}
	made, ok := req.Ahead.([]byte)
	if !ok {
		return engines.Internal(errors.New("userpass: no hash was made"))
	}
	u.Hash = made
	return nil
}

// hashing makes the hash of a password that is to be set. What is wrong with
// the request is left to the handler to tell.
func hashing(_ context.Context, req *engines.Request, _ engines.Tx) (func(context.Context) (any, error), error) {
	password := req.Fields.String("password")
	if password == "" {
		return nil, nil
	}
	return func(context.Context) (any, error) {
		made, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
		if errors.Is(err, bcrypt.ErrPasswordTooLong) {
			return nil, engines.Invalidf("password: it has more than the %d bytes that bcrypt looks at", maxPasswordBytes)
		}
		if err != nil {
			return nil, engines.Internal(err)
		}
		return made, nil
	}, nil
}

func userExists(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
	name, err := canonical(req)
	if err != nil {
		return false, err
	}
	u, err := load(tx, name)
	return u != nil, err
}

func listUsers(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return auth.List(req, tx, userDir)
}

func readUser(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := canonical(req)
	if err != nil {
		return nil, err
	}
	u, err := load(tx, name)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, engines.NotFound()
	}
	out := make(map[string]any)
	tokenparams.Show(&u.Token, out)
	return &engines.Response{Data: out}, nil
}

func writeUser(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	f := req.Fields
	name, err := canonical(req)
	if err != nil {
		return nil, err
	}
	u, err := load(tx, name)
	if err != nil {
		return nil, err
	}
	made := u == nil
	if made {
		u = new(user)
	}
	if made || f.String("password") != "" || f.String("password_hash") != "" {
		if err := u.setPassword(req); err != nil {
			return nil, err
		}
	}
	if err := auth.ApplyToken(f, &u.Token); err != nil {
		return nil, err
	}
	return nil, u.store(tx, name)
}

func deleteUser(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := canonical(req)
	if err != nil {
		return nil, err
	}
	if _, err := lockout.Unlock(tx, name); err != nil {
		return nil, err
	}
	return nil, tx.Delete(userDir + name)
}

// change edits a user who has to be there.
func change(req *engines.Request, tx engines.Tx, edit func(u *user) error) (*engines.Response, error) {
	name, err := canonical(req)
	if err != nil {
		return nil, err
	}
	u, err := load(tx, name)
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, engines.Invalidf("username does not exist")
	}
	if err := edit(u); err != nil {
		return nil, err
	}
	return nil, u.store(tx, name)
}

func changePassword(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return change(req, tx, func(u *user) error { return u.setPassword(req) })
}

func changePolicies(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return change(req, tx, func(u *user) error {
		return auth.ApplyToken(req.Fields, &u.Token)
	})
}
