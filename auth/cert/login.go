package cert

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"errors"
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

func (e *engine) login(ctx context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	peers := req.Caller.PeerCertificates
	if len(peers) == 0 {
		return nil, engines.Invalidf("client certificate must be supplied")
	}
	cfg, err := loadConfig(tx)
	if err != nil {
		return nil, err
	}
	names, err := candidates(req, tx)
	if err != nil {
		return nil, err
	}
	crls, err := e.loadCRLs(tx, req.Mount)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, loginTimeout)
	defer cancel()
	j := judge{engine: e, config: cfg, crls: crls, mount: req.Mount, peers: peers, now: req.Now}
	failed := error(errNoMatch)
	for _, name := range names {
		t, ok, err := e.load(tx, req.Mount, name)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		err = j.fits(ctx, t)
		if err == nil {
			return &engines.Response{Auth: t.auth(peers[0], cfg)}, nil
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
	mount  engines.Mount
	peers  []*x509.Certificate
	now    time.Time
}

// fits refuses a certificate that may not log in by a role.
func (j *judge) fits(ctx context.Context, t *trusted) error {
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
		if err = j.askOCSP(ctx, t, j.issuer(chain)); err == nil {
			return nil
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
	a := &engines.Auth{DisplayName: t.DisplayName, Metadata: metadata, Alias: leaf.Subject.CommonName, Token: t.Token}
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
