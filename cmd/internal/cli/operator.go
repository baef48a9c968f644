package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

func (a *app) operatorCommands() *cobra.Command {
	return group("operator", "What operators do: initialise, unseal, rekey",
		a.operatorInit(), a.operatorUnseal(), a.operatorSeal(), a.operatorStepDown(), a.operatorRotate(), a.operatorKeyStatus(),
		a.operatorRekey(), a.operatorGenerateRoot(), a.raftCommands())
}

// initFlags are the flags of operator init.
type initFlags struct {
	shares, threshold, recoveryShares, recoveryThreshold, stored int
	pgpKeys, recoveryPGPKeys                                     []string
	rootPGPKey                                                   string
	status                                                       bool
}

func (a *app) operatorInit() *cobra.Command {
	var f initFlags
	var cmd *cobra.Command
	cmd = a.remote("init [options]", "Make the keys and the root token of a new cluster", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			if f.status {
				return a.initStatus(ctx, c)
			}
			return a.runInit(ctx, c, cmd, &f)
		})
	set := cmd.Flags()
	set.IntVarP(&f.shares, "key-shares", "n", defaultShares, "How many shares to split the key into.")
	set.IntVarP(&f.threshold, "key-threshold", "t", defaultThreshold, "How many of them unseal.")
	set.StringSliceVar(&f.pgpKeys, "pgp-keys", nil, "Files of PGP keys to encrypt the shares to, one for each.")
	set.StringVar(&f.rootPGPKey, "root-token-pgp-key", "", "File of a PGP key to encrypt the root token to.")
	set.IntVar(&f.recoveryShares, "recovery-shares", defaultShares, "With auto-unseal, how many shares of the recovery key to make.")
	set.IntVar(&f.recoveryThreshold, "recovery-threshold", defaultThreshold, "How many of them are needed.")
	set.StringSliceVar(&f.recoveryPGPKeys, "recovery-pgp-keys", nil, "Files of PGP keys to encrypt those shares to.")
	set.IntVar(&f.stored, "stored-shares", 0, "Accepted and not used.")
	set.BoolVar(&f.status, "status", false, "Only tell: exit with 0 if it is initialised, 2 if not, 1 if it cannot be asked.")
	cmd.Long = "Make the keys and the root token of a new cluster. They are shown once and kept nowhere."
	return cmd
}

const (
	defaultShares    = 5
	defaultThreshold = 3
)

func (a *app) initStatus(ctx context.Context, c *client.Client) error {
	done, err := c.Initialized(ctx)
	if err != nil {
		return &exit{code: exitUsage, err: remotef(err, "Error checking initialization status")}
	}
	text, code := "Coffer is not initialized", exitRemote
	if done {
		text, code = "Coffer is initialized", exitOK
	}
	if err := a.show(map[string]bool{"initialized": done}, func() string { return text + "\n" }); err != nil || done {
		return err
	}
	return silent(code)
}

// initOutput is what Vault's command line prints as JSON.
type initOutput struct {
	UnsealB64         []string `json:"unseal_keys_b64"`
	UnsealHex         []string `json:"unseal_keys_hex"`
	UnsealShares      int      `json:"unseal_shares"`
	UnsealThreshold   int      `json:"unseal_threshold"`
	RecoveryB64       []string `json:"recovery_keys_b64"`
	RecoveryHex       []string `json:"recovery_keys_hex"`
	RecoveryShares    int      `json:"recovery_keys_shares"`
	RecoveryThreshold int      `json:"recovery_keys_threshold"`
	RootToken         string   `json:"root_token"`
}

// runInit asks first how the server is sealed: with auto-unseal the shares are
// those of the recovery key.
func (a *app) runInit(ctx context.Context, c *client.Client, cmd *cobra.Command, f *initFlags) error {
	asking, err := a.newClient(false)
	if err != nil {
		return err
	}
	defer asking.Close()
	seal, err := asking.SealStatus(ctx)
	if err != nil {
		return remotef(err, "Error initializing")
	}
	req := &client.InitRequest{}
	out := &initOutput{}
	if seal.RecoverySeal {
		for _, name := range []string{"key-shares", "key-threshold", "pgp-keys"} {
			if cmd.Flags().Changed(name) {
				return usagef("The server unseals itself: use -recovery-shares, -recovery-threshold and -recovery-pgp-keys.")
			}
		}
		req.RecoveryShares, req.RecoveryThreshold = f.recoveryShares, f.recoveryThreshold
		out.RecoveryShares, out.RecoveryThreshold = f.recoveryShares, f.recoveryThreshold
	} else {
		req.SecretShares, req.SecretThreshold = f.shares, f.threshold
		out.UnsealShares, out.UnsealThreshold = f.shares, f.threshold
	}
	if req.PGPKeys, err = pgpKeys(f.pgpKeys); err != nil {
		return err
	}
	if req.RecoveryPGPKeys, err = pgpKeys(f.recoveryPGPKeys); err != nil {
		return err
	}
	if req.RootTokenPGPKey, err = pgpKey(f.rootPGPKey); err != nil {
		return err
	}
	made, err := c.Init(ctx, req)
	if err != nil {
		return remotef(err, "Error initializing")
	}
	out.UnsealB64, out.UnsealHex, out.RootToken = made.KeysBase64, made.Keys, made.RootToken
	out.RecoveryB64, out.RecoveryHex = made.RecoveryKeysBase64, made.RecoveryKeys
	return a.show(out, func() string { return initText(out, seal.RecoverySeal) })
}

