package certs

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/coffer-secrets/coffer/engines"
)

// MaxNames bounds the names of one certificate, and MaxName the bytes of each.
const (
	MaxNames = 1024
	MaxName  = 2048
)

var oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}

// OtherName is a subject alternative name of a kind that an OID names.
type OtherName struct {
	OID   asn1.ObjectIdentifier
	Value string
}

// String writes it as the API takes it.
func (o OtherName) String() string { return o.OID.String() + ";UTF8:" + o.Value }

// Names are the subject alternative names of a certificate.
type Names struct {
	DNS    []string
	Emails []string
	IPs    []net.IP
	URIs   []*url.URL
	Others []OtherName
}

// Count is how many names there are.
func (n *Names) Count() int {
	return len(n.DNS) + len(n.Emails) + len(n.IPs) + len(n.URIs) + len(n.Others)
}

// Into gives a certificate or request its names.
func (n *Names) Into(c *x509.Certificate) error {
	c.DNSNames, c.EmailAddresses, c.IPAddresses, c.URIs = n.DNS, n.Emails, n.IPs, n.URIs
	if len(n.Others) == 0 {
		return nil
	}
	ext, err := n.extension(len(c.Subject.ToRDNSequence()) == 0)
	if err == nil {
		c.ExtraExtensions = append(c.ExtraExtensions, ext)
	}
	return err
}

// IntoRequest gives a request its names.
func (n *Names) IntoRequest(c *x509.CertificateRequest) error {
	c.DNSNames, c.EmailAddresses, c.IPAddresses, c.URIs = n.DNS, n.Emails, n.IPs, n.URIs
	if len(n.Others) == 0 {
		return nil
	}
	ext, err := n.extension(false)
	if err == nil {
		c.ExtraExtensions = append(c.ExtraExtensions, ext)
	}
	return err
}

// extension writes all names: crypto/x509 leaves those of other kinds out.
func (n *Names) extension(critical bool) (pkix.Extension, error) {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, o := range n.Others {
			b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(o.OID)
				b.AddASN1(cbasn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
					b.AddASN1(cbasn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(o.Value)) })
				})
			})
		}
		add := func(tag uint8, value []byte) {
			b.AddASN1(cbasn1.Tag(tag).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes(value) })
		}
		for _, name := range n.Emails {
			add(1, []byte(name))
		}
		for _, name := range n.DNS {
			add(2, []byte(name))
		}
		for _, u := range n.URIs {
			add(6, []byte(u.String()))
		}
		for _, ip := range n.IPs {
			if four := ip.To4(); four != nil {
				ip = four
			}
			add(7, ip)
		}
	})
	der, err := b.Bytes()
	return pkix.Extension{Id: oidSAN, Critical: critical, Value: der}, err
}

// OfRequest reads the names that a CSR asks for. One of a kind that is not known
// here is refused: to leave it out would give the caller another certificate.
func OfRequest(csr *x509.CertificateRequest) (Names, error) {
	n := Names{DNS: csr.DNSNames, Emails: csr.EmailAddresses, IPs: csr.IPAddresses, URIs: csr.URIs}
	for _, ext := range csr.Extensions {
		if !ext.Id.Equal(oidSAN) {
			continue
		}
		others, err := readOthers(ext.Value)
		if err != nil {
			return n, err
		}
		n.Others = append(n.Others, others...)
	}
	return n, nil
}

func readOthers(der []byte) ([]OtherName, error) {
	bad := engines.Invalidf("csr: a subject alternative name cannot be read, or is of a kind that is not taken")
	input := cryptobyte.String(der)
	var names cryptobyte.String
	if !input.ReadASN1(&names, cbasn1.SEQUENCE) || !input.Empty() {
		return nil, bad
	}
	var out []OtherName
	for !names.Empty() {
		var name cryptobyte.String
		var tag cbasn1.Tag
		if !names.ReadAnyASN1(&name, &tag) {
			return nil, bad
		}
		switch tag {
		case cbasn1.Tag(1).ContextSpecific(), cbasn1.Tag(2).ContextSpecific(), cbasn1.Tag(6).ContextSpecific(), cbasn1.Tag(7).ContextSpecific():
			continue // crypto/x509 has read it
		case cbasn1.Tag(0).ContextSpecific().Constructed():
		default:
			return nil, bad
		}
		var o OtherName
		var wrapped, value cryptobyte.String
		if !name.ReadASN1ObjectIdentifier(&o.OID) || !name.ReadASN1(&wrapped, cbasn1.Tag(0).ContextSpecific().Constructed()) ||
			!name.Empty() || !wrapped.ReadASN1(&value, cbasn1.UTF8String) || !wrapped.Empty() || !utf8.Valid(value) {
			return nil, bad
		}
		o.Value = string(value)
		out = append(out, o)
	}
	return out, nil
}

// ParseOther reads a name as "oid;UTF8:value".
func ParseOther(text string) (OtherName, error) {
	oid, rest, ok := strings.Cut(text, ";")
	kind, value, okKind := strings.Cut(rest, ":")
	if !ok || !okKind || value == "" || !strings.EqualFold(kind, "UTF8") && !strings.EqualFold(kind, "UTF-8") || !utf8.ValidString(value) {
		return OtherName{}, engines.Invalidf("other_sans: expected <oid>;UTF8:<value>")
	}
	id, ok := ParseOID(oid)
	if !ok {
		return OtherName{}, engines.Invalidf("other_sans: expected <oid>;UTF8:<value>")
	}
	return OtherName{id, value}, nil
}

// ParseOID reads an object identifier in its dotted form.
func ParseOID(text string) (asn1.ObjectIdentifier, bool) {
	parts := strings.Split(strings.TrimSpace(text), ".")
	if len(parts) < 2 || len(parts) > 64 {
		return nil, false
	}
	oid := make(asn1.ObjectIdentifier, len(parts))
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return nil, false
		}
		oid[i] = int(n)
	}
	if _, err := asn1.Marshal(oid); err != nil {
		return nil, false
	}
	return oid, true
}

// ParseIPs reads addresses.
func ParseIPs(field string, list []string) ([]net.IP, error) {
	var out []net.IP
	for _, text := range list {
		ip := net.ParseIP(strings.TrimSpace(text))
		if ip == nil {
			return nil, engines.Invalidf("%s: the value %q is not a valid IP address", field, text)
		}
		out = append(out, ip)
	}
	return out, nil
}

// ParseURIs reads URIs.
func ParseURIs(field string, list []string) ([]*url.URL, error) {
	var out []*url.URL
	for _, text := range list {
		u, err := url.Parse(text)
		if err != nil || u.Scheme == "" {
			return nil, engines.Invalidf("%s: the value %q is not a URI", field, text)
		}
		out = append(out, u)
	}
	return out, nil
}
