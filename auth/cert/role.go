package cert

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/url"
	"slices"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

const roleDir = "cert/"

// Bounds of what a caller gives for a role.
const (
	maxPEMBytes     = 256 << 10
	maxCertificates = 32
	maxPatterns     = 1024
	maxServers      = 16
	maxDisplayBytes = 256
)

// role is the row of a role.
type role struct {
	Name        string `json:"name"`
	Certificate string `json:"certificate"`
	DisplayName string `json:"display_name"`

	Allowed constraints         `json:"allowed"`
	OCSP    ocspSettings        `json:"ocsp"`
	Token   engines.TokenParams `json:"token"`
}

// ocspSettings say whether and how a role asks OCSP responders.
type ocspSettings struct {
	Enabled  bool     `json:"enabled,omitempty"`
	FailOpen bool     `json:"fail_open,omitempty"`
	QueryAll bool     `json:"query_all,omitempty"`
	Servers  []string `json:"servers,omitempty"`
	// CAs, in PEM, are others than the certificate's issuer whose answers count.
	CAs string `json:"cas,omitempty"`
}

// trusted is a role with its certificates parsed.
type trusted struct {
	role
	certs   []*x509.Certificate
	ocspCAs []*x509.Certificate
}

func roleFields() []engines.Field {
	list := func(name, help string) engines.Field {
		return engines.Field{Name: name, Type: engines.Strings, Help: help}
	}
	return append([]engines.Field{
		list("allowed_common_names", "Patterns of which the common name has to match one."),
		list("allowed_dns_sans", "Patterns of which a DNS name has to match one."),
		list("allowed_email_sans", "Patterns of which an e-mail address has to match one."),
		list("allowed_metadata_extensions", "OIDs of extensions whose values go into the metadata of tokens."),
		list("allowed_names", "Patterns of which the common name, a DNS name or an e-mail address has to match one."),
		list("allowed_organizational_units", "Patterns of which an organizational unit has to match one."),
		list("allowed_uri_sans", "Patterns of which a URI has to match one."),
		{Name: "certificate", Help: "The trusted certificate, or the trusted CAs, in PEM."},
		{Name: "display_name", Help: "The display name of tokens; the role's name if empty."},
		{Name: "lease", Type: engines.Int, Deprecated: true, Help: "Use token_ttl."},
		{Name: "ocsp_ca_certificates", Help: "CAs whose answers count beside the issuer's, in PEM."},
		{Name: "ocsp_enabled", Type: engines.Bool, Help: "Ask OCSP responders whether the certificate is revoked."},
		{Name: "ocsp_fail_open", Type: engines.Bool, Default: false, Help: "Let certificates in about which no responder knows."},
		{Name: "ocsp_query_all_servers", Type: engines.Bool, Default: false, Help: "Ask all responders, of which none may say that it is revoked."},
		list("ocsp_servers_override", "Responders to ask instead of those that the certificate names."),
		list("required_extensions", "Extensions that have to be there, as oid:pattern or hex:oid:pattern; all of them."),
	}, auth.TokenFields("policies", "ttl", "max_ttl", "period", "bound_cidrs")...)
}

