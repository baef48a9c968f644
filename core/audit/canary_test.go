package audit_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

// mark is in everything that must stand in no record.
const mark = "kAnArYq7"

// attack sends marks wherever they can stand but in a path that is well-formed
// and in names of fields that are.
func attack(t *testing.T, s *audited) (tokens []string) {
	t.Helper()
	m := func(name string) string { return mark + name }
	header := http.Header{
		"X-Mark": {m("header")}, "Cookie": {m("cookie")}, "User-Agent": {m("agent")}, "X-Quiet": {m("quiet")},
		"X-Forwarded-For": {m("forwarded")}, "Correlation-Id": {m("correlation")},
	}
	deep := strings.Repeat(`{"a":[`, 100) + `"` + m("deep") + `"` + strings.Repeat(`]}`, 100)
	for _, r := range []kit.Request{
		{Method: http.MethodPut, Path: "one/x", Body: body{"a": m("value"), "list": []any{m("item"), body{"b": m("inner")}}}},
		{Method: http.MethodPut, Path: "one/x", Body: body{"a b\x1b\n" + m("name"): 1, "cfs." + m("tokenlikenamethatislong"): 1, strings.Repeat("x", 80) + m("long"): 1}},
		{Path: "one/x"}, {Path: "one/x?" + "q=" + m("query") + "&list=false"},
		{Method: "LIST", Path: "one/?after=" + m("after")},
		{Method: http.MethodPut, Path: "two/data/x", Body: body{"data": body{"a": m("value")}, "unknown": m("unknown")}},
		{Method: http.MethodPut, Path: "two/data/x", Body: body{"data": body{"a": 1}, "!" + m("warnedof"): 1}},
		{Method: http.MethodPatch, Path: "two/data/x", Body: body{"data": body{"a": m("patched")}}},
		{Method: http.MethodPut, Path: "two/metadata/x", Body: body{"custom_metadata": body{"a": m("meta")}}},
		{Path: "two/data/x"}, {Path: "two/metadata/x"},
		{Path: "two/data//" + m("doubled")}, {Path: "two/data/../" + m("dots")}, {Path: "two/data/%ff" + m("binary")},
		{Path: "two/data/%0a%1b" + m("control")}, {Path: "auth/token/lookup/cfs." + strings.Repeat("A", 10) + m("inpath")},
		{Method: http.MethodPut, Path: "two/data/x", Body: `{"data": {"` + m("cut")},
		{Method: http.MethodPut, Path: "two/data/x", Body: `{"data": ` + m("bare") + `}`},
		{Method: http.MethodPut, Path: "two/data/x", Body: m("notjson")},
		{Method: http.MethodPut, Path: "two/data/x", Body: `{"data":{"` + m("twice") + `":1,"` + m("twice") + `":2}}`},
		{Method: http.MethodPut, Path: "two/data/x", Body: `{"data":` + deep + `}`},
		{Method: http.MethodPut, Path: "two/data/x", Body: body{"data": m("wrongtype")}},
		{Method: http.MethodPut, Path: "two/data/x", Body: body{"data": body{"a": strings.Repeat(m("big"), 200_000)}}},
		{Method: http.MethodPut, Path: "sys/mounts/five", Body: body{"type": m("type")}},
		{Method: http.MethodPut, Path: "sys/policies/acl/p", Body: body{"policy": `path "` + m("path") + `" {`}},
		{Method: http.MethodPut, Path: "auth/token/create", Body: body{"ttl": m("ttl"), "policies": m("policy")}},
		{Method: http.MethodPut, Path: "auth/token/create", Body: body{"id": m("chosen")}},
		{Method: http.MethodPut, Path: "auth/token/lookup", Body: body{"token": m("token")}},
		{Method: http.MethodPut, Path: "sys/wrapping/unwrap", Body: body{"token": m("wrapping")}},
		{Method: http.MethodPut, Path: "sys/wrapping/wrap", Body: body{"a": m("wrapped")}, Header: http.Header{"X-Vault-Wrap-Ttl": {"60"}}},
		{Method: http.MethodPut, Path: "sys/audit/other", Body: body{"type": "http", "options": body{"url": "http://" + m("user") + "@x", "headers": `{"A":"` + m("secret") + `"}`}}},
		{Path: "one/x", Token: m("unknowntoken")}, {Path: "one/x", Token: "cfb." + m("batch")},
		{Path: "two/data/x?version=" + m("version")},
	} {
		if r.Header == nil {
			r.Header = header.Clone()
		}
		s.Do(r)
	}
	made := s.Put("auth/token/create", body{"policies": []string{"default"}})
	wrapped := s.Must(http.StatusOK, kit.Request{Path: "one/x", Header: http.Header{"X-Vault-Wrap-Ttl": {"60"}}})
	s.Put("sys/wrapping/unwrap", body{"token": wrapped.Text("wrap_info", "token")})
	batch := s.Put("auth/token/create", body{"type": "batch", "policies": []string{"default"}})
	return []string{
		s.Root, made.Text("auth", "client_token"), made.Text("auth", "accessor"), wrapped.Text("wrap_info", "token"), batch.Text("auth", "client_token"),
	}
}

