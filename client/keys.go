package client

import (
	"context"
	"net/http"
	"strings"
)

// InitRequest asks for a new cluster.
type InitRequest struct {
	SecretShares      int      `json:"secret_shares,omitempty"`
	SecretThreshold   int      `json:"secret_threshold,omitempty"`
	PGPKeys           []string `json:"pgp_keys,omitempty"`
	RootTokenPGPKey   string   `json:"root_token_pgp_key,omitempty"`
	RecoveryShares    int      `json:"recovery_shares,omitempty"`
	RecoveryThreshold int      `json:"recovery_threshold,omitempty"`
	RecoveryPGPKeys   []string `json:"recovery_pgp_keys,omitempty"`
}

// InitResult is shown once.
type InitResult struct {
	Keys               []string `json:"keys"`
	KeysBase64         []string `json:"keys_base64"`
	RecoveryKeys       []string `json:"recovery_keys,omitempty"`
	RecoveryKeysBase64 []string `json:"recovery_keys_base64,omitempty"`
	RootToken          string   `json:"root_token"`
}

// Initialized reports whether the server has been initialised.
func (c *Client) Initialized(ctx context.Context) (bool, error) {
	var out struct {
		Initialized bool `json:"initialized"`
	}
	err := c.get(ctx, "sys/init", &out)
	return out.Initialized, err
}

// Init makes the server the first of a new cluster.
func (c *Client) Init(ctx context.Context, req *InitRequest) (*InitResult, error) {
	out := new(InitResult)
	return out, c.put(ctx, "sys/init", req, out)
}

// Unseal hands in a share; migrate moves from one seal to another.
func (c *Client) Unseal(ctx context.Context, key string, migrate bool) (*SealStatus, error) {
	out := new(SealStatus)
	return out, c.put(ctx, "sys/unseal", map[string]any{"key": key, "migrate": migrate}, out)
}

// ResetUnseal forgets the shares handed in.
func (c *Client) ResetUnseal(ctx context.Context) (*SealStatus, error) {
	out := new(SealStatus)
	return out, c.put(ctx, "sys/unseal", map[string]any{"reset": true}, out)
}

// Ceremony tells how far the keepers of the key are with what they do together.
type Ceremony struct {
	Nonce    string `json:"nonce"`
	Started  bool   `json:"started"`
	Progress int    `json:"progress"`
	Required int    `json:"required,omitempty"`
	Complete bool   `json:"complete"`

	// Of a rekey.
	Threshold            int      `json:"t,omitempty"`
	Shares               int      `json:"n,omitempty"`
	PGPFingerprints      []string `json:"pgp_fingerprints,omitempty"`
	Backup               bool     `json:"backup,omitempty"`
	VerificationRequired bool     `json:"verification_required,omitempty"`
	VerificationNonce    string   `json:"verification_nonce,omitempty"`
	Keys                 []string `json:"keys,omitempty"`
	KeysBase64           []string `json:"keys_base64,omitempty"`
	Warnings             []string `json:"warnings,omitempty"`

	// Of a root token.
	EncodedToken     string `json:"encoded_token,omitempty"`
	EncodedRootToken string `json:"encoded_root_token,omitempty"`
	PGPFingerprint   string `json:"pgp_fingerprint,omitempty"`
	OTP              string `json:"otp,omitempty"`
	OTPLength        int    `json:"otp_length,omitempty"`
}

// RekeyRequest asks for new shares.
type RekeyRequest struct {
	SecretShares    int      `json:"secret_shares"`
	SecretThreshold int      `json:"secret_threshold"`
	PGPKeys         []string `json:"pgp_keys,omitempty"`
	Backup          bool     `json:"backup"`
	// RequireVerification keeps the old shares until the new ones are proven; nil
	// leaves it to the server.
	RequireVerification *bool `json:"require_verification,omitempty"`
}

// Rekey makes new shares of the unseal key, or of the recovery key.
type Rekey struct {
	c    *Client
	base string
	kept string
}

