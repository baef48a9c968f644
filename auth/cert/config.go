package cert

import (
	"context"
	"encoding/json"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	configRow        = "config"
	defaultOCSPCache = 100
	maxOCSPCache     = 100_000
)

// config is the settings row of a mount.
type config struct {
	CRLFailOpen    bool `json:"crl_fail_open"`
	DisableBinding bool `json:"disable_binding"`
	AliasMetadata  bool `json:"enable_identity_alias_metadata"`
	OCSPCacheSize  int  `json:"ocsp_cache_size"`
}

func loadConfig(tx engines.Tx) (*config, error) {
	c := &config{OCSPCacheSize: defaultOCSPCache}
	entry, err := tx.Get(configRow)
	if err != nil || entry == nil {
		return c, err
	}
	if err := json.Unmarshal(entry.Value, c); err != nil {
		return nil, engines.Internal(err)
	}
	return c, nil
}

func readConfig(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := loadConfig(tx)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: c}, nil
}

func writeConfig(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := loadConfig(tx)
	if err != nil {
		return nil, err
	}
	f := req.Fields
	for name, into := range map[string]*bool{
		"crl_fail_open": &c.CRLFailOpen, "disable_binding": &c.DisableBinding, "enable_identity_alias_metadata": &c.AliasMetadata,
	} {
		if f.Has(name) {
			*into = f.Bool(name)
		}
	}
	if f.Has("ocsp_cache_size") {
		n := f.Int("ocsp_cache_size")
		if n < 0 || n > maxOCSPCache {
			return nil, engines.Invalidf("ocsp_cache_size: expected 0 to %d", maxOCSPCache)
		}
		if n == 0 {
			n = defaultOCSPCache
		}
		c.OCSPCacheSize = int(n)
	}
	value, err := json.Marshal(c)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return nil, tx.Put(configRow, value)
}
