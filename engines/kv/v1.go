package kv

import (
	"context"
	"encoding/json"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/coffer-secrets/coffer/engines"
)

// fallbackTTL is what readers are told if the mount has no default: 32 days.
const fallbackTTL = 768 * time.Hour

func readV1(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	path, err := secretPath(req)
	if err != nil {
		return nil, err
	}
	found, err := loadRow(tx, path)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, engines.NotFound()
	}
	ttl := found.ttl
	if ttl < 0 {
		ttl = req.Mount.DefaultTTL
		if ttl <= 0 {
			ttl = fallbackTTL
		}
	}
	return &engines.Response{Data: found.value, Secret: &engines.Secret{TTL: ttl}}, nil
}

func existsV1(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
	path, err := secretPath(req)
	if err != nil {
		return false, err
	}
	entry, err := tx.Get(v1Dir + path)
	return entry != nil, err
}

func writeV1(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	path, err := secretPath(req)
	if err != nil {
		return nil, err
	}
	members := req.Fields.Map("data")
	if len(members) == 0 {
		return nil, engines.Invalidf("missing data fields")
	}
	if err := refuseUpgraded(tx); err != nil {
		return nil, err
	}
	value, err := engines.JoinObject(members)
	if err != nil {
		return nil, engines.Internal(err)
	}
	changed := row{written: at(req.Now), ttl: ttlOf(members), value: value}
	return nil, tx.Put(v1Dir+path, changed.encode())
}

func deleteV1(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	path, err := secretPath(req)
	if err != nil {
		return nil, err
	}
	if err := refuseUpgraded(tx); err != nil {
		return nil, err
	}
	return nil, tx.Delete(v1Dir + path)
}

// refuseUpgraded makes a write of version 1 depend on the mount's still being
// of version 1 when it commits.
func refuseUpgraded(tx engines.Tx) error {
	cfg, err := loadConfig(tx)
	if err != nil {
		return err
	}
	if cfg.Upgraded {
		return engines.Errorf(engines.KindUnavailable, "the mount has just become version 2: try again")
	}
	return nil
}

// ttlOf reads the member "ttl", or else "lease". It is negative if there is
// none or it makes no sense, as Vault passes over it then.
func ttlOf(members map[string]json.RawMessage) time.Duration {
	raw, ok := members["ttl"]
	if !ok {
		raw, ok = members["lease"]
	}
	if !ok {
		return -1
	}
	text, ok := scalar(raw)
	if !ok {
		return -1
	}
	ttl, ok := engines.ParseSeconds(text)
	if !ok || ttl < 0 {
		return -1
	}
	return ttl
}

// scalar gives the text of a JSON string or number.
func scalar(raw json.RawMessage) (string, bool) {
	switch {
	case len(raw) == 0:
		return "", false
	case raw[0] == '"':
		text, err := jsontext.AppendUnquote(nil, raw)
		return string(text), err == nil
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		return string(raw), true
	}
	return "", false
}
