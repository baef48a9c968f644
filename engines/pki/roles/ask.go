package roles

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
)

// Ask is what a caller asks to have certified.
type Ask struct {
	CommonName   string
	Names        certs.Names
	UserIDs      []string
	SerialNumber string
	ExcludeCN    bool
	// CSR is what was handed in; nil if the key is to be made.
	CSR *x509.CertificateRequest
	// TTL, NotBefore and NotAfter are the caller's wishes; zero values are none.
	TTL       time.Duration
	NotBefore string
	NotAfter  string

	DisplayName string
	Identity    Identity
	Now         time.Time
	// DefaultTTL and MaxTTL are the mount's.
	DefaultTTL, MaxTTL time.Duration
}

// ReadAsk reads the fields that requests for a certificate have in common.
func ReadAsk(req *engines.Request) (*Ask, error) {
	v := req.Fields
	ask := &Ask{
		CommonName: v.String("common_name"), UserIDs: v.Strings("user_ids"), SerialNumber: v.String("serial_number"),
		ExcludeCN: v.Bool("exclude_cn_from_sans"), TTL: v.Duration("ttl"), NotBefore: v.String("not_before"), NotAfter: v.String("not_after"),
		DisplayName: req.Caller.DisplayName, Identity: req.Identity, Now: req.Now,
		DefaultTTL: req.Mount.DefaultTTL, MaxTTL: req.Mount.MaxTTL,
	}
	if ask.TTL < 0 {
		return nil, engines.Invalidf("ttl cannot be negative")
	}
	if ask.TTL > 0 && ask.NotAfter != "" {
		return nil, engines.Invalidf("either ttl or not_after should be provided. Both should not be provided in the same request.")
	}
	for _, text := range strings.Split(v.String("alt_names"), ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		ask.addName(text)
	}
	var err error
	if ask.Names.IPs, err = certs.ParseIPs("ip_sans", v.Strings("ip_sans")); err != nil {
		return nil, err
	}
	if ask.Names.URIs, err = certs.ParseURIs("uri_sans", v.Strings("uri_sans")); err != nil {
		return nil, err
	}
	for _, text := range v.Strings("other_sans") {
		other, err := certs.ParseOther(text)
		if err != nil {
			return nil, err
		}
		ask.Names.Others = append(ask.Names.Others, other)
	}
	return ask, nil
}

// Bounded refuses what is larger than a certificate should be.
func (a *Ask) Bounded() error {
	if a.Names.Count()+len(a.UserIDs) > certs.MaxNames {
		return engines.Invalidf("a certificate has at most %d names", certs.MaxNames)
	}
	texts := slices.Concat([]string{a.CommonName, a.SerialNumber}, a.Names.DNS, a.Names.Emails, a.UserIDs)
	for _, u := range a.Names.URIs {
		texts = append(texts, u.String())
	}
	for _, o := range a.Names.Others {
		texts = append(texts, o.Value)
	}
	if slices.ContainsFunc(texts, func(text string) bool { return len(text) > certs.MaxName }) {
		return engines.Invalidf("a name has at most %d bytes", certs.MaxName)
	}
	return nil
}

// addName adds a domain or an address, once.
func (a *Ask) addName(text string) {
	list := &a.Names.DNS
	if strings.Contains(text, "@") {
		list = &a.Names.Emails
	}
	if !slices.Contains(*list, text) {
		*list = append(*list, text)
	}
}

// NameTheSubject adds the common name to the alternative names, where clients
// look for it. One that is neither a domain nor an address stays where it is.
func (a *Ask) NameTheSubject() {
	if a.ExcludeCN || a.CommonName == "" {
		return
	}
	if n, ok := read(a.CommonName); ok && (n.email || n.isHostname()) {
		a.addName(a.CommonName)
	}
}

