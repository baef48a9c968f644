package pki

import (
	"context"
	"crypto/x509"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
)

func (e *engine) listIssuers(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	d, err := load[defaultIssuer](tx, issuersRow)
	if err != nil {
		return nil, err
	}
	return listInfo(req, tx, issuerDir, func(id string) (map[string]any, error) {
		a, err := e.issuers.get(req.Mount, tx, issuerDir+id, parseAuthority)
		if err != nil || a == nil {
			return nil, err
		}
		return map[string]any{
			"issuer_name": a.Name, "is_default": d != nil && d.Default == id, "serial_number": certs.Serial(a.cert.SerialNumber), "key_id": a.Key,
		}, nil
	})
}

func (a *authority) show() map[string]any {
	data := a.URLs.show("enable_aia_url_templating")
	data["issuer_id"], data["issuer_name"], data["key_id"] = a.ID, a.Name, a.Key
	data["certificate"], data["ca_chain"], data["manual_chain"] = keys.Certificate(a.DER)+"\n", orEmpty(a.chain), orEmpty(a.Manual)
	data["leaf_not_after_behavior"], data["usage"] = a.Leaf, orEmpty(a.Usage)
	data["revocation_signature_algorithm"], data["revoked"] = a.Hash, !a.Revoked.IsZero()
	if !a.Revoked.IsZero() {
		data["revocation_time"], data["revocation_time_rfc3339"] = a.Revoked.Unix(), a.Revoked.Format(time.RFC3339Nano)
	}
	return data
}

func (e *engine) readIssuer(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	a, err := e.authority(req, tx, req.Fields.String("issuer_ref"))
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: a.show()}, nil
}

// writeIssuer writes an issuer's settings: whole, or what is given.
func (e *engine) writeIssuer(whole bool) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		a, err := e.authority(req, tx, req.Fields.String("issuer_ref"))
		if err != nil {
			return nil, err
		}
		i, v := *a.issuer, req.Fields
		given := func(name string) bool { return whole || v.Has(name) }
		if given("issuer_name") && v.String("issuer_name") != i.Name {
			if i.Name, err = rename(tx, "issuer_name", nameDir, i.Name, v.String("issuer_name"), i.ID); err != nil {
				return nil, err
			}
		}
		if given("leaf_not_after_behavior") {
			i.Leaf = v.String("leaf_not_after_behavior")
		}
		if given("usage") {
			if i.Usage, err = a.usages(v.Strings("usage")); err != nil {
				return nil, err
			}
		}
		if given("revocation_signature_algorithm") {
			if i.Hash, err = a.hash(v.String("revocation_signature_algorithm")); err != nil {
				return nil, err
			}
		}
		i.URLs = urls{Issuing: slices.Clone(i.URLs.Issuing), CRL: i.URLs.CRL, Delta: i.URLs.Delta, OCSP: i.URLs.OCSP, Templating: i.URLs.Templating}
		if err := i.URLs.set(v, whole, "enable_aia_url_templating"); err != nil {
			return nil, err
		}
		if given("manual_chain") {
			if i.Manual, err = e.manual(req, tx, &i, v.Strings("manual_chain")); err != nil {
				return nil, err
			}
		}
		if err := save(tx, issuerDir+i.ID, &i); err != nil {
			return nil, err
		}
		if err := e.settle(req.Mount, tx, ""); err != nil {
			return nil, err
		}
		if a, err = e.authority(req, tx, i.ID); err != nil {
			return nil, err
		}
		return &engines.Response{Data: a.show()}, nil
	}
}

// usages checks and sorts names of usages.
func (a *authority) usages(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		if !slices.Contains(allUsages, name) {
			return nil, engines.Invalidf("usage: expected read-only, issuing-certificates, crl-signing and ocsp-signing")
		}
	}
	for _, name := range allUsages {
		if !slices.Contains(names, name) && name != useRead {
			continue
		}
		if name == useIssue && !a.Revoked.IsZero() {
			return nil, engines.Invalidf("usage: the issuer is revoked and cannot issue")
		}
		out = append(out, name)
	}
	return out, nil
}

