package pki

import (
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/roles"
)

func paging() []engines.Field {
	return []engines.Field{
		{Name: "after", Help: "List from behind this name."},
		{Name: "limit", Type: engines.Int, Help: "List at most so many; 0 for all."},
	}
}

// issuerField is the issuer: of the path, or of the request, where it has a default.
func issuerField(inPath bool) []engines.Field {
	f := engines.Field{Name: "issuer_ref", Help: "The id or name of the issuer, or default."}
	if !inPath {
		f.Default = "default"
	}
	return []engines.Field{f}
}

func roleField() engines.Field { return engines.Field{Name: "role", Help: "The name of the role."} }
func csrField() engines.Field {
	return engines.Field{Name: "csr", Default: "", Help: "The certificate request, in PEM."}
}

// certFields are common to all that makes certificates or requests for them.
func certFields() []engines.Field {
	return []engines.Field{
		{Name: "common_name", Help: "The common name of the subject."},
		{Name: "alt_names", Help: "Domains and e-mail addresses, separated by commas."},
		{Name: "ip_sans", Type: engines.Strings, Help: "IP addresses."},
		{Name: "uri_sans", Type: engines.Strings, Help: "URIs."},
		{Name: "other_sans", Type: engines.Strings, Help: "Names of other kinds, as <oid>;UTF8:<value>."},
		{Name: "serial_number", Help: "The serial number in the subject."},
		{Name: "exclude_cn_from_sans", Type: engines.Bool, Default: false, Help: "Leave the common name out of the alternative names."},
		{Name: "format", Default: "pem", Help: "pem, der or pem_bundle."},
		{Name: "private_key_format", Default: "der", Help: "der for the usual form of the key's type, or pkcs8."},
		{Name: "ttl", Type: engines.Seconds, Help: "How long it is good."},
		{Name: "not_before", Help: "When it begins, instead of now."},
		{Name: "not_after", Help: "When it ends, instead of ttl."},
	}
}

// leafFields are for what is issued to others than CAs.
func leafFields() []engines.Field {
	return []engines.Field{
		{Name: "user_ids", Type: engines.Strings, Help: "User ids in the subject."},
		{Name: "remove_roots_from_chain", Type: engines.Bool, Default: false, Help: "Leave the root out of ca_chain."},
	}
}

func keyKindFields(typ string) []engines.Field {
	return []engines.Field{
		{Name: "key_type", Default: typ, Help: "rsa, ec or ed25519."},
		{Name: "key_bits", Type: engines.Int, Default: int64(0), Help: "The size of the key; 0 for the usual one."},
	}
}

func newKeyFields() []engines.Field {
	return []engines.Field{
		{Name: "key_name", Help: "The name of the new key."},
		{Name: "key_ref", Default: "default", Help: "The key that is here, for existing."},
	}
}

func issuerNameField() []engines.Field {
	return []engines.Field{{Name: "issuer_name", Help: "The name of the new issuer."}}
}

func subjectFields() []engines.Field {
	list := func(name, help string) engines.Field {
		return engines.Field{Name: name, Type: engines.Strings, Help: help}
	}
	return []engines.Field{
		list("organization", "O of the subject."), list("ou", "OU of the subject."), list("country", "C of the subject."),
		list("locality", "L of the subject."), list("province", "ST of the subject."), list("street_address", "Street of the subject."),
		list("postal_code", "Postal code of the subject."), notBeforeDuration(), signatureBits(),
	}
}

func notBeforeDuration() engines.Field {
	return engines.Field{Name: "not_before_duration", Type: engines.Seconds, Default: 30 * time.Second, Help: "How long before now it begins."}
}

func signatureBits() engines.Field {
	return engines.Field{Name: "signature_bits", Type: engines.Int, Default: int64(0), Help: "The hash to sign with: 256, 384 or 512; 0 for the usual one."}
}

func pss() engines.Field {
	return engines.Field{Name: "use_pss", Type: engines.Bool, Default: false, Help: "Sign with PSS where the key is RSA."}
}

func usageFields() []engines.Field {
	return []engines.Field{
		{Name: "key_usage", Type: engines.Strings, Default: roles.DefaultKeyUsage(), Help: "What the key may do. A CA may sign, whatever is said here."},
		{Name: "ext_key_usage", Type: engines.Strings, Default: []string{}, Help: "Extended key usages."},
		{Name: "ext_key_usage_oids", Type: engines.Strings, Help: "Extended key usages by OID."},
	}
}

func caFields() []engines.Field {
	return append(usageFields(),
		engines.Field{Name: "max_path_length", Type: engines.Int, Default: int64(-1), Help: "How many CAs may be below it; -1 for any."},
		engines.Field{Name: "permitted_dns_domains", Type: engines.Strings, Help: "The domains that it may certify, if not all."},
		pss(),
	)
}

func verbatimFields() []engines.Field {
	return []engines.Field{
		signatureBits(), pss(),
		{Name: "basic_constraints_valid_for_non_ca", Type: engines.Bool, Default: false, Help: "Say in the certificate that it is no CA."},
	}
}

