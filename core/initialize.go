package core

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// InitRequest says how the keys of a new cluster shall be shared.
type InitRequest struct {
	Shares            int
	Threshold         int
	PGPKeys           []string
	RootTokenPGPKey   string
	RecoveryShares    int
	RecoveryThreshold int
	RecoveryPGPKeys   []string
	// RootToken, if set, is the root token's id, for dev servers.
	RootToken string
}

// Keys are shares in the two forms that clients expect.
type Keys struct {
	Hex    []string `json:"keys"`
	Base64 []string `json:"keys_base64"`
}

// InitResult is shown once and kept nowhere.
type InitResult struct {
	Keys
	RecoveryKeys       []string `json:"recovery_keys,omitempty"`
	RecoveryKeysBase64 []string `json:"recovery_keys_base64,omitempty"`
	RootToken          string   `json:"root_token"`
}

// Init makes the node the first of a new cluster: keys, system mounts, default
// policies and a root token, in one log entry. The node stays sealed unless it
// unseals itself.
func (c *Core) Init(ctx context.Context, req InitRequest) (*InitResult, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.checkInit(&req); err != nil {
		return nil, err
	}
	if err := c.bootstrap(ctx); err != nil {
		return nil, err
	}
	rootKey, err := seal.NewRootKey(rand.Reader)
	if err != nil {
		return nil, engines.Internal(err)
	}
	defer clear(rootKey)
	keyring, err := seal.NewKeyring(rand.Reader, c.cfg.Node.Now())
	if err != nil {
		return nil, engines.Internal(err)
	}
	defer keyring.Zero()
	result := new(InitResult)
	rows, err := c.keyRows(ctx, rootKey, keyring, req, result)
	if err != nil {
		return nil, err
	}
	u, err := newUnsealed(c, keyring) //nolint:contextcheck // what is unsealed outlives the request that unseals
	if err != nil {
		return nil, err
	}
	defer u.close()
	if err := u.populate(ctx, rows, req.RootToken, result); err != nil {
		return nil, err
	}
	if req.RootTokenPGPKey != "" {
		_, encrypted, err := seal.EncryptPGP([]byte(result.RootToken), req.RootTokenPGPKey)
		if err != nil {
			return nil, engines.Internal(err)
		}
		result.RootToken = base64.StdEncoding.EncodeToString(encrypted)
	}
	if err := c.autoUnsealLocked(ctx); err != nil {
		// The keys are shown now or never: that the seal fails is for later.
		c.log.Error("unsealing failed and will be tried again", "error", err, "cause", errors.Unwrap(err))
		c.background.Go(func() { c.KeepUnsealing(c.ctx) })
	}
	return result, nil
}

func (c *Core) bootstrap(ctx context.Context) error {
	ok, err := c.cfg.Node.Bootstrapped()
	if err != nil {
		return engines.Internal(err)
	}
	if !ok {
		if err := c.cfg.Node.Bootstrap(ctx); err != nil {
			return &engines.Error{Kind: engines.KindUnavailable, Message: "the node could not be made the first of a cluster", Cause: err}
		}
	}
	return nil
}

// checkInit refuses what cannot work before anything is done.
func (c *Core) checkInit(req *InitRequest) error {
	if ok, err := c.Initialized(); err != nil || ok {
		if err != nil {
			return engines.Internal(err)
		}
		return engines.Invalidf("Vault is already initialized")
	}
	shares, threshold, keys := req.Shares, req.Threshold, req.PGPKeys
	if c.cfg.Wrapper != nil {
		if req.Shares > 0 || req.Threshold > 0 || len(req.PGPKeys) > 0 {
			return engines.Invalidf("parameters secret_shares, secret_threshold, pgp_keys not applicable to seal type %s: use recovery_shares, recovery_threshold, recovery_pgp_keys", c.cfg.Wrapper.Type())
		}
		shares, threshold, keys = req.RecoveryShares, req.RecoveryThreshold, req.RecoveryPGPKeys
	} else if req.RecoveryShares > 0 || req.RecoveryThreshold > 0 || len(req.RecoveryPGPKeys) > 0 {
		return engines.Invalidf("parameters recovery_shares, recovery_threshold, recovery_pgp_keys not applicable to seal type shamir")
	}
	return checkShares(shares, threshold, keys, req.RootTokenPGPKey)
}

// checkShares refuses counts and keys that shares cannot be made with.
func checkShares(shares, threshold int, pgpKeys []string, others ...string) error {
	if err := seal.CheckSharing(shares, threshold); err != nil {
		return engines.Invalidf("invalid seal configuration: %d shares with a threshold of %d: shares are 1 to 255, the threshold is at most that, and 1 only for a single share", shares, threshold)
	}
	if len(pgpKeys) > 0 && len(pgpKeys) != shares {
		return engines.Invalidf("incorrect number of PGP keys: %d for %d shares", len(pgpKeys), shares)
	}
	for _, key := range append(others, pgpKeys...) {
		if key == "" {
			continue
		}
		if _, err := seal.PGPFingerprint(key); err != nil {
			return engines.Invalidf("a PGP key cannot be used: %w", err)
		}
	}
	return nil
}