// takeCSR lets the CSR say what the role leaves to it.
func (r *Role) takeCSR(ask *Ask) error {
	csr := ask.CSR
	if r.Domains.UseCSRName {
		ask.CommonName = csr.Subject.CommonName
	}
	if len(ask.UserIDs) == 0 {
		ask.UserIDs = certs.UserIDsOf(&csr.Subject)
	}
	if r.Domains.UseCSRName && ask.SerialNumber == "" {
		ask.SerialNumber = csr.Subject.SerialNumber
	}
	if !r.Domains.UseCSRAN {
		return nil
	}
	names, err := certs.OfRequest(csr)
	ask.Names = names
	// With names from the CSR, all of its names are there already.
	ask.ExcludeCN = ask.ExcludeCN || names.Count() > 0
	return err
}

// Template holds a request to the role, and answers what to sign.
func (r *Role) Template(ask *Ask) (*x509.Certificate, []string, error) {
	if ask.CSR != nil {
		if err := r.takeCSR(ask); err != nil {
			return nil, nil, err
		}
		if err := r.Key.Allows(ask.CSR.PublicKey); err != nil {
			return nil, nil, err
		}
	}
	if r.Domains.RequireCN && ask.CommonName == "" {
		if ask.CSR != nil && r.Domains.UseCSRName {
			return nil, nil, engines.Invalidf(`common name not provided: the CSR has none, and "require_cn" of the role is true`)
		}
		return nil, nil, engines.Invalidf(`the common_name field is required, or must be provided in a CSR with "use_csr_common_name" set to true, unless "require_cn" is set to false`)
	}
	ask.NameTheSubject()
	if err := ask.Bounded(); err != nil {
		return nil, nil, err
	}
	if err := r.checkNames(ask, &ask.Names); err != nil {
		return nil, nil, err
	}
	c, err := r.Usage.template()
	if err != nil {
		return nil, nil, err
	}
	c.Subject = r.Subject.Name(ask.CommonName, ask.SerialNumber)
	certs.UserIDs(&c.Subject, ask.UserIDs)
	if len(c.Subject.ToRDNSequence()) == 0 && ask.Names.Count() == 0 {
		return nil, nil, engines.Invalidf("a certificate needs a subject or an alternative name")
	}
	if err := ask.Names.Into(c); err != nil {
		return nil, nil, engines.Internal(err)
	}
	warnings, err := r.Validity.Apply(c, ask)
	return c, warnings, err
}

// Name makes a subject.
func (s *Subject) Name(cn, serial string) pkix.Name {
	return pkix.Name{
		CommonName: cn, SerialNumber: serial, Country: sorted(s.Country), Organization: sorted(s.Organization), OrganizationalUnit: sorted(s.Unit),
		Locality: sorted(s.Locality), Province: sorted(s.Province), StreetAddress: sorted(s.Street), PostalCode: sorted(s.PostalCode),
	}
}

