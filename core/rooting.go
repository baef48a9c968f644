package core

import (
	"context"
	"crypto/rand"
	"encoding/base64"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/core/tokens"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// RootStatus tells how far the generation of a root token is.
type RootStatus struct {
	Started          bool   `json:"started"`
	Nonce            string `json:"nonce"`
	Progress         int    `json:"progress"`
	Required         int    `json:"required"`
	Complete         bool   `json:"complete"`
	EncodedToken     string `json:"encoded_token"`
	EncodedRootToken string `json:"encoded_root_token"`
	PGPFingerprint   string `json:"pgp_fingerprint"`
	OTP              string `json:"otp"`
	OTPLength        int    `json:"otp_length"`
}

// rooting is the generation of a root token under way.
type rooting struct {
	auth        *seal.Ceremony
	otp         string
	pgpKey      string
	fingerprint string
}

// RootStatus tells of the generation under way.
func (c *Core) RootStatus() (RootStatus, error) {
	if c.current.Load() == nil {
		return RootStatus{}, c.notServing()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rootStatusLocked()
}

func (c *Core) rootStatusLocked() (RootStatus, error) {
	g, _, err := c.authority(RekeyUnseal)
	if err != nil {
		return RootStatus{}, err
	}
	out := RootStatus{Required: g.Threshold, OTPLength: tokens.IDLength}
	if r := c.rooting; r != nil {
		out.Started, out.Nonce = true, r.auth.Nonce()
		out.Progress, out.PGPFingerprint = r.auth.Progress(), r.fingerprint
	}
	return out, nil
}

// StartRoot begins the generation of a root token that is hidden under a
// one-time password or encrypted to a PGP key. A password that nobody gave is
// made here and returned once.
func (c *Core) StartRoot(otp, pgpKey string) (RootStatus, error) {
	if c.current.Load() == nil {
		return RootStatus{}, c.notServing()
	}
	r := &rooting{otp: otp, pgpKey: pgpKey}
	var err error
	made := ""
	switch {
	case otp != "" && pgpKey != "":
		return RootStatus{}, engines.Invalidf("give either an otp or a pgp_key, not both")
	case pgpKey != "":
		if r.fingerprint, err = seal.PGPFingerprint(pgpKey); err != nil {
			return RootStatus{}, engines.Invalidf("the PGP key cannot be used: %w", err)
		}
	case otp == "":
		if r.otp, err = seal.NewOTP(rand.Reader, tokens.IDLength); err != nil {
			return RootStatus{}, engines.Internal(err)
		}
		made = r.otp
	case len(otp) != tokens.IDLength:
		return RootStatus{}, engines.Invalidf("the otp must be %d characters long", tokens.IDLength)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rooting != nil {
		return RootStatus{}, engines.Invalidf("root generation already in progress")
	}
	g, _, err := c.authority(RekeyUnseal)
	if err != nil {
		return RootStatus{}, err
	}
	if r.auth, err = seal.NewCeremony(g, rand.Reader); err != nil {
		return RootStatus{}, engines.Internal(err)
	}
	c.rooting = r
	status, err := c.rootStatusLocked()
	status.OTP = made
	return status, err
}

// CancelRoot forgets the generation under way; see CancelRekey for who may.
func (c *Core) CancelRoot(nonce string, trusted bool) error {
	if c.current.Load() == nil {
		return c.notServing()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rooting
	if r == nil {
		return nil
	}
	if !trusted && r.auth.Progress() > 0 && r.auth.CheckNonce(nonce) != nil {
		return engines.Errorf(engines.KindDenied, "shares have been given: to cancel, send the nonce or a token with sudo on this path")
	}
	r.auth.Reset()
	c.rooting = nil
	return nil
}

// UpdateRoot takes one key share; with the last one the token is made.
func (c *Core) UpdateRoot(ctx context.Context, key, nonce string) (RootStatus, error) {
	u := c.current.Load()
	if u == nil {
		return RootStatus{}, c.notServing()
	}
	share, err := parseShare(key)
	if err != nil {
		return RootStatus{}, err
	}
	defer clear(share)
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rooting
	if r == nil {
		return RootStatus{}, engines.Invalidf("no root generation in progress")
	}
	if err := r.auth.CheckNonce(nonce); err != nil {
		return RootStatus{}, shareError(err)
	}
	authorised, err := r.auth.Submit(share)
	if err != nil {
		return RootStatus{}, shareError(err)
	}
	if authorised == nil {
		return c.rootStatusLocked()
	}
	defer clear(authorised)
	if err := c.checkAuthority(RekeyUnseal, authorised, u); err != nil {
		return RootStatus{}, err
	}
	return c.finishRootLocked(ctx, r, u)
}

func (c *Core) finishRootLocked(ctx context.Context, r *rooting, u *Unsealed) (RootStatus, error) {
	id := ""
	_, err := u.store.Update(ctx, func(tx *state.Tx) (err error) {
		id, err = u.rootToken(tx, "")
		return err
	})
	if err != nil {
		return RootStatus{}, err
	}
	var encoded string
	if r.pgpKey != "" {
		_, encrypted, err := seal.EncryptPGP([]byte(id), r.pgpKey)
		if err != nil {
			return RootStatus{}, engines.Internal(err)
		}
		encoded = base64.StdEncoding.EncodeToString(encrypted)
	} else if encoded, err = seal.EncodeToken(id, r.otp); err != nil {
		return RootStatus{}, engines.Internal(err)
	}
	c.rooting = nil
	return RootStatus{
		Started: true, Nonce: r.auth.Nonce(), Progress: r.auth.Threshold(), Required: r.auth.Threshold(), Complete: true,
		EncodedToken: encoded, EncodedRootToken: encoded, PGPFingerprint: r.fingerprint, OTPLength: tokens.IDLength,
	}, nil
}