func requestFields() []engines.Field {
	return []engines.Field{{Name: "add_basic_constraints", Type: engines.Bool, Help: "Ask in the CSR to be a CA."}}
}

func issuerFields() []engines.Field {
	return []engines.Field{
		{Name: "issuer_name", Help: "The issuer's name."},
		{
			Name: "leaf_not_after_behavior", Default: leafErr, Allowed: []string{leafErr, leafTruncate, leafPermit, leafAlwaysErr},
			Help: "What is done about certificates that would outlive the issuer.",
		},
		{Name: "manual_chain", Type: engines.Strings, Help: "The issuers that ca_chain consists of, the issuer itself first."},
		{Name: "usage", Type: engines.Strings, Default: allUsages, Help: "What the issuer may be used for."},
		{Name: "revocation_signature_algorithm", Default: "", Help: "What lists are signed with, such as SHA384WithRSA."},
	}
}

func urlFields(templating string) []engines.Field {
	list := func(name, help string) engines.Field {
		return engines.Field{Name: name, Type: engines.Strings, Help: help}
	}
	return []engines.Field{
		list("issuing_certificates", "URLs of the issuer's certificate."), list("crl_distribution_points", "URLs of its list."),
		list("delta_crl_distribution_points", "URLs of its delta list."), list("ocsp_servers", "URLs of responders."),
		{Name: templating, Type: engines.Bool, Default: false, Help: "Fill {{issuer_id}}, {{cluster_path}} and {{cluster_aia_path}}."},
	}
}

func crlFields() []engines.Field {
	flag := func(name, help string) engines.Field {
		return engines.Field{Name: name, Type: engines.Bool, Help: help}
	}
	return []engines.Field{
		{Name: "expiry", Default: "72h", Help: "How long a list is good."},
		{Name: "ocsp_expiry", Default: "1h", Help: "How long an answer of OCSP is good; 0 for no bound."},
		{Name: "auto_rebuild_grace_period", Default: "12h", Help: "How long before its end a list is signed anew, with auto_rebuild."},
		{Name: "delta_rebuild_interval", Default: "15m", Help: "How often delta lists are signed."},
		flag("disable", "Serve empty lists."), flag("ocsp_disable", "Do not answer OCSP."),
		flag("auto_rebuild", "Sign lists before they end, and not after each revocation."), flag("enable_delta", "Sign delta lists between."),
		flag("allow_expired_cert_revocation", "Let certificates be revoked that have ended."),
	}
}

func tidyFields() []engines.Field {
	flag := func(name string, value any, help string) engines.Field {
		return engines.Field{Name: name, Type: engines.Bool, Default: value, Help: help}
	}
	buffer := func(name string, value any, help string) engines.Field {
		return engines.Field{Name: name, Type: engines.Seconds, Default: value, Help: help}
	}
	return []engines.Field{
		flag("tidy_cert_store", nil, "Remove certificates that have ended."), flag("tidy_revoked_certs", nil, "Remove revoked certificates that have ended, and their lines in lists."),
		flag("tidy_revocation_list", nil, "The same as tidy_revoked_certs."), flag("tidy_invalid_certs", nil, "Remove rows of certificates that cannot be read."),
		flag("tidy_revoked_cert_issuer_associations", nil, "Count revoked certificates whose issuer is gone."),
		flag("tidy_expired_issuers", nil, "Forget issuers that have ended, but not the default one."),
		flag("tidy_move_legacy_ca_bundle", nil, "Nothing: there are no such bundles here."), flag("tidy_acme", false, "Nothing: ACME is not offered."),
		buffer("safety_buffer", 72*time.Hour, "How long after its end a certificate is kept."),
		buffer("revoked_safety_buffer", nil, "How long a revoked one is; safety_buffer if not set."),
		buffer("issuer_safety_buffer", 365*24*time.Hour, "How long an issuer is."),
		buffer("acme_account_safety_buffer", 30*24*time.Hour, "Not used."),
		{Name: "pause_duration", Default: "0s", Help: "How long to pause between pages."},
		{Name: "page_size", Type: engines.Int, Default: int64(1000), Help: "How many certificates are looked at in one transaction."},
	}
}

func autoTidyFields() []engines.Field {
	return []engines.Field{
		{Name: "enabled", Type: engines.Bool, Help: "Tidy from time to time."},
		{Name: "interval_duration", Type: engines.Seconds, Default: 12 * time.Hour, Help: "How often."},
		{Name: "maintain_stored_certificate_counts", Type: engines.Bool, Default: false, Help: "Not used: counts are not kept."},
		{Name: "publish_stored_certificate_count_metrics", Type: engines.Bool, Default: false, Help: "Not used."},
	}
}

func signListFields() []engines.Field {
	return []engines.Field{
		{Name: "crl_number", Type: engines.Int, Help: "The number of the list."},
		{Name: "delta_crl_base_number", Type: engines.Int, Default: int64(-1), Help: "The number of the list that a delta adds to; -1 for none."},
		{Name: "next_update", Default: "72h", Help: "How long the list is good."},
		{Name: "format", Default: "pem", Help: "pem or der."},
	}
}
