package pki

import (
	"context"
	"crypto"
	"encoding/hex"
	"encoding/json"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
)

// keyRow is the row of a private key. DER is PKCS #8.
type keyRow struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	DER  []byte `json:"der"`
}

// storedKey is a key as it is parsed.
type storedKey struct {
	*keyRow
	signer crypto.Signer
}

func parseKey(text []byte) (*storedKey, error) {
	k := &storedKey{keyRow: new(keyRow)}
	if err := json.Unmarshal(text, k.keyRow); err != nil {
		return nil, err
	}
	var err error
	k.signer, err = keys.Parse(k.DER)
	return k, err
}

func (k *storedKey) kind() keys.Kind {
	kind, _ := keys.KindOf(k.signer.Public())
	return kind
}

// defaultKey is the row of config/keys.
type defaultKey struct {
	Default string `json:"default"`
}

const maxKeys = 256

// key finds a key by id, name, or "default".
func (e *engine) key(m engines.Mount, tx engines.Tx, ref string) (*storedKey, error) {
	missing := engines.Invalidf("unable to find PKI key for reference: %v", ref)
	id := ref
	switch {
	case ref == "" || ref == "default":
		d, err := load[defaultKey](tx, keysRow)
		if err != nil {
			return nil, err
		}
		if d == nil || d.Default == "" {
			return nil, engines.Invalidf("no default key is configured: generate or import one first")
		}
		id = d.Default
	case !validRef(ref):
		return nil, missing
	default:
		entry, err := tx.Get(keyNameDir + ref)
		if err != nil {
			return nil, err
		}
		if entry != nil {
			id = string(entry.Value)
		}
	}
	k, err := e.keys.get(m, tx, keyDir+id, parseKey)
	if err == nil && k == nil {
		err = missing
	}
	return k, err
}

// addKey stores a key, or finds the one that it is.
func (e *engine) addKey(m engines.Mount, tx engines.Tx, signer crypto.Signer, name string) (id string, existed bool, err error) {
	ids, err := tx.List(keyDir, engines.Page{})
	if err != nil {
		return "", false, err
	}
	for _, id := range ids {
		k, err := e.keys.get(m, tx, keyDir+id, parseKey)
		if err != nil {
			return "", false, err
		}
		if k != nil && keys.Same(k.signer.Public(), signer.Public()) {
			return id, true, nil
		}
	}
	if len(ids) >= maxKeys {
		return "", false, engines.Invalidf("a mount has at most %d keys: delete those that are not used", maxKeys)
	}
	row := &keyRow{ID: newID(), Name: name}
	if row.DER, err = keys.Marshal(signer); err != nil {
		return "", false, engines.Internal(err)
	}
	if name != "" {
		if err := checkName("key_name", keyNameDir, name, tx); err != nil {
			return "", false, err
		}
		if err := tx.Put(keyNameDir+name, []byte(row.ID)); err != nil {
			return "", false, err
		}
	}
	d, err := load[defaultKey](tx, keysRow)
	if err == nil && (d == nil || d.Default == "") {
		err = save(tx, keysRow, defaultKey{row.ID})
	}
	if err != nil {
		return "", false, err
	}
	return row.ID, false, save(tx, keyDir+row.ID, row)
}

func (e *engine) listKeys(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return listInfo(req, tx, keyDir, func(id string) (map[string]any, error) {
		k, err := e.keys.get(req.Mount, tx, keyDir+id, parseKey)
		if err != nil || k == nil {
			return nil, err
		}
		d, err := load[defaultKey](tx, keysRow)
		return map[string]any{"key_name": k.Name, "is_default": d != nil && d.Default == id}, err
	})
}

func (e *engine) readKey(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	k, err := e.key(req.Mount, tx, req.Fields.String("key_ref"))
	if err != nil {
		return nil, err
	}
	id, err := keys.SubjectKeyID(k.signer.Public())
	if err != nil {
		return nil, engines.Internal(err)
	}
	return &engines.Response{Data: map[string]any{
		"key_id": k.ID, "key_name": k.Name, "key_type": k.kind().Type, "subject_key_id": colons(id),
	}}, nil
}

func (e *engine) writeKey(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	k, err := e.key(req.Mount, tx, req.Fields.String("key_ref"))
	if err != nil {
		return nil, err
	}
	changed := *k.keyRow
	if req.Fields.Has("key_name") && req.Fields.String("key_name") != k.Name {
		if changed.Name, err = rename(tx, "key_name", keyNameDir, k.Name, req.Fields.String("key_name"), k.ID); err != nil {
			return nil, err
		}
		if err := save(tx, keyDir+k.ID, &changed); err != nil {
			return nil, err
		}
	}
	return &engines.Response{Data: map[string]any{"key_id": k.ID, "key_name": changed.Name, "key_type": k.kind().Type}}, nil
}

// rename moves what a name stands for.
func rename(tx engines.Tx, field, dir, old, name, id string) (string, error) {
	if old != "" {
		if err := tx.Delete(dir + old); err != nil {
			return "", err
		}
	}
	if name == "" {
		return "", nil
	}
	if err := checkName(field, dir, name, tx); err != nil {
		return "", err
	}
	return name, tx.Put(dir+name, []byte(id))
}

