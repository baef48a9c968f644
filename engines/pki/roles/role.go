package roles

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
)

// Role is what certificates a kind of caller may have.
type Role struct {
	Domains  Domains
	Others   Others
	Usage    Usage
	Subject  Subject
	Validity Validity
	Key      Key
	Ways     Ways
}

// Domains are the rules for names that are domains.
type Domains struct {
	Localhost, Allowed   bool // Allowed: any name
	Bare, Subdomains     bool
	Globs, Wildcards     bool
	Names                []string
	Template             bool
	GlobsInTemplates     bool
	DisplayName          bool
	EnforceHostnames     bool
	RequireCN            bool
	CNValidations        []string
	UseCSRName, UseCSRAN bool
}

// Others are the rules for names of other kinds.
type Others struct {
	IPs           bool
	CIDRs         []string
	URIs          []string
	URITemplate   bool
	Names         []string
	UserIDs       []string
	SerialNumbers []string
}

// Usage is what certificates are for.
type Usage struct {
	Server, Client, CodeSigning, Email bool
	Key, Extended, ExtendedOIDs        []string
	Policies                           []string
	BasicConstraints                   bool
}

// Subject are the fields that the role gives every certificate.
type Subject struct {
	Organization, Unit, Country, Locality []string
	Province, Street, PostalCode          []string
}

// Validity says from when until when.
type Validity struct {
	TTL, MaxTTL       time.Duration
	NotBeforeDuration time.Duration
	NotBefore         string
	NotBeforeBound    string
	NotAfter          string
	NotAfterBound     string
}

// Key says which keys, and how they are signed.
type Key struct {
	Type          string
	Bits          int64
	SignatureBits int64
	PSS           bool
}

// Ways says who signs, and what is kept.
type Ways struct {
	Issuer  string
	NoStore bool
	Lease   bool
}

// bind names the fields of a role as the API does.
func (r *Role) bind() map[string]any {
	d, o, u, s, v, k, w := &r.Domains, &r.Others, &r.Usage, &r.Subject, &r.Validity, &r.Key, &r.Ways
	return map[string]any{
		"allow_localhost": &d.Localhost, "allow_any_name": &d.Allowed, "allow_bare_domains": &d.Bare,
		"allow_subdomains": &d.Subdomains, "allow_glob_domains": &d.Globs, "allow_wildcard_certificates": &d.Wildcards,
		"allowed_domains": &d.Names, "allowed_domains_template": &d.Template, "allow_globs_in_identity_templates": &d.GlobsInTemplates,
		"allow_token_displayname": &d.DisplayName, "enforce_hostnames": &d.EnforceHostnames, "require_cn": &d.RequireCN,
		"cn_validations": &d.CNValidations, "use_csr_common_name": &d.UseCSRName, "use_csr_sans": &d.UseCSRAN,

		"allow_ip_sans": &o.IPs, "allowed_ip_sans_cidr": &o.CIDRs, "allowed_uri_sans": &o.URIs,
		"allowed_uri_sans_template": &o.URITemplate, "allowed_other_sans": &o.Names, "allowed_user_ids": &o.UserIDs,
		"allowed_serial_numbers": &o.SerialNumbers,

		"server_flag": &u.Server, "client_flag": &u.Client, "code_signing_flag": &u.CodeSigning, "email_protection_flag": &u.Email,
		"key_usage": &u.Key, "ext_key_usage": &u.Extended, "ext_key_usage_oids": &u.ExtendedOIDs,
		"policy_identifiers": &u.Policies, "basic_constraints_valid_for_non_ca": &u.BasicConstraints,

		"organization": &s.Organization, "ou": &s.Unit, "country": &s.Country, "locality": &s.Locality, "province": &s.Province,
		"street_address": &s.Street, "postal_code": &s.PostalCode,

		"ttl": &v.TTL, "max_ttl": &v.MaxTTL, "not_before_duration": &v.NotBeforeDuration, "not_before": &v.NotBefore,
		"not_before_bound": &v.NotBeforeBound, "not_after": &v.NotAfter, "not_after_bound": &v.NotAfterBound,

		"key_type": &k.Type, "key_bits": &k.Bits, "signature_bits": &k.SignatureBits, "use_pss": &k.PSS,
		"issuer_ref": &w.Issuer, "no_store": &w.NoStore, "generate_lease": &w.Lease,
	}
}

