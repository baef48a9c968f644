package transit_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coffer-secrets/coffer/seal"
	"github.com/coffer-secrets/coffer/seal/transit"
)

func config(l *pipeListener) transit.Config {
	return transit.Config{
		Address: "http://transit.example:8200", Token: goodToken, KeyName: keyName, DisableRenewal: true, Dial: l.dial,
	}
}

func open(t *testing.T, cfg transit.Config) *transit.Wrapper {
	t.Helper()
	w, err := transit.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func encrypt(t *testing.T, w *transit.Wrapper) seal.Blob {
	t.Helper()
	blob, err := w.Encrypt(t.Context(), []byte("the root key"), []byte("aad"))
	if err != nil {
		t.Fatal(err)
	}
	return blob
}

func TestRoundTripAndKeyRotation(t *testing.T) {
	t.Parallel()
	f := newFake()
	w := open(t, config(serve(t, f)))
	blob := encrypt(t, w)
	if blob.Type != "transit" || blob.KeyID != "autounseal:v1" {
		t.Errorf("blob of type %q, key id %q", blob.Type, blob.KeyID)
	}
	f.rotate()
	got, err := w.Decrypt(t.Context(), blob, []byte("aad"))
	if err != nil || string(got) != "the root key" {
		t.Errorf("got %q: %v", got, err)
	}
	if id, err := w.KeyID(t.Context()); err != nil || id != "autounseal:v2" {
		t.Errorf("key id %q: %v", id, err)
	}
	for _, plaintext := range f.seen {
		if len(plaintext) != 32 || bytes.Contains(plaintext, []byte("the root key")) {
			t.Errorf("transit has seen %q", plaintext)
		}
	}
}

func TestRootKeyThroughTransit(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.mount, f.namespace = "kms/transit", "ns1/ns2"
	cfg := config(serve(t, f))
	cfg.MountPath, cfg.Namespace = "/kms/transit/", "ns1/ns2/"
	w := open(t, cfg)
	rootKey := bytes.Repeat([]byte{7}, seal.RootKeySize)
	wrapped, err := seal.WrapRootKey(t.Context(), w, rootKey)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := seal.UnwrapRootKey(t.Context(), w, wrapped); err != nil || !bytes.Equal(got, rootKey) {
		t.Errorf("the root key does not come back: %v", err)
	}
	for _, want := range []bool{false, true} {
		if got, err := seal.NeedsRewrap(t.Context(), w, wrapped); err != nil || got != want {
			t.Errorf("needs rewrap %v, want %v: %v", got, want, err)
		}
		f.rotate()
	}
}

func TestDecryptRefuses(t *testing.T) {
	t.Parallel()
	l := serve(t, newFake())
	w := open(t, config(l))
	good := encrypt(t, w)
	foreign := encrypt(t, open(t, config(serve(t, newFake()))))
	with := func(change func(b *seal.Blob)) seal.Blob {
		b := good
		b.Ciphertext = bytes.Clone(b.Ciphertext)
		change(&b)
		return b
	}
	last := len(good.Ciphertext) - 1
	for name, test := range map[string]struct {
		blob seal.Blob
		aad  string
		want error
	}{
		"other aad":          {good, "other", seal.ErrCorrupt},
		"other type":         {with(func(b *seal.Blob) { b.Type = "static" }), "aad", seal.ErrMalformed},
		"changed ciphertext": {with(func(b *seal.Blob) { b.Ciphertext[last] ^= 1 }), "aad", seal.ErrCorrupt},
		"changed data key":   {with(func(b *seal.Blob) { b.Ciphertext[40] ^= 1 }), "aad", seal.ErrWrongKey},
		"foreign":            {foreign, "aad", seal.ErrWrongKey},
		"unknown version":    {with(func(b *seal.Blob) { b.Ciphertext[0] ^= 3 }), "aad", seal.ErrMalformed},
		"impossible length":  {with(func(b *seal.Blob) { b.Ciphertext[1] = 0xff }), "aad", seal.ErrMalformed},
		"length too great":   {with(func(b *seal.Blob) { b.Ciphertext[1] = 0x10 }), "aad", seal.ErrMalformed},
		"truncated":          {with(func(b *seal.Blob) { b.Ciphertext = b.Ciphertext[:2] }), "aad", seal.ErrMalformed},
		"no ciphertext":      {with(func(b *seal.Blob) { b.Ciphertext = b.Ciphertext[:last-39] }), "aad", seal.ErrCorrupt},
	} {
		if _, err := w.Decrypt(t.Context(), test.blob, []byte(test.aad)); !errors.Is(err, test.want) {
			t.Errorf("%s: got error %v, want %v", name, err, test.want)
		}
	}
}

// What an operator got wrong fails at once, is told, and shows no token.
func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(f *fake, c *transit.Config)
		text   string
	}{
		"wrong token":     {func(_ *fake, c *transit.Config) { c.Token = "s.wrong-token" }, "403"},
		"wrong namespace": {func(_ *fake, c *transit.Config) { c.Namespace = "other" }, "403"},
		"wrong key":       {func(_ *fake, c *transit.Config) { c.KeyName = "other" }, "404"},
		"wrong mount":     {func(_ *fake, c *transit.Config) { c.MountPath = "other" }, "404"},
		"not JSON": {func(f *fake, _ *transit.Config) {
			f.intercept = func(w http.ResponseWriter, _ int, _ string) { w.Write([]byte("<html>")) }
		}, "JSON"},
		"no ciphertext": {func(f *fake, _ *transit.Config) {
			f.intercept = func(w http.ResponseWriter, _ int, _ string) { w.Write([]byte("{}")) }
		}, "form"},
		"huge answer": {func(f *fake, _ *transit.Config) {
			f.intercept = func(w http.ResponseWriter, _ int, _ string) { w.Write(make([]byte, 1<<20)) }
		}, "longer"},
	} {
		f := newFake()
		cfg := config(serve(t, f))
		test.change(f, &cfg)
		_, err := open(t, cfg).Encrypt(t.Context(), []byte("p"), nil)
		if !errors.Is(err, transit.ErrRefused) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Contains(err.Error(), cfg.Token) || f.count("") != 1 {
			t.Errorf("%s: %d requests, error %v", name, f.count(""), err)
		}
	}
}

