package roles

import (
	"net"
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
)

// hostname is what a host name is, underscores taken as others do.
var hostname = regexp.MustCompile(`^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?\.)*[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?\.?$`)

// maxHostname is that of RFC 1035.
const maxHostname = 253

// label is the leftmost label of a wildcard, by RFC 6125, section 6.4.3.
var label = regexp.MustCompile(`^[a-zA-Z0-9_-]*\*[a-zA-Z0-9_-]*$`)

// name is a domain or an address, taken apart.
type name struct {
	whole string
	// host is the domain: without the wildcard's label, or what follows the @.
	host     string
	email    bool
	wildcard bool
}

// read takes a name apart; false if it is none.
func read(text string) (name, bool) {
	n := name{whole: text, host: text}
	if local, domain, ok := strings.Cut(text, "@"); ok {
		address, err := mail.ParseAddress(text)
		if err != nil || address.Address != text || local == "" || strings.Contains(text, "*") {
			return n, false
		}
		n.host, n.email = domain, true
		return n, true
	}
	if strings.Contains(text, "*") {
		first, rest, ok := strings.Cut(text, ".")
		if !ok || !label.MatchString(first) || rest == "" || strings.Contains(rest, "*") {
			return n, false
		}
		n.host, n.wildcard = rest, true
	}
	return n, n.whole != ""
}

// isHostname reports whether the domain is one, in ASCII.
func (n name) isHostname() bool {
	host, err := idna.Lookup.ToASCII(n.host)
	if err != nil {
		host = n.host // an underscore, which lookups refuse
	}
	return len(host) <= maxHostname && hostname.MatchString(host)
}

// names is the role's Domains with templates filled for one caller.
type names struct {
	*Domains
	allowed []allowed
	display string
}

// allowed is a domain that the role allows; globs says that * in it is any text.
type allowed struct {
	domain string
	globs  bool
}

// Identity gives the value of an expression such as identity.entity.name.
type Identity func(expr string) (string, bool)

// fill fills the templates of a pattern. What has no value allows nothing.
func fill(pattern string, identity Identity) (text string, filled, ok bool) {
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(pattern, "{{")
		out.WriteString(before)
		if !found {
			return out.String(), filled, true
		}
		expr, after, closed := strings.Cut(rest, "}}")
		if !closed || identity == nil {
			return "", true, false
		}
		value, ok := identity(strings.TrimSpace(expr))
		if !ok || value == "" {
			return "", true, false
		}
		out.WriteString(value)
		filled, pattern = true, after
	}
}

func (d *Domains) forCaller(ask *Ask) *names {
	out := &names{Domains: d, display: ask.DisplayName}
	for _, domain := range d.Names {
		a := allowed{domain: strings.ToLower(domain), globs: d.Globs}
		if d.Template && strings.Contains(domain, "{{") {
			text, filled, ok := fill(domain, ask.Identity)
			if !ok {
				continue
			}
			// Whoever may set a name in an identity must not set a pattern by it.
			if filled && !d.GlobsInTemplates {
				a.globs = a.globs && strings.Count(text, "*") == strings.Count(domain, "*")
			}
			a.domain = strings.ToLower(text)
		}
		if a.domain != "" {
			out.allowed = append(out.allowed, a)
		}
	}
	return out
}

// allows decides on one domain or address.
func (d *names) allows(text string) bool {
	n, ok := read(text)
	switch {
	case !ok, n.wildcard && !d.Wildcards, d.EnforceHostnames && !n.isHostname():
		return false
	case d.Allowed:
		return true
	case d.Localhost && d.isLocal(n):
		return true
	case d.DisplayName && d.display != "" && d.isDisplayName(n):
		return true
	}
	return slices.ContainsFunc(d.allowed, func(a allowed) bool { return d.covers(a, n) })
}

// covers reports whether an allowed domain allows a name.
func (d *names) covers(a allowed, n name) bool {
	whole, host := strings.ToLower(n.whole), strings.ToLower(n.host)
	switch {
	case d.Bare && (whole == a.domain || n.email && host == a.domain):
		return true
	case d.Subdomains && strings.HasSuffix(host, "."+a.domain):
		return true
	case d.Subdomains && n.wildcard && host == a.domain:
		return true
	}
	return a.globs && strings.Contains(a.domain, "*") && globbed(a.domain, whole)
}