// Fields are those of a role.
func Fields() []engines.Field {
	f := func(name string, typ engines.FieldType, value any, help string) engines.Field {
		return engines.Field{Name: name, Type: typ, Default: value, Help: help}
	}
	list := func(name, help string) engines.Field { return f(name, engines.Strings, nil, help) }
	flag := func(name, help string) engines.Field { return f(name, engines.Bool, nil, help) }
	policies := list("policy_identifiers", "OIDs of certificate policies, or objects with oid, cps and notice.")
	return []engines.Field{
		f("allow_localhost", engines.Bool, true, "Allow localhost and localdomain as names."),
		flag("allow_any_name", "Allow every name."), flag("allow_bare_domains", "Allow the allowed domains themselves."),
		flag("allow_subdomains", "Allow subdomains of the allowed domains."),
		flag("allow_glob_domains", "Take * in allowed domains as any text."),
		f("allow_wildcard_certificates", engines.Bool, true, "Allow names that begin with a wildcard."),
		list("allowed_domains", "Domains that names may be in."), flag("allow_token_displayname", "Allow the display name of the token as a name."),
		f("allowed_domains_template", engines.Bool, false, "Fill {{identity...}} in allowed domains from the caller's identity."),
		f("allow_globs_in_identity_templates", engines.Bool, false, "Take * in what a template was filled with as any text."),
		f("enforce_hostnames", engines.Bool, true, "Take only valid host names, and e-mail addresses at such."),
		f("require_cn", engines.Bool, true, "Require a common name."),
		f("cn_validations", engines.Strings, []string{"email", "hostname"}, "What a common name may be: email, hostname, or disabled for anything."),
		f("use_csr_common_name", engines.Bool, true, "Take the common name from the CSR."),
		f("use_csr_sans", engines.Bool, true, "Take alternative names from the CSR."),
		f("allow_ip_sans", engines.Bool, true, "Allow IP addresses as names."),
		list("allowed_ip_sans_cidr", "Networks that IP addresses have to be in, if any."),
		list("allowed_uri_sans", "Patterns of URIs that are allowed as names."),
		f("allowed_uri_sans_template", engines.Bool, false, "Fill {{identity...}} in allowed URIs from the caller's identity."),
		list("allowed_other_sans", "Names of other kinds, as <oid>;UTF8:<pattern>, or * for all."),
		list("allowed_user_ids", "Patterns of user ids that are allowed in the subject."),
		list("allowed_serial_numbers", "Patterns of serial numbers that are allowed in the subject."),
		f("server_flag", engines.Bool, true, "For servers."), f("client_flag", engines.Bool, true, "For clients."),
		flag("code_signing_flag", "To sign code with."), flag("email_protection_flag", "To protect e-mail with."),
		f("key_usage", engines.Strings, DefaultKeyUsage(), "What the key may do."),
		f("ext_key_usage", engines.Strings, []string{}, "Extended key usages beside those of the flags."),
		list("ext_key_usage_oids", "Extended key usages by OID."), policies,
		flag("basic_constraints_valid_for_non_ca", "Say in certificates that they are no CA."),
		list("organization", "O of subjects."), list("ou", "OU of subjects."), list("country", "C of subjects."), list("locality", "L of subjects."),
		list("province", "ST of subjects."), list("street_address", "Street of subjects."), list("postal_code", "Postal code of subjects."),
		f("ttl", engines.Seconds, nil, "How long certificates are good if the caller does not say."),
		f("max_ttl", engines.Seconds, nil, "How long they are good at most."),
		f("not_before_duration", engines.Seconds, 30*time.Second, "How long before now they begin."),
		f("not_before", engines.String, nil, "When they begin."),
		f("not_before_bound", engines.String, "permit", "What callers may say of it: permit, forbid, or duration for no earlier than not_before_duration."),
		f("not_after", engines.String, nil, "When they end."),
		f("not_after_bound", engines.String, "permit", "What callers may say of it: permit, forbid, ttl-limited, or a time that is the latest."),
		f("key_type", engines.String, keys.RSA, "rsa, ec, ed25519, or any for what CSRs bring."),
		f("key_bits", engines.Int, int64(0), "The size of keys; 0 for the usual one."),
		f("signature_bits", engines.Int, int64(0), "The hash to sign with: 256, 384 or 512; 0 for the usual one."),
		f("use_pss", engines.Bool, false, "Sign with PSS where the issuer's key is RSA."),
		f("issuer_ref", engines.String, "default", "The issuer that signs."),
		flag("no_store", "Do not keep certificates. They can then be revoked only by handing them in."),
		flag("generate_lease", "Give each certificate a lease, which revokes it when it is revoked."),
		{Name: "backend", Help: "Not used.", Deprecated: true},
	}
}

// DefaultKeyUsage is what keys may do if nobody says.
func DefaultKeyUsage() []string {
	return []string{"DigitalSignature", "KeyAgreement", "KeyEncipherment"}
}

// Set takes over what was given: of a role that is written whole, also the
// defaults of what was not.
func (r *Role) Set(v engines.Values, whole bool) error {
	for name, to := range r.bind() {
		if !whole && !v.Has(name) || v.Get(name) == nil {
			continue
		}
		switch to := to.(type) {
		case *bool:
			*to = v.Bool(name)
		case *string:
			*to = v.String(name)
		case *int64:
			*to = v.Int(name)
		case *time.Duration:
			*to = v.Duration(name)
		case *[]string:
			*to = v.Strings(name)
		}
	}
	return r.check()
}

// Bounds of a role's lists.
const (
	maxList = 1024
	maxText = 2048
)