// hash checks an algorithm for lists against the issuer's key.
func (a *authority) hash(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	kind, _ := keys.KindOf(a.cert.PublicKey)
	for algorithm, known := range hashes {
		if known != name {
			continue
		}
		fits := map[string][]x509.SignatureAlgorithm{
			keys.EC: {x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512}, keys.Ed25519: {x509.PureEd25519},
			keys.RSA: {x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS},
		}[kind.Type]
		if slices.Contains(fits, algorithm) {
			return known, nil
		}
	}
	return "", engines.Invalidf("revocation_signature_algorithm: it is unknown, or not one of the issuer's key: SHA256WithRSA, ECDSAWithSHA384 and the like")
}

// manual resolves a chain that is given by hand: it begins with the issuer itself.
func (e *engine) manual(req *engines.Request, tx engines.Tx, i *issuer, refs []string) ([]string, error) {
	var ids []string
	for _, ref := range refs {
		if ref == "self" {
			ref = i.ID
		}
		a, err := e.authority(req, tx, ref)
		if err != nil {
			return nil, err
		}
		if slices.Contains(ids, a.ID) {
			return nil, engines.Invalidf("manual_chain: an issuer is in it twice")
		}
		ids = append(ids, a.ID)
	}
	if len(ids) > 0 && ids[0] != i.ID {
		return nil, engines.Invalidf("manual_chain: it begins with the issuer itself")
	}
	return ids, nil
}

func (e *engine) deleteIssuer(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	a, err := e.authority(req, tx, req.Fields.String("issuer_ref"))
	if err != nil {
		return nil, err
	}
	resp := new(engines.Response)
	d, err := load[defaultIssuer](tx, issuersRow)
	if err != nil {
		return nil, err
	}
	if d != nil && d.Default == a.ID {
		d.Default = ""
		resp.Warnings = append(resp.Warnings, "Deleted issuer was the default: there is none now")
		if err := save(tx, issuersRow, d); err != nil {
			return nil, err
		}
	}
	return resp, e.forget(req.Mount, tx, a)
}

// forget removes an issuer, and keeps its key.
func (e *engine) forget(m engines.Mount, tx engines.Tx, a *authority) error {
	if a.Name != "" {
		if err := tx.Delete(nameDir + a.Name); err != nil {
			return err
		}
	}
	if err := tx.Delete(issuerDir + a.ID); err != nil {
		return err
	}
	return e.settle(m, tx, "")
}

// revokeIssuer has an issuer issue no more, and puts it on the list of the one that
// signed it, if that is here too.
func (e *engine) revokeIssuer(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	a, err := e.authority(req, tx, req.Fields.String("issuer_ref"))
	if err != nil {
		return nil, err
	}
	resp := new(engines.Response)
	if a.Revoked.IsZero() {
		i := *a.issuer
		i.Revoked = req.Now.UTC().Truncate(time.Second)
		i.Usage = slices.DeleteFunc(slices.Clone(i.Usage), func(u string) bool { return u == useIssue })
		if err := save(tx, issuerDir+i.ID, &i); err != nil {
			return nil, err
		}
		if err := e.listRevoked(req, tx, a); err != nil {
			return nil, err
		}
		if a, err = e.authority(req, tx, i.ID); err != nil {
			return nil, err
		}
	}
	if selfSigned(a.cert) {
		resp.Warnings = append(resp.Warnings, "the issuer is a root: whoever trusts it will not learn from a list that it is revoked")
	}
	resp.Data = a.show()
	return resp, nil
}

func (e *engine) listRevoked(req *engines.Request, tx engines.Tx, a *authority) error {
	if selfSigned(a.cert) {
		return nil
	}
	serial := certs.Serial(a.cert.SerialNumber)
	s, err := e.takeIn(req, tx, a.cert)
	if engines.KindOf(err) == engines.KindInvalid {
		return nil // it was signed elsewhere, and is on nobody's list here
	}
	if err != nil {
		return err
	}
	_, err = e.markRevoked(req.Mount, tx, serial, s, req.Now)
	return err
}

// ocspAlgorithm is what answers of OCSP are signed with, which the library does
// without PSS.
func ocspAlgorithm(a *authority) x509.SignatureAlgorithm {
	switch algorithm := a.algorithm(); algorithm {
	case x509.SHA256WithRSAPSS:
		return x509.SHA256WithRSA
	case x509.SHA384WithRSAPSS:
		return x509.SHA384WithRSA
	case x509.SHA512WithRSAPSS:
		return x509.SHA512WithRSA
	default:
		return algorithm
	}
}
