package pki

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
	"github.com/coffer-secrets/coffer/engines/pki/roles"
)

// authorityTemplate makes what is to become a CA of a request's fields. Names of
// a CA are free: who may make one decides on them.
func authorityTemplate(req *engines.Request) (*x509.Certificate, *roles.Ask, []string, error) {
	v := req.Fields
	ask, err := roles.ReadAsk(req)
	if err != nil {
		return nil, nil, nil, err
	}
	c, err := authorityUsages(v)
	if err != nil {
		return nil, nil, nil, err
	}
	if d := v.Duration("not_before_duration"); d < 0 {
		return nil, nil, nil, engines.Invalidf("not_before_duration cannot be negative")
	}
	validity := roles.Validity{NotBeforeDuration: v.Duration("not_before_duration"), NotBeforeBound: "permit", NotAfterBound: "permit"}
	warnings, err := validity.Apply(c, ask)
	if err != nil {
		return nil, nil, nil, err
	}
	switch n := v.Int("max_path_length"); {
	case n < -1 || n > 255:
		return nil, nil, nil, engines.Invalidf("max_path_length: expected -1 for none, or 0 to 255")
	case n >= 0:
		c.MaxPathLen, c.MaxPathLenZero = int(n), n == 0
	default:
		c.MaxPathLen = -1
	}
	for _, domain := range v.Strings("permitted_dns_domains") {
		if len(domain) > 253 || domain == "" {
			return nil, nil, nil, engines.Invalidf("permitted_dns_domains: expected domains")
		}
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = append(c.PermittedDNSDomains, domain), true
	}
	c.BasicConstraintsValid, c.IsCA = true, true
	return c, ask, warnings, nil
}

func authorityUsages(v engines.Values) (*x509.Certificate, error) {
	usage := roles.Usage{Extended: v.Strings("ext_key_usage"), ExtendedOIDs: v.Strings("ext_key_usage_oids")}
	if v.Has("key_usage") {
		usage.Key = v.Strings("key_usage")
	}
	c, err := usage.Template()
	if err == nil {
		c.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	}
	return c, err
}

// subjectOf reads the fields of a subject.
func subjectOf(v engines.Values) *roles.Subject {
	return &roles.Subject{
		Organization: v.Strings("organization"), Unit: v.Strings("ou"), Country: v.Strings("country"), Locality: v.Strings("locality"),
		Province: v.Strings("province"), Street: v.Strings("street_address"), PostalCode: v.Strings("postal_code"),
	}
}

// chosenKey is the key that the path names: one that is made, or one that is here.
func (e *engine) chosenKey(req *engines.Request, tx engines.Tx) (signer crypto.Signer, row *storedKey, err error) {
	v := req.Fields
	if v.String("exported") == "existing" {
		k, err := e.key(req.Mount, tx, v.String("key_ref"))
		if err != nil {
			return nil, nil, err
		}
		return k.signer, k, nil
	}
	if how := v.String("exported"); how != "internal" && how != "exported" {
		return nil, nil, errNoKMS()
	}
	kind, err := keys.Of(v.String("key_type"), v.Int("key_bits"))
	if err != nil {
		return nil, nil, err
	}
	if signer, err = newKey(req, kind); err != nil {
		return nil, nil, err
	}
	id, _, err := e.addKey(req.Mount, tx, signer, v.String("key_name"))
	return signer, &storedKey{keyRow: &keyRow{ID: id, Name: v.String("key_name")}, signer: signer}, err
}

// generateRoot makes a root of its own; root/rotate makes it under the name "next"
// unless told otherwise.
func (e *engine) generateRoot(rotate bool) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		v := req.Fields
		form, err := formOf(v)
		if err != nil {
			return nil, err
		}
		c, ask, warnings, err := authorityTemplate(req)
		if err != nil {
			return nil, err
		}
		if err := named(c, ask, v); err != nil {
			return nil, err
		}
		signer, row, err := e.chosenKey(req, tx)
		if err != nil {
			return nil, err
		}
		cert, err := selfSign(c, signer, v)
		if err != nil {
			return nil, err
		}
		name := v.String("issuer_name")
		if rotate && name == "" {
			name = "next"
		}
		id, err := e.keepRoot(req.Mount, tx, cert, name, row.ID)
		if err != nil {
			return nil, err
		}
		data, err := form.answer(&made{cert: cert, issuing: cert.Raw, key: exported(v, signer)})
		if err != nil {
			return nil, err
		}
		data["issuer_id"], data["issuer_name"], data["key_id"], data["key_name"] = id, name, row.ID, row.Name
		return &engines.Response{Data: data, Warnings: warnings}, nil
	}
}

