package userpass_test

import (
	"testing"

	"github.com/coffer-secrets/coffer/auth/userpass"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

// FuzzLogin: whatever a stranger sends is answered, and never with a token.
func FuzzLogin(f *testing.F) {
	for _, seed := range [][2]string{
		{"bob", ``}, {"bob", `{"password":"x"}`}, {"BOB ", `{"password":["x"]}`}, {"\x00", `{"password":"\u0000"}`}, {"nobody", `{"password":""}`}, {"a/b", `[`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, name, body string) {
		h := enginetest.Mount(t, userpass.New(), nil)
		if _, err := h.Do(engines.Update, "users/bob", `{"password_hash":"$2y$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}`, nil); err != nil {
			t.Fatal(err)
		}
		if resp, err := h.Do(engines.Update, "login/"+name, body, nil); err == nil {
			t.Errorf("%q %q is answered %+v", name, body, resp)
		} else if engines.KindOf(err) == engines.KindInternal {
			t.Errorf("%q %q: %v", name, body, err)
		}
	})
}
