package passwords

import (
	"crypto/rand"

	"github.com/coffer-secrets/coffer/core/policy"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// dir is where password policies are in the table of policies.
const dir = "password/"

func region(tx *state.Tx) *state.Region {
	return tx.Region(state.Prefix(state.Policies, state.RootNamespace))
}

func path(name string) (string, error) {
	normal, err := policy.NormalizeName(name)
	if err != nil {
		return "", engines.Invalidf("the policy's name cannot be used: %s", err.Error())
	}
	return dir + normal, nil
}

// Put writes a policy that passwords can be made by.
func Put(tx *state.Tx, name, text string) error {
	at, err := path(name)
	if err != nil {
		return err
	}
	if _, err := Parse(text); err != nil {
		return engines.Invalidf("the password policy cannot be used: %s", err.Error())
	}
	return region(tx).Put(at, []byte(text))
}

// Get returns a policy's text; it is a NotFound if there is none.
func Get(tx *state.Tx, name string) (string, error) {
	at, err := path(name)
	if err != nil {
		return "", err
	}
	entry, err := region(tx).Get(at)
	if err != nil {
		return "", err
	}
	if entry == nil {
		return "", engines.NotFound()
	}
	return string(entry.Value), nil
}

// Delete removes a policy.
func Delete(tx *state.Tx, name string) error {
	at, err := path(name)
	if err != nil {
		return err
	}
	return region(tx).Delete(at)
}

// List returns the names of the policies, sorted.
func List(tx *state.Tx, page engines.Page) ([]string, error) { return region(tx).List(dir, page) }

// Generate makes a password by the policy of a name.
func Generate(tx *state.Tx, name string) (string, error) {
	text, err := Get(tx, name)
	if err != nil {
		return "", err
	}
	p, err := Parse(text)
	if err != nil {
		return "", engines.Internal(err) // was parsed when it was written
	}
	password, err := p.Generate(rand.Reader)
	if err != nil {
		return "", engines.Internal(err)
	}
	return password, nil
}
