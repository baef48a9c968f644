package transit_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	goodToken = "s.transit-seal-token"
	keyName   = "autounseal"
)

// A fake is a server that speaks the transit engine's wire form, and that of
// the calls on one's own token. It really encrypts, under versions of one key.
type fake struct {
	mu        sync.Mutex
	versions  []cipher.AEAD
	namespace string // that requests must name
	mount     string
	ttl       int64 // of the token, in seconds
	renewable bool
	requests  []string                                     // method and path
	intercept func(w http.ResponseWriter, n int, p string) // may answer request n itself
	seen      [][]byte                                     // plaintexts
}

func newFake() *fake {
	f := &fake{mount: "transit"}
	f.rotate()
	return f
}

func (f *fake) rotate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	f.versions = append(f.versions, aead)
}

func (f *fake) setToken(ttl int64, renewable bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ttl, f.renewable = ttl, renewable
}

// count returns how many requests had a path with this end.
func (f *fake) count(suffix string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.requests {
		if strings.HasSuffix(r, suffix) {
			n++
		}
	}
	return n
}

// An answered is a ResponseWriter that knows whether it was used.
type answered struct {
	http.ResponseWriter
	used bool
}

func (a *answered) WriteHeader(code int) { a.used = true; a.ResponseWriter.WriteHeader(code) }

func (a *answered) Write(b []byte) (int, error) { a.used = true; return a.ResponseWriter.Write(b) }

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	if f.intercept != nil {
		a := &answered{ResponseWriter: w}
		if f.intercept(a, len(f.requests), r.URL.Path); a.used {
			return
		}
	}
	if r.Header.Get("X-Vault-Token") != goodToken || r.Header.Get("X-Vault-Namespace") != f.namespace {
		fail(w, http.StatusForbidden, "permission denied")
		return
	}
	var in struct {
		Plaintext  *string `json:"plaintext"`
		Ciphertext string  `json:"ciphertext"`
	}
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			fail(w, http.StatusBadRequest, "failed to parse JSON input")
			return
		}
	}
	switch r.Method + " " + r.URL.Path {
	case "POST /v1/" + f.mount + "/encrypt/" + keyName:
		f.encrypt(w, in.Plaintext)
	case "POST /v1/" + f.mount + "/decrypt/" + keyName:
		f.decrypt(w, in.Ciphertext)
	case "GET /v1/auth/token/lookup-self":
		answer(w, map[string]any{"data": map[string]any{"ttl": f.ttl, "renewable": f.renewable}})
	case "POST /v1/auth/token/renew-self":
		answer(w, map[string]any{"auth": map[string]any{"lease_duration": f.ttl, "renewable": f.renewable}})
	default:
		fail(w, http.StatusNotFound, "no handler for route")
	}
}

func (f *fake) encrypt(w http.ResponseWriter, encoded *string) {
	if encoded == nil {
		fail(w, http.StatusBadRequest, "missing plaintext to encrypt")
		return
	}
	plaintext, err := base64.StdEncoding.DecodeString(*encoded)
	if err != nil {
		fail(w, http.StatusBadRequest, "failed to base64-decode plaintext")
		return
	}
	f.seen = append(f.seen, plaintext)
	n := len(f.versions)
	sealed := f.versions[n-1].Seal(nil, nil, plaintext, nil)
	answer(w, map[string]any{"data": map[string]any{
		"ciphertext": fmt.Sprintf("vault:v%d:%s", n, base64.StdEncoding.EncodeToString(sealed)), "key_version": n,
	}})
}

func (f *fake) decrypt(w http.ResponseWriter, ciphertext string) {
	plaintext, err := f.open(ciphertext)
	if err != nil {
		fail(w, http.StatusBadRequest, err.Error())
		return
	}
	answer(w, map[string]any{"data": map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plaintext)}})
}

func (f *fake) open(ciphertext string) ([]byte, error) {
	var n int
	var encoded string
	if _, err := fmt.Sscanf(ciphertext, "vault:v%d:%s", &n, &encoded); err != nil || n < 1 || n > len(f.versions) {
		return nil, errors.New("invalid ciphertext: no prefix or unknown version")
	}
	sealed, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	return f.versions[n-1].Open(nil, nil, sealed, nil)
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(err)
	}
}

func fail(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	answer(w, map[string]any{"errors": []string{text}})
}

// A pipeListener accepts connections that its dial makes, without a network, so
// that a test of time-driven behaviour can run in a synctest bubble.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve serves f until the test ends.
func serve(t *testing.T, f *fake) *pipeListener {
	t.Helper()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: f, ReadHeaderTimeout: time.Hour}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() {
		server.Close()
		<-done
	})
	return l
}