// keyRows makes the boot rows and puts the shares into result.
func (c *Core) keyRows(ctx context.Context, rootKey []byte, keyring *seal.Keyring, req InitRequest, result *InitResult) (map[string][]byte, error) {
	sealed, err := keyring.Seal(rootKey)
	if err != nil {
		return nil, engines.Internal(err)
	}
	name := c.cfg.Info.ClusterName
	id := make([]byte, 16)
	_, _ = rand.Read(id)
	if name == "" {
		name = "coffer-cluster-" + hex.EncodeToString(id[:4])
	}
	rows := map[string][]byte{bootKeyring: sealed, bootCluster: mustJSON(clusterRow{ID: uuidText(id), Name: name})}
	if c.cfg.Wrapper == nil {
		g, keys, err := shareKey(rootKey, req.Shares, req.Threshold, req.PGPKeys)
		if err != nil {
			return nil, err
		}
		result.Keys = keys.Keys
		rows[bootSeal] = mustJSON(sealRow{Type: sealShamir, Generation: g})
		return rows, nil
	}
	wrapped, err := seal.WrapRootKey(ctx, c.cfg.Wrapper, rootKey)
	if err != nil {
		return nil, &engines.Error{Kind: engines.KindUpstream, Message: "the seal could not wrap the root key", Cause: err}
	}
	recovery, verifier, err := seal.NewRecoveryKey(rand.Reader)
	if err != nil {
		return nil, engines.Internal(err)
	}
	defer clear(recovery)
	g, keys, err := shareKey(recovery, req.RecoveryShares, req.RecoveryThreshold, req.RecoveryPGPKeys)
	if err != nil {
		return nil, err
	}
	result.Keys = Keys{Hex: []string{}, Base64: []string{}}
	result.RecoveryKeys, result.RecoveryKeysBase64 = keys.Hex, keys.Base64
	rows[bootRoot] = wrapped
	rows[bootSeal] = mustJSON(sealRow{Type: c.cfg.Wrapper.Type()})
	rows[bootRecovery] = mustJSON(recoveryRow{Generation: g, Verifier: verifier})
	return rows, nil
}

// sharedKey is a key's shares as shown to operators.
type sharedKey struct {
	Keys
	Fingerprints []string
}

// shareKey splits a key, and encrypts the shares if there are keys for that.
func shareKey(key []byte, shares, threshold int, pgpKeys []string) (seal.Generation, sharedKey, error) {
	g, parts, err := seal.NewGeneration(key, shares, threshold, rand.Reader)
	if err != nil {
		return seal.Generation{}, sharedKey{}, engines.Internal(err)
	}
	var out sharedKey
	shown := parts
	if len(pgpKeys) > 0 {
		if out.Fingerprints, shown, err = seal.EncryptShares(parts, pgpKeys); err != nil {
			return seal.Generation{}, sharedKey{}, engines.Internal(err)
		}
	}
	for i := range shown {
		out.Hex = append(out.Hex, hex.EncodeToString(shown[i]))
		out.Base64 = append(out.Base64, base64.StdEncoding.EncodeToString(shown[i]))
		clear(parts[i])
	}
	return g, out, nil
}

func uuidText(id []byte) string {
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	h := hex.EncodeToString(id)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// mustJSON encodes the core's own row types, which always can be.
func mustJSON(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}

// putBoot writes boot rows for the first time.
func putBoot(tx *state.Tx, rows map[string][]byte) error {
	for _, name := range []string{bootSeal, bootKeyring, bootRoot, bootRecovery, bootCluster} {
		value, ok := rows[name]
		if !ok {
			continue
		}
		there, err := tx.GetBoot(name)
		if err != nil {
			return err
		}
		if there != nil {
			return engines.Invalidf("Vault is already initialized")
		}
		if err := tx.PutBoot(name, value); err != nil {
			return err
		}
	}
	return nil
}

// parseShare reads a key share as hex or base64, as clients send either.
func parseShare(text string) ([]byte, error) {
	if text == "" {
		return nil, engines.Invalidf("'key' must be specified in request body as JSON, or 'reset' set to true")
	}
	if raw, err := hex.DecodeString(text); err == nil {
		return raw, nil
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, engines.Invalidf("'key' must be a valid hex or base64 string")
	}
	return raw, nil
}

// shareError turns what a ceremony says into an answer.
func shareError(err error) error {
	switch {
	case errors.Is(err, seal.ErrUnknownShare):
		return engines.Invalidf("the key is not one of the present shares")
	case errors.Is(err, seal.ErrWrongNonce):
		return engines.Invalidf("incorrect nonce supplied")
	case errors.Is(err, seal.ErrWrongKey):
		return engines.Invalidf("the shares do not give the right key")
	}
	return engines.Internal(err)
}
