package pki

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
	"github.com/coffer-secrets/coffer/engines/pki/lists"
)

// The forms in which lists are served.
const (
	asDER = iota
	asPEM
	asJSON
	// asCRL is the JSON of paths with an issuer.
	asCRL
)

// readCRL serves the list of the issuer that the path names, or of the default.
func (e *engine) readCRL(kind string, as int) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		a, err := e.authority(req, tx, req.Fields.String("issuer_ref"))
		if err != nil {
			return nil, err
		}
		der, err := readList(tx, a.group, kind)
		if err != nil {
			return nil, err
		}
		text := []byte(nil)
		if len(der) > 0 {
			text = pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
		}
		switch as {
		case asJSON:
			return &engines.Response{Data: map[string]any{
				"certificate": string(text), "issuer_id": a.ID, "revocation_time": int64(0), "revocation_time_rfc3339": "", "ca_chain": "",
			}}, nil
		case asCRL:
			return &engines.Response{Data: map[string]any{"crl": string(text)}}, nil
		}
		switch {
		case len(der) == 0:
			return &engines.Response{Raw: &engines.Raw{Status: 204, ContentType: "application/pkix-crl"}}, nil
		case as == asPEM:
			return raw("application/x-pem-file", text), nil
		}
		return raw("application/pkix-crl", der), nil
	}
}

// maxWaited is how long a list may be for a caller to wait until it is signed.
const maxWaited = 5000

// signingLists signs the lists of all groups while the caller waits, if they are
// short. Longer ones are signed in the background.
func (e *engine) signingLists(kind string) engines.Ahead {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (func(ctx context.Context) (any, error), error) {
		groups, err := e.groups(req.Mount, tx)
		if err != nil {
			return nil, err
		}
		var ready []*build
		for _, group := range groups {
			b, err := e.collect(req.Mount, tx, group, kind, maxWaited)
			if errors.Is(err, errTooMany) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if b != nil && (kind == fullKind || b.head.Full.Number > 0) {
				ready = append(ready, b)
			}
		}
		return func(context.Context) (any, error) {
			for _, b := range ready {
				if err := b.sign(req.Now); err != nil {
					return nil, err
				}
			}
			return ready, nil
		}, nil
	}
}

// groups are those of the issuers, each once.
func (e *engine) groups(m engines.Mount, tx engines.Tx) ([]string, error) {
	all, err := e.all(m, tx)
	if err != nil {
		return nil, err
	}
	var out []string
	seen := make(map[string]bool)
	for _, a := range all {
		if !seen[a.group] {
			seen[a.group] = true
			out = append(out, a.group)
		}
	}
	return out, nil
}

func (e *engine) rotateLists(kind string) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		ready, ok := req.Ahead.([]*build)
		if !ok {
			return nil, engines.ErrStale
		}
		groups, err := e.groups(req.Mount, tx)
		if err != nil {
			return nil, err
		}
		done := make(map[string]bool)
		for _, b := range ready {
			for i := range b.list.Parts {
				if err := b.putPart(tx, i); err != nil {
					return nil, err
				}
			}
			if err := b.publish(tx, req.Now); errors.Is(err, errOvertaken) {
				return nil, engines.ErrStale
			} else if err != nil {
				return nil, err
			}
			done[b.group] = true
		}
		for _, group := range groups {
			if done[group] {
				continue
			}
			name := "list/" + group
			if kind == deltaKind {
				name = "delta/" + group
			}
			if err := tx.Schedule(name, soon); err != nil {
				return nil, err
			}
		}
		return &engines.Response{Data: map[string]any{"success": true}}, nil
	}
}

func (c *crlConfig) show() map[string]any {
	return map[string]any{
		"expiry": c.Expiry, "disable": c.Disable, "ocsp_disable": c.OCSPDisable, "ocsp_expiry": c.OCSPExpiry, "auto_rebuild": c.Auto,
		"auto_rebuild_grace_period": c.Grace, "enable_delta": c.Delta, "delta_rebuild_interval": c.Interval,
		"allow_expired_cert_revocation": c.AllowExpired,
	}
}

func readCRLConfig(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := loadCRL(tx)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: c.show()}, nil
}

// maxListTTL bounds how long a list may be good.
const maxListTTL = 10 * 365 * 24 * time.Hour

