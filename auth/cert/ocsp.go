package cert

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	maxOCSPBytes = 64 << 10
	// clockSkew is how far a responder's clock may be ahead or behind.
	clockSkew = 5 * time.Minute
	// undated is how long an answer without an end counts.
	undated = 24 * time.Hour
)

var (
	errUpstream = errors.New("cert: the answer is not what was asked for, or too long")
	errRevoked  = engines.Invalidf("failed to match all constraints for this login certificate: it is revoked")
	errUnknown  = engines.Invalidf("failed to match all constraints for this login certificate: no OCSP responder vouches for it")
)

// askOCSP refuses the caller's certificate if a responder says that it is
// revoked or, unless the role fails open, if none says that it is good.
func (j *judge) askOCSP(ctx context.Context, t *trusted, issuer *x509.Certificate) error {
	leaf, good := j.peers[0], false
	servers := t.OCSP.Servers
	if len(servers) == 0 {
		servers = leaf.OCSPServer[:min(len(leaf.OCSPServer), maxServers)]
	}
	if issuer == nil {
		servers = nil // nobody's answer could be checked
	}
	q := question{leaf: leaf, issuer: issuer, signers: append([]*x509.Certificate{issuer}, t.ocspCAs...), now: j.now}
	for _, server := range servers {
		status, err := j.status(ctx, &q, server)
		switch {
		case err != nil || status == ocsp.Unknown:
			continue
		case status == ocsp.Revoked:
			return errRevoked
		}
		if good = true; !t.OCSP.QueryAll {
			break
		}
	}
	if good || t.OCSP.FailOpen {
		return nil
	}
	return errUnknown
}

// question is whether a certificate is revoked, and who may answer.
type question struct {
	leaf, issuer *x509.Certificate
	signers      []*x509.Certificate
	now          time.Time
}

// key is that of what is kept of an answer: all that it depends on.
func (q *question) key(server string) [sha256.Size]byte {
	h := sha256.New()
	h.Write(q.leaf.Raw)
	for _, c := range q.signers {
		h.Write(c.Raw)
	}
	h.Write([]byte(server))
	return [sha256.Size]byte(h.Sum(nil))
}

// status is what one responder says.
func (j *judge) status(ctx context.Context, q *question, server string) (int, error) {
	key := q.key(server)
	if status, ok := j.ocsp.get(key, q.now); ok {
		return status, nil
	}
	if !isURL(server) {
		return 0, errUpstream
	}
	asked, err := ocsp.CreateRequest(q.leaf, q.issuer, nil)
	if err != nil {
		return 0, err
	}
	text, err := j.fetch(ctx, http.MethodPost, server, "application/ocsp-request", asked, maxOCSPBytes)
	if err != nil {
		return 0, err
	}
	resp, err := q.check(asked, text)
	if err != nil {
		return 0, err
	}
	if !resp.NextUpdate.IsZero() && resp.Status != ocsp.Unknown {
		j.ocsp.put(key, answer{resp.Status, resp.NextUpdate}, j.config.OCSPCacheSize)
	}
	return resp.Status, nil
}

// check accepts an answer to what was asked from the issuer, from one of the
// other CAs, or from a responder that one of these made a responder.
func (q *question) check(asked, text []byte) (*ocsp.Response, error) {
	for _, signer := range q.signers {
		resp, err := ocsp.ParseResponseForCert(text, q.leaf, signer)
		if err != nil {
			continue
		}
		if c := resp.Certificate; c != nil && !bytes.Equal(c.Raw, signer.Raw) {
			// The library leaves it to us that not every certificate of the CA
			// may answer for it.
			if !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) || q.now.Before(c.NotBefore) || q.now.After(c.NotAfter) {
				continue
			}
		}
		if sameIssuer(asked, resp) && q.fresh(resp) {
			return resp, nil
		}
	}
	return nil, errUpstream
}

func (q *question) fresh(resp *ocsp.Response) bool {
	end := resp.NextUpdate
	if end.IsZero() {
		end = resp.ThisUpdate.Add(undated)
	}
	return !resp.ThisUpdate.After(q.now.Add(clockSkew)) && q.now.Before(end.Add(clockSkew))
}

// responseData is the part of an answer (RFC 6960, 4.2.1) that says which
// certificate it is about: the library compares its serial number only, and a
// CA that answers for several issuers may have used a number twice.
type responseData struct {
	Version     int `asn1:"optional,default:0,explicit,tag:0"`
	ResponderID asn1.RawValue
	ProducedAt  time.Time `asn1:"generalized"`
	Responses   []singleResponse
}

type singleResponse struct{ ID certID }

type certID struct {
	Algorithm pkix.AlgorithmIdentifier
	NameHash  []byte
	KeyHash   []byte
	Serial    *big.Int
}

func sameIssuer(asked []byte, resp *ocsp.Response) bool {
	want, err := ocsp.ParseRequest(asked)
	if err != nil || resp.IssuerHash != want.HashAlgorithm || want.HashAlgorithm == crypto.Hash(0) {
		return false
	}
	var data responseData
	if _, err := asn1.Unmarshal(resp.TBSResponseData, &data); err != nil {
		return false
	}
	for _, r := range data.Responses { // the library takes the first with the number
		if r.ID.Serial.Cmp(want.SerialNumber) == 0 {
			return bytes.Equal(r.ID.NameHash, want.IssuerNameHash) && bytes.Equal(r.ID.KeyHash, want.IssuerKeyHash)
		}
	}
	return false
}

// answers keeps what responders said. It is safe for concurrent use.
type answers struct {
	mu   sync.Mutex
	kept map[[sha256.Size]byte]answer
}

type answer struct {
	status int
	until  time.Time
}

func (a *answers) get(key [sha256.Size]byte, now time.Time) (int, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	got, ok := a.kept[key]
	return got.status, ok && now.Before(got.until)
}

func (a *answers) put(key [sha256.Size]byte, got answer, limit int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kept == nil || len(a.kept) >= limit {
		a.kept = make(map[[sha256.Size]byte]answer)
	}
	a.kept[key] = got
}
