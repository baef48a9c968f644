package database

import (
	"github.com/coffer-secrets/coffer/engines/usernames"
)

const (
	// leastRandom is how many characters of two names for the same caller, at
	// the same time, have to differ: a name that was taken would be revoked.
	leastRandom = 6
	// passwordLength is that of passwords without a policy: 119 bits.
	passwordLength = 20
)

// nameRules are how users may be called. Of characters, only those stay that need
// no quoting anywhere.
func nameRules(most int) usernames.Rules {
	return usernames.Rules{
		Target: "the database", Most: most, Least: leastRandom, Fields: []string{"DisplayName", "RoleName"}, Others: "_.@+-",
	}
}

// defaultPassword makes a password where there is no policy: with each kind of
// character that databases ask for.
func defaultPassword() (string, error) {
	text, err := usernames.RandomText(usernames.Alphanumeric+"-", passwordLength-4)
	if err != nil {
		return "", err
	}
	return "A1a-" + text, nil
}