// named gives a CA its subject and names.
func named(c *x509.Certificate, ask *roles.Ask, v engines.Values) error {
	if ask.CommonName == "" {
		return engines.Invalidf("the common_name field is required")
	}
	ask.NameTheSubject()
	if err := ask.Bounded(); err != nil {
		return err
	}
	c.Subject = subjectOf(v).Name(ask.CommonName, ask.SerialNumber)
	if err := ask.Names.Into(c); err != nil {
		return engines.Internal(err)
	}
	return nil
}

func exported(v engines.Values, signer crypto.Signer) crypto.Signer {
	if v.String("exported") == "exported" {
		return signer
	}
	return nil
}

func selfSign(c *x509.Certificate, signer crypto.Signer, v engines.Values) (*x509.Certificate, error) {
	var err error
	if c.SignatureAlgorithm, err = keys.SignatureAlgorithm(signer.Public(), v.Int("signature_bits"), v.Bool("use_pss")); err != nil {
		return nil, err
	}
	if c.SubjectKeyId, err = keys.SubjectKeyID(signer.Public()); err != nil {
		return nil, engines.Internal(err)
	}
	c.AuthorityKeyId = c.SubjectKeyId
	c.SerialNumber = certs.NewSerial()
	return certs.Make(c, c, signer.Public(), signer)
}

func (e *engine) keepRoot(m engines.Mount, tx engines.Tx, cert *x509.Certificate, name, keyID string) (string, error) {
	id, _, err := e.addIssuer(m, tx, cert, name, keyID)
	if err != nil {
		return "", err
	}
	if err := putCertificate(tx, cert, id, groupOf(cert)); err != nil {
		return "", err
	}
	if err := scheduleLists(tx, groupOf(cert), time.Time{}); err != nil {
		return "", err
	}
	return id, e.settle(m, tx, id)
}

// generateIntermediate makes a key and a CSR to be signed elsewhere.
func (e *engine) generateIntermediate(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	v := req.Fields
	ask, err := roles.ReadAsk(req)
	if err != nil {
		return nil, err
	}
	if ask.CommonName == "" {
		return nil, engines.Invalidf("the common_name field is required")
	}
	ask.NameTheSubject()
	if err := ask.Bounded(); err != nil {
		return nil, err
	}
	form, err := formOf(v)
	if err != nil {
		return nil, err
	}
	signer, row, err := e.chosenKey(req, tx)
	if err != nil {
		return nil, err
	}
	der, err := newRequest(ask, v, signer)
	if err != nil {
		return nil, err
	}
	data := map[string]any{"csr": keys.CSR(der), "key_id": row.ID}
	if form.format == "der" {
		data["csr"] = base64.StdEncoding.EncodeToString(der)
	}
	if key := exported(v, signer); key != nil {
		if err := form.putKey(data, key); err != nil {
			return nil, err
		}
		if form.format == "pem_bundle" {
			data["csr"] = data["private_key"].(string) + "\n" + keys.CSR(der)
		}
	}
	return &engines.Response{Data: data}, nil
}

var oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}

func newRequest(ask *roles.Ask, v engines.Values, signer crypto.Signer) ([]byte, error) {
	template := &x509.CertificateRequest{Subject: subjectOf(v).Name(ask.CommonName, ask.SerialNumber)}
	var err error
	if template.SignatureAlgorithm, err = keys.SignatureAlgorithm(signer.Public(), v.Int("signature_bits"), false); err != nil {
		return nil, err
	}
	if err := ask.Names.IntoRequest(template); err != nil {
		return nil, engines.Internal(err)
	}
	if v.Bool("add_basic_constraints") {
		der, err := asn1.Marshal(struct{ CA bool }{true})
		if err != nil {
			return nil, engines.Internal(err)
		}
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: oidBasicConstraints, Critical: true, Value: der})
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, signer)
	if err != nil {
		return nil, engines.Invalidf("the request cannot be made of what was asked for: a name in it is malformed")
	}
	return der, nil
}

