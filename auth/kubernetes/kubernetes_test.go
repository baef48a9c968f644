package kubernetes_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/coffer-secrets/coffer/auth/kubernetes"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/enginetest"
)

type body = map[string]any

// apiServer stands in for a cluster: it takes the reviewer's token alone, and
// answers about one account.
type apiServer struct {
	*httptest.Server
	key *ecdsa.PrivateKey

	mu sync.Mutex
	// reviewer is whose token may ask, status what is answered; asked are the
	// audiences that were asked for.
	reviewer string
	status   func(token string, audiences []string) body
	asked    [][]string
	labels   map[string]string
}

func newServer(t *testing.T) *apiServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &apiServer{key: key}
	s.reviewer = s.sign(t, body{"sub": "reviewer"})
	s.status = s.good
	mux := http.NewServeMux()
	mux.HandleFunc("POST /apis/authentication.k8s.io/v1/tokenreviews", s.review)
	mux.HandleFunc("GET /api/v1/namespaces/{name}", func(w http.ResponseWriter, r *http.Request) {
		if !s.may(w, r) {
			return
		}
		s.answer(w, http.StatusOK, body{"metadata": body{"name": r.PathValue("name"), "labels": s.labels}})
	})
	s.Server = httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *apiServer) may(w http.ResponseWriter, r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+s.reviewer {
		s.answer(w, http.StatusUnauthorized, body{"kind": "Status"})
		return false
	}
	return true
}

func (*apiServer) answer(w http.ResponseWriter, status int, v any) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (s *apiServer) review(w http.ResponseWriter, r *http.Request) {
	if !s.may(w, r) {
		return
	}
	var question struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Token     string   `json:"token"`
			Audiences []string `json:"audiences"`
		} `json:"spec"`
	}
	if err := json.NewDecoder(r.Body).Decode(&question); err != nil || question.APIVersion != "authentication.k8s.io/v1" || question.Kind != "TokenReview" {
		s.answer(w, http.StatusBadRequest, body{})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, question.Spec.Audiences)
	s.answer(w, http.StatusCreated, body{"status": s.status(question.Spec.Token, question.Spec.Audiences)})
}

// good is what is answered about the account whose uid is "uid-1".
func (*apiServer) good(_ string, audiences []string) body {
	return body{
		"authenticated": true, "audiences": audiences,
		"user": body{"username": "system:serviceaccount:prod:app", "uid": "uid-1"},
	}
}

func (s *apiServer) answering(status func(token string, audiences []string) body) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

func (s *apiServer) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
}

func (s *apiServer) sign(t *testing.T, claims body) string {
	t.Helper()
	return sign(t, s.key, claims)
}

