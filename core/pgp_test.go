package core_test

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"io"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// operator holds a PGP key.
type operator struct {
	t      *testing.T
	entity *openpgp.Entity
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	entity, err := openpgp.NewEntity("operator", "", "operator@example.com", &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA256,
	})
	if err != nil {
		t.Fatal(err)
	}
	return &operator{t, entity}
}

// public is the operator's key as the API takes it.
func (o *operator) public() string {
	o.t.Helper()
	var out bytes.Buffer
	if err := o.entity.Serialize(&out); err != nil {
		o.t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(out.Bytes())
}

// open decrypts what the API answered in base64.
func (o *operator) open(text string) string {
	o.t.Helper()
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		o.t.Fatal(err)
	}
	message, err := openpgp.ReadMessage(bytes.NewReader(raw), openpgp.EntityList{o.entity}, nil, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	plain, err := io.ReadAll(message.UnverifiedBody)
	if err != nil {
		o.t.Fatal(err)
	}
	return string(plain)
}
