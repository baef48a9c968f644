package cert_test

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

type body = map[string]any

func TestLogin(t *testing.T) {
	t.Parallel()
	h := mount(t)
	ca := newCA(t, h.Now, "CA")
	leaf := ca.client("web", func(c *x509.Certificate) { c.SubjectKeyId = []byte{0x0a, 0xb1} })
	write(t, h, "certs/Web", body{"certificate": ca.pem(), "token_policies": "p", "token_ttl": 60})
	auth := allow(t, h, leaf)
	if auth.Alias != "web" || auth.DisplayName != "web" || auth.Token.TTL != time.Minute || auth.AliasMetadata != nil {
		t.Errorf("logged in as %+v", auth)
	}
	want := body{"cert_name": "web", "common_name": "web", "serial_number": leaf.cert.SerialNumber.String(), "subject_key_id": "0a:b1"}
	for name, value := range want {
		if auth.Metadata[name] != value {
			t.Errorf("%s is %q, want %q", name, auth.Metadata[name], value)
		}
	}
	if !strings.Contains(auth.Metadata["authority_key_id"], ":") {
		t.Errorf("metadata: %v", auth.Metadata)
	}
	write(t, h, "config", body{"enable_identity_alias_metadata": true})
	if auth := allow(t, h, leaf); auth.AliasMetadata["cert_name"] != "web" {
		t.Errorf("logged in as %+v", auth)
	}
	if _, err := login(t, h, `{"name":"WEB"}`, leaf); err != nil {
		t.Error(err)
	}
	if _, err := login(t, h, `{"name":"other"}`, leaf); err == nil {
		t.Error("logged in by a role that is not there")
	}
	deny(t, h, "client certificate must be supplied")
	deny(t, h, noMatch, newCA(t, h.Now, "CA").client("web"))
	deny(t, h, noMatch, ca)
	deny(t, h, noMatch, issue(t, ca, h.Now, asCA("web")))
	deny(t, h, noMatch, ca.client("web", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }))
	deny(t, h, noMatch, ca.client("web", func(c *x509.Certificate) { c.NotAfter = h.Now.Add(-time.Second) }))
	deny(t, h, noMatch, ca.client("web", func(c *x509.Certificate) { c.NotBefore = h.Now.Add(time.Second) }))
	h.Now = h.Now.Add(2 * time.Hour)
	deny(t, h, noMatch, leaf)
}

// TestIntermediate: the caller brings what is between it and the CA, and what
// it brings is not trusted for that.
func TestIntermediate(t *testing.T) {
	t.Parallel()
	h := mount(t)
	root := newCA(t, h.Now, "root")
	between := issue(t, root, h.Now, asCA("between"))
	leaf := between.client("x")
	write(t, h, "certs/r", body{"certificate": root.pem()})
	allow(t, h, leaf, between)
	deny(t, h, noMatch, leaf)
	stranger := newCA(t, h.Now, "root")
	deny(t, h, noMatch, stranger.client("x"), stranger)
	write(t, h, "certs/r", body{"certificate": between.pem()})
	allow(t, h, leaf)
	deny(t, h, noMatch, root.client("x"), root)
}

// TestPinned trusts one certificate, byte for byte.
func TestPinned(t *testing.T) {
	t.Parallel()
	h := mount(t)
	ca := newCA(t, h.Now, "CA")
	leaf := ca.client("x")
	write(t, h, "certs/r", body{"certificate": leaf.pem(), "allowed_common_names": "x"})
	allow(t, h, leaf)
	// Another with its issuer, serial number and key identifiers, as of a CA
	// that went wrong.
	twin := ca.client("x", func(c *x509.Certificate) { c.SerialNumber = leaf.cert.SerialNumber })
	deny(t, h, noMatch, twin)
	deny(t, h, noMatch, twin, leaf)
	self := issue(t, nil, h.Now, asClient("self"))
	write(t, h, "certs/self", body{"certificate": self.pem()})
	allow(t, h, self)
	deny(t, h, noMatch, self.client("x"), self)
	h.Now = h.Now.Add(2 * time.Hour)
	deny(t, h, noMatch, leaf)
}

