package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

// rekeyFlags are the flags of operator rekey.
type rekeyFlags struct {
	init, cancel, status, verify, backup, retrieve, drop bool
	shares, threshold                                    int
	nonce, target                                        string
	pgpKeys                                              []string
}

func (a *app) operatorRekey() *cobra.Command {
	var f rekeyFlags
	var cmd *cobra.Command
	cmd = a.remote("rekey [options] [KEY]", "Make new shares of the unseal key", 0, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			if f.target != "barrier" && f.target != "recovery" {
				return usagef("-target must be barrier or recovery.")
			}
			return a.runRekey(ctx, c, cmd, args, &f)
		})
	set := cmd.Flags()
	set.BoolVar(&f.init, "init", false, "Begin.")
	set.BoolVar(&f.cancel, "cancel", false, "Give up, or with -verify begin to prove anew.")
	set.BoolVar(&f.status, "status", false, "Tell how far it is.")
	set.BoolVar(&f.verify, "verify", false, "With -init: whether the new shares must be proven before the old ones end. Else: prove a new share.")
	set.IntVarP(&f.shares, "key-shares", "n", defaultShares, "How many shares to make.")
	set.IntVarP(&f.threshold, "key-threshold", "t", defaultThreshold, "How many of them unseal.")
	set.StringVar(&f.nonce, "nonce", "", "What -init printed: it names the ceremony that a KEY is for.")
	set.StringVar(&f.target, "target", "barrier", "barrier for the unseal key, or recovery for the recovery key.")
	set.StringSliceVar(&f.pgpKeys, "pgp-keys", nil, "Files of PGP keys to encrypt the shares to, one for each.")
	set.BoolVar(&f.backup, "backup", false, "With -pgp-keys: have the server keep the encrypted shares too.")
	set.BoolVar(&f.retrieve, "backup-retrieve", false, "Print the encrypted shares that it keeps.")
	set.BoolVar(&f.drop, "backup-delete", false, "Have it delete them.")
	cmd.Example = "$ coffer operator rekey -init -key-shares=5 -key-threshold=3\n$ coffer operator rekey            # each keeper of an old share\n" +
		"$ coffer operator rekey -verify    # each keeper of a new one"
	return cmd
}

func (a *app) runRekey(ctx context.Context, c *client.Client, cmd *cobra.Command, args []string, f *rekeyFlags) error {
	r := c.Rekey(f.target == "recovery")
	switch {
	case f.retrieve:
		s, err := r.Backup(ctx)
		if err != nil {
			return remotef(err, "Error retrieving rekey stored keys")
		}
		return a.secret(s)
	case f.drop:
		if err := r.DeleteBackup(ctx); err != nil {
			return remotef(err, "Error deleting rekey stored keys")
		}
		return a.say("Success! Deleted the stored keys (if they existed)")
	case f.cancel:
		cancel := r.Cancel
		if f.verify {
			cancel = r.CancelVerify
		}
		if err := cancel(ctx, f.nonce); err != nil {
			return remotef(err, "Error canceling rekey")
		}
		return a.say("Success! Canceled rekeying (if it was started)")
	case f.init:
		return a.startRekey(ctx, r, cmd, f)
	case f.status:
		status, err := rekeyStatus(ctx, r, f.verify)
		if err != nil {
			return err
		}
		return a.showCeremony(status)
	}
	return a.handInRekey(ctx, r, args, f)
}

func rekeyStatus(ctx context.Context, r client.Rekey, verify bool) (*client.Ceremony, error) {
	ask := r.Status
	if verify {
		ask = r.VerifyStatus
	}
	status, err := ask(ctx)
	if err != nil {
		return nil, remotef(err, "Error getting rekey status")
	}
	return status, nil
}

func (a *app) startRekey(ctx context.Context, r client.Rekey, cmd *cobra.Command, f *rekeyFlags) error {
	keys, err := pgpKeys(f.pgpKeys)
	if err != nil {
		return err
	}
	req := &client.RekeyRequest{SecretShares: f.shares, SecretThreshold: f.threshold, PGPKeys: keys, Backup: f.backup}
	if cmd.Flags().Changed("verify") {
		req.RequireVerification = &f.verify
	}
	status, err := r.Start(ctx, req)
	if err != nil {
		return remotef(err, "Error initializing rekey")
	}
	if len(keys) == 0 && a.opts.format == formatTable {
		a.warn("WARNING! The new shares will not be encrypted: whoever hands in the last old share sees\nthem all. Give -pgp-keys to have each encrypted to its keeper.\n")
	}
	return a.showCeremony(status)
}

