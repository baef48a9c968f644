package cubbyhole

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

// Type is the engine's type.
const Type = "cubbyhole"

// maxKeys bounds a listing that is not paged.
const maxKeys = 10_000

// Dir is the folder of everything that a token keeps.
func Dir(tokenKey string) string { return tokenKey + "/" }

// New returns the engine.
func New() *engines.Engine {
	return &engines.Engine{
		Type:  Type,
		Class: engines.ClassSecret,
		Help:  "Storage of each token's own, destroyed with the token",
		Table: func(engines.Mount) (*engines.Table, error) { return table(), nil },
	}
}

func table() *engines.Table {
	return &engines.Table{
		Help: "Keeps what a token writes for that token alone, until the token ends.",
		Routes: []engines.Route{{
			Pattern: "{path...?}",
			Help:    "Read and write what belongs to the calling token.",
			Fields: []engines.Field{
				{Name: "path", Help: "Where in the token's own storage."},
				{Name: "data", Type: engines.Map, Body: true, Secret: true, Help: "What to keep: the whole body."},
				{Name: "after", Query: true, Help: "Begin a listing after this name, which need not exist."},
				{Name: "limit", Type: engines.Int, Query: true, Help: "How many names to list; 0 for all."},
			},
			Ops: []engines.Op{
				{Do: engines.Read, Trait: engines.Reads, Handler: read, Help: "Read what is kept at the path."},
				{Do: engines.Update, Trait: engines.Writes, Handler: write, Exists: exists, Help: "Keep the body at the path."},
				{Do: engines.Delete, Trait: engines.Writes, Handler: remove, Help: "Delete what is kept at the path."},
				{Do: engines.List, Trait: engines.Reads, Handler: list, Help: "List the names in a folder."},
			},
		}},
	}
}

// dir is the caller's folder. Two token keys never share one: a key is a
// single segment.
func dir(req *engines.Request) (string, error) {
	key := req.Caller.TokenKey
	if key == "" {
		return "", engines.Errorf(engines.KindDenied, "permission denied")
	}
	if strings.Contains(key, "/") {
		return "", engines.Internal(errors.New("cubbyhole: the key of a token holds a slash"))
	}
	return Dir(key), nil
}

// row is the row that the request names.
func row(req *engines.Request) (string, error) {
	folder, err := dir(req)
	if err != nil {
		return "", err
	}
	path := req.Fields.String("path")
	if path == "" || strings.HasSuffix(path, "/") {
		if req.Op == engines.Read {
			return "", engines.NotFound()
		}
		return "", engines.Invalidf("missing path")
	}
	return folder + path, nil
}

func get(req *engines.Request, tx engines.Tx) (*engines.Entry, error) {
	path, err := row(req)
	if err != nil {
		return nil, err
	}
	return tx.Get(path)
}

func exists(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
	entry, err := get(req, tx)
	return entry != nil, err
}

func read(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	entry, err := get(req, tx)
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return nil, engines.NotFound()
	}
	return &engines.Response{Data: json.RawMessage(entry.Value)}, nil
}

func write(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	path, err := row(req)
	if err != nil {
		return nil, err
	}
	members := req.Fields.Map("data")
	if len(members) == 0 {
		return nil, engines.Invalidf("missing data fields")
	}
	value, err := engines.JoinObject(members)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return nil, tx.Put(path, value)
}

func remove(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	path, err := row(req)
	if err != nil {
		return nil, err
	}
	return nil, tx.Delete(path)
}

func list(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	folder, err := dir(req)
	if err != nil {
		return nil, err
	}
	if path := strings.TrimSuffix(req.Fields.String("path"), "/"); path != "" {
		folder += path + "/"
	}
	limit := maxKeys + 1
	if asked := req.Fields.Int("limit"); asked > 0 && asked < int64(limit) {
		limit = int(asked)
	}
	keys, err := tx.List(folder, engines.Page{After: req.Fields.String("after"), Limit: limit})
	if err != nil {
		return nil, err
	}
	if len(keys) > maxKeys {
		return nil, engines.Invalidf("more than %d keys here: list them in pages, with limit and after", maxKeys)
	}
	if len(keys) == 0 {
		return nil, engines.NotFound()
	}
	return &engines.Response{Data: map[string]any{"keys": keys}}, nil
}