func TestConstraints(t *testing.T) {
	t.Parallel()
	h := mount(t)
	ca := newCA(t, h.Now, "CA")
	text, err := asn1.Marshal("blue team")
	if err != nil {
		t.Fatal(err)
	}
	leaf := ca.client("app.example.com", func(c *x509.Certificate) {
		c.DNSNames, c.EmailAddresses = []string{"a.example.com", "b.example.org"}, []string{"me@example.com"}
		c.URIs = []*url.URL{{Scheme: "spiffe", Host: "example.com", Path: "/web"}}
		c.Subject.OrganizationalUnit = []string{"eng", "ops"}
	}, extension([]int{1, 3, 6, 1, 4, 1, 99999, 1}, text), extension([]int{1, 3, 6, 1, 4, 1, 99999, 2}, []byte{0xde, 0xad}))
	for _, c := range []struct {
		field, patterns string
		want            bool
	}{
		{"allowed_common_names", "app.example.com", true},
		{"allowed_common_names", "*.example.com", true},
		{"allowed_common_names", "*.example.org,app*com", true},
		{"allowed_common_names", "*.example", false},
		{"allowed_common_names", "a.example.com", false},
		{"allowed_common_names", "app.example.com*app.example.com", false},
		{"allowed_names", "me@*", true},
		{"allowed_names", "b.*", true},
		{"allowed_names", "app.*", true},
		{"allowed_names", "eng", false},
		{"allowed_dns_sans", "*.org", true},
		{"allowed_dns_sans", "app.example.com", false},
		{"allowed_email_sans", "*@example.com", true},
		{"allowed_email_sans", "*@example.org", false},
		{"allowed_uri_sans", "spiffe://example.com/*", true},
		{"allowed_uri_sans", "spiffe://example.org/*", false},
		{"allowed_organizational_units", "o*s", true},
		{"allowed_organizational_units", "engineering", false},
		{"required_extensions", "1.3.6.1.4.1.99999.1:blue*", true},
		{"required_extensions", "1.3.6.1.4.1.99999.1:blue*,hex:1.3.6.1.4.1.99999.2:DEAD", true},
		{"required_extensions", "1.3.6.1.4.1.99999.1:blue*,hex:1.3.6.1.4.1.99999.2:beef", false},
		{"required_extensions", "1.3.6.1.4.1.99999.1:red*", false},
		{"required_extensions", "1.3.6.1.4.1.99999.3:*", false},
		{"required_extensions", "1.3.6.1.4.1.99999.2:*", false},
	} {
		write(t, h, "certs/r", body{"certificate": ca.pem(), c.field: c.patterns})
		if _, err := login(t, h, ``, leaf); (err == nil) != c.want {
			t.Errorf("%s=%s: %v", c.field, c.patterns, err)
		}
		if c.want {
			bare := ca.client("bare", func(x *x509.Certificate) { x.Subject.CommonName = "" })
			deny(t, h, noMatch, bare)
		}
		if _, err := h.Do(engines.Delete, "certs/r", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	write(t, h, "certs/r", body{"certificate": ca.pem(), "allowed_metadata_extensions": "1.3.6.1.4.1.99999.1,1.3.6.1.4.1.99999.2"})
	if got := allow(t, h, leaf).Metadata; got["1-3-6-1-4-1-99999-1"] != "blue team" || len(got) != 6 {
		t.Errorf("metadata: %v", got)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	h := mount(t)
	ca := newCA(t, h.Now, "CA")
	write(t, h, "certs/A", body{"certificate": ca.pem(), "policies": "X", "ttl": 60, "display_name": "shown", "ocsp_enabled": true, "ocsp_servers_override": "http://127.0.0.1/"})
	write(t, h, "certs/a", body{"allowed_dns_sans": "x"})
	got := read(t, h, engines.Read, "certs/A")
	for name, want := range map[string]string{
		"certificate": ca.pem(), "display_name": "shown", "token_policies": "[x]", "token_ttl": "60", "ocsp_enabled": "true",
		"ocsp_servers_override": "[http://127.0.0.1/]", "allowed_dns_sans": "[x]", "ocsp_fail_open": "false",
	} {
		if fmt.Sprint(got[name]) != want {
			t.Errorf("%s is %v, want %s", name, got[name], want)
		}
	}
	if keys := read(t, h, engines.List, "certs")["keys"]; fmt.Sprint(keys) != "[a]" {
		t.Errorf("listed %v", keys)
	}
	if got := read(t, h, engines.Read, "config"); fmt.Sprint(got) != "map[crl_fail_open:false disable_binding:false enable_identity_alias_metadata:false ocsp_cache_size:100]" {
		t.Errorf("settings: %v", got)
	}
	write(t, h, "config", body{"ocsp_cache_size": 7, "disable_binding": true})
	if got := read(t, h, engines.Read, "config"); fmt.Sprint(got["ocsp_cache_size"], got["disable_binding"]) != "7 true" && fmt.Sprint(got["disable_binding"]) != "true" {
		t.Errorf("settings: %v", got)
	}
	server := ca.client("s", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	for _, c := range []struct {
		path string
		body body
		text string
	}{
		{"certs/b", body{}, "certificate: "},
		{"certs/b", body{"certificate": "x"}, "certificate: "},
		{"certs/b", body{"certificate": strings.Replace(ca.pem(), "M", "%", 1)}, "certificate: "},
		{"certs/b", body{"certificate": ca.pem() + ca.client("x").pem()}, "certificate: "},
		{"certs/b", body{"certificate": server.pem()}, "certificate: "},
		{"certs/b", body{"certificate": strings.Repeat("x", 300<<10)}, "certificate: "},
		{"certs/b", body{"certificate": ca.pem(), "ocsp_ca_certificates": "x"}, "ocsp_ca_certificates: "},
		{"certs/b", body{"certificate": ca.pem(), "ocsp_servers_override": "file:///etc/passwd"}, "ocsp_servers_override: "},
		{"certs/b", body{"certificate": ca.pem(), "required_extensions": "1.2.3"}, "required_extensions: "},
		{"certs/b", body{"certificate": ca.pem(), "allowed_metadata_extensions": "x"}, "allowed_metadata_extensions: "},
		{"certs/b", body{"certificate": ca.pem(), "allowed_common_names": []string{""}}, "allowed_common_names: "},
		{"certs/b", body{"certificate": ca.pem(), "display_name": strings.Repeat("x", 300)}, "display_name: "},
		{"certs/b", body{"certificate": ca.pem(), "token_policies": "root"}, "token_policies: "},
		{"certs/b", body{"certificate": ca.pem(), "token_bound_cidrs": "x"}, "token_bound_cidrs: "},
		{"config", body{"ocsp_cache_size": -1}, "ocsp_cache_size: "},
		{"crls/c", body{}, "one of crl and url"},
		{"crls/c", body{"crl": "x"}, "crl: "},
		{"crls/c", body{"crl": ca.pem()}, "crl: "},
		{"crls/c", body{"url": "ftp://x/"}, "url: "},
		{"crls/c", body{"crl": "x", "url": "http://x/"}, "one of crl and url"},
	} {
		if _, err := h.Do(engines.Update, c.path, c.body, nil); engines.KindOf(err) != engines.KindInvalid || err == nil || !strings.HasPrefix(err.Error(), c.text) {
			t.Errorf("%s %v: %v, want %q", c.path, c.body, err, c.text)
		}
	}
	for _, path := range []string{"certs/b", "crls/c"} {
		if _, err := h.Do(engines.Read, path, nil, nil); engines.KindOf(err) != engines.KindNotFound {
			t.Errorf("%s: %v", path, err)
		}
	}
}
