package cli

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
	"github.com/coffer-secrets/coffer/seal"
)

// rootFlags are the flags of operator generate-root.
type rootFlags struct {
	init, cancel, status, makeOTP bool
	decode, otp, pgpKey, nonce    string
}

func (a *app) operatorGenerateRoot() *cobra.Command {
	var f rootFlags
	cmd := a.remote("generate-root [options] [KEY]", "Make a root token with the keepers of the key", 0, 1,
		func(ctx context.Context, c *client.Client, args []string) error { return a.runRoot(ctx, c, args, &f) })
	set := cmd.Flags()
	set.BoolVar(&f.init, "init", false, "Begin. The token will be hidden under a one-time password, which is printed now.")
	set.BoolVar(&f.cancel, "cancel", false, "Give up.")
	set.BoolVar(&f.status, "status", false, "Tell how far it is.")
	set.BoolVar(&f.makeOTP, "generate-otp", false, "Print a one-time password to give to -init.")
	set.StringVar(&f.decode, "decode", "", "Uncover this encoded token with -otp; - reads it from standard input.")
	set.StringVar(&f.otp, "otp", "", "One-time password; - asks for it.")
	set.StringVar(&f.pgpKey, "pgp-key", "", "With -init: file of a PGP key to encrypt the token to.")
	set.StringVar(&f.nonce, "nonce", "", "What -init printed: it names the ceremony that a KEY is for.")
	cmd.Example = "$ coffer operator generate-root -init\n$ coffer operator generate-root     # each keeper of a share\n" +
		"$ coffer operator generate-root -decode=ENCODED -otp=OTP"
	return cmd
}

func (a *app) runRoot(ctx context.Context, c *client.Client, args []string, f *rootFlags) error {
	var err error
	switch {
	case f.makeOTP:
		return a.newOTP(ctx, c)
	case f.decode != "":
		return a.decodeRoot(ctx, f)
	case f.cancel:
		if err := c.CancelRoot(ctx, f.nonce); err != nil {
			return remotef(err, "Error canceling root token generation")
		}
		return a.say("Success! Root token generation canceled (if it was started)")
	case f.status:
		status, err := c.RootStatus(ctx)
		if err != nil {
			return remotef(err, "Error getting root generation status")
		}
		return a.showCeremony(status)
	case !f.init:
		return a.handInRoot(ctx, c, args, f)
	}
	if f.otp == "-" {
		if f.otp, err = a.secretInput(ctx, "One-time password"); err != nil {
			return err
		}
	}
	key, err := pgpKey(f.pgpKey)
	if err != nil {
		return err
	}
	status, err := c.StartRoot(ctx, f.otp, key)
	if err != nil {
		return remotef(err, "Error initializing root generation")
	}
	return a.showCeremony(status)
}

// newOTP makes a password as long as the server's tokens are.
func (a *app) newOTP(ctx context.Context, c *client.Client) error {
	status, err := c.RootStatus(ctx)
	if err != nil {
		return remotef(err, "Error getting root generation status")
	}
	otp, err := seal.NewOTP(rand.Reader, status.OTPLength)
	if err != nil {
		return failf("Error generating OTP: %w", err)
	}
	return a.show(map[string]any{"otp": otp, "otp_length": status.OTPLength}, func() string { return otp + "\n" })
}

func (a *app) decodeRoot(ctx context.Context, f *rootFlags) error {
	var err error
	if f.otp == "" {
		return usagef("Missing otp: use -otp to supply it.")
	}
	if f.decode == "-" {
		if f.decode, err = a.in.line(); err != nil {
			return err
		}
	}
	if f.otp == "-" {
		if f.otp, err = a.secretInput(ctx, "One-time password"); err != nil {
			return err
		}
	}
	token, err := seal.DecodeToken(strings.TrimSpace(f.decode), strings.TrimSpace(f.otp))
	if err != nil {
		return usagef("Error decoding root token: %w", err)
	}
	return a.show(map[string]string{"token": token}, func() string { return token + "\n" })
}

func (a *app) handInRoot(ctx context.Context, c *client.Client, args []string, f *rootFlags) error {
	status, err := c.RootStatus(ctx)
	if err != nil {
		return remotef(err, "Error getting root generation status")
	}
	if !status.Started {
		return usagef("No root token is being made. Begin with -init.")
	}
	nonce, err := a.ceremonyNonce(f.nonce, status.Nonce, len(args) > 0)
	if err != nil {
		return err
	}
	key, err := a.keyArg(ctx, args, "Operation nonce: "+nonce+"\nUnseal Key")
	if err != nil {
		return err
	}
	if status, err = c.UpdateRoot(ctx, key, nonce); err != nil {
		return remotef(err, "Error posting unseal key")
	}
	return a.showCeremony(status)
}
