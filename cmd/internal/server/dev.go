package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/coffer-secrets/coffer/client"
	"github.com/coffer-secrets/coffer/cmd/internal/config"
	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/engines"
)

// devFlags are those of a server for trying things out.
type devFlags struct {
	on           bool
	rootToken    string
	address      string
	noStoreToken bool
	tls          bool
	certDir      string
	kvV1         bool
	noKV         bool
	accepted     bool
	acceptedText string
}

func (f *devFlags) define(set *pflag.FlagSet) {
	set.BoolVar(&f.on, "dev", false, "Start a server in memory's place: unsealed, in a temporary folder, for trying things out.")
	set.StringVar(&f.rootToken, "dev-root-token-id", "", "The root token. Also COFFER_DEV_ROOT_TOKEN_ID.")
	set.StringVar(&f.address, "dev-listen-address", "", "Where to listen; "+config.DefaultAddress+" if not given. Also COFFER_DEV_LISTEN_ADDRESS.")
	set.BoolVar(&f.noStoreToken, "dev-no-store-token", false, "Do not keep the root token in ~/.coffer-token.")
	set.BoolVar(&f.tls, "dev-tls", false, "Listen with TLS, with a certificate made for the purpose.")
	set.StringVar(&f.certDir, "dev-tls-cert-dir", "", "Where to put the certificates of -dev-tls; a temporary folder if not given.")
	set.BoolVar(&f.kvV1, "dev-kv-v1", false, "Mount secret/ as version 1 of the engine.")
	set.BoolVar(&f.noKV, "dev-no-kv", false, "Do not mount secret/.")
	for _, name := range []string{"dev-ha", "dev-transactional", "dev-leased-kv", "dev-plugin-init"} {
		set.BoolVar(&f.accepted, name, false, "Accepted, and without effect.")
	}
	set.StringVar(&f.acceptedText, "dev-plugin-dir", "", "Accepted, and without effect.")
}

// run starts the server, sets it up, tells how to use it and serves.
func (f *devFlags) run(ctx context.Context, build Build, cfg *config.Config, stdout, stderr io.Writer) (err error) {
	if cfg.Storage.Path != "" {
		return errors.New("-dev keeps its data in a temporary folder: leave the storage stanza out, or -dev")
	}
	if cfg.Seal.Type != config.SealShamir {
		return errors.New("-dev unseals itself with a key share: leave the seal stanza out, or -dev")
	}
	dir, err := os.MkdirTemp("", devFolder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	caFile, err := f.configure(cfg, dir)
	if err != nil {
		return err
	}
	s, err := New(ctx, Options{Config: cfg, Build: build, Log: stderr})
	if err != nil {
		return busy(err, "-dev-listen-address")
	}
	keys, err := f.setUp(ctx, s.Core())
	if err != nil {
		return errors.Join(fmt.Errorf("set the dev server up: %w", err), s.Close())
	}
	if err := errors.Join(s.banner(stdout), f.tell(stdout, s.Address(), caFile, keys), f.storeToken(stderr, keys.RootToken)); err != nil {
		return errors.Join(err, s.Close())
	}
	return s.runUntilSignal(ctx)
}

// configure adds what a dev server needs, and returns the file of its CA.
func (f *devFlags) configure(cfg *config.Config, dir string) (caFile string, err error) {
	address := f.address
	if address == "" {
		if address, _ = config.Env(os.LookupEnv, "DEV_LISTEN_ADDRESS"); address == "" {
			address = config.DefaultAddress
		}
	}
	tls := config.TLS{Disable: true}
	if f.tls {
		if f.certDir == "" {
			f.certDir = filepath.Join(dir, "tls")
		}
		if tls, caFile, err = devCertificates(f.certDir, address); err != nil {
			return "", err
		}
	}
	listener, err := config.NewListener(address, tls)
	if err != nil {
		return "", fmt.Errorf("-dev-listen-address: %w", err)
	}
	cfg.Listeners = append([]config.Listener{listener}, cfg.Listeners...)
	cfg.Storage.Path = filepath.Join(dir, "data")
	return caFile, nil
}

// setUp makes the server a cluster of its own, unseals it and mounts secret/.
func (f *devFlags) setUp(ctx context.Context, c *core.Core) (*core.InitResult, error) {
	token := f.rootToken
	if token == "" {
		token, _ = config.Env(os.LookupEnv, "DEV_ROOT_TOKEN_ID")
	}
	keys, err := c.Init(ctx, core.InitRequest{Shares: 1, Threshold: 1, RootToken: token})
	if err != nil {
		return nil, err
	}
	if _, err := c.SubmitUnsealKey(ctx, keys.Base64[0]); err != nil {
		return nil, err
	}
	if f.noKV {
		return keys, nil
	}
	version := "2"
	if f.kvV1 {
		version = "1"
	}
	body, err := json.Marshal(map[string]any{
		"type": "kv", "description": "key/value secret storage", "options": map[string]string{"version": version},
	})
	if err != nil {
		return nil, err
	}
	_, err = c.Handle(ctx, &core.Inbound{ID: "dev", Op: engines.Update, Path: "sys/mounts/secret", Token: keys.RootToken, Body: body})
	return keys, err
}

// tell says how to use the server.
func (f *devFlags) tell(w io.Writer, address, caFile string, keys *core.InitResult) error {
	var b strings.Builder
	b.WriteString("WARNING! dev mode is enabled! In this mode, Coffer starts unsealed with a single\n" +
		"unseal key, and forgets everything when it stops. Do not use it for real secrets.\n\n" +
		"You may need to set the following environment variables:\n\n")
	fmt.Fprintf(&b, "    $ export COFFER_ADDR='%s'\n    $ export VAULT_ADDR='%s'\n", address, address)
	if caFile != "" {
		fmt.Fprintf(&b, "    $ export COFFER_CACERT='%s'\n    $ export VAULT_CACERT='%s'\n", caFile, caFile)
	}
	fmt.Fprintf(&b, "\nThe unseal key and root token are displayed below in case you want to\n"+
		"seal/unseal the Vault or re-authenticate.\n\nUnseal Key: %s\nRoot Token: %s\n\n"+
		"Development mode should NOT be used in production installations!\n\n", keys.Base64[0], keys.RootToken)
	_, err := io.WriteString(w, b.String())
	return err
}

// storeToken keeps the token for the command line. A home that cannot be
// written to is no reason not to serve.
func (f *devFlags) storeToken(stderr io.Writer, token string) error {
	if f.noStoreToken {
		return nil
	}
	home, err := os.UserHomeDir()
	if err == nil {
		err = client.TokenFile{Dir: home}.Write(token)
	}
	if err != nil {
		_, err = fmt.Fprintf(stderr, "the root token is not kept for the command line: %s\n", err)
	}
	return err
}
