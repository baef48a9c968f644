package attacks_test

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// sealed reports whether the node is, and how many shares were given.
func (n *node) sealed() (sealed bool, progress string) {
	n.t.Helper()
	r := n.Do(kit.Request{Path: "sys/seal-status", Token: kit.NoToken})
	return r.At("sealed") == true, fmt.Sprint(r.At("progress"))
}

func (n *node) open(key string) *kit.Response {
	n.t.Helper()
	return n.post(kit.NoToken, "sys/unseal", body{"key": key})
}

// TestAttack68Shares: what is no share of this seal is told from one that is,
// opens nothing, and spoils nothing that was given before.
func TestAttack68Shares(t *testing.T) {
	t.Parallel()
	n := serving(t, kit.Shares(5, 3))
	strangers := kit.New(t, kit.Shares(5, 3)).Keys
	old := n.Keys
	n.rekey(old[:3], 5, 3)
	present := n.Keys
	n.Put("sys/seal", nil)
	raw, err := hex.DecodeString(present[1])
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte(nil), raw...)
	flipped[3] ^= 1
	moved := append([]byte(nil), raw...)
	moved[len(moved)-1] ^= 0x40 // the share's place on the curve
	bad := map[string]string{
		"nothing": "", "white space": "   ", "what is no hex": "zz", "half a byte": present[1][:len(present[1])-1],
		"one byte": "00", "a short one": present[1][:len(present[1])-2], "a long one": present[1] + "00", "all zeros": strings.Repeat("00", len(raw)),
		"all ones": strings.Repeat("ff", len(raw)), "one bit changed": hex.EncodeToString(flipped), "its place changed": hex.EncodeToString(moved),
		"of before the rekey": old[1], "another cluster's": strangers[1], "one of base64 in base64": base64.StdEncoding.EncodeToString([]byte(present[1])),
		"a huge one": strings.Repeat("ab", 1<<20), "a NUL": present[1] + "\x00",
	}
	for given := range 3 {
		for what, key := range bad {
			n.untouched(what, func() {
				if r := n.open(key); r.Status != http.StatusBadRequest || strings.Contains(string(r.Raw), present[1]) || len(r.Errors()) == 0 {
					t.Errorf("%s after %d: %d %.200s", what, given, r.Status, r.Raw)
				}
			})
			if sealed, progress := n.sealed(); !sealed || progress != fmt.Sprint(given) {
				t.Fatalf("%s after %d: sealed %v, progress %s", what, given, sealed, progress)
			}
		}
		if given == 2 {
			break
		}
		for range 3 { // a share counts once, however often it is given
			if r := n.open(present[given]); r.Status != http.StatusOK {
				t.Fatalf("a share: %d %s", r.Status, r.Raw)
			}
		}
	}
	for _, b := range []body{{"key": nil}, {"key": 7}, {"key": []string{present[2]}}, {"reset": "x"}, {}} {
		if r := n.post(kit.NoToken, "sys/unseal", b); r.Status/100 != 4 {
			t.Errorf("%v: %d %s", b, r.Status, r.Raw)
		}
	}
	if sealed, _ := n.sealed(); !sealed {
		t.Fatal("it is unsealed")
	}
	// Everybody at once with all that there is: it opens once, with the right ones.
	got := together(20, func(i int) int { return n.open(append(present[:3:3], old[2], strangers[2])[i%5]).Status })
	only(t, "all at once", got, 200, 400)
	if sealed, _ := n.sealed(); sealed {
		t.Error("the right shares do not unseal")
	}
	if got := n.Get("kv/data/hidden/x").Text("data", "data", "v"); got != canary {
		t.Errorf("read %q", got)
	}
	for _, key := range append(present, old...) {
		if strings.Contains(n.Log(), key) {
			t.Error("the log holds a share")
		}
	}
}

// rekey makes new shares, which are the node's keys from then on.
func (n *node) rekey(with []string, shares, threshold int) {
	n.t.Helper()
	start := n.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "sys/rekey/init", Token: kit.NoToken, Body: body{
		"secret_shares": shares, "secret_threshold": threshold, "require_verification": false,
	}})
	var r *kit.Response
	for _, key := range with {
		r = n.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "sys/rekey/update", Token: kit.NoToken, Body: body{"key": key, "nonce": start.Text("nonce")}})
	}
	if n.Keys = r.Strings("keys"); len(n.Keys) != shares {
		n.t.Fatalf("rekeying: %d %s", r.Status, r.Raw)
	}
}

