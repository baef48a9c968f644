package conformance_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// pgpKey makes a key of an operator, in the form that servers take.
func pgpKey(t *testing.T) (entity *openpgp.Entity, public string) {
	t.Helper()
	entity = must(openpgp.NewEntity("operator", "", "operator@example.com", nil))(t)
	var out bytes.Buffer
	check(t, entity.Serialize(&out))
	return entity, base64.StdEncoding.EncodeToString(out.Bytes())
}

func decrypted(t *testing.T, entity *openpgp.Entity, message []byte) string {
	t.Helper()
	m := must(openpgp.ReadMessage(bytes.NewReader(message), openpgp.EntityList{entity}, nil, nil))(t)
	return string(must(io.ReadAll(m.UnverifiedBody))(t))
}

func TestSharesArePGPEncrypted(t *testing.T) {
	t.Parallel()
	entity, public := pgpKey(t)
	s := configured(t, "")
	c := s.client(t)
	sys := c.Sys()
	first := must(sys.Init(&api.InitRequest{SecretShares: 1, SecretThreshold: 1, PGPKeys: []string{public}, RootTokenPGPKey: public}))(t)
	c.SetToken(decrypted(t, entity, must(base64.StdEncoding.DecodeString(first.RootToken))(t)))
	share := decrypted(t, entity, must(hex.DecodeString(first.Keys[0]))(t))
	holds(t, "unsealed by what was decrypted", !must(sys.Unseal(share))(t).Sealed)

	begun := must(sys.RekeyInit(&api.RekeyInitRequest{SecretShares: 1, SecretThreshold: 1, PGPKeys: []string{public}, Backup: true}))(t)
	made := must(sys.RekeyUpdate(share, begun.Nonce))(t)
	fingerprint := hex.EncodeToString(entity.PrimaryKey.Fingerprint)
	equal(t, "for whom", made.PGPFingerprints, []string{fingerprint})
	kept := must(sys.RekeyRetrieveBackup())(t)
	equal(t, "kept", kept.KeysB64, map[string][]string{fingerprint: made.KeysB64})
	equal(t, "kept in hex", kept.Keys, map[string][]string{fingerprint: made.Keys})
	check(t, sys.RekeyDeleteBackup())
	_, err := sys.RekeyRetrieveBackup()
	refused(t, err, 404, "")

	share = decrypted(t, entity, must(base64.StdEncoding.DecodeString(made.KeysB64[0]))(t))
	root := must(sys.GenerateRootInit("", public))(t)
	done := must(sys.GenerateRootUpdate(share, root.Nonce))(t)
	equal(t, "for whom", done.PGPFingerprint, fingerprint)
	c.SetToken(decrypted(t, entity, must(base64.StdEncoding.DecodeString(done.EncodedToken))(t)))
	equal(t, "a root token", must(must(c.Auth().Token().LookupSelf())(t).TokenPolicies())(t), []string{"root"})
}
