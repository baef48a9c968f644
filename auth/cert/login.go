package cert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

// loginTimeout bounds all that a login waits for responders.
const loginTimeout = 10 * time.Second

// errNoMatch is that a role does not fit; the next may.
var errNoMatch = engines.Invalidf("failed to match all constraints for this login certificate")

// login lets in whom a role trusts. What responders say was asked ahead.
func (e *engine) login(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	asked, _ := req.Ahead.(verdicts)
	j, roles, err := e.judge(req, tx)
	if err != nil {
		return nil, err
	}
	j.ask = func(t *trusted, issuer *x509.Certificate) error {
		verdict, ok := asked[j.subject(t, issuer)]
		if !ok {
			return engines.ErrStale
		}
		return verdict
	}
	failed := error(errNoMatch)
	for _, t := range roles {
		err = j.fits(t)
		if err == nil {
			return &engines.Response{Auth: t.auth(j.peers[0], j.config)}, nil
		}
		if engines.KindOf(err) != engines.KindInvalid {
			return nil, err
		}
		if errors.Is(failed, errNoMatch) {
			failed = err // what says more than that nothing matches
		}
	}
	return nil, failed
}

// asking asks the responders that the roles in question want to be asked, until
// one of the roles fits.
func (e *engine) asking(_ context.Context, req *engines.Request, tx engines.Tx) (func(context.Context) (any, error), error) {
	j, roles, err := e.judge(req, tx)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(roles, func(t *trusted) bool { return t.OCSP.Enabled }) {
		return nil, nil
	}
	return func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, loginTimeout)
		defer cancel()
		said := make(verdicts)
		j.ask = func(t *trusted, issuer *x509.Certificate) error {
			err := j.askOCSP(ctx, t, issuer)
			said[j.subject(t, issuer)] = err
			return err
		}
		for _, t := range roles {
			if j.fits(t) == nil {
				break
			}
		}
		return said, nil
	}, nil
}

// subject is what a verdict of responders is about: the certificate, who is
// said to have issued it, and how the role wants it asked.
type subject [sha256.Size]byte

func (j *judge) subject(t *trusted, issuer *x509.Certificate) subject {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%x\n%+v\n", sha256.Sum256(j.peers[0].Raw), t.OCSP)
	if issuer != nil {
		_, _ = fmt.Fprintf(h, "%x\n", sha256.Sum256(issuer.Raw))
	}
	return subject(h.Sum(nil))
}

// verdicts are what responders said; nil for what is fine.
type verdicts map[subject]error

// judge is made of what is stored. There is none without a certificate.
func (e *engine) judge(req *engines.Request, tx engines.Tx) (*judge, []*trusted, error) {
	peers := req.Caller.PeerCertificates
	if len(peers) == 0 {
		return nil, nil, engines.Invalidf("client certificate must be supplied")
	}
	cfg, err := loadConfig(tx)
	if err != nil {
		return nil, nil, err
	}
	names, err := candidates(req, tx)
	if err != nil {
		return nil, nil, err
	}
	crls, err := e.loadCRLs(tx, req.Mount)
	if err != nil {
		return nil, nil, err
	}
	var roles []*trusted
	for _, name := range names {
		t, ok, err := e.load(tx, req.Mount, name)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			roles = append(roles, t)
		}
	}
	return &judge{engine: e, config: cfg, crls: crls, peers: peers, now: req.Now}, roles, nil
}

// candidates are the roles that a login may be by.
func candidates(req *engines.Request, tx engines.Tx) ([]string, error) {
	if req.Fields.String("name") == "" {
		return tx.List(roleDir, engines.Page{})
	}
	name, err := auth.Name(req, "name")
	return []string{name}, err
}

// judge decides on one login.
type judge struct {
	*engine
	config *config
	crls   []*revocations
	peers  []*x509.Certificate
	now    time.Time
	// ask finds out what responders say of the caller's certificate.
	ask func(t *trusted, issuer *x509.Certificate) error
}

// fits refuses a certificate that may not log in by a role.
func (j *judge) fits(t *trusted) error {
	leaf := j.peers[0]
	if isCA(leaf) {
		return errNoMatch
	}
	chains := j.chains(t)
	if len(chains) == 0 || !t.Allowed.match(leaf) {
		return errNoMatch
	}
	var err error
	for _, chain := range chains {
		if err = j.notRevoked(chain); err != nil {
			continue
		}
		if !t.OCSP.Enabled {
			return nil
		}
		if err = j.ask(t, j.issuer(chain)); err == nil || errors.Is(err, engines.ErrStale) {
			return err
		}
	}
	return err
}

// chains are the ways from the caller's certificate to one that the role
// trusts, at the present time.
func (j *judge) chains(t *trusted) [][]*x509.Certificate {
	leaf := j.peers[0]
	if !isCA(t.certs[0]) {
		pinned := slices.ContainsFunc(t.certs, func(c *x509.Certificate) bool { return bytes.Equal(c.Raw, leaf.Raw) })
		if !pinned || j.now.Before(leaf.NotBefore) || j.now.After(leaf.NotAfter) {
			return nil
		}
		return [][]*x509.Certificate{{leaf}}
	}
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range t.certs {
		roots.AddCert(c)
	}
	for _, c := range j.peers[1:] {
		others.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: others, CurrentTime: j.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return nil
	}
	return chains
}

// issuer is the certificate that issued the caller's, nil if it is not known.
// For one that is trusted itself the caller may bring it: that it signed the
// caller's certificate shows that it is the one.
func (j *judge) issuer(chain []*x509.Certificate) *x509.Certificate {
	if len(chain) > 1 {
		return chain[1]
	}
	for _, c := range j.peers[1:] {
		if chain[0].CheckSignatureFrom(c) == nil {
			return c
		}
	}
	return nil
}

// auth is what a login by the role gives.
func (t *trusted) auth(leaf *x509.Certificate, cfg *config) *engines.Auth {
	metadata := map[string]string{
		"cert_name": t.Name, "common_name": leaf.Subject.CommonName, "serial_number": leaf.SerialNumber.String(),
		"subject_key_id": colons(leaf.SubjectKeyId), "authority_key_id": colons(leaf.AuthorityKeyId),
	}
	t.Allowed.metadata(leaf, metadata)
	key := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	a := &engines.Auth{
		Private:     key[:],
		DisplayName: t.DisplayName, Metadata: metadata, Alias: leaf.Subject.CommonName, Token: t.Token}
	if cfg.AliasMetadata {
		a.AliasMetadata = metadata
	}
	return a
}

// colons writes bytes as 0a:1b.
func colons(b []byte) string {
	parts := make([]string, len(b))
	for i := range b {
		parts[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(parts, ":")
}
