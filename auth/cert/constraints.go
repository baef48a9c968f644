package cert

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

// constraints are patterns that a CA's certificates have to match, where '*'
// stands for any text. Those of one kind are alternatives; the extensions are
// all required.
type constraints struct {
	Names       []string `json:"names,omitempty"`
	CommonNames []string `json:"common_names,omitempty"`
	DNS         []string `json:"dns,omitempty"`
	Emails      []string `json:"emails,omitempty"`
	URIs        []string `json:"uris,omitempty"`
	Units       []string `json:"units,omitempty"`
	Extensions  []string `json:"extensions,omitempty"`
	// Metadata are the OIDs of extensions that are shown in tokens.
	Metadata []string `json:"metadata,omitempty"`
}

func (c *constraints) fields() map[string]*[]string {
	return map[string]*[]string{
		"allowed_names": &c.Names, "allowed_common_names": &c.CommonNames, "allowed_dns_sans": &c.DNS, "allowed_email_sans": &c.Emails,
		"allowed_uri_sans": &c.URIs, "allowed_organizational_units": &c.Units, "required_extensions": &c.Extensions,
		"allowed_metadata_extensions": &c.Metadata,
	}
}

var (
	oidForm       = regexp.MustCompile(`^[0-9]+(\.[0-9]+)+$`)
	extensionForm = regexp.MustCompile(`^(hex:)?[0-9]+(\.[0-9]+)+:`)
)

// set takes over what was given.
func (c *constraints) set(f engines.Values) error {
	for name, into := range c.fields() {
		if !f.Has(name) {
			continue
		}
		*into = f.Strings(name)
		if len(*into) > maxPatterns {
			return engines.Invalidf("%s: at most %d entries", name, maxPatterns)
		}
		// An empty pattern matches what has no such name: surely a mistake.
		if slices.Contains(*into, "") {
			return engines.Invalidf("%s: an entry is empty", name)
		}
	}
	if slices.ContainsFunc(c.Extensions, func(s string) bool { return !extensionForm.MatchString(s) }) {
		return engines.Invalidf("required_extensions: an entry is neither oid:pattern nor hex:oid:pattern")
	}
	if slices.ContainsFunc(c.Metadata, func(s string) bool { return !oidForm.MatchString(s) }) {
		return engines.Invalidf("allowed_metadata_extensions: an entry is no OID")
	}
	return nil
}

// match reports whether a certificate keeps to the constraints.
func (c *constraints) match(leaf *x509.Certificate) bool {
	uris := make([]string, 0, len(leaf.URIs))
	for _, u := range leaf.URIs {
		uris = append(uris, u.String())
	}
	cn := []string{leaf.Subject.CommonName}
	return anyMatch(c.Names, slices.Concat(cn, leaf.DNSNames, leaf.EmailAddresses)) && anyMatch(c.CommonNames, cn) &&
		anyMatch(c.DNS, leaf.DNSNames) && anyMatch(c.Emails, leaf.EmailAddresses) && anyMatch(c.URIs, uris) &&
		anyMatch(c.Units, leaf.Subject.OrganizationalUnit) && !slices.ContainsFunc(c.Extensions, func(want string) bool {
		return !hasExtension(leaf, want)
	})
}

// anyMatch reports whether a value matches a pattern. Without patterns all do.
func anyMatch(patterns, values []string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		return slices.ContainsFunc(values, func(v string) bool { return v != "" && auth.Glob(p, v) })
	})
}

// hasExtension looks for an extension that a role requires.
func hasExtension(leaf *x509.Certificate, want string) bool {
	want, isHex := strings.CutPrefix(want, "hex:")
	oid, pattern, _ := strings.Cut(want, ":")
	for _, ext := range leaf.Extensions {
		if ext.Id.String() != oid {
			continue
		}
		if isHex {
			if auth.Glob(strings.ToLower(pattern), hex.EncodeToString(ext.Value)) {
				return true
			}
		} else if value, ok := extensionText(ext.Value); ok && auth.Glob(pattern, value) {
			return true
		}
	}
	return false
}

// extensionText reads a value that is one string of ASN.1.
func extensionText(der []byte) (string, bool) {
	var text string
	rest, err := asn1.Unmarshal(der, &text)
	return text, err == nil && len(rest) == 0
}

// metadata are the values of extensions that a role shows in tokens, by their
// OID written with '-'.
func (c *constraints) metadata(leaf *x509.Certificate, into map[string]string) {
	for _, ext := range leaf.Extensions {
		oid := ext.Id.String()
		if !slices.Contains(c.Metadata, oid) {
			continue
		}
		if text, ok := extensionText(ext.Value); ok {
			into[strings.ReplaceAll(oid, ".", "-")] = text
		}
	}
}
