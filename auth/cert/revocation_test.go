package cert_test

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/coffer-secrets/coffer/engines"
)

func TestCRL(t *testing.T) {
	t.Parallel()
	h := mount(t)
	root := newCA(t, h.Now, "root")
	between := issue(t, root, h.Now, asCA("between"))
	good, bad, below := root.client("good"), root.client("bad"), between.client("below")
	write(t, h, "certs/r", body{"certificate": root.pem()})
	for _, chain := range [][]*party{{good}, {bad}, {below, between}} {
		allow(t, h, chain...)
	}
	write(t, h, "crls/List", body{"crl": root.crl(h.Now.Add(time.Minute), bad)})
	allow(t, h, good)
	allow(t, h, below, between)
	deny(t, h, noMatch, bad)
	got := read(t, h, engines.Read, "crls/list")
	if want := fmt.Sprintf("map[%s:map[]]", bad.cert.SerialNumber); fmt.Sprint(got["serials"]) != want {
		t.Errorf("shown %v", got)
	}
	// A certificate of another CA with that number is not revoked.
	other := newCA(t, h.Now, "other")
	same := other.client("same", func(c *x509.Certificate) { c.SerialNumber = bad.cert.SerialNumber })
	write(t, h, "certs/other", body{"certificate": other.pem()})
	allow(t, h, same)

	write(t, h, "crls/list", body{"crl": root.crl(h.Now.Add(time.Minute), between)})
	deny(t, h, noMatch, below, between)
	allow(t, h, bad)

	write(t, h, "crls/list", body{"crl": root.crl(h.Now.Add(time.Minute))})
	h.Now = h.Now.Add(2 * time.Minute)
	deny(t, h, "the CRL of the certificate's issuer has expired", good)
	allow(t, h, same)
	write(t, h, "config", body{"crl_fail_open": true})
	allow(t, h, good)
	write(t, h, "config", body{"crl_fail_open": false})

	// Somebody who signs in the CA's name does not make its certificates good.
	forger := newCA(t, h.Now, "root")
	write(t, h, "crls/list", body{"crl": forger.crl(h.Now.Add(time.Hour))})
	allow(t, h, good) // by its key identifier it is of another issuer
	if keys := read(t, h, engines.List, "crls")["keys"]; fmt.Sprint(keys) != "[list]" {
		t.Errorf("listed %v", keys)
	}
	if _, err := h.Do(engines.Delete, "crls/LIST", nil, nil); err != nil {
		t.Error(err)
	}
	allow(t, h, good)

	pinned := other.client("pinned")
	write(t, h, "certs/other", body{"certificate": pinned.pem()})
	allow(t, h, pinned)
	write(t, h, "crls/other", body{"crl": other.crl(h.Now.Add(time.Minute), pinned)})
	deny(t, h, noMatch, pinned)
}

// TestUnsignedCRL: an empty CRL with the issuer's key identifier that the
// issuer did not sign does not show that a certificate is good.
func TestUnsignedCRL(t *testing.T) {
	t.Parallel()
	h := mount(t)
	id := []byte{1, 2, 3}
	ca := issue(t, nil, h.Now, func(c *x509.Certificate) { asCA("CA")(c); c.SubjectKeyId = id })
	forger := issue(t, nil, h.Now, func(c *x509.Certificate) { asCA("CA")(c); c.SubjectKeyId = id })
	leaf := ca.client("x")
	write(t, h, "certs/r", body{"certificate": ca.pem()})
	write(t, h, "crls/forged", body{"crl": forger.crl(h.Now.Add(time.Minute))})
	deny(t, h, "is not signed by it", leaf)
	write(t, h, "crls/true", body{"crl": ca.crl(h.Now.Add(time.Minute))})
	allow(t, h, leaf)
}

