package server

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
	"github.com/coffer-secrets/coffer/seal"
	"github.com/coffer-secrets/coffer/seal/static"
	"github.com/coffer-secrets/coffer/seal/transit"
)

// newWrapper makes what unseals the node without key shares; nil if that is
// what key shares are for.
func newWrapper(ctx context.Context, c config.Seal, log *slog.Logger) (seal.Wrapper, error) {
	switch c.Type {
	case config.SealShamir, "":
		return nil, nil
	case config.SealStatic:
		k := c.Keys
		return static.New(static.Config{
			CurrentKeyID: k.CurrentKeyID, CurrentKey: k.CurrentKey, PreviousKeyID: k.PreviousKeyID, PreviousKey: k.PreviousKey,
		})
	case config.SealTransit:
		t := c.Transit
		return transit.New(ctx, transit.Config{
			Address: t.Address, Token: t.Token, KeyName: t.KeyName, MountPath: t.MountPath, Namespace: t.Namespace,
			TLSCACert: t.CACert, TLSClientCert: t.ClientCert, TLSClientKey: t.ClientKey, TLSServerName: t.ServerName,
			TLSSkipVerify: t.SkipVerify, DisableRenewal: t.DisableRenewal, Logger: log.With("part", "seal"),
		})
	}
	return nil, fmt.Errorf("there is no seal of type %q", c.Type)
}
