package cert

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"

	"github.com/coffer-secrets/coffer/auth"
	"github.com/coffer-secrets/coffer/engines"
)

// renew wants the key that logged in to ask again, unless the mount says
// otherwise, and a role that gives the same policies. The certificate may be a
// newer one; whether it is revoked is for CRLs to tell.
func (e *engine) renew(_ context.Context, r *engines.Renewal, tx engines.Tx) (*engines.TokenParams, error) {
	cfg, err := loadConfig(tx)
	if err != nil {
		return nil, err
	}
	t, ok, err := e.load(tx, r.Mount, r.Metadata["cert_name"])
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, auth.ErrGone("role")
	}
	if cfg.DisableBinding {
		return &t.Token, auth.SamePolicies(r, &t.Token)
	}
	peers := r.Caller.PeerCertificates
	if len(peers) == 0 {
		return nil, engines.Invalidf("client certificate must be supplied: the token is bound to it")
	}
	if key := sha256.Sum256(peers[0].RawSubjectPublicKeyInfo); subtle.ConstantTimeCompare(key[:], r.Private) != 1 {
		return nil, engines.Invalidf("the client certificate is of another key than the one that logged in")
	}
	crls, err := e.loadCRLs(tx, r.Mount)
	if err != nil {
		return nil, err
	}
	j := &judge{engine: e, config: cfg, crls: crls, peers: peers, now: r.Now}
	j.ask = func(*trusted, *x509.Certificate) error { return nil }
	if err := j.fits(t); err != nil {
		return nil, err
	}
	return &t.Token, auth.SamePolicies(r, &t.Token)
}