// importBundle takes certificates of issuers, with keys if the path allows them.
// set-signed takes what somebody made of a CSR of this mount.
func (e *engine) importBundle(field string, withKeys bool) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		b, err := keys.ParseBundle(field, req.Fields.String(field))
		if err != nil {
			return nil, err
		}
		if len(b.Keys) > 0 && !withKeys {
			return nil, engines.Invalidf("%s: private keys cannot be imported by this path: use issuers/import/bundle", field)
		}
		for _, c := range b.Certificates {
			if !c.BasicConstraintsValid || !c.IsCA {
				return nil, engines.Invalidf("%s: a certificate is not that of a CA", field)
			}
		}
		got, err := e.importAll(req.Mount, tx, b)
		if err != nil {
			return nil, err
		}
		if field == "certificate" && !got.signs {
			got.warnings = append(got.warnings, "no key of this mount belongs to any of the certificates: they cannot sign")
		}
		return &engines.Response{Data: map[string]any{
			"imported_issuers": orEmpty(got.issuers), "imported_keys": orEmpty(got.keys), "existing_issuers": orEmpty(got.oldIssuers),
			"existing_keys": orEmpty(got.oldKeys), "mapping": got.mapping,
		}, Warnings: got.warnings}, nil
	}
}

// imported is what came of a bundle.
type imported struct {
	issuers, keys, oldIssuers, oldKeys, warnings []string
	mapping                                      map[string]string
	signs                                        bool
}

func (e *engine) importAll(m engines.Mount, tx engines.Tx, b *keys.Bundle) (*imported, error) {
	out := &imported{mapping: make(map[string]string)}
	for _, key := range b.Keys {
		id, existed, err := e.addKey(m, tx, key, "")
		if err != nil {
			return nil, err
		}
		addTo(&out.keys, &out.oldKeys, id, existed)
	}
	stored, err := tx.List(keyDir, engines.Page{})
	if err != nil {
		return nil, err
	}
	fresh := ""
	for _, c := range b.Certificates {
		keyID, err := e.keyOf(m, tx, stored, c)
		if err != nil {
			return nil, err
		}
		id, existed, err := e.addIssuer(m, tx, c, "", keyID)
		if err != nil {
			return nil, err
		}
		addTo(&out.issuers, &out.oldIssuers, id, existed)
		if out.mapping[id] = keyID; keyID != "" {
			out.signs = true
			if fresh == "" {
				fresh = id
			}
			if err := scheduleLists(tx, groupOf(c), time.Time{}); err != nil {
				return nil, err
			}
		}
	}
	if err := e.attach(m, tx); err != nil {
		return nil, err
	}
	return out, e.settle(m, tx, fresh)
}

// attach gives issuers without a key the one that has come since.
func (e *engine) attach(m engines.Mount, tx engines.Tx) error {
	stored, err := tx.List(keyDir, engines.Page{})
	if err != nil {
		return err
	}
	list, err := e.all(m, tx)
	if err != nil {
		return err
	}
	for _, a := range list {
		if a.Key != "" {
			continue
		}
		id, err := e.keyOf(m, tx, stored, a.cert)
		if err != nil {
			return err
		}
		if id == "" {
			continue
		}
		with := *a.issuer
		with.Key = id
		if err := save(tx, issuerDir+a.ID, &with); err != nil {
			return err
		}
	}
	return nil
}

func addTo(added, old *[]string, id string, existed bool) {
	list := added
	if existed {
		list = old
	}
	if !slices.Contains(*list, id) {
		*list = append(*list, id)
	}
}

// keyOf finds the key of a certificate among those that are here; empty if none is.
func (e *engine) keyOf(m engines.Mount, tx engines.Tx, ids []string, c *x509.Certificate) (string, error) {
	for _, id := range ids {
		k, err := e.keys.get(m, tx, keyDir+id, parseKey)
		if err != nil {
			return "", err
		}
		if k != nil && keys.Same(k.signer.Public(), c.PublicKey) {
			return id, nil
		}
	}
	return "", nil
}

// deleteRoot forgets all issuers and keys.
func (e *engine) deleteRoot(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	for _, dir := range []string{issuerDir, nameDir, keyDir, keyNameDir} {
		if err := tx.DeletePrefix(dir); err != nil {
			return nil, err
		}
	}
	for _, row := range []string{issuersRow, keysRow} {
		if err := tx.Delete(row); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
