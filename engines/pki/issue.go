package pki

import (
	"context"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
	"github.com/coffer-secrets/coffer/engines/pki/roles"
)

// role loads a role, nil if there is none.
func (e *engine) role(req *engines.Request, tx engines.Tx, name string) (*roles.Role, error) {
	return e.roles.get(req.Mount, tx, roleDir+name, roles.Decode)
}

func (e *engine) needRole(req *engines.Request, tx engines.Tx) (*roles.Role, error) {
	name := req.Fields.String("role")
	r, err := e.role(req, tx, name)
	if err == nil && r == nil {
		err = engines.Invalidf("unknown role: %s", name)
	}
	return r, err
}

// wantedKind is the kind of key that a request is answered with: the role's, or
// for a role that takes any the caller's.
func wantedKind(r *roles.Role, v engines.Values) (keys.Kind, error) {
	typ, bits := r.Key.Type, r.Key.Bits
	asked := v.String("key_type")
	switch {
	case typ == keys.Any && asked == "":
		return keys.Kind{}, engines.Invalidf("role key type \"any\" not allowed for issuing certificates, only signing")
	case typ == keys.Any:
		return keys.Of(asked, v.Int("key_bits"))
	case asked != "" && asked != typ:
		return keys.Kind{}, engines.Invalidf("key_type: the role has keys of type %s", typ)
	}
	want, err := keys.Of(typ, bits)
	if err != nil || v.Int("key_bits") == 0 {
		return want, err
	}
	got, err := keys.Of(typ, v.Int("key_bits"))
	if err == nil && got.Bits < want.Bits {
		err = engines.Invalidf("key_bits: the role requires at least %d", want.Bits)
	}
	return got, err
}

// preparingKey makes an RSA key outside of the transaction. Other keys are made
// faster than a transaction is begun anew, so they are made inside of it.
func (e *engine) preparingKey(_ context.Context, req *engines.Request, tx engines.Tx) (func(ctx context.Context) (any, error), error) {
	r, err := e.needRole(req, tx)
	if err != nil {
		return nil, err
	}
	kind, err := wantedKind(r, req.Fields)
	if err != nil || !kind.Slow() {
		return nil, err
	}
	return makeKey(kind), nil
}

// issue makes a key and a certificate by a role.
func (e *engine) issue(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	r, err := e.needRole(req, tx)
	if err != nil {
		return nil, err
	}
	kind, err := wantedKind(r, req.Fields)
	if err != nil {
		return nil, err
	}
	ask, err := roles.ReadAsk(req)
	if err != nil {
		return nil, err
	}
	j, err := e.begin(req, tx, r, ask)
	if err != nil {
		return nil, err
	}
	if j.key, err = newKey(req, kind); err != nil {
		return nil, err
	}
	return j.finish(tx, j.key.Public())
}

// sign makes a certificate of a CSR by a role.
func (e *engine) sign(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	r, err := e.needRole(req, tx)
	if err != nil {
		return nil, err
	}
	return e.signBy(req, tx, r)
}

func (e *engine) signBy(req *engines.Request, tx engines.Tx, r *roles.Role) (*engines.Response, error) {
	csr, err := keys.ParseCSR(req.Fields.String("csr"))
	if err != nil {
		return nil, err
	}
	ask, err := roles.ReadAsk(req)
	if err != nil {
		return nil, err
	}
	ask.CSR = csr
	j, err := e.begin(req, tx, r, ask)
	if err != nil {
		return nil, err
	}
	if asksToBeCA(csr) {
		j.warnings = append(j.warnings, "the CSR asks to be a CA, which certificates of this path never are")
	}
	return j.finish(tx, csr.PublicKey)
}

// asksToBeCA reports whether a CSR has basic constraints that say so.
func asksToBeCA(csr *x509.CertificateRequest) bool {
	return slices.ContainsFunc(csr.Extensions, func(ext pkix.Extension) bool {
		return ext.Id.Equal(oidBasicConstraints) && len(ext.Value) > 2 // an empty sequence is none
	})
}

// job is a certificate on its way.
type job struct {
	req      *engines.Request
	role     *roles.Role
	by       *authority
	form     form
	template *x509.Certificate
	key      crypto.Signer
	warnings []string
}