func TestRetriesWhileUnavailable(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]error{500: nil, 503: nil, 429: nil, 412: nil, 403: transit.ErrRefused} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.intercept = func(w http.ResponseWriter, n int, _ string) {
				if n <= 3 {
					fail(w, status, "not now")
				}
			}
			_, err := open(t, config(serve(t, f))).Encrypt(t.Context(), []byte("p"), nil)
			if !errors.Is(err, want) {
				t.Errorf("status %d: %v", status, err)
			}
		})
	}
}

func TestGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.intercept = func(w http.ResponseWriter, _ int, _ string) { fail(w, 503, "sealed") }
		begin := time.Now()
		_, err := open(t, config(serve(t, f))).Encrypt(t.Context(), []byte("p"), nil)
		if !errors.Is(err, transit.ErrUnavailable) || f.count("") != 5 {
			t.Errorf("%d requests: %v", f.count(""), err)
		}
		if took := time.Since(begin); took < time.Second || took > 10*time.Second {
			t.Errorf("gave up after %v", took)
		}
	})
}

// A server that never answers costs each attempt its deadline, and no more than
// the caller's in all.
func TestDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &pipeListener{closed: make(chan struct{})} // nobody accepts
		w := open(t, config(l))
		begin := time.Now()
		if _, err := w.Encrypt(t.Context(), nil, nil); !errors.Is(err, transit.ErrUnavailable) {
			t.Error(err)
		}
		if took := time.Since(begin); took < 50*time.Second || took > 60*time.Second {
			t.Errorf("without a deadline it took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		begin = time.Now()
		if _, err := w.KeyID(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("with a deadline of 3s it took %v", took)
		}
	})
}

func TestCloseEndsRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := open(t, config(&pipeListener{closed: make(chan struct{})}))
		result := make(chan error)
		go func() {
			_, err := w.Encrypt(t.Context(), nil, nil)
			result <- err
		}()
		synctest.Wait()
		begin := time.Now()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := <-result; !errors.Is(err, seal.ErrSealed) || time.Since(begin) != 0 {
			t.Errorf("a request under way ends after %v: %v", time.Since(begin), err)
		}
		if _, err := w.KeyID(t.Context()); !errors.Is(err, seal.ErrSealed) {
			t.Errorf("a later request: %v", err)
		}
	})
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	good := transit.Config{Address: "https://localhost:8200", Token: goodToken, KeyName: keyName}
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(c *transit.Config){
		"no address":      func(c *transit.Config) { c.Address = "" },
		"no scheme":       func(c *transit.Config) { c.Address = "localhost:8200" },
		"other scheme":    func(c *transit.Config) { c.Address = "ftp://localhost" },
		"no token":        func(c *transit.Config) { c.Token = "" },
		"token of lines":  func(c *transit.Config) { c.Token = "s.a\r\nX-Evil: 1" },
		"no key":          func(c *transit.Config) { c.KeyName = "" },
		"key of a path":   func(c *transit.Config) { c.KeyName = "../x" },
		"dotted mount":    func(c *transit.Config) { c.MountPath = "../sys" },
		"dots in mount":   func(c *transit.Config) { c.MountPath = "a/../../sys" },
		"query in mount":  func(c *transit.Config) { c.MountPath = "transit?x" },
		"no CA file":      func(c *transit.Config) { c.TLSCACert = "/nonexistent" },
		"junk CA":         func(c *transit.Config) { c.TLSCACert = junk },
		"cert alone":      func(c *transit.Config) { c.TLSClientCert = junk },
		"key alone":       func(c *transit.Config) { c.TLSClientKey = junk },
		"junk cert, key":  func(c *transit.Config) { c.TLSClientCert, c.TLSClientKey = junk, junk },
		"dots as the key": func(c *transit.Config) { c.KeyName = ".." },
	} {
		cfg := good
		change(&cfg)
		w, err := transit.New(t.Context(), cfg)
		if w != nil || !errors.Is(err, transit.ErrConfig) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if cfg.Token != "" && strings.Contains(err.Error(), cfg.Token) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
}

func writePEM(t *testing.T, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clientCert returns files of a self-signed certificate and its key.
func clientCert(t *testing.T) (cert *x509.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, writePEM(t, "CERTIFICATE", der), writePEM(t, "PRIVATE KEY", keyDER)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, certFile, keyFile := clientCert(t)
	server := httptest.NewUnstartedServer(newFake())
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}
	server.TLS.ClientCAs.AddCert(cert)
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := writePEM(t, "CERTIFICATE", server.Certificate().Raw)
	good := transit.Config{
		Address: server.URL, Token: goodToken, KeyName: keyName, DisableRenewal: true,
		TLSCACert: ca, TLSClientCert: certFile, TLSClientKey: keyFile, TLSServerName: "example.com",
	}
	for name, test := range map[string]struct {
		change func(c *transit.Config)
		want   error
	}{
		"all set":          {func(*transit.Config) {}, nil},
		"name by address":  {func(c *transit.Config) { c.TLSServerName = "" }, nil},
		"skip verify":      {func(c *transit.Config) { c.TLSCACert, c.TLSSkipVerify = "", true }, nil},
		"unknown CA":       {func(c *transit.Config) { c.TLSCACert = "" }, transit.ErrRefused},
		"other name":       {func(c *transit.Config) { c.TLSServerName = "other.example" }, transit.ErrRefused},
		"no client cert":   {func(c *transit.Config) { c.TLSClientCert, c.TLSClientKey = "", "" }, transit.ErrUnavailable},
		"skip, other name": {func(c *transit.Config) { c.TLSSkipVerify, c.TLSServerName = true, "other.example" }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			test.change(&cfg)
			_, err := open(t, cfg).Encrypt(t.Context(), []byte("p"), nil)
			if !errors.Is(err, test.want) {
				t.Errorf("got error %v, want %v", err, test.want)
			}
		})
	}
}

// A standby names the leader; the token goes there too, but not over plain HTTP.
func TestRedirects(t *testing.T) {
	t.Parallel()
	leader := httptest.NewTLSServer(newFake())
	t.Cleanup(leader.Close)
	plain := httptest.NewServer(newFake())
	t.Cleanup(plain.Close)
	var loop *httptest.Server
	loop = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, loop.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(loop.Close)
	for name, test := range map[string]struct {
		target string
		want   error
	}{"leader": {leader.URL, nil}, "plain": {plain.URL, transit.ErrRefused}, "loop": {loop.URL, transit.ErrRefused}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			standby := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, test.target+r.URL.Path, http.StatusTemporaryRedirect)
			}))
			t.Cleanup(standby.Close)
			w := open(t, transit.Config{
				Address: standby.URL, Token: goodToken, KeyName: keyName, DisableRenewal: true, TLSSkipVerify: true,
			})
			if _, err := w.Encrypt(t.Context(), []byte("p"), nil); !errors.Is(err, test.want) {
				t.Errorf("got error %v, want %v", err, test.want)
			}
		})
	}
}
