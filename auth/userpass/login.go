package userpass

import (
	"bytes"
	"context"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/auth/lockout"
	"github.com/coffer-secrets/coffer/engines"
)

// nobody is the hash that the password of a name without a user is compared
// with. It is of the same cost as all others, and of a password nobody has.
var nobody = []byte("$2a$10$NwqbkjuQXPLXvJfTzdxCJe7S0T1mJZ2sQqk8bEuyhOnzxE2i0n2yq")

// errWrong is the answer to a wrong name and to a wrong password alike. What
// the login wrote, the count of failures, is kept.
func errWrong() error {
	return &engines.Error{Kind: engines.KindInvalid, Message: "invalid username or password", Keep: true}
}

// compared is what a password was compared with, and whether it is the one.
type compared struct {
	hash []byte
	same bool
}

// hash is what the password of a user is compared with, or of nobody.
func (u *user) hash() []byte {
	if u == nil {
		return nobody
	}
	return u.Hash
}

// comparing compares the password, which takes as long for a name that nobody
// has. One who is locked out is told by the handler.
func comparing(_ context.Context, req *engines.Request, tx engines.Tx) (func(context.Context) (any, error), error) {
	name, err := canonical(req)
	if err != nil {
		return nil, err
	}
	password := req.Fields.String("password")
	if password == "" {
		return nil, engines.Invalidf("missing password")
	}
	u, err := load(tx, name)
	if err != nil {
		return nil, err
	}
	if lockout.Check(tx, lockout.RulesOf(req.Mount.Lockout), lockout.Name{Text: name, Known: u != nil}, req.Now) != nil {
		return nil, nil //nolint:nilerr // the handler finds it too
	}
	hash := u.hash()
	return func(context.Context) (any, error) {
		// A password that cannot be anyone's may look like one to bcrypt.
		fits := len(password) <= maxPasswordBytes && !strings.Contains(password, "\x00")
		same := bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
		return &compared{hash: hash, same: same && fits}, nil
	}, nil
}

func login(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := canonical(req)
	if err != nil {
		return nil, err
	}
	u, err := load(tx, name)
	if err != nil {
		return nil, err
	}
	rules, who := lockout.RulesOf(req.Mount.Lockout), lockout.Name{Text: name, Known: u != nil}
	if err := lockout.Check(tx, rules, who, req.Now); err != nil {
		return nil, err
	}
	c, ok := req.Ahead.(*compared)
	if !ok || !bytes.Equal(c.hash, u.hash()) {
		return nil, engines.ErrStale
	}
	// From a wrong address a right password is as wrong as any: whoever guesses
	// from there is counted and learns nothing.
	if u == nil || !c.same || !auth.Allows(u.Token.BoundCIDRs, req.Caller.Addr) {
		if err := lockout.Fail(tx, rules, who, req.Now); err != nil {
			return nil, err
		}
		return nil, errWrong()
	}
	if err := lockout.Succeed(tx, name); err != nil {
		return nil, err
	}
	return &engines.Response{Auth: &engines.Auth{
		DisplayName: name, Alias: name, Metadata: map[string]string{"username": name}, Token: u.Token,
	}}, nil
}

// renew lets a user renew a token as long as there is the user, with the same
// policies.
func renew(_ context.Context, r *engines.Renewal, tx engines.Tx) (*engines.TokenParams, error) {
	u, err := load(tx, r.Metadata["username"])
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, auth.ErrGone("user")
	}
	return &u.Token, auth.SamePolicies(r, &u.Token)
}
