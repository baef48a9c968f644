package mfa

import (
	"bytes"
	"encoding/base64"
	"image/png"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"

	"github.com/coffer-secrets/coffer/core/identity"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// secret is what an entity's passcodes are made of. It keeps the parameters that
// it was made with: the authenticator does not learn of a change of the method.
type secret struct {
	Key string `json:"key"` // base32
	TOTP
}

func secretPath(method, entity string) string { return secretDir + method + "/" + entity }

func algorithm(name string) (otp.Algorithm, error) {
	switch name {
	case "SHA1":
		return otp.AlgorithmSHA1, nil
	case "SHA256":
		return otp.AlgorithmSHA256, nil
	case "SHA512":
		return otp.AlgorithmSHA512, nil
	}
	return 0, engines.Internal(nil)
}

func (m *MFA) generateOwn(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	if req.Caller.EntityID == "" {
		return nil, engines.Invalidf("no entity: a secret belongs to an identity, and the caller's token has none")
	}
	return m.generate(req, tx, req.Caller.EntityID)
}

func (m *MFA) generateFor(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	id := req.Fields.String("entity_id")
	if id == "" {
		return nil, engines.Invalidf("missing entity ID")
	}
	return m.generate(req, tx, id)
}

func (m *MFA) generate(req *engines.Request, tx *state.Tx, entity string) (*engines.Response, error) {
	method, err := methodAsked(req, tx)
	if err != nil {
		return nil, err
	}
	if ok, err := identity.EntityExists(tx, entity); err != nil || !ok {
		return nil, elseInvalid(err, "there is no such entity")
	}
	path := secretPath(method.ID, entity)
	taken, err := region(tx).Get(path)
	if err != nil {
		return nil, err
	}
	if taken != nil {
		// To make another would lock out whoever holds the first.
		return &engines.Response{Warnings: []string{"Entity already has a secret for MFA method " + method.label()}}, nil
	}
	hash, err := algorithm(method.Algorithm)
	if err != nil {
		return nil, err
	}
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: method.Issuer, AccountName: entity, Period: uint(method.Period / time.Second), SecretSize: uint(method.KeySize),
		Digits: otp.Digits(method.Digits), Algorithm: hash,
	})
	if err != nil {
		return nil, engines.Internal(err)
	}
	code, err := barcode(key, int(method.QRSize))
	if err != nil {
		return nil, engines.Internal(err)
	}
	if err := save(region(tx), path, &secret{Key: key.Secret(), TOTP: method.TOTP}, state.PutOptions{}); err != nil {
		return nil, err
	}
	return data(map[string]any{"url": key.String(), "barcode": code}), nil
}

// barcode is the key as a PNG in base64.
func barcode(key *otp.Key, size int) (string, error) {
	if size == 0 {
		return "", nil
	}
	picture, err := key.Image(size, size)
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	if err := png.Encode(&out, picture); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(out.Bytes()), nil
}

func methodAsked(req *engines.Request, tx *state.Tx) (*Method, error) {
	id := req.Fields.String("method_id")
	if id == "" {
		return nil, engines.Invalidf("missing method ID")
	}
	method, err := methodByID(tx, id)
	if err == nil && method == nil {
		return nil, engines.Invalidf("there is no method with this id")
	}
	return method, err
}

func (m *MFA) destroySecret(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	method, err := methodAsked(req, tx)
	if err != nil {
		return nil, err
	}
	id := req.Fields.String("entity_id")
	if ok, err := identity.EntityExists(tx, id); err != nil || !ok {
		return nil, elseInvalid(err, "there is no such entity")
	}
	if err := passing(tx).Delete(proofPath(method.ID, id)); err != nil {
		return nil, err
	}
	return nil, region(tx).Delete(secretPath(method.ID, id))
}

// Gone moves the secrets of an entity that becomes part of another to it, where
// it has none of its own, and removes the rest.
func Gone(tx *state.Tx, entity, into string) error {
	ids, err := region(tx).List(methodDir, engines.Page{})
	if err != nil {
		return err
	}
	for _, id := range ids {
		own, err := region(tx).Get(secretPath(id, entity))
		if err != nil {
			return err
		}
		if own == nil {
			continue
		}
		if err := moveSecret(tx, id, into, own.Value); err != nil {
			return err
		}
		if err := region(tx).Delete(secretPath(id, entity)); err != nil {
			return err
		}
	}
	return nil
}

func moveSecret(tx *state.Tx, method, into string, value []byte) error {
	if into == "" {
		return nil
	}
	theirs, err := region(tx).Get(secretPath(method, into))
	if err != nil || theirs != nil {
		return err
	}
	return region(tx).Put(secretPath(method, into), value)
}