// handInRekey hands in a share, old or new.
func (a *app) handInRekey(ctx context.Context, r client.Rekey, args []string, f *rekeyFlags) error {
	status, err := rekeyStatus(ctx, r, f.verify)
	if err != nil {
		return err
	}
	nonce := status.Nonce
	if f.verify && status.VerificationNonce != "" {
		nonce = status.VerificationNonce
	}
	if !status.Started && !f.verify {
		return usagef("No rekey is in progress. Begin one with -init.")
	}
	if nonce, err = a.ceremonyNonce(f.nonce, nonce, len(args) > 0); err != nil {
		return err
	}
	key, err := a.keyArg(ctx, args, "Rekey operation nonce: "+nonce+"\nUnseal Key")
	if err != nil {
		return err
	}
	update := r.Update
	if f.verify {
		update = r.Verify
	}
	status, err = update(ctx, key, nonce)
	switch {
	case err != nil:
		return remotef(err, "Error posting unseal key")
	case !status.Complete:
		return a.showCeremony(status)
	case f.verify:
		return a.say("Success! The new shares are proven, and have taken the place of the old ones.")
	}
	return a.show(status, func() string { return rekeyText(status) })
}

// ceremonyNonce is the nonce that a share is for. Whoever names the key in the
// command must name the ceremony too: what the server says could be another's.
func (a *app) ceremonyNonce(given, current string, named bool) (string, error) {
	if given != "" {
		return given, nil
	}
	if named {
		return "", usagef("Missing nonce value: give -nonce with the one that -init printed.")
	}
	return current, nil
}

func rekeyText(s *client.Ceremony) string {
	var b strings.Builder
	for i, key := range s.KeysBase64 {
		if i < len(s.PGPFingerprints) {
			fmt.Fprintf(&b, "Key %d fingerprint: %s; value: %s\n", i+1, s.PGPFingerprints[i], key)
			continue
		}
		fmt.Fprintf(&b, "Key %d: %s\n", i+1, key)
	}
	fmt.Fprintf(&b, "\nOperation nonce: %s\n\n", s.Nonce)
	if len(s.Warnings) > 0 {
		fmt.Fprintf(&b, "WARNING! %s\n", strings.Join(s.Warnings, "\n"))
		return b.String()
	}
	if s.VerificationRequired {
		fmt.Fprintf(&b, "The new shares must be proven: until enough of them are handed in with\n"+
			"coffer operator rekey -verify, the old ones stay in force.\n\nVerification nonce: %s\n", s.VerificationNonce)
		return b.String()
	}
	b.WriteString("Success! The old shares have ended. This is the only time that the new ones are shown.\n")
	return b.String()
}

// showCeremony prints how far the keepers are.
func (a *app) showCeremony(s *client.Ceremony) error {
	return a.show(s, func() string {
		rows := [][]string{{"Nonce", s.Nonce}, {"Started", fmt.Sprint(s.Started)}}
		if s.Started || s.Progress > 0 {
			need := s.Required
			if need == 0 {
				need = s.Threshold
			}
			rows = append(rows, []string{"Progress", fmt.Sprintf("%d/%d", s.Progress, need)})
		}
		for _, row := range []struct {
			name string
			show bool
			text string
		}{
			{"New Shares", s.Shares > 0, fmt.Sprint(s.Shares)},
			{"New Threshold", s.Shares > 0, fmt.Sprint(s.Threshold)},
			{"Verification Required", s.VerificationRequired, "true"},
			{"Verification Nonce", s.VerificationNonce != "", s.VerificationNonce},
			{"PGP Fingerprints", len(s.PGPFingerprints) > 0, fmt.Sprint(s.PGPFingerprints)},
			{"PGP Fingerprint", s.PGPFingerprint != "", s.PGPFingerprint},
			{"Complete", s.Complete, "true"},
			{"Encoded Token", s.EncodedToken != "", s.EncodedToken},
			{"OTP", s.OTP != "", s.OTP},
			{"OTP Length", s.OTPLength > 0, fmt.Sprint(s.OTPLength)},
		} {
			if row.show {
				rows = append(rows, []string{row.name, row.text})
			}
		}
		return columns(rows)
	})
}
