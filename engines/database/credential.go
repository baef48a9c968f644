package database

import (
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

// The types of credentials.
const (
	typePassword    = "password"
	typeKey         = "rsa_private_key"
	typeCertificate = "client_certificate"

	defaultKeyBits = 2048
	maxConfig      = 64 << 10
)

// credential is what users of a role log in with: the type, empty for a password,
// and the settings of that type, as they were given.
type credential struct {
	Type   string            `json:"type,omitempty"`
	Config map[string]string `json:"config,omitempty"`
}

func credentialFields(types ...string) []engines.Field {
	return []engines.Field{
		{Name: "credential_type", Default: typePassword, Allowed: types, Help: "What users log in with."},
		{
			Name: "credential_config", Type: engines.KVPairs,
			Help: "Of passwords: password_policy, instead of the connection's. Of keys: key_bits and format. Of certificates: ca_cert, ca_private_key, common_name_template, key_type, key_bits and signature_bits.",
		},
	}
}

// settingsOf are the members of credential_config for each type.
func settingsOf(typ string) []string {
	switch typ {
	case typeKey:
		return []string{"key_bits", "format"}
	case typeCertificate:
		return []string{"ca_cert", "ca_private_key", "common_name_template", "key_type", "key_bits", "signature_bits"}
	}
	return []string{"password_policy"}
}

// take takes what a request gives. Another type begins without settings.
func (c *credential) take(v engines.Values) error {
	if v.Has("credential_type") && v.String("credential_type") != c.typ() {
		*c = credential{Type: v.String("credential_type")}
	}
	if v.Has("credential_config") {
		c.Config = maps.Clone(v.KVPairs("credential_config"))
	}
	size := 0
	for name, value := range c.Config {
		if !slices.Contains(settingsOf(c.typ()), name) {
			return engines.Invalidf("credential_config of the type %s takes only %q", c.typ(), settingsOf(c.typ()))
		}
		size += len(value)
	}
	if size > maxConfig {
		return engines.Invalidf("credential_config takes at most %d bytes", maxConfig)
	}
	switch c.typ() {
	case typeKey:
		if format := c.Config["format"]; format != "" && format != "pkcs8" {
			return engines.Invalidf("credential_config: format has to be pkcs8")
		}
		return c.checkBits("key_bits", 2048, 3072, 4096)
	case typeCertificate:
		_, err := newAuthority(c.Config)
		return err
	}
	return nil
}

// hasPassword and hasKey find placeholders in statements.
var (
	hasPassword = regexp.MustCompile(`\{\{\s*password\s*\}\}`)   //nolint:gochecknoglobals // a constant
	hasKey      = regexp.MustCompile(`\{\{\s*public_key\s*\}\}`) //nolint:gochecknoglobals // a constant
)

// fits tells whether users of a kind of database can log in with it, as statements
// make them: one without a password must not be given an empty one.
func (c *credential) fits(p *Plugin, field string, statements []string) error {
	text := strings.Join(statements, "\n")
	switch {
	case c.typ() == typePassword:
		return nil
	case p.PasswordsOnly:
		return engines.Invalidf("credential_type: users of %s log in with passwords only", p.Names[0])
	case hasPassword.MatchString(text):
		return engines.Invalidf("%s: users of the credential_type %s have no {{password}}", field, c.typ())
	case c.typ() == typeKey && !hasKey.MatchString(text):
		return engines.Invalidf("%s: the database is to be told of the key: put {{public_key}} there", field)
	}
	return nil
}

func (c *credential) typ() string { return cmp.Or(c.Type, typePassword) }

// checkBits tells whether a number of bits is one of a few.
func (c *credential) checkBits(name string, allowed ...int) error {
	text := c.Config[name]
	if n, err := strconv.Atoi(text); text != "" && (err != nil || !slices.Contains(allowed, n)) {
		return engines.Invalidf("credential_config: %s has to be one of %d", name, allowed)
	}
	return nil
}

// shown is credential_config as it is read: without what is secret.
func (c *credential) shown() map[string]string {
	out := maps.Clone(c.Config)
	if out == nil {
		out = map[string]string{}
	}
	delete(out, "ca_private_key")
	if c.typ() == typeKey {
		out["key_bits"], out["format"] = cmp.Or(out["key_bits"], strconv.Itoa(defaultKeyBits)), "pkcs8"
	}
	return out
}

// secret is what one user logs in with.
type secret struct {
	Username   string `json:"username"`
	Password   string `json:"password,omitempty"`
	PrivateKey string `json:"private_key,omitempty"`
	PublicKey  string `json:"public_key,omitempty"`
}

// newSecret makes a password or a key. It may take a second.
func (c *credential) newSecret(username string, password func(policy string) (string, error), policy string) (*secret, error) {
	out := &secret{Username: username}
	if c.typ() != typeKey {
		var err error
		out.Password, err = newPassword(password, cmp.Or(c.Config["password_policy"], policy))
		return out, err
	}
	bits, err := strconv.Atoi(cmp.Or(c.Config["key_bits"], strconv.Itoa(defaultKeyBits)))
	if err != nil {
		return nil, engines.Internal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, engines.Internal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, engines.Internal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, engines.Internal(err)
	}
	out.PrivateKey = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
	out.PublicKey = string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))
	return out, nil
}

// answer is what of it callers get.
func (s *secret) answer() map[string]any {
	if s.PrivateKey != "" {
		return map[string]any{"username": s.Username, "rsa_private_key": s.PrivateKey}
	}
	return map[string]any{"username": s.Username, "password": s.Password}
}
