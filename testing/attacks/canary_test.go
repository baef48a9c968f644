package attacks_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/harness"
)

const (
	// value begins what may stand nowhere but in the answer to who reads it.
	value = "vAlUe7Xq"
	// name begins names and labels: audit records have them, nothing else does.
	name = "nAmE9Zk"
)

// observed is a server that shows all it can, to be searched.
type observed struct {
	*harness.Server
	t      testing.TB
	shown  map[string][]byte
	secret []string
}

func observe(t testing.TB) *observed {
	t.Helper()
	s := harness.Start(t, harness.Options{Extra: "log_level = \"trace\"\nraw_storage_endpoint = true\n"})
	s.Root(http.MethodPut, "sys/audit/file", body{"type": "file", "options": body{"file_path": "audit.log"}})
	return &observed{Server: s, t: t, shown: make(map[string][]byte), secret: []string{s.RootToken, s.Keys[0]}}
}

// follow follows the log over the API until the function that it returns is
// called, which returns what was shown.
func (o *observed) follow(format string) func() []byte {
	o.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	o.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.Address+"/v1/sys/monitor?log_level=trace&log_format="+format, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", o.RootToken)
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		o.t.Fatalf("follow the log: %v %v", resp, err)
	}
	var all bytes.Buffer
	var ended sync.WaitGroup
	ended.Go(func() {
		_, _ = all.ReadFrom(resp.Body)
		_ = resp.Body.Close()
	})
	return func() []byte {
		cancel()
		ended.Wait()
		return all.Bytes()
	}
}