func (c *crlConfig) set(v engines.Values) error {
	for name, to := range map[string]*bool{
		"disable": &c.Disable, "ocsp_disable": &c.OCSPDisable, "auto_rebuild": &c.Auto, "enable_delta": &c.Delta,
		"allow_expired_cert_revocation": &c.AllowExpired,
	} {
		if v.Has(name) {
			*to = v.Bool(name)
		}
	}
	for name, to := range map[string]*string{
		"expiry": &c.Expiry, "ocsp_expiry": &c.OCSPExpiry, "auto_rebuild_grace_period": &c.Grace, "delta_rebuild_interval": &c.Interval,
	} {
		if !v.Has(name) {
			continue
		}
		*to = v.String(name)
		if d, ok := engines.ParseSeconds(*to); !ok || d < 0 || d > maxListTTL || d == 0 && name != "ocsp_expiry" {
			return engines.Invalidf("%s: expected a duration such as 72h", name)
		}
	}
	switch {
	case c.Auto && duration(c.Grace) >= duration(c.Expiry):
		return engines.Invalidf("CRL auto-rebuilding grace period (%s) must be strictly shorter than CRL expiry (%s) value when auto-rebuilding of CRLs is enabled", c.Grace, c.Expiry)
	case c.Delta && !c.Auto:
		return engines.Invalidf("Delta CRLs cannot be enabled when auto rebuilding is disabled as the complete CRL is always regenerated!")
	case c.Delta && duration(c.Interval) < 10*time.Second:
		return engines.Invalidf("delta_rebuild_interval: at least 10s")
	case c.Delta && duration(c.Interval) >= duration(c.Expiry):
		return engines.Invalidf("delta_rebuild_interval: has to be shorter than expiry")
	}
	return nil
}

func (e *engine) writeCRLConfig(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := loadCRL(tx)
	if err != nil {
		return nil, err
	}
	if err := c.set(req.Fields); err != nil {
		return nil, err
	}
	groups, err := e.groups(req.Mount, tx)
	if err != nil {
		return nil, err
	}
	for _, group := range groups {
		if err := scheduleLists(tx, group, time.Time{}); err != nil {
			return nil, err
		}
	}
	return &engines.Response{Data: c.show()}, save(tx, crlRow, c)
}

// answerOCSP answers what became of a certificate. What cannot be answered has an
// answer of the protocol too, which says why.
func (e *engine) answerOCSP(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	body, err := e.ocsp(req, tx)
	if err != nil {
		if engines.KindOf(err) == engines.KindInternal {
			return nil, err
		}
		body = lists.Failed
	}
	return raw("application/ocsp-response", body), nil
}

// question reads a request: base64 in either alphabet.
func question(text string) (*lists.Question, bool) {
	if len(text) > lists.MaxRequest*2 {
		return nil, false
	}
	der, err := base64.StdEncoding.DecodeString(strings.NewReplacer(" ", "+", "-", "+", "_", "/").Replace(text))
	if err != nil {
		return nil, false
	}
	return lists.Read(der)
}

func (e *engine) ocsp(req *engines.Request, tx engines.Tx) ([]byte, error) {
	config, err := loadCRL(tx)
	if err != nil {
		return nil, err
	}
	q, ok := question(req.Fields.String("req"))
	switch {
	case config.OCSPDisable:
		return lists.Unauthorized, nil
	case !ok:
		return lists.Malformed, nil
	}
	all, err := e.all(req.Mount, tx)
	if err != nil {
		return nil, err
	}
	for _, a := range all {
		if !q.Names(a.cert) {
			continue
		}
		by, err := e.signer(req.Mount, tx, a.ID, useOCSP)
		if engines.KindOf(err) == engines.KindInvalid {
			continue
		}
		if err != nil {
			return nil, err
		}
		r, err := load[revocation](tx, revokedDir+certs.Serial(q.Serial()))
		if err != nil {
			return nil, err
		}
		var revoked time.Time
		if r != nil && r.Group == a.group {
			revoked = r.At
		}
		out, err := q.Answer(by.cert, by.key, ocspAlgorithm(by), revoked, req.Now.UTC(), duration(config.OCSPExpiry))
		if err != nil {
			return nil, engines.Internal(err)
		}
		return out, nil
	}
	return lists.Unauthorized, nil
}

// issuerJSON answers an issuer's certificate without what is not for all.
func (e *engine) issuerJSON(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	a, err := e.authority(req, tx, req.Fields.String("issuer_ref"))
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: map[string]any{
		"certificate": keys.Certificate(a.DER) + "\n", "ca_chain": orEmpty(a.chain), "issuer_id": a.ID, "issuer_name": a.Name,
	}}, nil
}

func (e *engine) issuerRaw(pemForm bool) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		a, err := e.authority(req, tx, req.Fields.String("issuer_ref"))
		if err != nil {
			return nil, err
		}
		return rawCertificate(a.DER, pemForm), nil
	}
}