func TestCRLFromURL(t *testing.T) {
	t.Parallel()
	h := mount(t)
	ca := newCA(t, h.Now, "CA")
	bad := ca.client("bad")
	text := ca.crl(h.Now.Add(time.Minute), bad)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/crl":
			io.WriteString(w, text)
		case "/long":
			io.WriteString(w, strings.Repeat("x", 1<<20))
		case "/elsewhere":
			http.Redirect(w, r, "/crl", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(server.Close)
	write(t, h, "certs/r", body{"certificate": ca.pem()})
	for _, path := range []string{"/long", "/elsewhere", "/none"} {
		if _, err := h.Do(engines.Update, "crls/c", body{"url": server.URL + path}, nil); engines.KindOf(err) != engines.KindUpstream || strings.Contains(err.Error(), "127") {
			t.Errorf("%s: %v", path, err)
		}
	}
	write(t, h, "crls/c", body{"url": server.URL + "/crl"})
	deny(t, h, noMatch, bad)
	if got := read(t, h, engines.Read, "crls/c"); got["cdp"].(map[string]any)["url"] != server.URL+"/crl" {
		t.Errorf("shown %v", got)
	}
}

// responder answers OCSP as its fields say.
type responder struct {
	*httptest.Server
	asked  atomic.Int64
	status int
	issuer *party
	signer *party
	change func(r *ocsp.Response)
	raw    string
}

func newResponder(t *testing.T, issuer *party, now time.Time) *responder {
	r := &responder{status: ocsp.Good, issuer: issuer, signer: issuer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.asked.Add(1)
		if r.raw != "" {
			io.WriteString(w, r.raw)
			return
		}
		text, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		q, err := ocsp.ParseRequest(text)
		if err != nil {
			t.Error(err)
			return
		}
		answer := ocsp.Response{Status: r.status, SerialNumber: q.SerialNumber, ThisUpdate: now, NextUpdate: now.Add(time.Minute), IssuerHash: crypto.SHA1}
		if r.signer.issuer != nil {
			answer.Certificate = r.signer.cert
		}
		if r.change != nil {
			r.change(&answer)
		}
		der, err := ocsp.CreateResponse(r.issuer.cert, r.signer.cert, answer, r.signer.key)
		if err != nil {
			t.Error(err)
		}
		w.Write(der)
	}))
	t.Cleanup(r.Close)
	return r
}

func asResponder(c *x509.Certificate) {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
}