// sorted leaves out what is there twice; the order is the caller's.
func sorted(list []string) []string {
	var out []string
	for _, text := range list {
		if text != "" && !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return out
}

// template makes a certificate that has nothing but its usages.
func (u *Usage) template() (*x509.Certificate, error) {
	c := new(x509.Certificate)
	var err error
	if c.KeyUsage, err = certs.KeyUsage(u.Key); err != nil {
		return nil, err
	}
	if c.ExtKeyUsage, err = certs.ExtKeyUsage(u.Extended); err != nil {
		return nil, err
	}
	for _, flag := range []struct {
		on    bool
		usage x509.ExtKeyUsage
	}{
		{u.Server, x509.ExtKeyUsageServerAuth}, {u.Client, x509.ExtKeyUsageClientAuth},
		{u.CodeSigning, x509.ExtKeyUsageCodeSigning}, {u.Email, x509.ExtKeyUsageEmailProtection},
	} {
		if flag.on && !slices.Contains(c.ExtKeyUsage, flag.usage) {
			c.ExtKeyUsage = append(c.ExtKeyUsage, flag.usage)
		}
	}
	if c.UnknownExtKeyUsage, err = certs.OIDs("ext_key_usage_oids", u.ExtendedOIDs); err != nil {
		return nil, err
	}
	c.BasicConstraintsValid = u.BasicConstraints
	return c, certs.Policies(c, u.Policies)
}

// Template is that of usages alone.
func (u *Usage) Template() (*x509.Certificate, error) { return u.template() }

// Allows holds the key of a CSR to the role.
func (k *Key) Allows(public crypto.PublicKey) error {
	got, ok := keys.KindOf(public)
	if !ok {
		return engines.Invalidf("the key of the CSR is of a kind that is not taken")
	}
	if k.Type == keys.Any {
		return nil
	}
	want, err := keys.Of(k.Type, k.Bits)
	if err != nil {
		return err
	}
	if got.Type != want.Type {
		return engines.Invalidf("role requires keys of type %s", want.Type)
	}
	if got.Bits < want.Bits {
		return engines.Invalidf("role requires a minimum of a %d-bit key, but CSR's key is %d bits", want.Bits, got.Bits)
	}
	return nil
}

// Apply says from when until when a certificate is good.
func (v *Validity) Apply(c *x509.Certificate, ask *Ask) (warnings []string, err error) {
	c.NotBefore = ask.Now.Add(-v.NotBeforeDuration)
	before := v.NotBefore
	if ask.NotBefore != "" {
		if v.NotBeforeBound == "forbid" {
			return nil, engines.Invalidf("not_before: the role forbids to choose it")
		}
		before = ask.NotBefore
	}
	if before != "" {
		at, err := certs.ParseTime("not_before", before)
		if err != nil {
			return nil, err
		}
		if ask.NotBefore != "" && v.NotBeforeBound == "duration" && at.Before(c.NotBefore) {
			return nil, engines.Invalidf("not_before: the role allows at most %s before now", v.NotBeforeDuration)
		}
		c.NotBefore = at
	}
	warnings, err = v.end(c, ask)
	if err != nil {
		return nil, err
	}
	if c.NotAfter = c.NotAfter.UTC().Truncate(time.Second); !c.NotAfter.After(c.NotBefore) {
		return nil, engines.Invalidf("the certificate would end before it begins: not_after has to be later than not_before")
	}
	return warnings, nil
}

func (v *Validity) end(c *x509.Certificate, ask *Ask) (warnings []string, err error) {
	longest := ask.MaxTTL
	if v.MaxTTL > 0 {
		longest = v.MaxTTL
	}
	after := v.NotAfter
	if ask.NotAfter != "" {
		if v.NotAfterBound == "forbid" {
			return nil, engines.Invalidf("not_after: the role forbids to choose it")
		}
		after = ask.NotAfter
	}
	if after != "" && ask.TTL == 0 {
		if c.NotAfter, err = certs.ParseTime("not_after", after); err != nil {
			return nil, err
		}
		return nil, v.bound(c.NotAfter, ask, longest)
	}
	ttl := ask.TTL
	if ttl == 0 {
		if ttl = v.TTL; ttl == 0 {
			ttl = ask.DefaultTTL
		}
	}
	if longest > 0 && ttl > longest {
		if ask.TTL > 0 {
			warnings = append(warnings, "TTL \""+ttl.String()+"\" is longer than permitted maxTTL \""+longest.String()+"\", so maxTTL is being used")
		}
		ttl = longest
	}
	c.NotAfter = ask.Now.Add(ttl)
	if c.NotAfter.After(certs.Forever) {
		return nil, engines.Invalidf("ttl: the certificate would end after the year 9999")
	}
	return warnings, nil
}

// bound holds an end that the caller chose to the role.
func (v *Validity) bound(end time.Time, ask *Ask, longest time.Duration) error {
	if ask.NotAfter == "" {
		return nil
	}
	switch v.NotAfterBound {
	case "permit", "forbid", "":
		return nil
	case "ttl-limited":
		if longest > 0 && end.After(ask.Now.Add(longest)) {
			return engines.Invalidf("not_after: the role allows at most %s from now", longest)
		}
		return nil
	}
	latest, err := certs.ParseTime("not_after_bound", v.NotAfterBound)
	if err != nil {
		return err
	}
	if end.After(latest) {
		return engines.Invalidf("not_after: the role allows %s at the latest", latest.Format(time.RFC3339))
	}
	return nil
}
