package certs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
)

func TestUsable(t *testing.T) {
	t.Parallel()
	const (
		sign    = x509.KeyUsageDigitalSignature
		encrypt = x509.KeyUsageKeyEncipherment
		agree   = x509.KeyUsageKeyAgreement
	)
	for what, c := range map[string]struct {
		public     crypto.PublicKey
		asked, got x509.KeyUsage
		refused    bool
	}{
		"rsa":                        {&rsa.PublicKey{}, sign | encrypt | agree, sign | encrypt, false},
		"ec":                         {&ecdsa.PublicKey{}, sign | encrypt | agree, sign | agree, false},
		"ed25519":                    {ed25519.PublicKey{}, sign | encrypt | agree, sign, false},
		"nothing asked":              {ed25519.PublicKey{}, 0, 0, false},
		"a CA":                       {ed25519.PublicKey{}, x509.KeyUsageCertSign | x509.KeyUsageCRLSign, x509.KeyUsageCertSign | x509.KeyUsageCRLSign, false},
		"none is left of rsa's":      {&rsa.PublicKey{}, agree, 0, true},
		"none is left of ec's":       {&ecdsa.PublicKey{}, encrypt | x509.KeyUsageDataEncipherment, 0, true},
		"none is left of ed25519's":  {ed25519.PublicKey{}, agree | encrypt, 0, true},
		"what only goes with others": {&ecdsa.PublicKey{}, agree | x509.KeyUsageEncipherOnly, agree | x509.KeyUsageEncipherOnly, false},
	} {
		got, err := certs.Usable(c.asked, c.public)
		if got != c.got || (err != nil) != c.refused || err != nil && engines.KindOf(err) != engines.KindInvalid {
			t.Errorf("%s: %b, %v", what, got, err)
		}
	}
}
