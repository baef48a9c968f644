package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/json"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

var keyUsages = map[string]x509.KeyUsage{
	"digitalsignature": x509.KeyUsageDigitalSignature, "contentcommitment": x509.KeyUsageContentCommitment,
	"keyencipherment": x509.KeyUsageKeyEncipherment, "dataencipherment": x509.KeyUsageDataEncipherment,
	"keyagreement": x509.KeyUsageKeyAgreement, "certsign": x509.KeyUsageCertSign, "crlsign": x509.KeyUsageCRLSign,
	"encipheronly": x509.KeyUsageEncipherOnly, "decipheronly": x509.KeyUsageDecipherOnly,
}

// KeyUsage reads names of key usages, with or without "KeyUsage" before them.
func KeyUsage(names []string) (x509.KeyUsage, error) {
	var all x509.KeyUsage
	for _, name := range names {
		usage, ok := keyUsages[plain(name, "keyusage")]
		if !ok {
			return 0, engines.Invalidf("key_usage: %q is unknown: the names are those of Go's x509.KeyUsage constants", name)
		}
		all |= usage
	}
	return all, nil
}

func plain(name, prefix string) string {
	return strings.TrimPrefix(strings.ToLower(strings.TrimSpace(name)), prefix)
}

// Usable are those of the usages that a key can be put to (RFC 3279, section 2.3;
// RFC 8813, section 3; RFC 8410, section 5). It is an error if there are some, and
// none is left: a certificate that says nothing would allow all.
func Usable(all x509.KeyUsage, public crypto.PublicKey) (x509.KeyUsage, error) {
	const (
		signing    = x509.KeyUsageDigitalSignature | x509.KeyUsageContentCommitment | x509.KeyUsageCertSign | x509.KeyUsageCRLSign
		encrypting = x509.KeyUsageKeyEncipherment | x509.KeyUsageDataEncipherment
		agreeing   = x509.KeyUsageKeyAgreement | x509.KeyUsageEncipherOnly | x509.KeyUsageDecipherOnly
	)
	can, kind := signing, "ed25519"
	switch public.(type) {
	case *rsa.PublicKey:
		can, kind = signing|encrypting, "rsa"
	case *ecdsa.PublicKey:
		can, kind = signing|agreeing, "ec"
	}
	if all != 0 && all&can == 0 {
		return 0, engines.Invalidf("key_usage: a key of type %s can be put to none of them", kind)
	}
	return all & can, nil
}

var extKeyUsages = map[string]x509.ExtKeyUsage{
	"any": x509.ExtKeyUsageAny, "serverauth": x509.ExtKeyUsageServerAuth, "clientauth": x509.ExtKeyUsageClientAuth,
	"codesigning": x509.ExtKeyUsageCodeSigning, "emailprotection": x509.ExtKeyUsageEmailProtection,
	"ipsecendsystem": x509.ExtKeyUsageIPSECEndSystem, "ipsectunnel": x509.ExtKeyUsageIPSECTunnel, "ipsecuser": x509.ExtKeyUsageIPSECUser,
	"timestamping": x509.ExtKeyUsageTimeStamping, "ocspsigning": x509.ExtKeyUsageOCSPSigning,
	"microsoftservergatedcrypto": x509.ExtKeyUsageMicrosoftServerGatedCrypto, "netscapeservergatedcrypto": x509.ExtKeyUsageNetscapeServerGatedCrypto,
	"microsoftcommercialcodesigning": x509.ExtKeyUsageMicrosoftCommercialCodeSigning, "microsoftkernelcodesigning": x509.ExtKeyUsageMicrosoftKernelCodeSigning,
}

// ExtKeyUsage reads names of extended key usages.
func ExtKeyUsage(names []string) ([]x509.ExtKeyUsage, error) {
	var all []x509.ExtKeyUsage
	for _, name := range names {
		usage, ok := extKeyUsages[plain(name, "extkeyusage")]
		if !ok {
			return nil, engines.Invalidf("ext_key_usage: %q is unknown: the names are those of Go's x509.ExtKeyUsage constants", name)
		}
		all = append(all, usage)
	}
	return all, nil
}

// OIDs reads object identifiers.
func OIDs(field string, list []string) ([]asn1.ObjectIdentifier, error) {
	var all []asn1.ObjectIdentifier
	for _, text := range list {
		oid, ok := ParseOID(text)
		if !ok {
			return nil, engines.Invalidf("%s: %q is not an object identifier", field, text)
		}
		all = append(all, oid)
	}
	return all, nil
}

var (
	oidPolicies = asn1.ObjectIdentifier{2, 5, 29, 32}
	oidCPS      = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 2, 1}
	oidNotice   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 2, 2}
)

// policy is a policy identifier that says more, as the API takes it.
type policy struct {
	OID    string `json:"oid"`
	CPS    string `json:"cps"`
	Notice string `json:"notice"`
}

type policyInformation struct {
	OID        asn1.ObjectIdentifier
	Qualifiers []policyQualifier `asn1:"optional,omitempty"`
}

type policyQualifier struct {
	ID    asn1.ObjectIdentifier
	Value asn1.RawValue
}

// Policies gives a certificate the policies of a role: OIDs, or JSON objects with
// "oid", "cps" and "notice".
func Policies(c *x509.Certificate, list []string) error {
	if len(list) == 0 {
		return nil
	}
	infos := make([]policyInformation, 0, len(list))
	for _, text := range list {
		info, err := policyOf(text)
		if err != nil {
			return err
		}
		infos = append(infos, info)
	}
	der, err := asn1.Marshal(infos)
	if err != nil {
		return engines.Internal(err)
	}
	c.ExtraExtensions = append(c.ExtraExtensions, extension(oidPolicies, der))
	return nil
}

func policyOf(text string) (policyInformation, error) {
	bad := engines.Invalidf(`policy_identifiers: expected an OID, or an object with "oid", "cps" and "notice"`)
	p := policy{OID: text}
	if strings.HasPrefix(strings.TrimSpace(text), "{") {
		if p.OID = ""; json.Unmarshal([]byte(text), &p) != nil {
			return policyInformation{}, bad
		}
	}
	oid, ok := ParseOID(p.OID)
	if !ok {
		return policyInformation{}, bad
	}
	info := policyInformation{OID: oid}
	if p.CPS != "" {
		value := asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte(p.CPS)}
		info.Qualifiers = append(info.Qualifiers, policyQualifier{oidCPS, value})
	}
	if p.Notice != "" {
		notice, err := asn1.Marshal(struct {
			Text string `asn1:"utf8"`
		}{p.Notice})
		if err != nil {
			return info, bad
		}
		info.Qualifiers = append(info.Qualifiers, policyQualifier{oidNotice, asn1.RawValue{FullBytes: notice}})
	}
	return info, nil
}