// Rekey returns the ceremony of the unseal key, or of the recovery key.
func (c *Client) Rekey(recovery bool) Rekey {
	if recovery {
		return Rekey{c: c, base: "sys/rekey-recovery-key", kept: "sys/rekey/recovery-key-backup"}
	}
	return Rekey{c: c, base: "sys/rekey", kept: "sys/rekey/backup"}
}

// Status tells how far it is.
func (r Rekey) Status(ctx context.Context) (*Ceremony, error) {
	return r.c.ceremony(ctx, http.MethodGet, r.base+"/init", nil)
}

// Start begins it.
func (r Rekey) Start(ctx context.Context, req *RekeyRequest) (*Ceremony, error) {
	return r.c.ceremony(ctx, http.MethodPut, r.base+"/init", req)
}

// Update hands in a share. The answer that completes it has the new ones.
func (r Rekey) Update(ctx context.Context, key, nonce string) (*Ceremony, error) {
	return r.c.ceremony(ctx, http.MethodPut, r.base+"/update", share(key, nonce))
}

// VerifyStatus tells how far the proof of the new shares is.
func (r Rekey) VerifyStatus(ctx context.Context) (*Ceremony, error) {
	return r.c.ceremony(ctx, http.MethodGet, r.base+"/verify", nil)
}

// Verify hands in a new share, to prove that it was kept.
func (r Rekey) Verify(ctx context.Context, key, nonce string) (*Ceremony, error) {
	return r.c.ceremony(ctx, http.MethodPut, r.base+"/verify", share(key, nonce))
}

// Cancel ends it. Whoever started it shows its nonce.
func (r Rekey) Cancel(ctx context.Context, nonce string) error {
	return r.c.remove(ctx, r.base+"/init", nonceBody(nonce))
}

// CancelVerify forgets the new shares handed in.
func (r Rekey) CancelVerify(ctx context.Context, nonce string) error {
	return r.c.remove(ctx, r.base+"/verify", nonceBody(nonce))
}

// Backup returns the encrypted shares that were kept.
func (r Rekey) Backup(ctx context.Context) (*Secret, error) { return r.c.Read(ctx, r.kept, nil) }

// DeleteBackup deletes them.
func (r Rekey) DeleteBackup(ctx context.Context) error { return r.c.remove(ctx, r.kept, nil) }

// RootStatus tells how far the generation of a root token is.
func (c *Client) RootStatus(ctx context.Context) (*Ceremony, error) {
	return c.ceremony(ctx, http.MethodGet, "sys/generate-root/attempt", nil)
}

// StartRoot begins it; the token will be hidden under the one-time password, or
// one that the server makes, or encrypted to the PGP key.
func (c *Client) StartRoot(ctx context.Context, otp, pgpKey string) (*Ceremony, error) {
	body := map[string]string{}
	if otp != "" {
		body["otp"] = otp
	}
	if pgpKey != "" {
		body["pgp_key"] = pgpKey
	}
	return c.ceremony(ctx, http.MethodPut, "sys/generate-root/attempt", body)
}

// UpdateRoot hands in a share.
func (c *Client) UpdateRoot(ctx context.Context, key, nonce string) (*Ceremony, error) {
	return c.ceremony(ctx, http.MethodPut, "sys/generate-root/update", share(key, nonce))
}

// CancelRoot ends it. Whoever started it shows its nonce.
func (c *Client) CancelRoot(ctx context.Context, nonce string) error {
	return c.remove(ctx, "sys/generate-root/attempt", nonceBody(nonce))
}

func (c *Client) ceremony(ctx context.Context, method, path string, body any) (*Ceremony, error) {
	out := new(Ceremony)
	return out, c.call(ctx, &Request{Method: method, Path: path, Body: body}, out)
}

func share(key, nonce string) map[string]string {
	return map[string]string{"key": strings.TrimSpace(key), "nonce": nonce}
}

func nonceBody(nonce string) any {
	if nonce == "" {
		return nil
	}
	return map[string]string{"nonce": nonce}
}
