package roles_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/roles"
)

var now = time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC)

func role(t testing.TB, given map[string]any) *roles.Role {
	t.Helper()
	r := roles.Default()
	if err := r.Set(engines.NewValues(given, nil), false); err != nil {
		t.Fatal(err)
	}
	return r
}

type g = map[string]any

func asking(cn string) *roles.Ask {
	return &roles.Ask{CommonName: cn, Now: now, DefaultTTL: time.Hour, MaxTTL: 1000 * time.Hour, DisplayName: "web.example.org"}
}

// TestDomains is the table of which names which roles allow.
func TestDomains(t *testing.T) {
	t.Parallel()
	one := []string{"example.com"}
	for name, c := range map[string]struct {
		role           g
		allow, forbids []string
	}{
		"nothing":     {g{"allow_localhost": false}, nil, []string{"example.com", "localhost", "a@example.com"}},
		"local":       {g{}, []string{"localhost", "localdomain"}, []string{"a.localhost", "example.com", "*.localhost"}},
		"local below": {g{"allow_subdomains": true}, []string{"localhost", "a.localhost"}, []string{"localhost.example.com", "alocalhost"}},
		"bare": {
			g{"allowed_domains": one, "allow_bare_domains": true},
			[]string{"example.com", "EXAMPLE.com", "joe@example.com"}, []string{"a.example.com", "*.example.com", "example.com.evil.org", "xexample.com", "joe@a.example.com"},
		},
		"below": {
			g{"allowed_domains": one, "allow_subdomains": true},
			[]string{"a.example.com", "b.a.example.com", "*.example.com", "*.a.example.com", "joe@a.example.com", "w*.example.com"},
			[]string{"example.com", "xexample.com", "a.example.com.evil.org", "*.com", "*", "joe@example.com", "a.*.example.com", "*.*.example.com", "evil.org/.example.com", "a example.com", "..example.com", ".example.com", "-.example.com"},
		},
		"no wildcards": {
			g{"allowed_domains": one, "allow_subdomains": true, "allow_wildcard_certificates": false},
			[]string{"a.example.com"}, []string{"*.example.com", "w*.example.com"},
		},
		"globs": {
			g{"allowed_domains": []string{"ftp*.example.com", "*-db.example.org"}, "allow_glob_domains": true},
			[]string{"ftp1.example.com", "ftp.example.com", "x-db.example.org", "a.b-db.example.org"},
			[]string{"aftp.example.com", "db.example.org", "ftp1.example.com.evil.org"},
		},
		"stars without globs": {g{"allowed_domains": []string{"*.example.com"}}, nil, []string{"a.example.com", "*.example.com"}},
		"any":                 {g{"allow_any_name": true}, []string{"example.com", "a@b.example.com", "*.example.com"}, []string{"not a name", "a_b c", "*.*.com", "a..b"}},
		"any text":            {g{"allow_any_name": true, "enforce_hostnames": false, "cn_validations": []string{"disabled"}}, []string{"not a name", "Ünïcode"}, nil},
		"display name":        {g{"allow_token_displayname": true}, []string{"web.example.org"}, []string{"a.web.example.org", "example.org"}},
		"display name below":  {g{"allow_token_displayname": true, "allow_subdomains": true}, []string{"a.web.example.org"}, []string{"aweb.example.org"}},
		"no e-mail":           {g{"allow_any_name": true, "cn_validations": []string{"hostname"}}, []string{"a.example.com"}, []string{"a@example.com"}},
		"e-mail only":         {g{"allow_any_name": true, "cn_validations": []string{"email"}}, []string{"a@example.com"}, []string{"a.example.com"}},
		"an address":          {g{"allowed_domains": []string{"joe@example.com"}, "allow_bare_domains": true}, []string{"joe@example.com"}, []string{"jim@example.com", "example.com"}},
	} {
		r := role(t, c.role)
		for _, cn := range c.allow {
			if _, _, err := r.Template(asking(cn)); err != nil {
				t.Errorf("%s: %q is refused: %v", name, cn, err)
			}
		}
		for _, cn := range c.forbids {
			if _, _, err := r.Template(asking(cn)); err == nil {
				t.Errorf("%s: %q is allowed", name, cn)
			}
			ask := asking("localhost")
			ask.Names.DNS = []string{cn}
			if strings.Contains(cn, "@") {
				ask.Names.DNS, ask.Names.Emails = nil, []string{cn}
			}
			if name == "no e-mail" || name == "e-mail only" {
				continue // these are about common names
			}
			if _, _, err := r.Template(ask); err == nil {
				t.Errorf("%s: %q is allowed as another name", name, cn)
			}
		}
	}
}

