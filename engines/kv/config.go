package kv

import (
	"context"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// configAnswer is the answer to a read of config.
type configAnswer struct {
	CASRequired         bool   `json:"cas_required"`
	DeleteVersionAfter  string `json:"delete_version_after"`
	MaxVersions         uint32 `json:"max_versions"`
	MetadataCASRequired bool   `json:"metadata_cas_required"`
}

func readConfig(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	cfg, err := loadConfig(tx)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: configAnswer{
		CASRequired:         cfg.CASRequired,
		DeleteVersionAfter:  cfg.DeleteVersionAfter.String(),
		MaxVersions:         cfg.MaxVersions,
		MetadataCASRequired: cfg.MetadataCASRequired,
	}}, nil
}

func writeConfig(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	cfg, err := loadConfig(tx)
	if err != nil {
		return nil, err
	}
	before := cfg
	if req.Fields.Has("max_versions") {
		if cfg.MaxVersions, err = maxVersions(req); err != nil {
			return nil, err
		}
	}
	if req.Fields.Has("cas_required") {
		cfg.CASRequired = req.Fields.Bool("cas_required")
	}
	if req.Fields.Has("metadata_cas_required") {
		cfg.MetadataCASRequired = req.Fields.Bool("metadata_cas_required")
	}
	if req.Fields.Has("delete_version_after") {
		cfg.DeleteVersionAfter = req.Fields.Duration("delete_version_after")
		if cfg.DeleteVersionAfter < 0 {
			cfg.DeleteVersionAfter = -time.Second // how Vault shows it
		}
	}
	if cfg.Upgraded {
		// Once every row of version 1 has moved, nobody need look for them.
		left, err := tx.List(v1Dir, engines.Page{Limit: 1})
		if err != nil {
			return nil, err
		}
		cfg.Upgraded = len(left) > 0
	}
	if cfg == before {
		return nil, nil
	}
	return nil, cfg.store(tx)
}

// maxVersions reads and bounds the field.
func maxVersions(req *engines.Request) (uint32, error) {
	n := req.Fields.Int("max_versions")
	if n < 0 || n > maxVersionsLimit {
		return 0, engines.Invalidf("field \"max_versions\": expected 0 to %d", maxVersionsLimit)
	}
	return uint32(n), nil
}