// forms are those in which a text could stand in a record.
func forms(text string) map[string]string {
	out := map[string]string{"plain": text, "lower": strings.ToLower(text), "hex": hex.EncodeToString([]byte(text))}
	for shift := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), text...))
		out[fmt.Sprintf("base64/%d", shift)] = encoded[(shift*8+5)/6 : len(encoded)-1]
	}
	return out
}

// TestCanariesStandInNoRecord is attack 83: nothing that a caller sends as a
// value gets into a record or the log, however malformed the request is.
func TestCanariesStandInNoRecord(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	sent := collect(t, listener)
	s := serving(t)
	s.Mount("one", "kv", nil)
	s.Mount("two", "kv", map[string]string{"version": "2"})
	file := s.enable("file", body{"hmac_accessor": "true"})
	s.Put("sys/audit/socket", body{"type": "socket", "options": body{"address": listener.Addr().String()}})
	s.Put("sys/config/auditing/request-headers/x-quiet", body{"hmac": true})
	s.Put("sys/config/auditing/request-headers/cookie", body{"hmac": true})
	for _, mount := range []string{"one", "two"} { // asks for what must not be shown
		s.Put("sys/mounts/"+mount+"/tune", body{
			"audit_non_hmac_request_keys": []string{"data", "a", "token", "unknown"}, "audit_non_hmac_response_keys": []string{"data", "a", "keys"},
		})
	}
	secrets := append(attack(t, s), mark)
	s.Close()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(parse(t, text)); n < 60 {
		t.Fatalf("only %d records", n)
	}
	stream := sent()
	if len(parse(t, stream)) < 60 {
		t.Fatal("the socket has missed records")
	}
	for _, secret := range secrets {
		for form, needle := range forms(secret) {
			for name, where := range map[string][]byte{"the file": text, "the socket": stream, "the log": []byte(s.Log())} {
				if i := bytes.Index(where, []byte(needle)); i >= 0 {
					t.Errorf("%.12s… stands %s in %s: %q", secret, form, name, where[max(0, i-200):min(len(where), i+60)])
				}
			}
		}
	}
	for i, c := range text {
		if c != '\n' && (c < ' ' || c == 0x7f) {
			t.Fatalf("byte %d of the file is the control character %#x", i, c)
		}
	}
}

// collect takes what is sent to a listener, and returns it once the peer is gone.
func collect(t *testing.T, listener net.Listener) func() []byte {
	t.Helper()
	var all bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		for first := true; ; first = false {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = all.ReadFrom(conn)
			_ = conn.Close()
			if !first { // the first is that of the test record
				return
			}
		}
	}()
	return func() []byte {
		<-done
		return all.Bytes()
	}
}

// TestTerminalsAreNotSpokenTo is attack 84: a path cannot make lines, colours or
// text that runs backwards.
func TestTerminalsAreNotSpokenTo(t *testing.T) {
	t.Parallel()
	s := serving(t)
	file := s.enable("file", nil)
	for _, path := range []string{"x/%c2%9b31m", "x/%e2%80%ae", "x/%e2%80%a8", "x/%22%7d%2c", "x/%f3%a0%80%81", "x/é"} {
		s.Do(kit.Request{Path: path})
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"\u009b", "\u202e", "\u2028", "\U000e0001", "\x1b"} {
		if bytes.Contains(text, []byte(bad)) {
			t.Errorf("%q stands in the file", bad)
		}
	}
	all := records(t, file)
	for _, path := range []string{"x/\u009b31m", "x/\u202e", "x/\"},", "x/\U000e0001", "x/é"} {
		if len(on(all, "request", path)) != 1 {
			t.Errorf("no record of %q", path)
		}
	}
}

