package core

import (
	"context"
	"crypto/rand"
	"errors"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// Target is which key's shares a rekey replaces.
type Target int

// The targets of a rekey.
const (
	// RekeyUnseal replaces the root key and its shares.
	RekeyUnseal Target = iota
	// RekeyRecovery replaces the recovery key of a cluster that unseals itself.
	RekeyRecovery
)

// RekeyRequest says what the new shares shall be.
type RekeyRequest struct {
	Shares    int
	Threshold int
	PGPKeys   []string
	// Backup keeps the encrypted shares in the store until they are deleted.
	Backup bool
	// Verify keeps the old shares alive until the new ones have been proven.
	Verify bool
}

// RekeyStatus tells how far a rekey is.
type RekeyStatus struct {
	Started              bool     `json:"started"`
	Nonce                string   `json:"nonce"`
	Threshold            int      `json:"t"`
	Shares               int      `json:"n"`
	Progress             int      `json:"progress"`
	Required             int      `json:"required"`
	Fingerprints         []string `json:"pgp_fingerprints"`
	Backup               bool     `json:"backup"`
	VerificationRequired bool     `json:"verification_required"`
	VerificationNonce    string   `json:"verification_nonce,omitempty"`
}

// RekeyResult carries new shares, or says that they have been proven.
type RekeyResult struct {
	Complete bool   `json:"complete"`
	Nonce    string `json:"nonce"`
	Keys
	Fingerprints         []string `json:"pgp_fingerprints"`
	Backup               bool     `json:"backup"`
	VerificationRequired bool     `json:"verification_required"`
	VerificationNonce    string   `json:"verification_nonce,omitempty"`
	Warnings             []string `json:"warnings,omitempty"`
}

// keepBoth is told with new shares whose commit had no known outcome.
const keepBoth = "It is not known whether the new shares have taken the place of the old ones: keep both, until one of them has unsealed a node. " +
	"If it is the old ones, begin the rekey anew."

// VerifyStatus tells how far the proof of new shares is.
type VerifyStatus struct {
	Nonce     string `json:"nonce"`
	Started   bool   `json:"started"`
	Threshold int    `json:"t"`
	Shares    int    `json:"n"`
	Progress  int    `json:"progress"`
	Complete  bool   `json:"complete"`
}

// rekeying is a rekey under way. What it has made lives only here until it is
// committed, so that a lost node means the old shares, never none.
type rekeying struct {
	req  RekeyRequest
	auth *seal.Ceremony
	// The rest is set once the old shares have authorised the rekey.
	key    []byte
	made   seal.Generation
	keys   sharedKey
	verify *seal.Ceremony
}

func (r *rekeying) zero() {
	clear(r.key)
	r.auth.Reset()
	if r.verify != nil {
		r.verify.Reset()
	}
}

// RekeyStatus tells of the rekey of a target.
func (c *Core) RekeyStatus(target Target) (RekeyStatus, error) {
	if c.current.Load() == nil {
		return RekeyStatus{}, c.notServing()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rekeyStatusLocked(target)
}

func (c *Core) rekeyStatusLocked(target Target) (RekeyStatus, error) {
	g, _, err := c.authority(target)
	if err != nil {
		return RekeyStatus{}, err
	}
	out := RekeyStatus{Required: g.Threshold}
	r := c.rekeying[target]
	if r == nil {
		return out, nil
	}
	out.Started, out.Nonce, out.Progress = true, r.auth.Nonce(), r.auth.Progress()
	out.Shares, out.Threshold, out.Backup = r.req.Shares, r.req.Threshold, r.req.Backup
	out.VerificationRequired, out.Fingerprints = r.req.Verify, r.keys.Fingerprints
	if r.verify != nil {
		out.VerificationNonce = r.verify.Nonce()
	}
	return out, nil
}

// authority returns the shares that authorise a ceremony, and the verifier if
// they are of a recovery key.
func (c *Core) authority(target Target) (seal.Generation, []byte, error) {
	var row sealRow
	if found, err := c.boot(bootSeal, &row); err != nil || !found {
		return seal.Generation{}, nil, engines.Invalidf("server is not yet initialized")
	}
	if row.Type == sealShamir {
		if target == RekeyRecovery {
			return seal.Generation{}, nil, engines.Invalidf("recovery rekeying not supported: the cluster has no recovery key")
		}
		return row.Generation, nil, nil
	}
	var recovery recoveryRow
	if _, err := c.boot(bootRecovery, &recovery); err != nil {
		return seal.Generation{}, nil, engines.Internal(err)
	}
	return recovery.Generation, recovery.Verifier, nil
}

// StartRekey begins a rekey. One at a time may be under way for a target.
func (c *Core) StartRekey(target Target, req RekeyRequest) (RekeyStatus, error) {
	if c.current.Load() == nil {
		return RekeyStatus{}, c.notServing()
	}
	if err := checkShares(req.Shares, req.Threshold, req.PGPKeys); err != nil {
		return RekeyStatus{}, err
	}
	if req.Backup && len(req.PGPKeys) == 0 {
		return RekeyStatus{}, engines.Invalidf("cannot request a backup of the new keys without providing PGP keys for encryption")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.rekeying[target] != nil {
		return RekeyStatus{}, engines.Invalidf("rekey already in progress")
	}
	g, verifier, err := c.authority(target)
	if err != nil {
		return RekeyStatus{}, err
	}
	if target == RekeyUnseal && verifier != nil {
		return RekeyStatus{}, engines.Invalidf("the root key is kept by the seal and has no shares: rekey the recovery key")
	}
	auth, err := seal.NewCeremony(g, rand.Reader)
	if err != nil {
		return RekeyStatus{}, engines.Internal(err)
	}
	c.rekeying[target] = &rekeying{req: req, auth: auth}
	return c.rekeyStatusLocked(target)
}

// CancelRekey forgets a rekey. Once shares have been given, whoever cancels
// must know its nonce or be trusted otherwise: else anybody could keep the
// operators from ever finishing.
func (c *Core) CancelRekey(target Target, nonce string, trusted bool) error {
	if c.current.Load() == nil {
		return c.notServing()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rekeying[target]
	if r == nil {
		return nil
	}
	if !trusted && (r.auth.Progress() > 0 || r.verify != nil) && r.auth.CheckNonce(nonce) != nil {
		return engines.Errorf(engines.KindDenied, "shares have been given: to cancel, send the nonce or a token with sudo on this path")
	}
	r.zero()
	c.rekeying[target] = nil
	return nil
}

// UpdateRekey takes one of the present shares. With the last one, the new
// shares are made; unless they are to be verified first, the old ones die.
func (c *Core) UpdateRekey(ctx context.Context, target Target, key, nonce string) (*RekeyResult, *RekeyStatus, error) {
	u := c.current.Load()
	if u == nil {
		return nil, nil, c.notServing()
	}
	share, err := parseShare(key)
	if err != nil {
		return nil, nil, err
	}
	defer clear(share)
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rekeying[target]
	switch {
	case r == nil:
		return nil, nil, engines.Invalidf("no rekey in progress")
	case r.verify != nil:
		return nil, nil, engines.Invalidf("the rekey has been authorised and waits for the verification of the new keys")
	}
	if err := r.auth.CheckNonce(nonce); err != nil {
		return nil, nil, shareError(err)
	}
	authorised, err := r.auth.Submit(share)
	if err != nil {
		return nil, nil, shareError(err)
	}
	if authorised == nil {
		status, err := c.rekeyStatusLocked(target)
		return nil, &status, err
	}
	defer clear(authorised)
	if err := c.checkAuthority(target, authorised, u); err != nil {
		return nil, nil, err
	}
	result, err := c.makeSharesLocked(ctx, target, r, u)
	return result, nil, err
}

// checkAuthority proves a key that shares were combined to.
func (c *Core) checkAuthority(target Target, key []byte, u *Unsealed) error {
	_, verifier, err := c.authority(target)
	if err != nil {
		return err
	}
	if verifier != nil {
		err = seal.VerifyRecoveryKey(verifier, key)
	} else {
		err = u.checkRootKey(key)
	}
	if err != nil {
		return shareError(err)
	}
	return nil
}

func (c *Core) makeSharesLocked(ctx context.Context, target Target, r *rekeying, u *Unsealed) (*RekeyResult, error) {
	var err error
	if r.key, err = seal.NewRootKey(rand.Reader); err != nil {
		return nil, engines.Internal(err)
	}
	if r.made, r.keys, err = shareKey(r.key, r.req.Shares, r.req.Threshold, r.req.PGPKeys); err != nil {
		return nil, err
	}
	out := &RekeyResult{
		Complete: true, Nonce: r.auth.Nonce(), Keys: r.keys.Keys, Fingerprints: r.keys.Fingerprints,
		Backup: r.req.Backup, VerificationRequired: r.req.Verify,
	}
	if !r.req.Verify {
		err := c.finishRekeyLocked(ctx, target, r, u)
		if errors.Is(err, state.ErrUnknownOutcome) {
			// Nobody else has the shares, and they may be the only ones.
			out.VerificationRequired, out.Warnings = true, []string{keepBoth}
			return out, nil
		}
		return out, err
	}
	if r.verify, err = seal.NewCeremony(r.made, rand.Reader); err != nil {
		return nil, engines.Internal(err)
	}
	out.VerificationNonce = r.verify.Nonce()
	return out, nil
}

// finishRekeyLocked commits the new key: from here on the old shares are dead.
func (c *Core) finishRekeyLocked(ctx context.Context, target Target, r *rekeying, u *Unsealed) error {
	defer func() {
		r.zero()
		c.rekeying[target] = nil
	}()
	if target == RekeyRecovery {
		row := recoveryRow{Generation: r.made, Verifier: seal.RecoveryVerifier(r.key)}
		return u.commitBoot(ctx, map[string][]byte{bootRecovery: mustJSON(row)}, r)
	}
	return u.replaceRootKey(ctx, r)
}

// VerifyRekeyStatus tells how far the proof of new shares is.
func (c *Core) VerifyRekeyStatus(target Target) (VerifyStatus, error) {
	if c.current.Load() == nil {
		return VerifyStatus{}, c.notServing()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rekeying[target]
	if r == nil || r.verify == nil {
		return VerifyStatus{}, engines.Invalidf("no rekey verification in progress")
	}
	return r.verifyStatus(), nil
}

func (r *rekeying) verifyStatus() VerifyStatus {
	return VerifyStatus{
		Nonce: r.verify.Nonce(), Started: true, Threshold: r.verify.Threshold(),
		Shares: r.verify.Shares(), Progress: r.verify.Progress(),
	}
}

// VerifyRekey takes one of the new shares. With the last one they are proven,
// and the old ones die.
func (c *Core) VerifyRekey(ctx context.Context, target Target, key, nonce string) (VerifyStatus, error) {
	u := c.current.Load()
	if u == nil {
		return VerifyStatus{}, c.notServing()
	}
	share, err := parseShare(key)
	if err != nil {
		return VerifyStatus{}, err
	}
	defer clear(share)
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rekeying[target]
	if r == nil || r.verify == nil {
		return VerifyStatus{}, engines.Invalidf("no rekey verification in progress")
	}
	if err := r.verify.CheckNonce(nonce); err != nil {
		return VerifyStatus{}, shareError(err)
	}
	proven, err := r.verify.Submit(share)
	if err != nil {
		return VerifyStatus{}, shareError(err)
	}
	if proven == nil {
		return r.verifyStatus(), nil
	}
	clear(proven)
	status := VerifyStatus{Nonce: nonce, Complete: true}
	return status, c.finishRekeyLocked(ctx, target, r, u)
}

// ResetVerifyRekey forgets the new shares submitted so far; the new keys stay
// as they are under another nonce. Once there are any, whoever resets them must
// be trusted.
func (c *Core) ResetVerifyRekey(target Target, trusted bool) (VerifyStatus, error) {
	if c.current.Load() == nil {
		return VerifyStatus{}, c.notServing()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rekeying[target]
	if r == nil || r.verify == nil {
		return VerifyStatus{}, engines.Invalidf("no rekey verification in progress")
	}
	if !trusted && r.verify.Progress() > 0 {
		return VerifyStatus{}, engines.Errorf(engines.KindDenied, "shares have been given: to reset, send a token with sudo on this path")
	}
	r.verify.Reset()
	var err error
	if r.verify, err = seal.NewCeremony(r.made, rand.Reader); err != nil {
		return VerifyStatus{}, engines.Internal(err)
	}
	return r.verifyStatus(), nil
}

// Backup is the encrypted shares that a rekey was asked to keep.
type Backup struct {
	Nonce string              `json:"nonce"`
	Keys  map[string][]string `json:"keys"`
	B64   map[string][]string `json:"keys_base64"`
}

// RekeyBackup returns the kept shares, or nil.
func (c *Core) RekeyBackup(target Target) (*Backup, error) {
	var b Backup
	found, err := c.boot(backupName(target), &b)
	if err != nil || !found {
		return nil, err
	}
	return &b, nil
}

// DeleteRekeyBackup removes the kept shares.
func (c *Core) DeleteRekeyBackup(ctx context.Context, target Target) error {
	u := c.current.Load()
	if u == nil {
		return c.notServing()
	}
	_, err := u.store.Update(ctx, func(tx *state.Tx) error { return tx.Delete(state.BootKey(backupName(target))) })
	return err
}

func backupName(target Target) string {
	if target == RekeyRecovery {
		return bootBackup + "-recovery"
	}
	return bootBackup
}

// backup is what finishing the rekey stores of its shares, or nil.
func (r *rekeying) backup() []byte {
	if !r.req.Backup {
		return nil
	}
	b := Backup{Nonce: r.auth.Nonce(), Keys: make(map[string][]string), B64: make(map[string][]string)}
	for i, fingerprint := range r.keys.Fingerprints {
		b.Keys[fingerprint] = append(b.Keys[fingerprint], r.keys.Hex[i])
		b.B64[fingerprint] = append(b.B64[fingerprint], r.keys.Base64[i])
	}
	return mustJSON(b)
}
