package pki

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
)

// undo is what a lease keeps of its certificate.
type undo struct {
	Serial string `json:"serial"`
}

// revokeLeases revokes the certificates of leases.
func (e *engine) revokeLeases(ctx context.Context, r *engines.Reach, batch []engines.Revocation) []error {
	out := make([]error, len(batch))
	err := r.Change(ctx, func(tx engines.Tx) error {
		for i := range batch {
			var u undo
			if err := json.Unmarshal(batch[i].Undo, &u); err != nil {
				out[i] = engines.Internal(err)
				continue
			}
			s, err := getCertificate(tx, u.Serial)
			if err != nil {
				return err
			}
			if s == nil {
				continue // tidied away, or never made
			}
			if _, err := e.markRevoked(r.Mount, tx, u.Serial, s, r.Now()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		for i := range out {
			out[i] = err
		}
	}
	return out
}

// markRevoked writes that a certificate is revoked, once. One that has ended is
// left alone unless config/crl wants it: then nil is returned.
func (e *engine) markRevoked(_ engines.Mount, tx engines.Tx, serial string, s *stored, now time.Time) (*revocation, error) {
	r, err := load[revocation](tx, revokedDir+serial)
	if err != nil || r != nil {
		return r, err
	}
	c, err := loadCRL(tx)
	if err != nil {
		return nil, err
	}
	if now.After(s.end) && !c.AllowExpired {
		return nil, nil
	}
	r = &revocation{At: now.UTC().Truncate(time.Second), Group: s.group, Issuer: s.issuer, End: s.end}
	if err := save(tx, revokedDir+serial, r); err != nil {
		return nil, err
	}
	if err := save(tx, entryDir+s.group+"/"+serial, entry{At: r.At}); err != nil {
		return nil, err
	}
	// Nobody reads the row before writing it, so revocations do not collide on it.
	if err := tx.Put(listDir+s.group+dirtyName, []byte(serial)); err != nil {
		return nil, err
	}
	if c.Auto || c.Disable {
		return r, nil
	}
	return r, scheduleLists(tx, s.group, time.Time{})
}

// named finds the certificate that a request to revoke names. One that was not
// stored is taken in if an issuer of the mount has signed it.
func (e *engine) named(req *engines.Request, tx engines.Tx) (serial string, s *stored, err error) {
	v := req.Fields
	text, number := v.String("certificate"), v.String("serial_number")
	switch {
	case text == "" && number == "":
		return "", nil, engines.Invalidf("the serial number or certificate to revoke was not provided")
	case text != "" && number != "":
		return "", nil, engines.Invalidf("must provide either the certificate or the serial to revoke; not both")
	case number != "":
		if serial, err = serialField(number); err != nil {
			return "", nil, err
		}
		if s, err = getCertificate(tx, serial); err == nil && s == nil {
			err = engines.Invalidf("certificate with serial %s not found", serial)
		}
		return serial, s, err
	}
	c, err := keys.ParseOne("certificate", text)
	if err != nil {
		return "", nil, err
	}
	serial = certs.Serial(c.SerialNumber)
	if s, err = getCertificate(tx, serial); err != nil {
		return "", nil, err
	}
	if s != nil {
		if string(s.der) != string(c.Raw) {
			return "", nil, engines.Invalidf("certificate: another one with this serial number was issued here")
		}
		return serial, s, nil
	}
	s, err = e.takeIn(req, tx, c)
	return serial, s, err
}

func (e *engine) takeIn(req *engines.Request, tx engines.Tx, c *x509.Certificate) (*stored, error) {
	all, err := e.all(req.Mount, tx)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if string(c.RawIssuer) == string(a.cert.RawSubject) && c.CheckSignatureFrom(a.cert) == nil {
			if err := putCertificate(tx, c, a.ID, a.group); err != nil {
				return nil, err
			}
			return &stored{end: c.NotAfter, issuer: a.ID, group: a.group, der: c.Raw}, nil
		}
	}
	return nil, engines.Invalidf("certificate: no issuer of this mount has signed it")
}

// revoke revokes a certificate; withKey wants its private key, as proof that it is
// the caller's own.
func (e *engine) revoke(withKey bool) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		serial, s, err := e.named(req, tx)
		if err != nil {
			return nil, err
		}
		if withKey {
			if err := owns(req.Fields.String("private_key"), s); err != nil {
				return nil, err
			}
		}
		own, err := e.isIssuer(req.Mount, tx, s)
		if err != nil {
			return nil, err
		}
		if own {
			return nil, engines.Invalidf("adding an issuer to its own CRL is not allowed: revoke it by issuer/:issuer_ref/revoke")
		}
		r, err := e.markRevoked(req.Mount, tx, serial, s, req.Now)
		if err != nil {
			return nil, err
		}
		if r == nil {
			return &engines.Response{Warnings: []string{"certificate with serial " + serial + " already expired; refusing to add to CRL"}}, nil
		}
		return &engines.Response{Data: map[string]any{
			"revocation_time": r.At.Unix(), "revocation_time_rfc3339": r.At.Format(time.RFC3339Nano), "state": "revoked",
		}}, nil
	}
}

// isIssuer reports whether a certificate is that of a self-signed issuer here.
func (e *engine) isIssuer(m engines.Mount, tx engines.Tx, s *stored) (bool, error) {
	all, err := e.all(m, tx)
	if err != nil {
		return false, err
	}
	for _, a := range all {
		if string(a.DER) == string(s.der) && selfSigned(a.cert) {
			return true, nil
		}
	}
	return false, nil
}

// owns checks that a private key is that of a certificate.
func owns(text string, s *stored) error {
	b, err := keys.ParseBundle("private_key", text)
	if err != nil {
		return err
	}
	c, err := x509.ParseCertificate(s.der)
	if err != nil {
		return engines.Internal(err)
	}
	if len(b.Keys) != 1 || len(b.Certificates) > 0 || !keys.Same(b.Keys[0].Public(), c.PublicKey) {
		return engines.Invalidf("private_key: it is not the key of the certificate")
	}
	return nil
}
