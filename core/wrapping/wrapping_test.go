package wrapping_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

func wrapFor(ttl string) http.Header { return http.Header{"X-Vault-Wrap-Ttl": {ttl}} }

// wrap wraps a value for five minutes and returns the answer.
func wrap(t *testing.T, s *kit.Server) *kit.Response {
	t.Helper()
	return s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "sys/wrapping/wrap", Body: body{"a": "b"}, Header: wrapFor("300")})
}

func call(s *kit.Server, what, token string, b body) *kit.Response {
	return s.Do(kit.Request{Method: http.MethodPut, Path: "sys/wrapping/" + what, Token: token, Body: b})
}

func refused(t *testing.T, r *kit.Response, status int, text string) {
	t.Helper()
	if r.Status != status || !strings.Contains(strings.Join(r.Errors(), "\n"), text) {
		t.Errorf("answered %d %s, want %d with %q", r.Status, r.Raw, status, text)
	}
}

const notWrapping = "wrapping token is not valid or does not exist"

func TestWrapAnswersAsVault(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	r := wrap(t, s)
	if r.At("data") != nil || r.At("auth") != nil || strings.Contains(string(r.Raw), `"b"`) {
		t.Errorf("the answer holds what was wrapped: %s", r.Raw)
	}
	if got := r.At("wrap_info", "ttl"); got == nil || got.(interface{ String() string }).String() != "300" {
		t.Errorf("ttl %v", got)
	}
	if r.Text("wrap_info", "creation_path") != "sys/wrapping/wrap" || r.Text("wrap_info", "accessor") == "" {
		t.Errorf("%s", r.Raw)
	}
	if _, err := time.Parse(time.RFC3339Nano, r.Text("wrap_info", "creation_time")); err != nil {
		t.Error(err)
	}
	token := r.Text("wrap_info", "token")
	for _, lookup := range []kit.Request{
		{Method: http.MethodPut, Path: "sys/wrapping/lookup", Token: kit.NoToken, Body: body{"token": token}},
		{Method: http.MethodPut, Path: "sys/wrapping/lookup", Body: body{"token": token}},
		{Path: "sys/wrapping/lookup", Token: token},
	} {
		l := s.Must(http.StatusOK, lookup)
		if l.Text("data", "creation_path") != "sys/wrapping/wrap" || l.Text("data", "creation_time") == "" || l.At("data", "creation_ttl") == nil {
			t.Errorf("%s", l.Raw)
		}
	}
	if got := call(s, "unwrap", "", body{"token": token}); got.Status != http.StatusOK || got.Text("data", "a") != "b" {
		t.Errorf("%d %s", got.Status, got.Raw)
	}
	refused(t, call(s, "unwrap", "", body{"token": token}), 400, notWrapping)
	refused(t, call(s, "lookup", "", body{"token": token}), 400, notWrapping)
}

func TestUnwrapWithTheTokenItself(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	token := wrap(t, s).Text("wrap_info", "token")
	if got := call(s, "unwrap", token, nil); got.Status != http.StatusOK || got.Text("data", "a") != "b" {
		t.Fatalf("%d %s", got.Status, got.Raw)
	}
	if got := call(s, "unwrap", token, nil); got.Status == http.StatusOK {
		t.Errorf("unwrapped twice: %s", got.Raw)
	}
	token = wrap(t, s).Text("wrap_info", "token")
	if got := call(s, "unwrap", token, body{"token": token}); got.Status != http.StatusOK || got.Text("data", "a") != "b" {
		t.Errorf("%d %s", got.Status, got.Raw)
	}
}

// Whoever tries a wrapping token on anything else has used it up, and the
// rightful receiver learns that from the failure of the unwrapping.
func TestMisuseUsesUp(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	token := wrap(t, s).Text("wrap_info", "token")
	s.Must(http.StatusForbidden, kit.Request{Path: "sys/mounts", Token: token})
	refused(t, call(s, "unwrap", "", body{"token": token}), 400, notWrapping)
}

