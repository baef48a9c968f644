package seal_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/coffer-secrets/coffer/seal"
)

func newEntity(t testing.TB, cfg *packet.Config) *openpgp.Entity {
	t.Helper()
	if cfg.Algorithm == 0 {
		cfg.Algorithm = packet.PubKeyAlgoEdDSA
	}
	cfg.DefaultHash = crypto.SHA256
	entity, err := openpgp.NewEntity("operator", "", "operator@example.com", cfg)
	if err != nil {
		t.Fatal(err)
	}
	return entity
}

func serialize(t testing.TB, entities ...*openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	for _, entity := range entities {
		if err := entity.Serialize(&out); err != nil {
			t.Fatal(err)
		}
	}
	return out.Bytes()
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func armoured(t testing.TB, entity *openpgp.Entity) string {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := entity.Serialize(w); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestEncryptShares(t *testing.T) {
	t.Parallel()
	entities := []*openpgp.Entity{
		newEntity(t, &packet.Config{}),
		newEntity(t, &packet.Config{Algorithm: packet.PubKeyAlgoRSA, RSABits: 2048}),
		newEntity(t, &packet.Config{}),
	}
	keys := []string{
		encode64(serialize(t, entities[0])),
		armoured(t, entities[1]),
		"\n" + encode64(serialize(t, entities[2])) + "\n",
	}
	shares := [][]byte{pattern("one", 33), pattern("two", 33), pattern("three", 33)}
	fingerprints, encrypted, err := seal.EncryptShares(shares, keys)
	if err != nil {
		t.Fatal(err)
	}
	for i, entity := range entities {
		if want := hex.EncodeToString(entity.PrimaryKey.Fingerprint); fingerprints[i] != want || len(want) != 40 {
			t.Errorf("fingerprint %s, want %s", fingerprints[i], want)
		}
		if got := decryptPGP(t, entity, encrypted[i]); got != hex.EncodeToString(shares[i]) {
			t.Errorf("share %d is %q", i, got)
		}
		if got, err := seal.PGPFingerprint(keys[i]); err != nil || got != fingerprints[i] {
			t.Errorf("fingerprint alone is %s: %v", got, err)
		}
		if bytes.Contains(encrypted[i], []byte(hex.EncodeToString(shares[i]))) {
			t.Errorf("share %d is not encrypted", i)
		}
	}
}

func decryptPGP(t testing.TB, entity *openpgp.Entity, message []byte) string {
	t.Helper()
	details, err := openpgp.ReadMessage(bytes.NewReader(message), openpgp.EntityList{entity}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(details.UnverifiedBody)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func TestEncryptPGPKeepsThePlaintext(t *testing.T) {
	t.Parallel()
	entity := newEntity(t, &packet.Config{})
	_, message, err := seal.EncryptPGP([]byte("s.token"), encode64(serialize(t, entity)))
	if err != nil {
		t.Fatal(err)
	}
	if got := decryptPGP(t, entity, message); got != "s.token" {
		t.Errorf("got %q", got)
	}
}

func TestUnusablePGPKeys(t *testing.T) {
	t.Parallel()
	good := newEntity(t, &packet.Config{})
	longAgo := &packet.Config{
		Time:            func() time.Time { return time.Now().Add(-48 * time.Hour) },
		KeyLifetimeSecs: 3600,
	}
	revoked := newEntity(t, &packet.Config{})
	if err := revoked.RevokeKey(packet.KeyCompromised, "lost", nil); err != nil {
		t.Fatal(err)
	}
	signingOnly := newEntity(t, &packet.Config{})
	signingOnly.Subkeys = nil
	subkeyRevoked := newEntity(t, &packet.Config{})
	if err := subkeyRevoked.RevokeSubkey(&subkeyRevoked.Subkeys[0], packet.KeySuperseded, "", nil); err != nil {
		t.Fatal(err)
	}
	var private bytes.Buffer
	if err := good.SerializePrivate(&private, nil); err != nil {
		t.Fatal(err)
	}
	// Who asks for a key's fingerprint is told what is wrong with it.
	for reason, entity := range map[string]*openpgp.Entity{"expired": newEntity(t, longAgo), "revoked": revoked} {
		_, err := seal.PGPFingerprint(encode64(serialize(t, entity)))
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v", reason, err)
		}
	}
	for name, key := range map[string]string{
		"expired":            encode64(serialize(t, newEntity(t, longAgo))),
		"revoked":            encode64(serialize(t, revoked)),
		"no encryption key":  encode64(serialize(t, signingOnly)),
		"subkey revoked":     encode64(serialize(t, subkeyRevoked)),
		"private":            encode64(private.Bytes()),
		"two keys":           encode64(serialize(t, good, newEntity(t, &packet.Config{}))),
		"empty":              "",
		"not base64":         "keybase:operator",
		"base64 of nothing":  encode64([]byte("not a key")),
		"truncated":          encode64(serialize(t, good)[:60]),
		"truncated armour":   armoured(t, good)[:200],
		"armour of a string": "-----BEGIN PGP MESSAGE-----\n\nAAAA\n-----END PGP MESSAGE-----",
		"huge":               strings.Repeat("A", 1<<20),
	} {
		fingerprints, encrypted, err := seal.EncryptShares([][]byte{pattern("one", 33)}, []string{key})
		if !errors.Is(err, seal.ErrInvalidPGPKey) || fingerprints != nil || encrypted != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := seal.EncryptShares([][]byte{{1}, {2}}, []string{"one key"}); !errors.Is(err, seal.ErrInvalidPGPKey) {
		t.Errorf("two shares and one key: %v", err)
	}
}