// TestAttack69Ceremonies: strangers may begin a ceremony and end it, as often as
// they like; they reach neither the log nor a result, and cannot keep those with
// shares, or an operator, from theirs.
func TestAttack69Ceremonies(t *testing.T) {
	t.Parallel()
	n := serving(t, kit.Shares(3, 2))
	nobody := n.Login("default")
	for _, c := range []struct {
		begin, update string
		body          body
	}{
		{"sys/generate-root/attempt", "sys/generate-root/update", nil},
		{"sys/rekey/init", "sys/rekey/update", body{"secret_shares": 3, "secret_threshold": 2, "require_verification": false}},
	} {
		cancel := func(token, nonce string) *kit.Response {
			return n.Do(kit.Request{Method: http.MethodDelete, Path: c.begin + "?nonce=" + nonce, Token: token})
		}
		begin := func(token string) *kit.Response { return n.post(token, c.begin, c.body) }
		give := func(key, nonce string) *kit.Response {
			return n.post(kit.NoToken, c.update, body{"key": key, "nonce": nonce})
		}
		n.untouched("beginning and ending "+c.begin, func() {
			for range 100 {
				n.expect("beginning", begin(kit.NoToken), 200, "")
				n.expect("beginning twice", begin(kit.NoToken), 400, "in progress")
				if r := cancel(kit.NoToken, ""); r.Status/100 != 2 {
					t.Fatalf("ending: %d %s", r.Status, r.Raw)
				}
			}
			only(t, "all at once", together(40, func(i int) int {
				if i%2 == 0 {
					return cancel(kit.NoToken, "").Status
				}
				return begin(kit.NoToken).Status
			}), 200, 204, 400)
			cancel(kit.NoToken, "")
		})
		// A stranger has begun one. The operator ends it, and begins his own.
		theirs := begin(kit.NoToken).Text("nonce")
		if r := cancel(n.Root, ""); r.Status/100 != 2 {
			t.Fatalf("an operator cannot end it: %d %s", r.Status, r.Raw)
		}
		nonce := begin(n.Root).Text("nonce")
		if nonce == "" || nonce == theirs {
			t.Fatalf("the nonce is %q, was %q", nonce, theirs)
		}
		n.expect("a share", give(n.Keys[0], nonce), 200, "")
		n.untouched("meddling with "+c.begin, func() {
			n.expect("beginning", begin(kit.NoToken), 400, "in progress")
			for what, r := range map[string]*kit.Response{
				"nobody": cancel(kit.NoToken, ""), "with an old nonce": cancel(kit.NoToken, theirs), "with a token that may not": cancel(nobody, ""),
			} {
				n.expect("ending, "+what, r, 403, "")
			}
			for what, r := range map[string]*kit.Response{
				"an old nonce": give(n.Keys[1], theirs), "no nonce": give(n.Keys[1], ""), "what is no share": give("00", nonce),
				"a share of nothing": give(strings.Repeat("00", 33), nonce),
			} {
				n.expect(what, r, 400, "")
			}
		})
		done := give(n.Keys[1], nonce)
		if done.At("complete") != true {
			t.Fatalf("the operator's own: %d %s", done.Status, done.Raw)
		}
		if keys := done.Strings("keys"); len(keys) > 0 {
			n.Keys = keys
		}
		n.expect("once more", give(n.Keys[1], nonce), 400, "no ")
	}
	// What a ceremony's beginning may be is bounded too.
	for what, b := range map[string]body{
		"no shares": {"secret_shares": 0, "secret_threshold": 0}, "fewer than none": {"secret_shares": -1, "secret_threshold": -1},
		"too many": {"secret_shares": 256, "secret_threshold": 2}, "far too many": {"secret_shares": 1 << 40, "secret_threshold": 2},
		"a threshold above": {"secret_shares": 2, "secret_threshold": 3}, "one of many": {"secret_shares": 3, "secret_threshold": 1},
		"what is no key": {"secret_shares": 1, "secret_threshold": 1, "pgp_keys": []string{canary}},
	} {
		n.untouched(what, func() {
			if r := n.post(kit.NoToken, "sys/rekey/init", b); r.Status != http.StatusBadRequest || strings.Contains(string(r.Raw), canary) {
				t.Errorf("%s: %d %s", what, r.Status, r.Raw)
			}
		})
		n.untouched("initialising again", func() { n.expect(what, n.post(kit.NoToken, "sys/init", b), 400, "already initialized") })
	}
}
