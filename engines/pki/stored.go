package pki

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
)

// stored is the row of an issued certificate: a version, the end, the issuer's id
// and its group, and the DER. It is binary since it is written most.
type stored struct {
	end    time.Time
	issuer string
	group  string
	der    []byte
}

const (
	storedVersion = 1
	idBytes       = 36
	groupBytes    = 32
	storedHead    = 1 + 8 + idBytes + groupBytes
)

func putCertificate(tx engines.Tx, c *x509.Certificate, issuerID, group string) error {
	row := make([]byte, 0, storedHead+len(c.Raw))
	row = append(row, storedVersion)
	row = binary.BigEndian.AppendUint64(row, uint64(c.NotAfter.Unix()))
	row = append(append(append(row, issuerID...), group...), c.Raw...)
	if len(row) != storedHead+len(c.Raw) {
		return engines.Internal(errors.New("an issuer's id or group has another length"))
	}
	return tx.Put(certDir+certs.Serial(c.SerialNumber), row)
}

func decodeStored(row []byte) (*stored, error) {
	if len(row) < storedHead || row[0] != storedVersion {
		return nil, engines.Internal(errors.New("a certificate's row is malformed"))
	}
	return &stored{
		end:    time.Unix(int64(binary.BigEndian.Uint64(row[1:])), 0).UTC(),
		issuer: string(row[9 : 9+idBytes]), group: string(row[9+idBytes : storedHead]), der: row[storedHead:],
	}, nil
}

// getCertificate reads a certificate's row by its serial number; nil if there is
// none.
func getCertificate(tx engines.Tx, serial string) (*stored, error) {
	entry, err := tx.Get(certDir + serial)
	if err != nil || entry == nil {
		return nil, err
	}
	return decodeStored(entry.Value)
}

// serialField reads a serial number as callers write it.
func serialField(text string) (string, error) {
	n, ok := certs.ParseSerial(text)
	if !ok {
		return "", engines.Invalidf("invalid serial number: expected hex, with colons or dashes between bytes")
	}
	return certs.Serial(n), nil
}

// revocation is the row that says that a certificate was revoked.
type revocation struct {
	At     time.Time `json:"at"`
	Group  string    `json:"group"`
	Issuer string    `json:"issuer"`
	End    time.Time `json:"end"`
}

func (e *engine) readCertificate(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	serial, err := serialField(req.Fields.String("serial"))
	if err != nil {
		return nil, err
	}
	s, err := getCertificate(tx, serial)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, engines.NotFound()
	}
	r, err := load[revocation](tx, revokedDir+serial)
	if err != nil {
		return nil, err
	}
	data := map[string]any{
		"certificate": keys.Certificate(s.der) + "\n", "revocation_time": int64(0), "revocation_time_rfc3339": "", "issuer_id": s.issuer,
	}
	if r != nil {
		data["revocation_time"], data["revocation_time_rfc3339"] = r.At.Unix(), r.At.UTC().Format(time.RFC3339Nano)
	}
	return &engines.Response{Data: data}, nil
}

// readCertificateRaw serves the certificate alone.
func (e *engine) readCertificateRaw(asPEM bool) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		serial, err := serialField(req.Fields.String("serial"))
		if err != nil {
			return nil, err
		}
		s, err := getCertificate(tx, serial)
		if err != nil {
			return nil, err
		}
		if s == nil {
			return nil, engines.NotFound()
		}
		return rawCertificate(s.der, asPEM), nil
	}
}

func rawCertificate(der []byte, asPEM bool) *engines.Response {
	if asPEM {
		return raw("application/pem-certificate-chain", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return raw("application/pkix-cert", der)
}

func raw(contentType string, body []byte) *engines.Response {
	return &engines.Response{Raw: &engines.Raw{Status: 200, ContentType: contentType, Body: body}}
}

// readDefaultCA serves the default issuer's certificate.
func (e *engine) readDefaultCA(asPEM bool) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		a, err := e.authority(req, tx, "default")
		if err != nil {
			return nil, err
		}
		return rawCertificate(a.DER, asPEM), nil
	}
}