func request(t testing.TB, key any, template *x509.CertificateRequest) *x509.CertificateRequest {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// TestRequests is the table of CSRs that ask for more than they may have.
func TestRequests(t *testing.T) {
	t.Parallel()
	small, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cn := pkix.Name{CommonName: "a.example.com"}
	uri, _ := url.Parse("spiffe://example.com/a")
	others := certs.Names{Others: []certs.OtherName{{OID: []int{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, Value: "joe@corp"}}}
	other := &x509.CertificateRequest{Subject: cn}
	if err := others.IntoRequest(other); err != nil {
		t.Fatal(err)
	}
	base := g{"allowed_domains": []string{"example.com"}, "allow_subdomains": true, "key_type": "any"}
	with := func(more g) g {
		out := g{}
		for _, from := range []g{base, more} {
			for name, value := range from {
				out[name] = value
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		role g
		key  any
		csr  *x509.CertificateRequest
		// refused is part of the text; empty if it is signed.
		refused string
	}{
		"its name":         {base, curve, &x509.CertificateRequest{Subject: cn}, ""},
		"another name":     {base, curve, &x509.CertificateRequest{Subject: cn, DNSNames: []string{"a.example.com", "evil.org"}}, "evil.org not allowed"},
		"another CN":       {base, curve, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "evil.org"}}, "evil.org not allowed"},
		"an address":       {with(g{"allow_ip_sans": false}), curve, &x509.CertificateRequest{Subject: cn, IPAddresses: []net.IP{{10, 0, 0, 1}}}, "IP Subject Alternative Names are not allowed"},
		"in the network":   {with(g{"allowed_ip_sans_cidr": []string{"10.0.0.0/8"}}), curve, &x509.CertificateRequest{Subject: cn, IPAddresses: []net.IP{{10, 0, 0, 1}}}, ""},
		"another network":  {with(g{"allowed_ip_sans_cidr": []string{"10.0.0.0/8"}}), curve, &x509.CertificateRequest{Subject: cn, IPAddresses: []net.IP{{11, 0, 0, 1}}}, "not in allowed_ip_sans_cidr"},
		"a URI":            {base, curve, &x509.CertificateRequest{Subject: cn, URIs: []*url.URL{uri}}, "URI Subject Alternative Name"},
		"its URI":          {with(g{"allowed_uri_sans": []string{"spiffe://example.com/*"}}), curve, &x509.CertificateRequest{Subject: cn, URIs: []*url.URL{uri}}, ""},
		"an e-mail":        {base, curve, &x509.CertificateRequest{Subject: cn, EmailAddresses: []string{"joe@evil.org"}}, "not allowed"},
		"another kind":     {base, curve, other, "other SAN"},
		"its kind":         {with(g{"allowed_other_sans": []string{"1.3.6.1.4.1.311.20.2.3;UTF8:*@corp"}}), curve, other, ""},
		"all kinds":        {with(g{"allowed_other_sans": []string{"*"}}), curve, other, ""},
		"a serial":         {base, curve, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "a.example.com", SerialNumber: "7"}}, "serial_number 7 not allowed"},
		"its serial":       {with(g{"allowed_serial_numbers": []string{"7*"}}), curve, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "a.example.com", SerialNumber: "77"}}, ""},
		"another type":     {with(g{"key_type": "rsa"}), curve, &x509.CertificateRequest{Subject: cn}, "requires keys of type rsa"},
		"a short key":      {with(g{"key_type": "rsa", "key_bits": int64(4096)}), small, &x509.CertificateRequest{Subject: cn}, "minimum of a 4096-bit key"},
		"a short curve":    {with(g{"key_type": "ec", "key_bits": int64(384)}), curve, &x509.CertificateRequest{Subject: cn}, "minimum of a 384-bit key"},
		"its type":         {with(g{"key_type": "ec"}), curve, &x509.CertificateRequest{Subject: cn}, ""},
		"no CN":            {base, curve, &x509.CertificateRequest{DNSNames: []string{"a.example.com"}}, "common name not provided"},
		"no CN is wanted":  {with(g{"require_cn": false}), curve, &x509.CertificateRequest{DNSNames: []string{"a.example.com"}}, ""},
		"nothing at all":   {with(g{"require_cn": false}), curve, &x509.CertificateRequest{}, "needs a subject"},
		"names not looked": {with(g{"use_csr_sans": false}), curve, &x509.CertificateRequest{Subject: cn, DNSNames: []string{"evil.org"}}, ""},
		"to be a CA": {base, curve, &x509.CertificateRequest{Subject: cn, ExtraExtensions: []pkix.Extension{
			{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}, {Id: []int{2, 5, 29, 15}, Value: []byte{3, 2, 1, 6}}, {Id: []int{2, 5, 29, 37}, Value: []byte{0x30, 6, 6, 4, 0x55, 0x1d, 0x25, 0}},
		}}, ""},
	} {
		ask := asking("")
		ask.CSR = request(t, c.key, c.csr)
		got, _, err := role(t, c.role).Template(ask)
		if c.refused != "" {
			if err == nil || !strings.Contains(err.Error(), c.refused) {
				t.Errorf("%s: %v, want %q", name, err, c.refused)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.IsCA || got.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 || len(got.ExtKeyUsage) != 2 {
			t.Errorf("%s: usages that only the role gives", name)
		}
		for _, dns := range got.DNSNames {
			if dns == "evil.org" {
				t.Errorf("%s: evil.org is certified", name)
			}
		}
	}
}

func TestValidity(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		role    g
		ask     func(a *roles.Ask)
		end     time.Duration // from now; 0 if it is refused
		warning bool
	}{
		"mount":        {g{}, nil, time.Hour, false},
		"role":         {g{"ttl": 2 * time.Hour}, nil, 2 * time.Hour, false},
		"caller":       {g{"ttl": 2 * time.Hour}, func(a *roles.Ask) { a.TTL = 3 * time.Hour }, 3 * time.Hour, false},
		"capped":       {g{"max_ttl": 2 * time.Hour}, func(a *roles.Ask) { a.TTL = 3 * time.Hour }, 2 * time.Hour, true},
		"mount caps":   {g{}, func(a *roles.Ask) { a.TTL = 2000 * time.Hour }, 1000 * time.Hour, true},
		"date":         {g{"not_after": "2025-01-02T05:04:05Z"}, nil, 2 * time.Hour, false},
		"caller date":  {g{}, func(a *roles.Ask) { a.NotAfter = "2025-01-02T06:04:05Z" }, 3 * time.Hour, false},
		"forbidden":    {g{"not_after_bound": "forbid"}, func(a *roles.Ask) { a.NotAfter = "2025-01-02T06:04:05Z" }, 0, false},
		"limited":      {g{"not_after_bound": "ttl-limited", "max_ttl": time.Hour}, func(a *roles.Ask) { a.NotAfter = "2025-01-02T06:04:05Z" }, 0, false},
		"latest":       {g{"not_after_bound": "2025-01-02T05:00:00Z"}, func(a *roles.Ask) { a.NotAfter = "2025-01-02T06:04:05Z" }, 0, false},
		"before":       {g{"not_before_bound": "forbid"}, func(a *roles.Ask) { a.NotBefore = "2025-01-01T00:00:00Z" }, 0, false},
		"too long ago": {g{"not_before_bound": "duration"}, func(a *roles.Ask) { a.NotBefore = "2025-01-01T00:00:00Z" }, 0, false},
		"over":         {g{}, func(a *roles.Ask) { a.NotAfter = "2024-01-02T06:04:05Z" }, 0, false},
		"no date":      {g{}, func(a *roles.Ask) { a.NotAfter = "tomorrow" }, 0, false},
	} {
		ask := asking("localhost")
		if c.ask != nil {
			c.ask(ask)
		}
		got, warnings, err := role(t, c.role).Template(ask)
		if (err == nil) != (c.end > 0) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (!got.NotAfter.Equal(now.Add(c.end)) || !got.NotBefore.Equal(now.Add(-30*time.Second)) || (len(warnings) > 0) != c.warning) {
			t.Errorf("%s: %s to %s, %v", name, got.NotBefore, got.NotAfter, warnings)
		}
	}
}

