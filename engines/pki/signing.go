package pki

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
	"github.com/coffer-secrets/coffer/engines/pki/roles"
)

// signVerbatim signs what a CSR asks for, whatever that is, except to be a CA. A
// role only says how long, by whom, and whether it is kept.
func (e *engine) signVerbatim(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	v := req.Fields
	r := roles.Default()
	r.Usage = roles.Usage{
		Key: v.Strings("key_usage"), Extended: v.Strings("ext_key_usage"), ExtendedOIDs: v.Strings("ext_key_usage_oids"),
		BasicConstraints: v.Bool("basic_constraints_valid_for_non_ca"),
	}
	r.Key = roles.Key{Type: keys.Any, SignatureBits: v.Int("signature_bits"), PSS: v.Bool("use_pss")}
	if name := v.String("role"); name != "" {
		by, err := e.needRole(req, tx)
		if err != nil {
			return nil, err
		}
		r.Validity, r.Ways = by.Validity, by.Ways
	} else if v.Has("issuer_ref") {
		r.Ways.Issuer = v.String("issuer_ref")
	}
	csr, err := keys.ParseCSR(v.String("csr"))
	if err != nil {
		return nil, err
	}
	ask, err := roles.ReadAsk(req)
	if err != nil {
		return nil, err
	}
	j := &job{req: req, role: r}
	if j.form, err = formOf(v); err != nil {
		return nil, err
	}
	if j.by, err = e.signer(req.Mount, tx, refFor(req, r), useIssue); err != nil {
		return nil, err
	}
	if j.template, err = verbatim(csr, r); err != nil {
		return nil, err
	}
	if j.warnings, err = r.Validity.Apply(j.template, ask); err != nil {
		return nil, err
	}
	if err := j.by.limit(j.template, false); err != nil {
		return nil, err
	}
	if j.template.SignatureAlgorithm, err = keys.SignatureAlgorithm(j.by.cert.PublicKey, r.Key.SignatureBits, r.Key.PSS); err != nil {
		return nil, err
	}
	return j.finish(tx, csr.PublicKey)
}

// ours are extensions that are the issuer's to say, and never a CSR's.
var ours = []string{"2.5.29.19", "2.5.29.14", "2.5.29.35", "2.5.29.31", "2.5.29.46", "1.3.6.1.5.5.7.1.1", "2.5.29.30", "2.5.29.36", "2.5.29.54"}

func verbatim(csr *x509.CertificateRequest, r *roles.Role) (*x509.Certificate, error) {
	c, err := r.Usage.Template()
	if err != nil {
		return nil, err
	}
	if len(csr.RawSubject) > 2 {
		c.RawSubject = csr.RawSubject
	}
	for _, ext := range csr.Extensions {
		if len(ext.Value) > keys.MaxCSR || isOurs(ext) {
			continue
		}
		switch ext.Id.String() {
		case "2.5.29.15", "2.5.29.37": // usages: the CSR's count before the request's
			if der, ok := safeUsage(ext); ok {
				c.ExtraExtensions = append(c.ExtraExtensions, der)
			}
		default:
			c.ExtraExtensions = append(c.ExtraExtensions, ext)
		}
	}
	return c, nil
}

func isOurs(ext pkix.Extension) bool {
	for _, id := range ours {
		if ext.Id.String() == id {
			return true
		}
	}
	return false
}

// safeUsage leaves out key usages of a CA.
func safeUsage(ext pkix.Extension) (pkix.Extension, bool) {
	if ext.Id.String() != "2.5.29.15" {
		return ext, true
	}
	// Bits 5 and 6 of the first byte are keyCertSign and cRLSign.
	if len(ext.Value) < 4 || ext.Value[3]&0x06 != 0 {
		return ext, false
	}
	return ext, true
}