// TestPlainFields: a field stands plain if the mount's settings name it and its
// route does not call it secret.
func TestPlainFields(t *testing.T) {
	t.Parallel()
	s := serving(t)
	s.Mount("two", "kv", map[string]string{"version": "2"})
	s.Put("sys/mounts/two/tune", body{
		"audit_non_hmac_request_keys": []string{"options", "data", "made_up"}, "audit_non_hmac_response_keys": []string{"created_time", "data"},
	})
	file := s.enable("file", nil)
	s.Put("two/data/x", body{"data": body{"a": "hidden"}, "options": body{"note": "shown"}, "made_up": "hidden"})
	s.Get("two/data/x")
	all := records(t, file)
	request := on(all, "request", "two/data/x")[0]
	if got := at(request, "request", "data", "options", "note"); got != "shown" {
		t.Errorf("options.note is %v", got)
	}
	for _, names := range [][]string{{"data", "a"}, {"made_up"}} {
		if got, _ := at(request, append([]string{"request", "data"}, names...)...).(string); !strings.HasPrefix(got, "hmac-sha256:") {
			t.Errorf("%v is %q", names, got)
		}
	}
	responses := on(all, "response", "two/data/x")
	if got, _ := at(responses[0], "response", "data", "created_time").(string); !strings.HasPrefix(got, "20") {
		t.Errorf("created_time is %q", got)
	}
	if got, _ := at(responses[1], "response", "data", "data", "a").(string); !strings.HasPrefix(got, "hmac-sha256:") {
		t.Errorf("the secret is %q", got)
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	s := serving(t)
	s.Mount("one", "kv", nil)
	raw := s.enable("raw", body{"log_raw": "true"})
	open := s.enable("open", body{"hmac_accessor": "false", "elide_list_responses": "true"})
	s.Put("one/x", body{"a": "value"})
	s.Put("one/y", body{"a": "value"})
	s.List("one")
	accessor := s.Get("auth/token/lookup-self").Text("data", "accessor")
	s.Close() // one device may be behind the other
	last := func(file, typ, path string) record { l := on(records(t, file), typ, path); return l[len(l)-1] }
	if got := at(last(raw, "request", "one/x"), "request", "data", "a"); got != "value" {
		t.Errorf("log_raw wrote %v", got)
	}
	if got := at(last(raw, "request", "one/x"), "auth", "client_token"); got != s.Root {
		t.Errorf("log_raw wrote the token %v", got)
	}
	if got := at(last(open, "request", "one/x"), "auth", "accessor"); got != accessor {
		t.Errorf("the accessor is %v", got)
	}
	if got := at(last(open, "response", "one"), "response", "data", "keys"); got != float64(2) {
		t.Errorf("the listing is %v", got)
	}
}

// TestHashesAreOfTheDevice: they stay the same after a restart, and differ
// between devices.
func TestHashesAreOfTheDevice(t *testing.T) {
	t.Parallel()
	s := serving(t)
	s.Mount("one", "kv", nil)
	file := s.enable("file", nil)
	s.Put("one/x", body{"a": "value"})
	s.enable("other", nil)
	want := s.hash("file", "value")
	if got := at(on(records(t, file), "request", "one/x")[0], "request", "data", "a"); got != want {
		t.Errorf("the record has %v, audit-hash says %s", got, want)
	}
	if s.hash("other", "value") == want {
		t.Error("two devices hash alike")
	}
	s.Put("sys/rotate", nil)
	s.Restart()
	s.Unseal()
	if got := s.hash("file", "value"); got != want {
		t.Errorf("the hash is %s after a restart, was %s", got, want)
	}
	refused(t, put(s, "sys/audit-hash/none", body{"input": "x"}), http.StatusBadRequest, "no audit device")
}
