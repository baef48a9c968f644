package userpass

import (
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

// proves reports whether a password is the user's. It takes as long for nil.
func proves(u *user, password string) bool {
	hash := nobody
	if u != nil {
		hash = u.Hash
	}
	// A password that cannot be anyone's may look like one to bcrypt.
	fits := len(password) <= maxPasswordBytes && !strings.Contains(password, "\x00")
	return bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil && u != nil && fits
}

func login(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
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
	rules, who := lockout.RulesOf(req.Mount.Lockout), lockout.Name{Text: name, Known: u != nil}
	if err := lockout.Check(tx, rules, who, req.Now); err != nil {
		return nil, err
	}
	// From a wrong address a right password is as wrong as any: whoever guesses
	// from there is counted and learns nothing.
	if !proves(u, password) || !auth.Allows(u.Token.BoundCIDRs, req.Caller.Addr) {
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