func TestOCSP(t *testing.T) {
	t.Parallel()
	const refused = "no OCSP responder vouches for it"
	for name, c := range map[string]struct {
		set  func(h time.Time, r *responder)
		role body
		want string
		// asks is how often two logins may ask; 0 for any number.
		asks int64
	}{
		"good":    {asks: 1},
		"revoked": {set: func(_ time.Time, r *responder) { r.status = ocsp.Revoked }, want: "it is revoked", asks: 1},
		"revoked, failing open": {
			set: func(_ time.Time, r *responder) { r.status = ocsp.Revoked }, role: body{"ocsp_fail_open": true}, want: "it is revoked",
		},
		"unknown":               {set: func(_ time.Time, r *responder) { r.status = ocsp.Unknown }, want: refused},
		"unknown, failing open": {set: func(_ time.Time, r *responder) { r.status = ocsp.Unknown }, role: body{"ocsp_fail_open": true}},
		"down":                  {set: func(_ time.Time, r *responder) { r.Close() }, want: refused},
		"down, failing open":    {set: func(_ time.Time, r *responder) { r.Close() }, role: body{"ocsp_fail_open": true}},
		"nonsense":              {set: func(_ time.Time, r *responder) { r.raw = "x" }, want: refused},
		"too long":              {set: func(_ time.Time, r *responder) { r.raw = strings.Repeat("x", 100<<10) }, want: refused},
		"too old": {set: func(now time.Time, r *responder) {
			r.change = func(a *ocsp.Response) { a.ThisUpdate, a.NextUpdate = now.Add(-2*time.Hour), now.Add(-time.Hour) }
		}, want: refused},
		"of tomorrow": {set: func(now time.Time, r *responder) {
			r.change = func(a *ocsp.Response) { a.ThisUpdate, a.NextUpdate = now.Add(24*time.Hour), now.Add(48*time.Hour) }
		}, want: refused},
		"without an end": {set: func(_ time.Time, r *responder) {
			r.change = func(a *ocsp.Response) { a.NextUpdate = time.Time{} }
		}, asks: 2},
		"of another CA":               {set: func(now time.Time, r *responder) { r.signer = newCA(r.issuer.t, now, "CA") }, want: refused},
		"by a responder of the CA":    {set: func(now time.Time, r *responder) { r.signer = issue(r.issuer.t, r.issuer, now, asResponder) }},
		"by an equal of the client's": {set: func(_ time.Time, r *responder) { r.signer = r.issuer.client("peer") }, want: refused},
		"by an expired responder": {set: func(now time.Time, r *responder) {
			r.signer = issue(r.issuer.t, r.issuer, now, func(c *x509.Certificate) { asResponder(c); c.NotAfter = now.Add(-time.Minute) })
		}, want: refused},
		"about another issuer's": {set: func(now time.Time, r *responder) { r.issuer = newCA(r.issuer.t, now, "other") }, want: refused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := mount(t)
			ca := newCA(t, h.Now, "CA")
			r := newResponder(t, ca, h.Now)
			if c.set != nil {
				c.set(h.Now, r)
			}
			leaf := ca.client("x", func(x *x509.Certificate) { x.OCSPServer = []string{r.URL} })
			role := body{"certificate": ca.pem(), "ocsp_enabled": true}
			for name, value := range c.role {
				role[name] = value
			}
			write(t, h, "certs/r", role)
			for range 2 {
				if c.want == "" {
					allow(t, h, leaf)
				} else {
					deny(t, h, c.want, leaf)
				}
			}
			if n := r.asked.Load(); c.asks > 0 && n != c.asks {
				t.Errorf("was asked %d times, want %d", n, c.asks)
			}
		})
	}
}

func TestOCSPServers(t *testing.T) {
	t.Parallel()
	h := mount(t)
	ca, other := newCA(t, h.Now, "CA"), newCA(t, h.Now, "other")
	good, revoked, fromOther := newResponder(t, ca, h.Now), newResponder(t, ca, h.Now), newResponder(t, ca, h.Now)
	revoked.status, fromOther.signer = ocsp.Revoked, other
	leaf := ca.client("x")
	role := func(change body) {
		all := body{"certificate": ca.pem(), "ocsp_enabled": true, "ocsp_servers_override": "", "ocsp_query_all_servers": false, "ocsp_ca_certificates": ""}
		for name, value := range change {
			all[name] = value
		}
		write(t, h, "certs/r", all)
	}
	role(nil)
	deny(t, h, "no OCSP responder", leaf)
	role(body{"ocsp_servers_override": good.URL + "," + revoked.URL})
	allow(t, h, leaf)
	role(body{"ocsp_servers_override": good.URL + "," + revoked.URL, "ocsp_query_all_servers": true})
	deny(t, h, "it is revoked", leaf)
	role(body{"ocsp_servers_override": fromOther.URL})
	deny(t, h, "no OCSP responder", leaf)
	role(body{"ocsp_servers_override": fromOther.URL, "ocsp_ca_certificates": other.pem()})
	allow(t, h, leaf)
	fromOther.issuer = other // about a certificate of its own with that number
	h.Now = h.Now.Add(2 * time.Minute)
	deny(t, h, "no OCSP responder", leaf)

	// For a certificate that is trusted itself the caller brings the issuer.
	h.Now = h.Now.Add(-2 * time.Minute)
	role(body{"certificate": leaf.pem(), "ocsp_servers_override": good.URL})
	deny(t, h, "no OCSP responder", leaf)
	deny(t, h, "no OCSP responder", leaf, other)
	allow(t, h, leaf, ca)
}
