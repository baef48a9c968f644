package pki

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/certs"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
)

// form is how an answer writes certificates and keys.
type form struct {
	format string
	pkcs8  bool
}

func formOf(v engines.Values) (form, error) {
	f := form{format: v.String("format"), pkcs8: v.String("private_key_format") == "pkcs8"}
	switch f.format {
	case "pem", "der", "pem_bundle":
	default:
		return f, engines.Invalidf(`the "format" path parameter must be "pem", "der", or "pem_bundle"`)
	}
	switch v.String("private_key_format") {
	case "", "der", "pem", "pkcs8":
		return f, nil
	}
	return f, engines.Invalidf("private_key_format: expected der, pem or pkcs8")
}

// made is what was made for an answer: a certificate, the one that signed it,
// what leads from there to a root, and the key if the caller gets it.
type made struct {
	cert    *x509.Certificate
	issuing []byte
	chain   []string // PEM
	key     crypto.Signer
}

// answer is the data that is common to all answers with a new certificate.
func (f form) answer(m *made) (map[string]any, error) {
	data := map[string]any{
		"serial_number": certs.Serial(m.cert.SerialNumber), "expiration": m.cert.NotAfter.Unix(), "not_before": m.cert.NotBefore.Unix(),
	}
	if m.key != nil {
		if err := f.putKey(data, m.key); err != nil {
			return nil, err
		}
	}
	chain := append([]string{}, m.chain...)
	switch f.format {
	case "der":
		data["certificate"] = base64.StdEncoding.EncodeToString(m.cert.Raw)
		data["issuing_ca"] = base64.StdEncoding.EncodeToString(m.issuing)
		for i, text := range chain {
			chain[i] = unarmour(text)
		}
	default:
		data["certificate"], data["issuing_ca"] = keys.Certificate(m.cert.Raw), keys.Certificate(m.issuing)
	}
	if f.format == "pem_bundle" {
		parts := []string{data["certificate"].(string)}
		if m.key != nil {
			parts = append([]string{data["private_key"].(string)}, parts...)
		}
		data["certificate"] = strings.Join(append(parts, chain...), "\n")
	}
	if m.chain != nil {
		data["ca_chain"] = chain
	}
	return data, nil
}

// unarmour is the base64 of a PEM text's DER.
func unarmour(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[1:len(lines)-1], "")
}

func (f form) putKey(data map[string]any, key crypto.Signer) error {
	text, err := keys.Encode(key, f.format, f.pkcs8)
	if err != nil {
		return engines.Internal(err)
	}
	kind, _ := keys.KindOf(key.Public())
	data["private_key"], data["private_key_type"] = text, kind.Type
	return nil
}