// signIntermediate makes another CA of a CSR.
func (e *engine) signIntermediate(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	v := req.Fields
	form, err := formOf(v)
	if err != nil {
		return nil, err
	}
	csr, err := keys.ParseCSR(v.String("csr"))
	if err != nil {
		return nil, err
	}
	by, err := e.signer(req.Mount, tx, v.String("issuer_ref"), useIssue)
	if err != nil {
		return nil, err
	}
	c, ask, warnings, err := authorityTemplate(req)
	if err != nil {
		return nil, err
	}
	if v.Bool("use_csr_values") {
		if ask.Names, err = certs.OfRequest(csr); err != nil {
			return nil, err
		}
		c.RawSubject = csr.RawSubject
		if err := ask.Names.Into(c); err != nil {
			return nil, engines.Internal(err)
		}
	} else if err := named(c, ask, v); err != nil {
		return nil, err
	}
	if err := by.limit(c, true); err != nil {
		return nil, err
	}
	if err := by.mayHave(c); err != nil {
		return nil, err
	}
	if c.SubjectKeyId, err = hex.DecodeString(strings.NewReplacer(":", "", "-", "").Replace(v.String("skid"))); err != nil || len(c.SubjectKeyId) > 64 {
		return nil, engines.Invalidf("skid: expected hex, of 64 bytes at most")
	}
	if len(c.SubjectKeyId) == 0 {
		c.SubjectKeyId = nil
	}
	if c.SignatureAlgorithm, err = keys.SignatureAlgorithm(by.cert.PublicKey, v.Int("signature_bits"), v.Bool("use_pss")); err != nil {
		return nil, err
	}
	if err := by.complete(tx, c, csr.PublicKey); err != nil {
		return nil, err
	}
	cert, err := certs.Make(c, by.cert, csr.PublicKey, by.key)
	if err != nil {
		return nil, err
	}
	data, err := form.answer(&made{cert: cert, issuing: by.DER, chain: append([]string{keys.Certificate(cert.Raw)}, by.chain...)})
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: data, Warnings: warnings}, putCertificate(tx, cert, by.ID, by.group)
}

// mayHave holds a CA below this one to the length of path that this one has.
func (a *authority) mayHave(c *x509.Certificate) error {
	limited := a.cert.MaxPathLen > 0 || a.cert.MaxPathLenZero
	switch {
	case limited && a.cert.MaxPathLen == 0:
		return engines.Invalidf("the issuer's max_path_length of 0 allows no CA below it")
	case limited && c.MaxPathLen < 0:
		c.MaxPathLen = a.cert.MaxPathLen - 1
		c.MaxPathLenZero = c.MaxPathLen == 0
	case limited && c.MaxPathLen >= a.cert.MaxPathLen:
		return engines.Invalidf("max_path_length: the issuer allows %d at most", a.cert.MaxPathLen-1)
	}
	return nil
}

// signSelfIssued signs a self-signed certificate anew, as the old CA does for its
// successor.
func (e *engine) signSelfIssued(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	v := req.Fields
	c, err := keys.ParseOne("certificate", v.String("certificate"))
	if err != nil {
		return nil, err
	}
	if !c.IsCA || !c.BasicConstraintsValid {
		return nil, engines.Invalidf("given certificate is not a CA certificate")
	}
	if !selfSigned(c) {
		return nil, engines.Invalidf("given certificate is not self-issued")
	}
	by, err := e.signer(req.Mount, tx, v.String("issuer_ref"), useIssue)
	if err != nil {
		return nil, err
	}
	algorithm, err := keys.SignatureAlgorithm(by.cert.PublicKey, 0, false)
	if err != nil {
		return nil, err
	}
	if v.Bool("require_matching_certificate_algorithms") && c.PublicKeyAlgorithm != by.cert.PublicKeyAlgorithm {
		return nil, engines.Invalidf("the certificate's key is not of the algorithm of the issuer's")
	}
	if err := by.limit(c, true); err != nil {
		return nil, err
	}
	// It stays who it says it is: what was in it is, but for who signs and how.
	again := *c
	again.ExtraExtensions, again.SignatureAlgorithm = nil, algorithm
	again.AuthorityKeyId = by.cert.SubjectKeyId
	u, err := urlsFor(tx, by)
	if err != nil {
		return nil, err
	}
	again.IssuingCertificateURL, again.CRLDistributionPoints, again.OCSPServer = u.Issuing, u.CRL, u.OCSP
	cert, err := certs.Make(&again, by.cert, c.PublicKey, by.key)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: map[string]any{
		"certificate": keys.Certificate(cert.Raw) + "\n", "issuing_ca": keys.Certificate(by.DER) + "\n",
	}}, nil
}