// parsePEM reads the certificates of a field.
func parsePEM(field, text string) ([]*x509.Certificate, error) {
	bad := func() error {
		return engines.Invalidf("%s: expected 1 to %d certificates in PEM, of %d bytes together", field, maxCertificates, maxPEMBytes)
	}
	if len(text) > maxPEMBytes {
		return nil, bad()
	}
	var certs []*x509.Certificate
	for rest := bytes.TrimSpace([]byte(text)); len(rest) > 0; rest = bytes.TrimSpace(rest) {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return nil, bad()
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, bad()
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 || len(certs) > maxCertificates {
		return nil, bad()
	}
	return certs, nil
}

func isCA(c *x509.Certificate) bool { return c.BasicConstraintsValid && c.IsCA }

// isForClients reports whether a certificate may be used by a client.
func isForClients(c *x509.Certificate) bool {
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 || slices.ContainsFunc(c.ExtKeyUsage, func(u x509.ExtKeyUsage) bool {
		return u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny
	})
}

// parse checks a row as a whole.
func (r *role) parse() (*trusted, error) {
	t := &trusted{role: *r}
	var err error
	if t.certs, err = parsePEM("certificate", r.Certificate); err != nil {
		return nil, err
	}
	for _, c := range t.certs {
		if isCA(c) != isCA(t.certs[0]) {
			return nil, engines.Invalidf("certificate: CAs and others cannot be trusted by one role")
		}
		if !isCA(c) && !isForClients(c) {
			return nil, engines.Invalidf("certificate: one that is no CA should have extended key usage ClientAuth or Any")
		}
	}
	if r.OCSP.CAs != "" {
		if t.ocspCAs, err = parsePEM("ocsp_ca_certificates", r.OCSP.CAs); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func decodeRole(value []byte) (*role, error) {
	r := new(role)
	return r, json.Unmarshal(value, r)
}

// load gets a role with its certificates.
func (e *engine) load(tx engines.Tx, mount engines.Mount, name string) (t *trusted, ok bool, err error) {
	return e.roles.of(tx, mount, roleDir+name, func(value []byte) (*trusted, error) {
		r, err := decodeRole(value)
		if err != nil {
			return nil, err
		}
		return r.parse()
	})
}

var roles = auth.Roles[role, *role]{
	Dir: roleDir, Pattern: "certs", Fields: roleFields(),
	New: func(name string) *role { return &role{Name: name, DisplayName: name} },
}

// TokenParams implements auth.Role.
func (r *role) TokenParams() *engines.TokenParams { return &r.Token }

// Show implements auth.Role.
func (r *role) Show() map[string]any {
	out := map[string]any{
		"certificate": r.Certificate, "display_name": r.DisplayName,
		"ocsp_ca_certificates": r.OCSP.CAs, "ocsp_enabled": r.OCSP.Enabled, "ocsp_fail_open": r.OCSP.FailOpen,
		"ocsp_query_all_servers": r.OCSP.QueryAll, "ocsp_servers_override": r.OCSP.Servers,
	}
	for name, list := range r.Allowed.fields() {
		out[name] = *list
	}
	return out
}

// Set implements auth.Role.
func (r *role) Set(f engines.Values) ([]string, error) {
	if err := r.set(f); err != nil {
		return nil, err
	}
	_, err := r.parse()
	return nil, err
}

// set takes over what was given.
func (r *role) set(f engines.Values) error {
	for name, into := range map[string]*string{
		"certificate": &r.Certificate, "display_name": &r.DisplayName, "ocsp_ca_certificates": &r.OCSP.CAs,
	} {
		if f.Has(name) {
			*into = f.String(name)
		}
	}
	if r.DisplayName == "" {
		r.DisplayName = r.Name
	}
	if len(r.DisplayName) > maxDisplayBytes {
		return engines.Invalidf("display_name: at most %d bytes", maxDisplayBytes)
	}
	for name, into := range map[string]*bool{
		"ocsp_enabled": &r.OCSP.Enabled, "ocsp_fail_open": &r.OCSP.FailOpen, "ocsp_query_all_servers": &r.OCSP.QueryAll,
	} {
		if f.Has(name) {
			*into = f.Bool(name)
		}
	}
	if f.Has("ocsp_servers_override") {
		r.OCSP.Servers = f.Strings("ocsp_servers_override")
		if len(r.OCSP.Servers) > maxServers || slices.ContainsFunc(r.OCSP.Servers, func(s string) bool { return !isURL(s) }) {
			return engines.Invalidf("ocsp_servers_override: at most %d URLs of http or https", maxServers)
		}
	}
	if err := r.Allowed.set(f); err != nil {
		return err
	}
	return auth.ApplyToken(f, &r.Token)
}

// isURL reports whether a text is one that may be asked.
func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}