func sign(t *testing.T, key *ecdsa.PrivateKey, claims body) string {
	t.Helper()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// claims are those of a pod's token, with changes; nil takes one away.
func claims(h *enginetest.Harness, change body) body {
	out := body{
		"iss": "https://kubernetes.default.svc", "aud": []any{"coffer"}, "exp": h.Now.Add(time.Hour).Unix(), "iat": h.Now.Unix(),
		"kubernetes.io": body{"namespace": "prod", "serviceaccount": body{"name": "app", "uid": "uid-1"}, "pod": body{"name": "p"}},
	}
	maps.Copy(out, change)
	maps.DeleteFunc(out, func(_ string, v any) bool { return v == nil })
	return out
}

func write(t *testing.T, h *enginetest.Harness, path string, body any) *engines.Response {
	t.Helper()
	resp, err := h.Do(engines.Update, path, body, nil)
	if err != nil {
		t.Fatalf("write %s: %v", path, err)
	}
	return resp
}

func refuse(t *testing.T, h *enginetest.Harness, kind engines.Kind, text, path string, body any) {
	t.Helper()
	if resp, err := h.Do(engines.Update, path, body, nil); err == nil || engines.KindOf(err) != kind || !strings.Contains(err.Error(), text) {
		t.Errorf("write %s: answered %v %v, want a refusal with %q", path, resp, err, text)
	}
}

// started is a mount that asks the server, with a role "r".
func started(t *testing.T, s *apiServer, config, role body) *enginetest.Harness {
	t.Helper()
	h := enginetest.Mount(t, kubernetes.New(t.TempDir()), nil)
	fields := body{"kubernetes_host": s.URL, "kubernetes_ca_cert": s.ca(), "token_reviewer_jwt": s.reviewer}
	maps.Copy(fields, config)
	write(t, h, "config", fields)
	fields = body{"bound_service_account_names": "app", "bound_service_account_namespaces": "prod", "audience": "coffer", "token_policies": "p"}
	maps.Copy(fields, role)
	write(t, h, "role/r", fields)
	return h
}

func login(token string) body { return body{"role": "r", "jwt": token} }

func TestLogin(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := started(t, s, nil, nil)
	token := s.sign(t, claims(h, nil))
	auth := write(t, h, "login", login(token+"\n")).Auth
	want := map[string]string{
		"role": "r", "service_account_name": "app", "service_account_namespace": "prod", "service_account_uid": "uid-1", "service_account_secret_name": "",
	}
	if auth.Alias != "uid-1" || auth.DisplayName != "prod-app" || !reflect.DeepEqual(auth.Metadata, want) || auth.Token.Policies[0] != "p" {
		t.Errorf("it gives %+v", auth)
	}
	if !slices.ContainsFunc(s.asked, func(a []string) bool { return slices.Equal(a, []string{"coffer"}) }) {
		t.Errorf("it asks for %v", s.asked)
	}
	write(t, h, "role/r", body{"alias_name_source": "serviceaccount_name"})
	if auth := write(t, h, "login", login(token)).Auth; auth.Alias != "prod/app" {
		t.Errorf("by name it gives %+v", auth)
	}
	for _, c := range []struct {
		change body
		text   string
	}{
		{body{"aud": []any{"other"}}, "audience"},
		{body{"aud": nil}, "audience"},
		{body{"exp": h.Now.Add(-time.Hour).Unix()}, "expired"},
		{body{"kubernetes.io": nil}, "not one of a service account"},
		{body{"kubernetes.io": body{"namespace": "prod", "serviceaccount": body{"name": "app"}}}, "not one of a service account"},
		{body{"kubernetes.io": body{"namespace": "../prod", "serviceaccount": body{"name": "app", "uid": "uid-1"}}}, "not one of a service account"},
		{body{"kubernetes.io": body{"namespace": "prod", "serviceaccount": body{"name": "web", "uid": "uid-1"}}}, "name not authorized"},
		{body{"kubernetes.io": body{"namespace": "test", "serviceaccount": body{"name": "app", "uid": "uid-1"}}}, "namespace not authorized"},
		{body{"kubernetes.io": body{"namespace": "prod", "serviceaccount": body{"name": "app", "uid": "uid-2"}}}, "permission denied"},
	} {
		refuse(t, h, engines.KindDenied, c.text, "login", login(s.sign(t, claims(h, c.change))))
	}
	refuse(t, h, engines.KindDenied, "not a JSON Web Token", "login", login("x"))
	refuse(t, h, engines.KindInvalid, "missing jwt", "login", body{"role": "r"})
	refuse(t, h, engines.KindInvalid, "missing role", "login", body{"jwt": token})
	refuse(t, h, engines.KindInvalid, `invalid role name "x"`, "login", body{"role": "x", "jwt": token})
	// A token of before 1.21 has no audience and no end.
	write(t, h, "role/r", body{"audience": ""})
	const old = "kubernetes.io/serviceaccount/"
	auth = write(t, h, "login", login(s.sign(t, body{
		old + "service-account.name": "app", old + "service-account.uid": "uid-1", old + "namespace": "prod", old + "secret.name": "app-token",
	}))).Auth
	if auth.Metadata["service_account_secret_name"] != "app-token" {
		t.Errorf("it gives %+v", auth)
	}
}

// TestReviews: what the cluster says has to be that this token counts, for
// Coffer, as this account.
func TestReviews(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := started(t, s, nil, nil)
	token := s.sign(t, claims(h, nil))
	for name, change := range map[string]body{
		"not authenticated":    {"authenticated": false},
		"an error":             {"error": "expired"},
		"no audience":          {"audiences": nil},
		"another audience":     {"audiences": []string{"other"}},
		"another account":      {"user": body{"username": "system:serviceaccount:prod:web", "uid": "uid-1"}},
		"another namespace":    {"user": body{"username": "system:serviceaccount:dev:app", "uid": "uid-1"}},
		"another uid":          {"user": body{"username": "system:serviceaccount:prod:app", "uid": "uid-2"}},
		"no service account":   {"user": body{"username": "prod:app", "uid": "uid-1"}},
		"nobody":               {"user": nil},
		"nothing":              {"authenticated": nil, "user": nil, "audiences": nil},
		"named for a longer":   {"user": body{"username": "system:serviceaccount:prod:app:x", "uid": "uid-1"}},
		"only an old username": {"user": body{"username": "app", "uid": "uid-1"}},
	} {
		s.answering(func(token string, audiences []string) body {
			out := s.good(token, audiences)
			maps.Copy(out, change)
			return out
		})
		t.Log(name)
		refuse(t, h, engines.KindDenied, "permission denied", "login", login(token))
	}
	s.answering(s.good)
	write(t, h, "login", login(token))
	s.Close()
	refuse(t, h, engines.KindUpstream, "cannot use the answer", "login", login(token))
}

// TestWhoAsks: the reviewer's token, else the pod's, else the caller's.
func TestWhoAsks(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := started(t, s, body{"token_reviewer_jwt": ""}, nil)
	token := s.sign(t, claims(h, nil))
	refuse(t, h, engines.KindDenied, "permission denied", "login", login(token))
	s.reviewer = token
	write(t, h, "login", login(token))

	pod := t.TempDir()
	h = enginetest.Mount(t, kubernetes.New(pod), nil)
	write(t, h, "role/r", body{"bound_service_account_names": "*", "bound_service_account_namespaces": "pr*", "audience": "coffer"})
	refuse(t, h, engines.KindInvalid, "could not load backend configuration", "login", login(token))
	write(t, h, "config", body{"kubernetes_host": s.URL})
	refuse(t, h, engines.KindUpstream, "cannot use", "login", login(token)) // nobody vouches for the server
	for name, text := range map[string]string{"ca.crt": s.ca(), "token": "pod.token\n"} {
		if err := os.WriteFile(filepath.Join(pod, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refuse(t, h, engines.KindDenied, "permission denied", "login", login(token))
	s.reviewer = "pod.token"
	write(t, h, "login", login(token))
	write(t, h, "config", body{"kubernetes_host": s.URL, "kubernetes_ca_cert": s.ca(), "disable_local_ca_jwt": true})
	refuse(t, h, engines.KindDenied, "permission denied", "login", login(token))
}

func TestKeysAndIssuer(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	der, err := x509.MarshalPKIXPublicKey(s.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	h := started(t, s, body{"pem_keys": key, "disable_iss_validation": false, "issuer": "https://kubernetes.default.svc"}, nil)
	write(t, h, "login", login(s.sign(t, claims(h, nil))))
	refuse(t, h, engines.KindDenied, "issuer", "login", login(s.sign(t, claims(h, body{"iss": "other"}))))
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	refuse(t, h, engines.KindDenied, "not signed with a key", "login", login(sign(t, other, claims(h, nil))))
}

func TestSelector(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := started(t, s, nil, body{
		"bound_service_account_namespaces": "", "bound_service_account_namespace_selector": `{"matchLabels":{"team":"a"},"matchExpressions":[{"key":"env","operator":"In","values":["x","y"]}]}`,
	})
	token := s.sign(t, claims(h, nil))
	for _, c := range []struct {
		selector string
		labels   map[string]string
		ok       bool
	}{
		{"", map[string]string{"team": "a", "env": "y"}, true},
		{"", map[string]string{"team": "a", "env": "z"}, false},
		{"", map[string]string{"env": "y"}, false},
		{"", nil, false},
		{"matchExpressions:\n- {key: env, operator: NotIn, values: [x]}", nil, true},
		{"matchExpressions:\n- {key: env, operator: NotIn, values: [x]}", map[string]string{"env": "x"}, false},
		{"matchExpressions:\n- {key: env, operator: Exists}", map[string]string{"env": "x"}, true},
		{"matchExpressions:\n- {key: env, operator: Exists}", nil, false},
		{"matchExpressions:\n- {key: env, operator: DoesNotExist}", nil, true},
		{"matchExpressions:\n- {key: env, operator: DoesNotExist}", map[string]string{"env": "x"}, false},
	} {
		if c.selector != "" {
			write(t, h, "role/r", body{"bound_service_account_namespace_selector": c.selector})
		}
		s.mu.Lock()
		s.labels = c.labels
		s.mu.Unlock()
		if c.ok {
			write(t, h, "login", login(token))
		} else {
			refuse(t, h, engines.KindDenied, "namespace not authorized", "login", login(token))
		}
	}
}

func TestConfigAndRoles(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	h := enginetest.Mount(t, kubernetes.New(t.TempDir()), nil)
	if _, err := h.Do(engines.Read, "config", nil, nil); engines.KindOf(err) != engines.KindNotFound {
		t.Errorf("before it is written: %v", err)
	}
	for text, c := range map[string]body{
		"no host provided":                 {},
		"kubernetes_host: expected":        {"kubernetes_host": "http://10.0.0.1"},
		"kubernetes_host: expected https:": {"kubernetes_host": "10.0.0.1:443"},
		"kubernetes_ca_cert must be given": {"kubernetes_host": s.URL, "disable_local_ca_jwt": true},
		"kubernetes_ca_cert: the":          {"kubernetes_host": s.URL, "kubernetes_ca_cert": "x"},
		"token_reviewer_jwt":               {"kubernetes_host": s.URL, "token_reviewer_jwt": "x"},
		"pem_keys":                         {"kubernetes_host": s.URL, "pem_keys": "x"},
	} {
		refuse(t, h, engines.KindInvalid, text, "config", c)
	}
	write(t, h, "config", body{"kubernetes_host": s.URL + "/", "token_reviewer_jwt": s.reviewer})
	resp, err := h.Do(engines.Read, "config", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := enginetest.Data(t, resp)
	if got["kubernetes_host"] != s.URL || got["token_reviewer_jwt_set"] != true || got["disable_iss_validation"] != true || got["token_reviewer_jwt"] != nil {
		t.Errorf("it shows %v", got)
	}
	for text, c := range map[string]body{
		`"bound_service_account_names" can not`:      {"bound_service_account_namespaces": "a"},
		`"bound_service_account_namespaces" can not`: {"bound_service_account_names": "a"},
		`can not mix "*"`:                            {"bound_service_account_names": "a,*", "bound_service_account_namespaces": "a"},
		"alias_name_source":                          {"alias_name_source": "x"},
		"selector: it would":                         {"bound_service_account_names": "a", "bound_service_account_namespace_selector": "{}"},
		"selector: each":                             {"bound_service_account_names": "a", "bound_service_account_namespace_selector": `{"matchExpressions":[{"key":"a","operator":"In"}]}`},
		"selector: exp":                              {"bound_service_account_names": "a", "bound_service_account_namespace_selector": `{"matchLabel":{"a":"b"}}`},
	} {
		refuse(t, h, engines.KindInvalid, text, "role/r", c)
	}
	if resp := write(t, h, "role/R", body{"bound_service_account_names": "a", "bound_service_account_namespaces": "b", "num_uses": 2}); len(resp.Warnings) != 2 {
		t.Errorf("it warns of %v", resp.Warnings)
	}
	if resp, err = h.Do(engines.Read, "role/r", nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := enginetest.Data(t, resp); got["alias_name_source"] != "serviceaccount_uid" || got["token_num_uses"] != json.Number("2") {
		t.Errorf("it shows %v", got)
	}
	write(t, h, "role/r", body{"token_bound_cidrs": "10.0.0.0/8"})
	refuse(t, h, engines.KindDenied, "permission denied", "login", login("x"))
	h.Caller.Addr = netip.MustParseAddr("10.0.0.1")
	refuse(t, h, engines.KindDenied, "not a JSON Web Token", "login", login("x"))
	renewal := &engines.Renewal{Mount: h.Info, Now: h.Now, Private: []byte(`{"role":"r"}`)}
	if params, err := kubernetes.New("").Renew(t.Context(), renewal, h.Store.Begin()); err != nil || params.NumUses != 2 {
		t.Errorf("renewing: %v %v", params, err)
	}
	if _, err := h.Do(engines.Delete, "role/r", nil, nil); err != nil {
		t.Fatal(err)
	}
	if params, err := kubernetes.New("").Renew(t.Context(), renewal, h.Store.Begin()); engines.KindOf(err) != engines.KindInvalid {
		t.Errorf("renewing without the role: %v %v", params, err)
	}
}

// FuzzLogin: whatever a stranger sends is answered, and never with a token.
func FuzzLogin(f *testing.F) {
	for _, seed := range []string{``, `{}`, `{"role":"r","jwt":"x"}`, `{"role":"r","jwt":"eyJhbGciOiJub25lIn0.e30."}`, `{"role":["r"],"jwt":{}}`, `[`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		h := enginetest.Mount(t, kubernetes.New(t.TempDir()), nil)
		write(t, h, "role/r", body{"bound_service_account_names": "*", "bound_service_account_namespaces": "*"})
		write(t, h, "config", body{"kubernetes_host": "https://127.0.0.1:1"})
		if resp, err := h.Do(engines.Update, "login", text, nil); err == nil {
			t.Errorf("%q is answered %+v", text, resp)
		} else if engines.KindOf(err) == engines.KindInternal {
			t.Errorf("%q: %v", text, err)
		}
	})
}