func (r *Role) check() error {
	for name, bound := range r.bind() {
		list, ok := bound.(*[]string)
		if !ok {
			continue
		}
		if len(*list) > maxList {
			return engines.Invalidf("%s: at most %d elements", name, maxList)
		}
		for _, text := range *list {
			if len(text) > maxText {
				return engines.Invalidf("%s: an element has more than %d bytes", name, maxText)
			}
		}
	}
	if err := r.Validity.check(); err != nil {
		return err
	}
	if err := r.Key.check(); err != nil {
		return err
	}
	if r.Ways.NoStore && r.Ways.Lease {
		return engines.Invalidf("no_store and generate_lease exclude each other: a lease revokes by what is stored")
	}
	return r.checkLists()
}

func (r *Role) checkLists() error {
	if _, err := r.Usage.template(); err != nil {
		return err
	}
	for _, cidr := range r.Others.CIDRs {
		if _, _, err := net.ParseCIDR(cidr); err != nil {
			return engines.Invalidf("allowed_ip_sans_cidr: %q is not a network such as 10.0.0.0/8", cidr)
		}
	}
	for _, name := range r.Others.Names {
		if name == "*" {
			continue
		}
		if _, err := certs.ParseOther(name); err != nil {
			return engines.Invalidf("allowed_other_sans: expected <oid>;UTF8:<pattern>, or *")
		}
	}
	for _, validation := range r.Domains.CNValidations {
		switch validation {
		case "email", "hostname":
		case "disabled":
			if len(r.Domains.CNValidations) > 1 {
				return engines.Invalidf("cn_validations: disabled excludes others")
			}
		default:
			return engines.Invalidf("cn_validations: expected email, hostname or disabled")
		}
	}
	return nil
}

func (k *Key) check() error {
	switch k.SignatureBits {
	case 0, 256, 384, 512:
	default:
		return engines.Invalidf("signature_bits: expected 0, 256, 384 or 512")
	}
	if k.Type == keys.Any {
		if k.Bits != 0 {
			return engines.Invalidf("key_bits: has to be 0 for keys of any type")
		}
		return nil
	}
	_, err := keys.Of(k.Type, k.Bits)
	return err
}

func (v *Validity) check() error {
	if v.TTL < 0 || v.MaxTTL < 0 || v.NotBeforeDuration < 0 {
		return engines.Invalidf("ttl, max_ttl and not_before_duration cannot be negative")
	}
	if v.MaxTTL > 0 && v.TTL > v.MaxTTL {
		return engines.Invalidf(`"ttl" value must be less than "max_ttl" value`)
	}
	for field, text := range map[string]string{"not_before": v.NotBefore, "not_after": v.NotAfter} {
		if text == "" {
			continue
		}
		if _, err := certs.ParseTime(field, text); err != nil {
			return err
		}
	}
	switch v.NotBeforeBound {
	case "permit", "forbid", "duration":
	default:
		return engines.Invalidf("not_before_bound: expected permit, forbid or duration")
	}
	switch v.NotAfterBound {
	case "permit", "forbid", "ttl-limited":
		return nil
	}
	if _, err := certs.ParseTime("not_after_bound", v.NotAfterBound); err != nil {
		return engines.Invalidf("not_after_bound: expected permit, forbid, ttl-limited or a time")
	}
	return nil
}

// Show gives the fields as the API answers them.
func (r *Role) Show() map[string]any {
	out := make(map[string]any)
	for name, bound := range r.bind() {
		switch value := bound.(type) {
		case *bool:
			out[name] = *value
		case *string:
			out[name] = *value
		case *int64:
			out[name] = *value
		case *time.Duration:
			out[name] = int64(*value / time.Second)
		case *[]string:
			out[name] = append([]string{}, *value...)
		}
	}
	return out
}

// Default is a role as it is if nothing is said.
func Default() *Role {
	r, defaults := new(Role), make(map[string]any)
	for _, f := range Fields() {
		if f.Default != nil {
			defaults[f.Name] = f.Default
		}
	}
	if err := r.Set(engines.NewValues(nil, defaults), true); err != nil {
		panic(fmt.Sprintf("roles: %v", err)) // the table above contradicts itself
	}
	return r
}

// Encode writes a role's row.
func (r *Role) Encode() ([]byte, error) { return json.Marshal(r) }

// Decode reads one.
func Decode(row []byte) (*Role, error) {
	r := new(Role)
	return r, json.Unmarshal(row, r)
}

// globbed matches a text with a pattern in which * is any text.
func globbed(pattern, text string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == text
	}
	text, ok := strings.CutPrefix(text, first)
	if !ok {
		return false
	}
	parts := strings.Split(rest, "*")
	last := parts[len(parts)-1]
	for _, part := range parts[:len(parts)-1] {
		_, after, ok := strings.Cut(text, part)
		if !ok {
			return false
		}
		text = after
	}
	return strings.HasSuffix(text, last)
}
