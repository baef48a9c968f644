package pki

import (
	"bytes"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
	"github.com/coffer-secrets/coffer/engines/pki/lists"
)

// crossSign makes a CSR of a key that is here.
func (e *engine) crossSign(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	if how := req.Fields.String("exported"); how != "existing" {
		return nil, engines.Invalidf("a CSR to cross-sign is made of a key that is here: leave exported out")
	}
	return e.generateIntermediate(ctx, req, tx)
}

// maxLines bounds lists that are signed while the caller waits.
const maxLines = 20000

// listOf reads what both ways to sign a list have in common.
func (e *engine) listOf(req *engines.Request, tx engines.Tx) (*authority, *lists.List, error) {
	v := req.Fields
	a, err := e.signer(req.Mount, tx, v.String("issuer_ref"), useCRL)
	if err != nil {
		return nil, nil, err
	}
	next, ok := engines.ParseSeconds(v.String("next_update"))
	if !ok || next <= 0 || next > maxListTTL {
		return nil, nil, engines.Invalidf("next_update: expected a duration such as 72h")
	}
	if v.Int("crl_number") < 0 || !v.Has("crl_number") {
		return nil, nil, engines.Invalidf("crl_number: expected the number of the list, 0 or more")
	}
	now := req.Now.UTC().Truncate(time.Second)
	l := &lists.List{Number: big.NewInt(v.Int("crl_number")), This: now, Next: now.Add(next)}
	switch base := v.Int("delta_crl_base_number"); {
	case base < -1 || base >= 0 && base >= v.Int("crl_number"):
		return nil, nil, engines.Invalidf("delta_crl_base_number: expected a number below crl_number, or -1")
	case base >= 0:
		l.Base = big.NewInt(base)
	}
	switch v.String("format") {
	case "pem", "der":
	default:
		return nil, nil, engines.Invalidf("format: expected pem or der")
	}
	return a, l, nil
}

func signedList(req *engines.Request, a *authority, l *lists.List) (*engines.Response, error) {
	if len(l.Entries) > maxLines {
		return nil, engines.Invalidf("a list that is signed by request has at most %d lines", maxLines)
	}
	der, err := l.Sign(a.cert, a.key, a.algorithm())
	if err != nil {
		return nil, engines.Invalidf("the list cannot be made of what was given: an extension or number in it is malformed")
	}
	text := keys.CRL(der)
	if req.Fields.String("format") == "der" {
		text = base64.StdEncoding.EncodeToString(der)
	}
	return &engines.Response{Data: map[string]any{"crl": text}}, nil
}

// resignLists makes one list of several that the issuer's key has signed.
func (e *engine) resignLists(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	a, l, err := e.listOf(req, tx)
	if err != nil {
		return nil, err
	}
	seen := make(map[string]bool)
	total := 0
	for _, text := range req.Fields.Strings("crls") {
		if total += len(text); total > 4*keys.MaxPEM {
			return nil, engines.Invalidf("crls: more than 2 MiB together")
		}
		b, _ := pem.Decode([]byte(text))
		if b == nil || b.Type != "X509 CRL" {
			return nil, engines.Invalidf("crls: expected lists in PEM")
		}
		old, err := x509.ParseRevocationList(b.Bytes)
		if err != nil || !bytes.Equal(old.RawIssuer, a.cert.RawSubject) || old.CheckSignatureFrom(a.cert) != nil {
			return nil, engines.Invalidf("crls: a list cannot be read, or was not signed by the issuer")
		}
		for _, line := range old.RevokedCertificateEntries {
			if serial := line.SerialNumber.String(); !seen[serial] {
				seen[serial] = true
				l.Entries = append(l.Entries, x509.RevocationListEntry{
					SerialNumber: line.SerialNumber, RevocationTime: line.RevocationTime, ReasonCode: line.ReasonCode,
				})
			}
		}
	}
	if total == 0 {
		return nil, engines.Invalidf("crls: expected lists in PEM")
	}
	return signedList(req, a, l)
}

// givenLine and givenExtension are what sign-revocation-list takes.
type givenLine struct {
	Serial     string           `json:"serial_number"`
	At         string           `json:"revocation_time"`
	Extensions []givenExtension `json:"extensions"`
}

type givenExtension struct {
	ID       string `json:"id"`
	Critical bool   `json:"critical"`
	Value    string `json:"value"`
}

func extensionsOf(list []givenExtension) ([]pkix.Extension, error) {
	var out []pkix.Extension
	for _, given := range list {
		id, ok := certs.ParseOID(given.ID)
		value, err := base64.StdEncoding.DecodeString(given.Value)
		if !ok || err != nil {
			return nil, engines.Invalidf("extensions: expected objects with id, an OID, and value, in base64")
		}
		if text := id.String(); text == "2.5.29.20" || text == "2.5.29.27" || text == "2.5.29.35" {
			return nil, engines.Invalidf("extensions: %s is said by the other fields", text)
		}
		out = append(out, pkix.Extension{Id: id, Critical: given.Critical, Value: value})
	}
	return out, nil
}

// signList signs a list of what is given.
func (e *engine) signList(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	a, l, err := e.listOf(req, tx)
	if err != nil {
		return nil, err
	}
	var lines []givenLine
	var extensions []givenExtension
	if text := req.Fields.JSON("revoked_certs"); len(text) > 0 && json.Unmarshal(text, &lines) != nil {
		return nil, engines.Invalidf("revoked_certs: expected objects with serial_number and revocation_time")
	}
	if text := req.Fields.JSON("extensions"); len(text) > 0 && json.Unmarshal(text, &extensions) != nil {
		return nil, engines.Invalidf("extensions: expected objects with id, an OID, and value, in base64")
	}
	if l.Extra, err = extensionsOf(extensions); err != nil {
		return nil, err
	}
	for _, line := range lines {
		serial, ok := certs.ParseSerial(line.Serial)
		if !ok {
			return nil, engines.Invalidf("revoked_certs: a serial_number is not hex")
		}
		at := req.Now
		if strings.TrimSpace(line.At) != "" {
			if at, err = certs.ParseTime("revocation_time", line.At); err != nil {
				return nil, err
			}
		}
		out := x509.RevocationListEntry{SerialNumber: serial, RevocationTime: at.UTC()}
		if out.ExtraExtensions, err = extensionsOf(line.Extensions); err != nil {
			return nil, err
		}
		l.Entries = append(l.Entries, out)
	}
	return signedList(req, a, l)
}