func TestBadRoles(t *testing.T) {
	t.Parallel()
	for name, given := range map[string]g{
		"key_type": {"key_type": "dsa"}, "key_bits": {"key_bits": int64(1024)}, "any": {"key_type": "any", "key_bits": int64(2048)},
		"signature_bits": {"signature_bits": int64(1)}, "ttl": {"ttl": 2 * time.Hour, "max_ttl": time.Hour}, "cidr": {"allowed_ip_sans_cidr": []string{"10/8"}},
		"cn_validations": {"cn_validations": []string{"disabled", "email"}}, "key_usage": {"key_usage": []string{"Everything"}},
		"ext_key_usage": {"ext_key_usage": []string{"Everything"}}, "oids": {"ext_key_usage_oids": []string{"1"}}, "policies": {"policy_identifiers": []string{"x"}},
		"others": {"allowed_other_sans": []string{"x"}}, "bound": {"not_after_bound": "never"}, "not_after": {"not_after": "never"},
		"length": {"ou": []string{strings.Repeat("x", 4<<10)}},
	} {
		if err := roles.Default().Set(engines.NewValues(given, nil), false); engines.KindOf(err) != engines.KindInvalid || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestContents looks at what else a role puts in.
func TestContents(t *testing.T) {
	t.Parallel()
	r := role(t, g{
		"organization": []string{"Acme", "Acme"}, "ou": []string{"Orders"}, "country": []string{"NL"}, "policy_identifiers": []string{"1.2.3.4", `{"oid":"1.2.3.5","cps":"https://example.com/cps","notice":"see there"}`},
		"ext_key_usage_oids": []string{"1.3.6.1.5.2.3.5"}, "code_signing_flag": true, "allowed_user_ids": []string{"joe*"}, "basic_constraints_valid_for_non_ca": true,
	})
	ask := asking("localhost")
	ask.UserIDs = []string{"joe1"}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template, _, err := r.Template(ask)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = certs.NewSerial()
	c, err := certs.Make(template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Subject.Organization) != 1 || c.Subject.Country[0] != "NL" || len(c.Policies) != 2 || len(c.UnknownExtKeyUsage) != 1 || !c.BasicConstraintsValid || c.IsCA {
		t.Errorf("%+v", c)
	}
	if ids := certs.UserIDsOf(&c.Subject); len(ids) != 1 || ids[0] != "joe1" {
		t.Errorf("user ids: %v", ids)
	}
	ask = asking("localhost")
	ask.UserIDs = []string{"jim"}
	if _, _, err := r.Template(ask); err == nil {
		t.Error("a user id that is not allowed is certified")
	}
}