// send sends a request of any form and returns the answer.
func (o *observed) send(method, path, token string, b any, header http.Header) (int, []byte) {
	o.t.Helper()
	var payload io.Reader
	switch b := b.(type) {
	case nil:
	case string:
		payload = strings.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			o.t.Fatal(err)
		}
		payload = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(o.t.Context(), method, o.Address+"/v1/"+path, payload)
	if err != nil {
		o.t.Fatal(err)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	req.Header.Set("X-Vault-Token", token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		o.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// request is one that holds canaries; refused says that its answer, too, may
// hold no value.
type request struct {
	method, path string
	body         any
	refused      bool
}

func v(text string) string { return value + text }
func l(text string) string { return name + text }

// use uses the server as people do who are called, and keep, what the canaries
// are.
func (o *observed) use() {
	o.t.Helper()
	put := func(path string, b any) map[string]any { return o.Root(http.MethodPut, path, b) }
	put("sys/mounts/"+l("one"), body{"type": "kv", "description": l("description")})
	put("sys/mounts/"+l("two"), body{"type": "kv", "options": body{"version": "2"}})
	put(l("one")+"/"+l("path"), body{l("field"): v("plain")})
	put(l("two")+"/data/"+l("path"), body{"data": body{l("field"): v("versioned")}})
	put(l("two")+"/metadata/"+l("path"), body{"custom_metadata": body{l("key"): v("custom")}})
	put("cubbyhole/"+l("path"), body{l("field"): v("own")})
	put("sys/policies/acl/"+strings.ToLower(l("policy")), body{"policy": "# " + v("comment") + "\npath \"" + l("one") + "/*\" { capabilities = [\"read\"] }"})
	made := put("auth/token/create", body{"policies": strings.ToLower(l("policy")), "display_name": l("display"), "meta": body{l("key"): l("meta")}})
	auth, _ := made["auth"].(map[string]any)
	token, accessor := auth["client_token"].(string), auth["accessor"].(string)
	o.secret = append(o.secret, token, accessor)
	o.Do(http.MethodGet, l("one")+"/"+l("path"), token, nil)
	o.Do(http.MethodGet, l("one")+"/"+l("denied"), "", nil)
	o.Do(http.MethodGet, l("two")+"/data/"+l("denied"), token, nil)
	put("auth/token/create", body{"id": v("chosen"), "policies": "default"})
	put("auth/token/roles/"+l("role"), body{"allowed_policies": strings.ToLower(l("policy")), "path_suffix": l("suffix")})
	for _, way := range []string{"userpass", "approle", "jwt"} {
		put("sys/auth/"+l(way), body{"type": way})
	}
	put("auth/"+l("userpass")+"/users/"+l("user"), body{"password": v("password")})
	put("auth/"+l("userpass")+"/login/"+l("user"), body{"password": v("password")})
	for range 6 {
		o.Do(http.MethodPut, "auth/"+l("userpass")+"/login/"+l("user"), "", body{"password": v("guess")})
		o.Do(http.MethodPut, "auth/"+l("userpass")+"/login/"+l("stranger"), "", body{"password": v("guess")})
	}
	put("auth/"+l("approle")+"/role/"+l("role"), body{"role_id": l("roleid"), "secret_id_num_uses": 2})
	put("auth/"+l("approle")+"/role/"+l("role")+"/custom-secret-id", body{"secret_id": v("secretid"), "metadata": `{"` + l("key") + `":"` + l("meta") + `"}`})
	put("auth/"+l("approle")+"/login", body{"role_id": l("roleid"), "secret_id": v("secretid")})
	put("identity/entity", body{"name": l("entity"), "metadata": body{l("key"): l("meta")}})
	put("identity/group", body{"name": l("group")})
	o.send(http.MethodPut, "sys/wrapping/wrap", o.RootToken, body{l("field"): v("wrapped")}, http.Header{"X-Vault-Wrap-Ttl": {"60"}})
	put("sys/config/ui/headers/X-"+l("header"), body{"values": l("header")})
}

// misuse is what is refused, with canaries wherever they can stand.
func misuse() []request {
	one, two := l("one"), l("two")
	deep := strings.Repeat(`{"a":[`, 200) + `"` + v("deep") + `"` + strings.Repeat(`]}`, 200)
	return []request{
		{http.MethodGet, l("none") + "/" + l("path"), nil, true},
		{http.MethodGet, one + "/" + l("absent"), nil, true},
		{http.MethodGet, one + "//" + l("absent"), nil, true},
		{http.MethodGet, one + "/../" + l("absent"), nil, true},
		{http.MethodGet, one + "/%ff" + l("absent"), nil, true},
		{http.MethodGet, one + "/%0a%1b%5b2J" + l("absent"), nil, true},
		{http.MethodGet, two + "/data/" + l("path") + "?version=" + v("version"), nil, true},
		{http.MethodGet, two + "/data/" + l("path") + "?" + l("query") + "=" + v("query") + "&%zz", nil, true},
		{"LIST", two + "/metadata/?after=" + l("after") + "&limit=" + v("limit"), nil, true},
		{l("METHOD"), one + "/" + l("path"), nil, true},
		{http.MethodPut, two + "/data/" + l("bad"), `{"data": {"` + l("field") + `": "` + v("cut"), true},
		{http.MethodPut, two + "/data/" + l("bad"), `{"data": ` + v("bare") + `}`, true},
		{http.MethodPut, two + "/data/" + l("bad"), v("notjson"), true},
		{http.MethodPut, two + "/data/" + l("bad"), `{"data":{"` + l("twice") + `":"` + v("a") + `","` + l("twice") + `":"` + v("b") + `"}}`, true},
		{http.MethodPut, two + "/data/" + l("bad"), `{"data":` + deep + `}`, true},
		{http.MethodPut, two + "/data/" + l("bad"), body{"data": v("wrongtype")}, true},
		{http.MethodPut, two + "/data/" + l("bad"), body{"data": body{"a": v("cas")}, "options": body{"cas": v("cas")}}, true},
		{http.MethodPut, two + "/data/" + l("bad"), body{"data": body{"a": v("cas")}, "options": body{"cas": 99}}, true},
		{http.MethodPut, two + "/data/" + l("bad"), body{"data": body{"a": strings.Repeat(v("big"), 200_000)}}, true},
		{http.MethodPut, "sys/mounts/" + l("five"), body{"type": l("type")}, true},
		{http.MethodPut, "sys/mounts/" + l("five"), body{"type": "kv", "options": body{"version": v("version")}}, true},
		{http.MethodPut, "sys/policies/acl/" + l("policy"), body{"policy": `path "` + v("path") + `" {`}, true},
		{http.MethodPut, "sys/unseal", body{"key": v("key")}, true},
		{http.MethodPut, "sys/generate-root/update", body{"key": v("key"), "nonce": v("nonce")}, true},
		{http.MethodPut, "sys/decode-token", body{"encoded_token": v("encoded"), "otp": v("otp")}, true},
		{http.MethodPut, "sys/rekey/init", body{"secret_shares": 1, "secret_threshold": 1, "pgp_keys": []string{v("pgp")}}, true},
		{http.MethodPut, "sys/init", body{"secret_shares": v("shares")}, true},
		{http.MethodPut, "auth/token/create", body{"ttl": v("ttl")}, true},
		{http.MethodPut, "auth/token/lookup", body{"token": v("token")}, true},
		{http.MethodPut, "auth/token/revoke-accessor", body{"accessor": v("accessor")}, true},
		{http.MethodPut, "sys/wrapping/unwrap", body{"token": v("wrapping")}, true},
		{http.MethodPut, "sys/leases/revoke", body{"lease_id": v("lease")}, true},
		{http.MethodPut, "sys/audit/other", body{"type": "http", "options": body{"url": "http://" + v("user") + ":" + v("password") + "@x\x7f", "headers": v("headers")}}, true},
		{http.MethodPut, "sys/audit/other", body{"type": "socket", "options": body{"address": v("address"), l("option"): v("option")}}, true},
		{http.MethodPut, "sys/audit/other", body{"type": "file", "options": body{"file_path": "../" + v("file")}}, true},
		{http.MethodPut, "auth/" + l("approle") + "/login", body{"role_id": v("roleid"), "secret_id": v("secretid2")}, true},
		{http.MethodPut, "auth/" + l("jwt") + "/login", body{"role": v("role"), "jwt": v("jwt") + "." + v("jwt") + "." + v("jwt")}, true},
		{http.MethodPut, "auth/" + l("jwt") + "/config", body{"jwt_validation_pubkeys": v("pubkey")}, true},
		{http.MethodPut, "auth/" + l("jwt") + "/config", body{"jwks_url": "https://" + strings.ToLower(v("host")) + ".invalid/" + v("jwks")}, false},
		{http.MethodPut, "auth/" + l("userpass") + "/users/" + l("new"), body{"password_hash": v("hash")}, true},
		{http.MethodPut, "identity/entity", body{"name": l("x"), "metadata": v("metadata")}, true},
		{http.MethodGet, "sys/raw/" + l("raw"), nil, true},
		{http.MethodPut, "sys/tools/hash/" + l("algorithm"), body{"input": v("input")}, false},
		{http.MethodGet, "sys/pprof/" + l("profile"), nil, true},
		{http.MethodGet, "sys/monitor?log_level=" + v("level"), nil, true},
	}
}

// forms are those in which a text could stand somewhere.
func forms(text string) map[string]string {
	out := map[string]string{"plain": text, "lower": strings.ToLower(text), "hex": hex.EncodeToString([]byte(text))}
	for shift := range 3 {
		encoded := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), text...))
		out[fmt.Sprintf("base64/%d", shift)] = encoded[(shift*8+5)/6 : len(encoded)-1]
	}
	return out
}