// deleteKey refuses none but tells of issuers that can sign no more.
func (e *engine) deleteKey(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	k, err := e.key(req.Mount, tx, req.Fields.String("key_ref"))
	if err != nil {
		return nil, err
	}
	list, err := e.all(req.Mount, tx)
	if err != nil {
		return nil, err
	}
	for _, a := range list {
		if a.Key == k.ID {
			return nil, engines.Invalidf("the key is in use by an issuer: delete that first")
		}
	}
	if k.Name != "" {
		if err := tx.Delete(keyNameDir + k.Name); err != nil {
			return nil, err
		}
	}
	d, err := load[defaultKey](tx, keysRow)
	if err != nil {
		return nil, err
	}
	resp := new(engines.Response)
	if d != nil && d.Default == k.ID {
		resp.Warnings = []string{"Deleted key " + k.ID + " was the default: there is none now"}
		if err := tx.Delete(keysRow); err != nil {
			return nil, err
		}
	}
	return resp, tx.Delete(keyDir + k.ID)
}

func (e *engine) readDefaultKey(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	d, err := load[defaultKey](tx, keysRow)
	if err != nil {
		return nil, err
	}
	if d == nil {
		d = new(defaultKey)
	}
	return &engines.Response{Data: d}, nil
}

func (e *engine) writeDefaultKey(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	ref := req.Fields.String("default")
	if ref == "" {
		return nil, engines.Invalidf("default is missing: it names a key")
	}
	k, err := e.key(req.Mount, tx, ref)
	if err != nil {
		return nil, err
	}
	d := defaultKey{k.ID}
	return &engines.Response{Data: d}, save(tx, keysRow, d)
}

// makingKey makes keys ahead that take long to make: those that the fields name.
func makingKey(_ context.Context, req *engines.Request, _ engines.Tx) (func(ctx context.Context) (any, error), error) {
	if e := req.Fields.Get("exported"); e == "existing" || e == "kms" {
		return nil, nil
	}
	kind, err := keys.Of(req.Fields.String("key_type"), req.Fields.Int("key_bits"))
	if err != nil || !kind.Slow() {
		return nil, err
	}
	return makeKey(kind), nil
}

func makeKey(kind keys.Kind) func(ctx context.Context) (any, error) {
	return func(context.Context) (any, error) {
		key, err := kind.Generate()
		if err != nil {
			return nil, engines.Internal(err)
		}
		return key, nil
	}
}

// newKey is the key that was made ahead, if it is of the kind, or one made now.
func newKey(req *engines.Request, kind keys.Kind) (crypto.Signer, error) {
	if ready, ok := req.Ahead.(crypto.Signer); ok {
		if got, _ := keys.KindOf(ready.Public()); got == kind {
			return ready, nil
		}
		return nil, engines.ErrStale
	}
	if kind.Slow() {
		return nil, engines.ErrStale
	}
	key, err := kind.Generate()
	if err != nil {
		return nil, engines.Internal(err)
	}
	return key, nil
}

// generateKey makes a key that the answer has or has not.
func (e *engine) generateKey(how string) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		v := req.Fields
		kind, err := keys.Of(v.String("key_type"), v.Int("key_bits"))
		if err != nil {
			return nil, err
		}
		if how == "kms" {
			return nil, errNoKMS()
		}
		key, err := newKey(req, kind)
		if err != nil {
			return nil, err
		}
		id, _, err := e.addKey(req.Mount, tx, key, v.String("key_name"))
		if err != nil {
			return nil, err
		}
		data := map[string]any{"key_id": id, "key_name": v.String("key_name"), "key_type": kind.Type}
		if how == "exported" {
			if data["private_key"], err = keys.Encode(key, "pem", false); err != nil {
				return nil, engines.Internal(err)
			}
		}
		return &engines.Response{Data: data}, nil
	}
}

func errNoKMS() error {
	return engines.Invalidf("expected internal or exported: keys that stay in another system are not offered")
}

func (e *engine) importKey(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	b, err := keys.ParseBundle("pem_bundle", req.Fields.String("pem_bundle"))
	if err != nil {
		return nil, err
	}
	if len(b.Keys) != 1 || len(b.Certificates) > 0 {
		return nil, engines.Invalidf("pem_bundle: expected one private key in PEM")
	}
	name := req.Fields.String("key_name")
	id, existed, err := e.addKey(req.Mount, tx, b.Keys[0], name)
	if err != nil {
		return nil, err
	}
	resp := new(engines.Response)
	kind, _ := keys.KindOf(b.Keys[0].Public())
	if existed {
		k, err := e.key(req.Mount, tx, id)
		if err != nil {
			return nil, err
		}
		name = k.Name
		resp.Warnings = []string{"Key already imported, use key/ endpoint to update name."}
	}
	resp.Data = map[string]any{"key_id": id, "key_name": name, "key_type": kind.Type}
	return resp, nil
}

// colons writes bytes in hex with colons between.
func colons(b []byte) string {
	out := make([]byte, 0, len(b)*3)
	for i, c := range b {
		if i > 0 {
			out = append(out, ':')
		}
		out = hex.AppendEncode(out, []byte{c})
	}
	return string(out)
}
