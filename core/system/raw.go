package system

import (
	"context"
	"encoding/base64"
	"encoding/hex"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// rawRoutes show rows of the state as they are stored, opened, by the hex form
// of their keys. They are there only if the configuration asks for them.
func (s *system) rawRoutes() []engines.Route {
	path := field("path", engines.String, "The row's key in hex.")
	path.Query = true
	page := []engines.Field{path, field("value", engines.String, "What to store."), {Name: "encoding", Type: engines.String, Allowed: []string{"", "base64"}, Help: "\"base64\" if the value is written so."},
		field("compressed", engines.Bool, "Must be false: rows are not compressed."), field("compression_type", engines.String, "Must be empty."), {Name: "after", Type: engines.String, Query: true, Help: "List keys after this one."}, {Name: "limit", Type: engines.Int, Query: true, Help: "List so many keys."}}
	return []engines.Route{
		{Pattern: "raw", Help: "List the keys of stored rows.", Sudo: true, Fields: page, Ops: []engines.Op{
			list(whole(s.rawList)), update(whole(s.rawWrite)), remove(whole(s.rawDelete)),
		}},
		{Pattern: "raw/{path}", Help: "Read, write and delete a stored row, or list the keys below a prefix.", Sudo: true, Fields: page, Ops: []engines.Op{
			read(whole(s.rawRead)), list(whole(s.rawList)), update(whole(s.rawWrite)), remove(whole(s.rawDelete)),
		}},
	}
}

const rawPage = 1000

func rawKey(req *engines.Request) ([]byte, error) {
	key, err := hex.DecodeString(req.Fields.String("path"))
	if err != nil {
		return nil, engines.Invalidf("the key is not in hex")
	}
	if len(key) > 0 && state.Table(key[0]) == state.Boot {
		return nil, engines.Errorf(engines.KindDenied, "the keyring's rows cannot be reached")
	}
	return key, nil
}

func (s *system) rawList(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	prefix, err := rawKey(req)
	if err != nil {
		return nil, err
	}
	after, limit := req.Fields.String("after"), int(req.Fields.Int("limit"))
	if limit <= 0 || limit > rawPage {
		limit = rawPage
	}
	keys := []string{}
	err = tx.ScanKeys(prefix, func(key []byte) ([]byte, error) {
		text := hex.EncodeToString(key)
		if len(keys) >= limit {
			return []byte{0xff}, nil
		}
		if text > after && state.Table(key[0]) != state.Boot {
			keys = append(keys, text)
		}
		return nil, nil
	})
	if err != nil {
		return nil, err
	}
	return data(map[string]any{"keys": keys}), nil
}

func (s *system) rawRead(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	key, err := rawKey(req)
	if err != nil {
		return nil, err
	}
	row, err := tx.Get(key)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, engines.NotFound()
	}
	return data(map[string]any{"value": base64.StdEncoding.EncodeToString(row.Value)}), nil
}

// rawWrite changes what a row holds. When it ends, and with whom, stays.
func (s *system) rawWrite(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	key, err := rawKey(req)
	if err != nil {
		return nil, err
	}
	f := req.Fields
	value := []byte(f.String("value"))
	switch {
	case len(key) == 0:
		return nil, engines.Invalidf("path: the row's key in hex is missing")
	case f.Bool("compressed") || f.String("compression_type") != "":
		return nil, engines.Invalidf("rows are not compressed")
	case f.String("encoding") == "base64":
		if value, err = base64.StdEncoding.DecodeString(f.String("value")); err != nil {
			return nil, engines.Invalidf("value: not in base64")
		}
	}
	row, err := tx.Get(key)
	if err != nil {
		return nil, err
	}
	if row == nil {
		return nil, engines.Invalidf("there is no such row: only what a stored row holds can be changed")
	}
	return nil, tx.Put(key, value, state.PutOptions{Expiry: row.Expiry, Owner: row.Owner})
}

func (s *system) rawDelete(_ context.Context, req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	key, err := rawKey(req)
	if err != nil {
		return nil, err
	}
	if len(key) == 0 {
		return nil, engines.Invalidf("path: the row's key in hex is missing")
	}
	return nil, tx.Delete(key)
}