// search looks for texts, in all their forms, where they must not stand.
func (o *observed) search(where string, text []byte, secrets ...string) {
	o.t.Helper()
	for _, secret := range secrets {
		for form, needle := range forms(secret) {
			if i := bytes.Index(text, []byte(needle)); i >= 0 {
				o.t.Errorf("%.10s… stands %s in %s: %q", secret, form, where, text[max(0, i-150):min(len(text), i+60)])
			}
		}
	}
}

// TestAttack83Canaries: what people keep in a server, and what they send it by
// mistake, shows in no log, record, metric or profile, nor in the answer to a
// mistake; and what they call things shows in records only.
func TestAttack83Canaries(t *testing.T) {
	t.Parallel()
	o := observe(t)
	plain, structured := o.follow("standard"), o.follow("json")
	o.use()
	header := http.Header{
		"User-Agent": {v("agent")}, "Cookie": {v("cookie")}, "X-Forwarded-For": {v("forwarded")}, "X-" + l("header"): {v("header")},
		"X-Vault-Mfa": {v("method") + ":" + v("code")}, "Correlation-Id": {v("correlation")}, "Referer": {"http://" + v("referer")}, "Origin": {"http://" + v("origin")},
	}
	for _, r := range misuse() {
		status, answer := o.send(r.method, r.path, o.RootToken, r.body, header)
		if r.refused {
			o.search(fmt.Sprintf("the answer %d to %s %s", status, r.method, r.path), answer, value)
		}
		if status >= 500 {
			t.Errorf("%s %s: %d %s", r.method, r.path, status, answer)
		}
	}
	for name, text := range map[string]string{
		"X-Vault-Namespace": v("namespace"), "X-Vault-Wrap-Ttl": v("ttl"), "X-Vault-Index": v("index"), "X-Coffer-Index": v("index"), "X-Vault-Token": v("second"),
		"Authorization": "Bearer " + v("bearer"), "X-Vault-Wrap-Format": v("format"), "Content-Type": v("type"), "Content-Encoding": v("encoding"), "X-Vault-Mfa": v("mfa"),
	} {
		_, answer := o.send(http.MethodPut, "auth/"+l("userpass")+"/login/"+l("user"), "", body{"password": v("x")}, http.Header{name: {text}})
		o.search("the answer to the header "+name, answer, value)
	}
	o.send(http.MethodGet, l("one")+"/"+l("path"), v("unknowntoken"), nil, nil)
	o.send(http.MethodGet, l("one")+"/"+l("path"), "cfb."+v("batch"), nil, nil)
	for _, text := range []string{
		"GET /v1/" + l("x") + " " + v("protocol") + "\r\n\r\n", v("garbage") + "\r\n\r\n", "GET /v1/sys/health HTTP/1.1\r\nHost: " + v("host") + " x\r\n\r\n",
		"GET /v1/sys/health HTTP/1.1\r\n" + v("header") + "\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + v("frames"), "\x16\x03\x01" + v("handshake"),
		"PUT /v1/" + l("one") + "/x HTTP/1.1\r\nHost: x\r\nContent-Length: " + v("length") + "\r\n\r\n",
	} {
		o.raw(text)
	}
	o.collect()
	o.search("the monitor", plain(), value, name)
	o.search("the monitor as JSON", structured(), value, name)
	for where, text := range o.shown {
		o.search(where, text, append([]string{value, name}, o.secret...)...)
	}
	records := o.file(filepath.Join(o.DataDir(), "audit", "audit.log"))
	o.search("the audit file", records, append([]string{value}, o.secret...)...)
	if !bytes.Contains(records, []byte(l("path"))) || bytes.Count(records, []byte("\n")) < 100 {
		t.Error("the audit file is not what was looked for")
	}
}