func (d *names) isLocal(n name) bool {
	host := strings.ToLower(n.host)
	for _, local := range []string{"localhost", "localdomain"} {
		if host == local && !n.wildcard {
			return true
		}
		if d.Subdomains && (host == local || strings.HasSuffix(host, "."+local)) {
			return true
		}
	}
	return host == "localhost.localdomain" && !n.wildcard || host == "localhost6" || host == "localhost6.localdomain6"
}

func (d *names) isDisplayName(n name) bool {
	whole := strings.ToLower(n.whole)
	display := strings.ToLower(d.display)
	return whole == display || d.Subdomains && strings.HasSuffix(strings.ToLower(n.host), "."+display)
}

// checkCommonName holds a common name to cn_validations and the domains.
func (d *names) checkCommonName(cn string) error {
	if cn == "" {
		return nil
	}
	refused := engines.Invalidf("common name %s not allowed by this role", cn)
	if slices.Contains(d.CNValidations, "disabled") {
		return nil
	}
	n, ok := read(cn)
	if !ok {
		return refused
	}
	kind := "hostname"
	if n.email {
		kind = "email"
	}
	if !slices.Contains(d.CNValidations, kind) || !d.allows(cn) {
		return refused
	}
	return nil
}

func (r *Role) checkNames(ask *Ask, want *certs.Names) error {
	d := r.Domains.forCaller(ask)
	if err := d.checkCommonName(ask.CommonName); err != nil {
		return err
	}
	for _, list := range [][]string{want.DNS, want.Emails} {
		for _, text := range list {
			if text == ask.CommonName && slices.Contains(d.CNValidations, "disabled") {
				continue // it is there as the common name, which may be anything
			}
			if !d.allows(text) {
				return engines.Invalidf("subject alternate name %s not allowed by this role", text)
			}
		}
	}
	return r.Others.check(ask, want)
}

func (o *Others) check(ask *Ask, want *certs.Names) error {
	for _, ip := range want.IPs {
		if !o.IPs {
			return engines.Invalidf("IP Subject Alternative Names are not allowed in this role, but was provided %s", ip)
		}
		if !o.allowsIP(ip) {
			return engines.Invalidf("IP Subject Alternative Name %s is not in allowed_ip_sans_cidr of this role", ip)
		}
	}
	for _, u := range want.URIs {
		if !o.allowsURI(ask, u.String()) {
			return engines.Invalidf("URI Subject Alternative Name was provided that is not allowed for this role")
		}
	}
	for _, other := range want.Others {
		if !o.allowsOther(other) {
			return engines.Invalidf("other SAN %s not allowed for type UTF8 by this role", other.OID)
		}
	}
	for _, id := range ask.UserIDs {
		if !slices.ContainsFunc(o.UserIDs, func(p string) bool { return globbed(p, id) }) {
			return engines.Invalidf("user_id %s is not allowed by this role", id)
		}
	}
	if n := ask.SerialNumber; n != "" && !slices.ContainsFunc(o.SerialNumbers, func(p string) bool { return globbed(p, n) }) {
		return engines.Invalidf("serial_number %s not allowed by this role", n)
	}
	return nil
}

func (o *Others) allowsIP(ip net.IP) bool {
	return len(o.CIDRs) == 0 || slices.ContainsFunc(o.CIDRs, func(cidr string) bool {
		_, network, err := net.ParseCIDR(cidr)
		return err == nil && network.Contains(ip)
	})
}

func (o *Others) allowsURI(ask *Ask, uri string) bool {
	return slices.ContainsFunc(o.URIs, func(pattern string) bool {
		if o.URITemplate {
			text, filled, ok := fill(pattern, ask.Identity)
			if !ok {
				return false
			}
			if filled && strings.Count(text, "*") != strings.Count(pattern, "*") {
				return uri == text // a name in an identity is no pattern
			}
			pattern = text
		}
		return globbed(pattern, uri)
	})
}

func (o *Others) allowsOther(other certs.OtherName) bool {
	return slices.ContainsFunc(o.Names, func(pattern string) bool {
		if pattern == "*" {
			return true
		}
		p, err := certs.ParseOther(pattern)
		return err == nil && p.OID.Equal(other.OID) && globbed(p.Value, other.Value)
	})
}