func TestOneOfManyUnwraps(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	for _, withHeader := range []bool{false, true} {
		token := wrap(t, s).Text("wrap_info", "token")
		var got atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				var r *kit.Response
				if withHeader {
					r = call(s, "unwrap", token, nil)
				} else {
					r = call(s, "unwrap", "", body{"token": token})
				}
				switch {
				case r.Status == http.StatusOK && r.Text("data", "a") == "b":
					got.Add(1)
				case r.Status == http.StatusBadRequest, r.Status == http.StatusForbidden:
				default:
					t.Errorf("%d %s", r.Status, r.Raw)
				}
			})
		}
		wg.Wait()
		if n := got.Load(); n != 1 {
			t.Errorf("unwrapped %d times", n)
		}
	}
}

func TestRewrap(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	first := wrap(t, s).Text("wrap_info", "token")
	r := call(s, "rewrap", "", body{"token": first})
	second := r.Text("wrap_info", "token")
	if r.Status != http.StatusOK || second == "" || second == first || r.Text("wrap_info", "creation_path") != "sys/wrapping/wrap" {
		t.Fatalf("%d %s", r.Status, r.Raw)
	}
	refused(t, call(s, "unwrap", "", body{"token": first}), 400, notWrapping)
	refused(t, call(s, "rewrap", "", body{"token": first}), 400, notWrapping)
	if got := call(s, "unwrap", "", body{"token": second}); got.Text("data", "a") != "b" {
		t.Errorf("%d %s", got.Status, got.Raw)
	}
}

func TestWrappedAuth(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	r := s.Must(http.StatusOK, kit.Request{
		Method: http.MethodPut, Path: "auth/token/create", Body: body{"ttl": "1h"}, Header: wrapFor("1m"),
	})
	if r.At("auth") != nil || r.Text("wrap_info", "creation_path") != "auth/token/create" {
		t.Errorf("%s", r.Raw)
	}
	got := call(s, "unwrap", "", body{"token": r.Text("wrap_info", "token")})
	if got.Text("auth", "client_token") == "" || got.Text("auth", "accessor") != r.Text("wrap_info", "wrapped_accessor") {
		t.Errorf("%s, wrapped as %s", got.Raw, r.Raw)
	}
	s.Must(http.StatusOK, kit.Request{Path: "auth/token/lookup-self", Token: got.Text("auth", "client_token")})
}

func TestWrappedReads(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Mount("kv", "kv", map[string]string{"version": "1"})
	s.Put("kv/x", body{"k": "v"})
	r := s.Must(http.StatusOK, kit.Request{Path: "kv/x", Header: wrapFor("1m")})
	if strings.Contains(string(r.Raw), `"v"`) {
		t.Errorf("not wrapped: %s", r.Raw)
	}
	if got := call(s, "unwrap", "", body{"token": r.Text("wrap_info", "token")}); got.Text("data", "k") != "v" {
		t.Errorf("%s", got.Raw)
	}
	// What is not there gives nothing to wrap.
	s.Must(http.StatusNotFound, kit.Request{Path: "kv/none", Header: wrapFor("1m")})
}

func TestWrappedAnswersEnd(t *testing.T) {
	t.Parallel()
	clock := kit.NewClock()
	s := kit.New(t, kit.At(clock))
	token := wrap(t, s).Text("wrap_info", "token")
	clock.Advance(300 * time.Second)
	refused(t, call(s, "lookup", "", body{"token": token}), 400, notWrapping)
	refused(t, call(s, "unwrap", "", body{"token": token}), 400, notWrapping)
}

func TestWhatIsNoWrappingToken(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	for _, token := range []string{"none", s.Root, s.Login("default")} {
		for _, what := range []string{"unwrap", "rewrap", "lookup"} {
			refused(t, call(s, what, "", body{"token": token}), 400, notWrapping)
		}
	}
	refused(t, call(s, "lookup", kit.NoToken, nil), 400, "missing \"token\" value in input")
	refused(t, call(s, "wrap", "", body{"a": "b"}), 400, "endpoint requires response wrapping")
	for _, ttl := range []string{"-5", "soon", "900h"} {
		s.Must(http.StatusBadRequest, kit.Request{Method: http.MethodPut, Path: "sys/wrapping/wrap", Body: body{"a": "b"}, Header: wrapFor(ttl)})
	}
}