// raw sends bytes and waits for the connection's end.
func (o *observed) raw(text string) {
	o.t.Helper()
	conn := dial(o.t, strings.TrimPrefix(o.Address, "http://"))
	_, _ = io.WriteString(conn, text)
	_ = conn.CloseWrite()
	answer, _ := io.ReadAll(conn)
	o.search("an answer to garbage", answer, value)
	_ = conn.Close()
	client := tls.Client(dial(o.t, strings.TrimPrefix(o.Address, "http://")), &tls.Config{ServerName: strings.ToLower(l("sni")), MinVersion: tls.VersionTLS12})
	_ = client.HandshakeContext(o.t.Context())
	_ = client.Close()
}

func (o *observed) file(path string) []byte {
	o.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		o.t.Fatal(err)
	}
	return text
}

// collect takes what the server shows of itself.
func (o *observed) collect() {
	o.t.Helper()
	for _, path := range []string{
		"sys/metrics", "sys/metrics?format=prometheus", "sys/health", "sys/leader", "sys/seal-status", "sys/host-info", "sys/in-flight-req", "sys/loggers",
		"sys/config/state/sanitized", "sys/internal/counters/requests", "sys/internal/counters/tokens", "sys/internal/counters/entities", "sys/ha-status", "sys/key-status",
		"sys/pprof", "sys/pprof/cmdline", "sys/pprof/goroutine?debug=2", "sys/pprof/goroutine?debug=1", "sys/pprof/heap?debug=1", "sys/pprof/allocs?debug=1",
		"sys/pprof/block?debug=1", "sys/pprof/mutex?debug=1", "sys/pprof/threadcreate?debug=1", "sys/pprof/symbol", "sys/generate-root/attempt", "sys/rekey/init",
	} {
		status, answer := o.Do(http.MethodGet, path, o.RootToken, nil)
		if status != http.StatusOK {
			o.t.Errorf("%s: %d %s", path, status, answer)
		}
		o.shown[path] = answer
	}
	o.shown["the log"], o.shown["what it prints"] = o.file(o.LogPath()), []byte(o.Banner)
	if len(o.shown["the log"]) == 0 {
		o.t.Error("there is no log")
	}
}

// TestAttack83InFlight: of a request under way its path is shown to who may see
// it, and nothing else of what it holds.
func TestAttack83InFlight(t *testing.T) {
	t.Parallel()
	o := observe(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, o.Address+"/v1/sys/mounts?"+v("query"), strings.NewReader(`{"`+v("field")+`":1}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"X-Vault-Token": {v("token")}, "X-Coffer-Index": {"999999999"}, "User-Agent": {v("agent")}, "Cookie": {v("cookie")}}
	done := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()
	var shown []byte
	eventually(t, "the request is under way", func() bool {
		_, shown = o.Do(http.MethodGet, "sys/in-flight-req", o.RootToken, nil)
		return bytes.Contains(shown, []byte("sys/mounts"))
	})
	o.search("sys/in-flight-req", shown, value)
	if status, answer := o.Do(http.MethodGet, "sys/in-flight-req", "", nil); status != http.StatusBadRequest {
		t.Errorf("without a token: %d %s", status, answer)
	}
	cancel()
	<-done
}