func initText(out *initOutput, recovery bool) string {
	var b strings.Builder
	for i, key := range out.UnsealB64 {
		fmt.Fprintf(&b, "Unseal Key %d: %s\n", i+1, key)
	}
	for i, key := range out.RecoveryB64 {
		fmt.Fprintf(&b, "Recovery Key %d: %s\n", i+1, key)
	}
	fmt.Fprintf(&b, "\nInitial Root Token: %s\n\n", out.RootToken)
	b.WriteString("Success! Coffer is initialized\n\n")
	if recovery {
		fmt.Fprintf(&b, "The server unseals itself. %d of the %d recovery keys are needed to make a new root\n"+
			"token or new recovery keys. This is the only time that they are shown: give each to\nanother person to keep.\n",
			out.RecoveryThreshold, out.RecoveryShares)
		return b.String()
	}
	fmt.Fprintf(&b, "Whenever a node starts, it is sealed until %d of these %d keys are handed in. This is\n"+
		"the only time that they are shown: give each to another person to keep. Without %d of\n"+
		"them nobody can read what the cluster stores, and nobody can make others.\n",
		out.UnsealThreshold, out.UnsealShares, out.UnsealThreshold)
	return b.String()
}

func (a *app) operatorUnseal() *cobra.Command {
	var reset, migrate bool
	cmd := a.remote("unseal [options] [KEY]", "Hand in a share of the unseal key", 0, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			var seal *client.SealStatus
			var err error
			if reset {
				seal, err = c.ResetUnseal(ctx)
			} else {
				var key string
				if key, err = a.keyArg(ctx, args, "Unseal Key"); err != nil {
					return err
				}
				seal, err = c.Unseal(ctx, key, migrate)
			}
			if err != nil {
				return remotef(err, "Error unsealing")
			}
			return a.show(seal, func() string { return keyValue(sealRows(seal)) })
		})
	cmd.Flags().BoolVar(&reset, "reset", false, "Forget the shares handed in so far.")
	cmd.Flags().BoolVar(&migrate, "migrate", false, "Hand it in to move to another seal.")
	cmd.Long = "Hand in a share of the unseal key. Without KEY it is asked for without echo, or read from\nstandard input, so that no list of processes shows it."
	return cmd
}

// keyArg is a share: the argument, or asked for.
func (a *app) keyArg(ctx context.Context, args []string, prompt string) (string, error) {
	var key string
	var err error
	if len(args) > 0 && args[0] != "-" {
		key = strings.TrimSpace(args[0])
	} else {
		key, err = a.secretInput(ctx, prompt)
	}
	if err == nil && key == "" {
		err = usagef("No key was given.")
	}
	return key, err
}

func (a *app) operatorSeal() *cobra.Command {
	return a.remote("seal [options]", "Seal the server: it forgets its keys and serves nothing", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			if err := c.Seal(ctx); err != nil {
				return remotef(err, "Error sealing")
			}
			return a.say("Success! Coffer is sealed.")
		})
}

func (a *app) operatorStepDown() *cobra.Command {
	return a.remote("step-down [options]", "Have the leader hand over to another node", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			if err := c.StepDown(ctx); err != nil {
				return remotef(err, "Error stepping down")
			}
			return a.say("Success! Stepped down: %s", c.Config().Address)
		})
}

func (a *app) operatorRotate() *cobra.Command {
	return a.remote("rotate [options]", "Seal new values under a new key", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error {
			if _, err := c.Call(ctx, &client.Request{Method: "PUT", Path: "sys/rotate", Plain: true}); err != nil {
				return remotef(err, "Error rotating key")
			}
			if err := a.say("Success! Rotated key\n"); err != nil {
				return err
			}
			return a.keyStatus(ctx, c)
		})
}

func (a *app) operatorKeyStatus() *cobra.Command {
	return a.remote("key-status [options]", "Tell of the key that values are sealed under", 0, 0,
		func(ctx context.Context, c *client.Client, _ []string) error { return a.keyStatus(ctx, c) })
}

func (a *app) keyStatus(ctx context.Context, c *client.Client) error {
	s, err := c.Read(ctx, "sys/key-status", nil)
	if err != nil {
		return remotef(err, "Error reading key status")
	}
	if s.Empty() || s.WrapInfo != nil {
		return a.secret(s)
	}
	return a.show(s.Data, func() string {
		return columns([][]string{
			{"Key Term", fmt.Sprint(s.Data["term"])}, {"Install Time", fmt.Sprint(s.Data["install_time"])},
			{"Encryption Count", fmt.Sprint(s.Data["encryptions"])},
		})
	})
}
