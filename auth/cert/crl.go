package cert

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"time"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

const crlDir = "crl/"

// maxCRLBytes bounds a CRL: it is kept in one row.
const maxCRLBytes = 700 << 10

// crlRow is the row of a CRL.
type crlRow struct {
	URL string `json:"url,omitempty"`
	DER []byte `json:"der"`
}

// revocations is a CRL that was parsed.
type revocations struct {
	list *x509.RevocationList
	// serials are numbers as they are written in decimal.
	serials map[string]bool
}

func parseCRL(value []byte) (*revocations, error) {
	var row crlRow
	if err := json.Unmarshal(value, &row); err != nil {
		return nil, err
	}
	list, err := x509.ParseRevocationList(row.DER)
	if err != nil {
		return nil, err
	}
	r := &revocations{list: list, serials: make(map[string]bool, len(list.RevokedCertificateEntries))}
	for _, revoked := range list.RevokedCertificateEntries {
		r.serials[revoked.SerialNumber.String()] = true
	}
	return r, nil
}

// loadCRLs gets all CRLs of the mount.
func (e *engine) loadCRLs(tx engines.Tx, mount engines.Mount) ([]*revocations, error) {
	names, err := tx.List(crlDir, engines.Page{})
	if err != nil {
		return nil, err
	}
	var out []*revocations
	for _, name := range names {
		r, ok, err := e.crls.of(tx, mount, crlDir+name, parseCRL)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, r)
		}
	}
	return out, nil
}

// isOf reports whether a CRL is that of a certificate's issuer. Where both name
// the issuer's key, the key decides: an issuer keeps its name over its keys.
func (r *revocations) isOf(c *x509.Certificate) bool {
	if len(r.list.AuthorityKeyId) > 0 && len(c.AuthorityKeyId) > 0 {
		return bytes.Equal(r.list.AuthorityKeyId, c.AuthorityKeyId)
	}
	return bytes.Equal(r.list.RawIssuer, c.RawIssuer)
}

// current reports whether a CRL can tell that a certificate is not revoked: its
// time is not over and, as far as the issuer is known, it signed the CRL.
func (r *revocations) current(issuer *x509.Certificate, now time.Time) bool {
	if !r.list.NextUpdate.IsZero() && !now.Before(r.list.NextUpdate) {
		return false
	}
	return issuer == nil || r.list.CheckSignatureFrom(issuer) == nil
}

// notRevoked refuses a chain if a CRL names one of its certificates, or if
// there are CRLs of an issuer and none of them is current.
func (j *judge) notRevoked(chain []*x509.Certificate) error {
	for i, c := range chain {
		var issuer *x509.Certificate
		if i+1 < len(chain) {
			issuer = chain[i+1]
		}
		known, current := false, false
		for _, r := range j.crls {
			if !r.isOf(c) {
				continue
			}
			if r.serials[c.SerialNumber.String()] {
				return errNoMatch
			}
			known = true
			current = current || r.current(issuer, j.now)
		}
		if known && !current && !j.config.CRLFailOpen {
			return engines.Invalidf("the CRL of the certificate's issuer has expired or is not signed by it: write a new one")
		}
	}
	return nil
}

func listCRLs(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return auth.List(req, tx, crlDir)
}

func deleteCRL(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := auth.Name(req, "name")
	if err != nil {
		return nil, err
	}
	return nil, tx.Delete(crlDir + name)
}

func readCRL(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := auth.Name(req, "name")
	if err != nil {
		return nil, err
	}
	entry, err := tx.Get(crlDir + name)
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, engines.NotFound()
	}
	var row crlRow
	if err := json.Unmarshal(entry.Value, &row); err != nil {
		return nil, engines.Internal(err)
	}
	r, err := parseCRL(entry.Value)
	if err != nil {
		return nil, engines.Internal(err)
	}
	serials := make(map[string]any, len(r.serials))
	for n := range r.serials {
		serials[n] = struct{}{}
	}
	out := map[string]any{"serials": serials, "valid_until": r.list.NextUpdate, "cdp": nil}
	if row.URL != "" {
		out["cdp"] = map[string]any{"url": row.URL, "valid_until": r.list.NextUpdate}
	}
	return &engines.Response{Data: out}, nil
}

// fetching gets the CRL that is to be stored from where it is.
func (e *engine) fetching(_ context.Context, req *engines.Request, _ engines.Tx) (func(context.Context) (any, error), error) {
	from := req.Fields.String("url")
	if from == "" || req.Fields.String("crl") != "" {
		return nil, nil
	}
	if !isURL(from) {
		return nil, engines.Invalidf("url: expected a URL of http or https")
	}
	return func(ctx context.Context) (any, error) {
		text, err := e.fetch(ctx, http.MethodGet, from, "", nil, maxCRLBytes)
		if err != nil {
			return nil, &engines.Error{Kind: engines.KindUpstream, Message: "url: the CRL cannot be had from there", Cause: err}
		}
		return text, nil
	}, nil
}

func (e *engine) writeCRL(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, err := auth.Name(req, "name")
	if err != nil {
		return nil, err
	}
	text, from := []byte(req.Fields.String("crl")), req.Fields.String("url")
	field := "crl"
	resp := new(engines.Response)
	switch {
	case (len(text) > 0) == (from != ""):
		return nil, engines.Invalidf("one of crl and url is required")
	case from != "":
		field = "url"
		text, _ = req.Ahead.([]byte)
		resp.Warnings = []string{"The CRL was fetched once: write it again before it expires."}
	}
	if block, _ := pem.Decode(text); block != nil {
		text = block.Bytes
	}
	if list, err := x509.ParseRevocationList(text); len(text) > maxCRLBytes || err != nil || list == nil {
		return nil, engines.Invalidf("%s: expected a CRL in PEM of at most %d bytes", field, maxCRLBytes)
	}
	value, err := json.Marshal(crlRow{URL: from, DER: text})
	if err != nil {
		return nil, engines.Internal(err)
	}
	return resp, tx.Put(crlDir+name, value)
}

// fetch asks a server outside, once, and reads an answer of at most limit bytes.
func (e *engine) fetch(ctx context.Context, method, url, contentType string, body []byte, limit int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, upstreamTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, errUpstream
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err == nil && int64(len(text)) > limit {
		err = errUpstream
	}
	return text, err
}
