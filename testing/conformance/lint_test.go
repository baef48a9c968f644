package conformance_test

import (
	"crypto/x509"
	"encoding/pem"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"
)

// others are lints that are about something else, by why they do not count here.
// All of the rest count, warnings too.
var others = map[string]string{
	"e_invalid_ca_certificate_policies":                       ofBrowsers,
	"e_sub_ca_certificate_policies_missing":                   ofBrowsers,
	"e_sub_cert_cert_policy_empty":                            ofBrowsers,
	"e_sub_cert_certificate_policies_missing":                 ofBrowsers,
	"e_algorithm_identifier_improper_encoding":                "browsers take no Ed25519, which RFC 8410 says how to encode",
	"e_signature_algorithm_not_supported":                     "browsers take no Ed25519",
	"w_subject_common_name_included":                          "whether there is one is the caller's to say, and require_cn's",
	"w_ext_subject_key_identifier_not_recommended_subscriber": "RFC 5280, section 4.2.1.2, recommends it",
	"w_cabf_ecc_ku_keyagreement_present":                      "key_usage is the role's to say, and its default is what roles of others have",
}

const ofBrowsers = "policies are of public authorities; policy_identifiers of the role says them"

// linting is what certificates are held to: the standards, and what browsers want of
// certificates wherever it has nothing to do with who an authority is.
func linting(t testing.TB) lint.Registry {
	t.Helper()
	return must(lint.GlobalRegistry().Filter(lint.FilterOptions{
		ExcludeSources: lint.SourceList{lint.CABFEVGuidelines, lint.CABFCSBaselineRequirements, lint.CABFSMIMEBaselineRequirements, lint.EtsiEsi},
	}))(t)
}

// sound fails for what a lint finds in a certificate.
func sound(t testing.TB, what, text string) {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	holds(t, what+" is PEM", block != nil)
	found(t, what, zlint.LintCertificateEx(must(zx509.ParseCertificate(block.Bytes))(t), linting(t)))
}

func found(t testing.TB, what string, set *zlint.ResultSet) {
	t.Helper()
	if len(set.Results) < 20 {
		t.Errorf("%s: %d lints only", what, len(set.Results))
	}
	for _, name := range slices.Sorted(maps.Keys(set.Results)) {
		if r := set.Results[name]; r.Status >= lint.Warn && others[name] == "" {
			t.Errorf("%s: %s %s %s", what, r.Status, name, r.Details)
		}
	}
}

// TestLint holds what the PKI engine makes to zlint: roots, intermediates, leaves of
// each kind of key, and lists of what was revoked.
func TestLint(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	l := c.Logical()
	for _, kind := range []object{{"key_type": "ec"}, {"key_type": "ec", "key_bits": 384}, {"key_type": "rsa", "key_bits": 2048}, {"key_type": "ed25519"}} {
		name := strings.Trim(strings.Join([]string{kind["key_type"].(string), bits(kind)}, "-"), "-")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := authority(t, c, kind)
			urls := object{
				"issuing_certificates": []string{"http://ca.example.com/ca"}, "crl_distribution_points": []string{"http://ca.example.com/crl"}, "ocsp_servers": []string{"http://ca.example.com/ocsp"},
			}
			must(l.Write(path+"/config/urls", urls))(t)
			sound(t, "the root", string(raw(t, c, path+"/ca/pem")))
			asked := must(l.Write(path+"/intermediate/generate/internal", object{"common_name": "Below", "key_type": kind["key_type"]}))(t)
			signed := must(l.Write(path+"/root/sign-intermediate", object{
				"csr": text(t, asked, "csr"), "common_name": "Below", "organization": "Coffer", "country": "DE", "ttl": "43800h",
			}))(t)
			sound(t, "the intermediate", text(t, signed, "certificate"))
			for role, fields := range map[string]object{
				"server": {"server_flag": true, "client_flag": false},
				"both":   {"organization": "Coffer", "country": "DE", "locality": "Berlin", "province": "Berlin"},
				"client": {"server_flag": false, "key_usage": []string{"DigitalSignature"}, "basic_constraints_valid_for_non_ca": true},
				"plain":  {"require_cn": false, "policy_identifiers": []string{"2.23.140.1.2.1"}},
			} {
				row := object{"allowed_domains": []string{"example.com"}, "allow_subdomains": true, "key_type": kind["key_type"], "ttl": "24h", "no_store": false}
				for field, value := range fields {
					row[field] = value
				}
				must(l.Write(path+"/roles/"+role, row))(t)
				ask := object{"common_name": "a.example.com", "alt_names": "b.example.com,*.example.com"}
				if role == "plain" {
					ask = object{"alt_names": "b.example.com"}
				}
				issued := must(l.Write(path+"/issue/"+role, ask))(t)
				sound(t, "a certificate of "+role, text(t, issued, "certificate"))
				must(l.Write(path+"/revoke", object{"serial_number": text(t, issued, "serial_number")}))(t)
			}
			must(l.Write(path+"/roles/csr", object{"allowed_domains": []string{"example.com"}, "allow_subdomains": true, "key_type": "any", "ttl": "24h"}))(t)
			sound(t, "a certificate of a CSR", text(t, must(l.Write(path+"/sign/csr", object{"csr": request(t, "c.example.com")}))(t), "certificate"))
			must(l.Read(path + "/crl/rotate"))(t)
			der := raw(t, c, path+"/crl")
			holds(t, "the list has lines", len(must(x509.ParseRevocationList(der))(t).RevokedCertificateEntries) == 4)
			results := zlint.LintRevocationListEx(must(zx509.ParseRevocationList(der))(t), linting(t))
			for name, r := range results.Results {
				if r.Status >= lint.Warn && others[name] == "" {
					t.Errorf("the list: %s %s %s", r.Status, name, r.Details)
				}
			}
		})
	}
}

func bits(kind object) string {
	if n, ok := kind["key_bits"].(int); ok {
		return strconv.Itoa(n)
	}
	return ""
}