// refFor is who signs by a role: the issuer in the path, and without one that of
// the role. A body does not choose: policies are written for paths.
func refFor(req *engines.Request, r *roles.Role) string {
	if strings.HasPrefix(req.Path, "issuer/") {
		return req.Fields.String("issuer_ref")
	}
	return r.Ways.Issuer
}

func (e *engine) begin(req *engines.Request, tx engines.Tx, r *roles.Role, ask *roles.Ask) (*job, error) {
	j := &job{req: req, role: r}
	var err error
	if j.form, err = formOf(req.Fields); err != nil {
		return nil, err
	}
	if j.by, err = e.signer(req.Mount, tx, refFor(req, r), useIssue); err != nil {
		return nil, err
	}
	if j.template, j.warnings, err = r.Template(ask); err != nil {
		return nil, err
	}
	if err := j.by.limit(j.template, false); err != nil {
		return nil, err
	}
	j.template.SignatureAlgorithm, err = keys.SignatureAlgorithm(j.by.cert.PublicKey, r.Key.SignatureBits, r.Key.PSS)
	return j, err
}

// complete gives a template what comes from its issuer.
func (a *authority) complete(tx engines.Tx, c *x509.Certificate, public crypto.PublicKey) error {
	u, err := urlsFor(tx, a)
	if err != nil {
		return err
	}
	c.IssuingCertificateURL, c.CRLDistributionPoints, c.OCSPServer = u.Issuing, u.CRL, u.OCSP
	if err := certs.FreshestCRL(c, u.Delta); err != nil {
		return err
	}
	if c.SubjectKeyId == nil {
		if c.SubjectKeyId, err = keys.SubjectKeyID(public); err != nil {
			return engines.Internal(err)
		}
	}
	c.AuthorityKeyId, c.SerialNumber = a.cert.SubjectKeyId, certs.NewSerial()
	return nil
}

func (j *job) finish(tx engines.Tx, public crypto.PublicKey) (*engines.Response, error) {
	var err error
	if j.template.KeyUsage, err = certs.Usable(j.template.KeyUsage, public); err != nil {
		return nil, err
	}
	if err := j.by.complete(tx, j.template, public); err != nil {
		return nil, err
	}
	cert, err := certs.Make(j.template, j.by.cert, public, j.by.key)
	if err != nil {
		return nil, err
	}
	chain := j.by.chain
	if j.req.Fields.Bool("remove_roots_from_chain") {
		chain = slices.Clone(chain)
		if last := j.by.Chain[len(j.by.Chain)-1]; isRoot(last) {
			chain = chain[:len(chain)-1]
		}
	}
	data, err := j.form.answer(&made{cert: cert, issuing: j.by.DER, chain: chain, key: j.key})
	if err != nil {
		return nil, err
	}
	if !j.role.Ways.NoStore {
		if err := putCertificate(tx, cert, j.by.ID, j.by.group); err != nil {
			return nil, err
		}
	}
	if !j.role.Ways.Lease {
		return &engines.Response{Data: data, Warnings: j.warnings}, nil
	}
	return j.lease(cert, data)
}

func isRoot(der []byte) bool {
	c, err := x509.ParseCertificate(der)
	return err == nil && selfSigned(c)
}

// lease has the certificate revoked when its lease is. It is stored together with
// the pending lease, so that whatever becomes of the answer, the two go together.
func (j *job) lease(cert *x509.Certificate, data map[string]any) (*engines.Response, error) {
	serial := certs.Serial(cert.SerialNumber)
	undo, err := json.Marshal(undo{Serial: serial})
	if err != nil {
		return nil, engines.Internal(err)
	}
	ttl := cert.NotAfter.Sub(j.req.Now).Truncate(time.Second)
	return &engines.Response{Grant: &engines.Grant{
		Role: j.req.Fields.String("role"), What: map[string]string{"serial_number": serial}, Undo: undo, TTL: ttl, MaxTTL: ttl,
		Warnings: j.warnings,
		Create:   func(context.Context, *engines.Granted) (any, error) { return data, nil },
	}}, nil
}