// readCA answers the default issuer's certificate, or its chain, in JSON.
func (e *engine) readCA(chain bool) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		a, err := e.authority(req, tx, "default")
		if err != nil {
			return nil, err
		}
		text := keys.Certificate(a.DER)
		if chain {
			text = joinPEM(a.chain)
		}
		return &engines.Response{Data: map[string]any{
			"certificate": text, "ca_chain": joinPEM(a.chain), "issuer_id": a.ID, "revocation_time": int64(0), "revocation_time_rfc3339": "",
		}}, nil
	}
}

// readChain serves the default issuer's chain in PEM.
func (e *engine) readChain(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	a, err := e.authority(req, tx, "default")
	if err != nil {
		return nil, err
	}
	return raw("application/pem-certificate-chain", []byte(joinPEM(a.chain)+"\n")), nil
}

func joinPEM(chain []string) string {
	text := ""
	for i, part := range chain {
		if i > 0 {
			text += "\n"
		}
		text += part
	}
	return text
}

// page reads the fields of a listing.
func page(req *engines.Request) (engines.Page, error) {
	limit := req.Fields.Int("limit")
	if limit < -1 {
		return engines.Page{}, engines.Invalidf("limit cannot be negative")
	}
	return engines.Page{After: req.Fields.String("after"), Limit: int(max(0, limit))}, nil
}

// list lists the names of rows.
func list(dir string) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		p, err := page(req)
		if err != nil {
			return nil, err
		}
		return listed(tx, dir, p)
	}
}

// listPages is list for folders of any size: with a limit, in the store's own order.
func listPages(dir string) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		p, err := page(req)
		if err != nil {
			return nil, err
		}
		p.Unsorted = true
		return listed(tx, dir, p)
	}
}

func listed(tx engines.Tx, dir string, p engines.Page) (*engines.Response, error) {
	names, err := tx.List(dir, p)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, engines.NotFound()
	}
	return &engines.Response{Data: map[string]any{"keys": names}}, nil
}

// listInfo lists rows with what info says of each.
func listInfo(req *engines.Request, tx engines.Tx, dir string, info func(name string) (map[string]any, error)) (*engines.Response, error) {
	p, err := page(req)
	if err != nil {
		return nil, err
	}
	p.Unsorted = dir == certDir
	names, err := tx.List(dir, p)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, engines.NotFound()
	}
	all := make(map[string]any, len(names))
	for _, name := range names {
		about, err := info(name)
		if err != nil {
			return nil, err
		}
		all[name] = about
	}
	return &engines.Response{Data: map[string]any{"keys": names, "key_info": all}}, nil
}

// maxDetailed bounds a listing that reads what it lists.
const maxDetailed = 1000

// listDetailed lists certificates with what is in them.
func listDetailed(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	if limit := req.Fields.Int("limit"); limit <= 0 || limit > maxDetailed {
		values := req.Fields.Given()
		bounded := map[string]any{"limit": int64(maxDetailed)}
		if after, ok := values["after"]; ok {
			bounded["after"] = after
		}
		with := *req
		with.Fields = engines.NewValues(bounded, nil)
		req = &with
	}
	return listInfo(req, tx, certDir, func(serial string) (map[string]any, error) {
		s, err := getCertificate(tx, serial)
		if err != nil || s == nil {
			return nil, err
		}
		c, err := x509.ParseCertificate(s.der)
		if err != nil {
			return nil, engines.Internal(err)
		}
		return map[string]any{
			"common_name": c.Subject.CommonName, "not_before": c.NotBefore.Format(time.RFC3339), "not_after": c.NotAfter.Format(time.RFC3339),
			"issuer": c.Issuer.String(), "issuer_id": s.issuer, "subject": c.Subject.String(), "dns_names": orEmpty(c.DNSNames),
		}, nil
	})
}
