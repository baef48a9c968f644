package pki

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/keys"
)

// issuer is the row of an issuer.
type issuer struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	// Key is the id of the issuer's key; empty if the key is not here.
	Key    string   `json:"key,omitempty"`
	DER    []byte   `json:"der"`
	Manual []string `json:"manual,omitempty"`
	// Chain are the certificates from the issuer's own up to the root, as far as
	// they are here. It is worked out when issuers change, not when one issues.
	Chain   [][]byte  `json:"chain"`
	Leaf    string    `json:"leaf"`
	Usage   []string  `json:"usage"`
	Hash    string    `json:"hash,omitempty"`
	URLs    urls      `json:"urls"`
	Revoked time.Time `json:"revoked,omitzero"`
}

// The usages of issuers, in the order in which they are shown.
const (
	useRead  = "read-only"
	useIssue = "issuing-certificates"
	useCRL   = "crl-signing"
	useOCSP  = "ocsp-signing"
)

var allUsages = []string{useRead, useIssue, useCRL, useOCSP}

// maxIssuers bounds the issuers of a mount: their chains are worked out together.
const maxIssuers = 256

// authority is an issuer as it is parsed, with its key.
type authority struct {
	*issuer
	cert  *x509.Certificate
	group string
	// chain is in PEM; key is nil if it is not here or not needed.
	chain []string
	key   crypto.Signer
}

func parseAuthority(text []byte) (*authority, error) {
	a := &authority{issuer: new(issuer)}
	if err := json.Unmarshal(text, a.issuer); err != nil {
		return nil, err
	}
	var err error
	if a.cert, err = x509.ParseCertificate(a.DER); err != nil {
		return nil, err
	}
	a.group = groupOf(a.cert)
	for _, der := range a.Chain {
		a.chain = append(a.chain, keys.Certificate(der))
	}
	return a, nil
}

// groupOf names those issuers that nobody can tell apart.
func groupOf(c *x509.Certificate) string {
	sum := sha256.Sum256(append(slices.Clone(c.RawSubject), c.RawSubjectPublicKeyInfo...))
	return hex.EncodeToString(sum[:16])
}

// defaultIssuer is the row of config/issuers.
type defaultIssuer struct {
	Default string `json:"default"`
	Follow  bool   `json:"follow,omitempty"`
}

// errNoIssuer is said of a mount that has nothing to issue with.
func errNoIssuer() error {
	return engines.Invalidf("no default issuer is configured: generate or import one first")
}

// findIssuer resolves a reference: an id, a name, or "default".
func findIssuer(tx engines.Tx, ref string) (string, error) {
	if ref == "" || ref == "default" {
		d, err := load[defaultIssuer](tx, issuersRow)
		if err == nil && (d == nil || d.Default == "") {
			err = errNoIssuer()
		}
		if err != nil {
			return "", err
		}
		return d.Default, nil
	}
	if !validRef(ref) {
		return "", engines.Invalidf("unable to find PKI issuer for reference: %v", ref)
	}
	entry, err := tx.Get(nameDir + ref)
	if err != nil {
		return "", err
	}
	if entry != nil {
		return string(entry.Value), nil
	}
	return ref, nil
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9_](([A-Za-z0-9_.-]+)?[A-Za-z0-9_])?$`)

const maxNameBytes = 256

func validRef(text string) bool { return len(text) <= maxNameBytes && nameRule.MatchString(text) }

// checkName holds the name of an issuer or key to what may stand in a path.
func checkName(field, dir, name string, tx engines.Tx) error {
	if name == "default" {
		return engines.Invalidf("%s: reserved keyword 'default' can not be used as a name", field)
	}
	if !validRef(name) {
		return engines.Invalidf("%s: expected letters, digits, dots, dashes and underscores", field)
	}
	entry, err := tx.Get(dir + name)
	if err == nil && entry != nil {
		err = engines.Invalidf("%s: the name is in use", field)
	}
	return err
}

// authority loads an issuer without its key.
func (e *engine) authority(req *engines.Request, tx engines.Tx, ref string) (*authority, error) {
	return e.authorityOf(req.Mount, tx, ref)
}

func (e *engine) authorityOf(m engines.Mount, tx engines.Tx, ref string) (*authority, error) {
	id, err := findIssuer(tx, ref)
	if err != nil {
		return nil, err
	}
	a, err := e.issuers.get(m, tx, issuerDir+id, parseAuthority)
	if err == nil && a == nil {
		err = engines.Invalidf("unable to find PKI issuer for reference: %v", ref)
	}
	return a, err
}

// signer loads an issuer with its key, if it may be used so.
func (e *engine) signer(m engines.Mount, tx engines.Tx, ref, usage string) (*authority, error) {
	a, err := e.authorityOf(m, tx, ref)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(a.Usage, usage) {
		return nil, engines.Invalidf("the issuer may not be used for %s: see its usage", usage)
	}
	if a.Key == "" {
		return nil, engines.Invalidf("the issuer cannot sign: its private key is not here")
	}
	key, err := e.keys.get(m, tx, keyDir+a.Key, parseKey)
	if err != nil {
		return nil, err
	}
	if key == nil {
		return nil, engines.Invalidf("the issuer cannot sign: its private key is not here")
	}
	out := *a
	out.key = key.signer
	return &out, nil
}

// all loads every issuer of a mount.
func (e *engine) all(m engines.Mount, tx engines.Tx) ([]*authority, error) {
	ids, err := tx.List(issuerDir, engines.Page{})
	if err != nil {
		return nil, err
	}
	var out []*authority
	for _, id := range ids {
		a, err := e.issuers.get(m, tx, issuerDir+id, parseAuthority)
		if err != nil {
			return nil, err
		}
		if a != nil {
			out = append(out, a)
		}
	}
	return out, nil
}

// addIssuer stores a new issuer, or finds the one that has its certificate.
func (e *engine) addIssuer(m engines.Mount, tx engines.Tx, cert *x509.Certificate, name, keyID string) (id string, existed bool, err error) {
	list, err := e.all(m, tx)
	if err != nil {
		return "", false, err
	}
	for _, a := range list {
		if !bytes.Equal(a.DER, cert.Raw) {
			continue
		}
		if a.Key == "" && keyID != "" {
			with := *a.issuer
			with.Key = keyID
			return a.ID, true, save(tx, issuerDir+a.ID, &with)
		}
		return a.ID, true, nil
	}
	if len(list) >= maxIssuers {
		return "", false, engines.Invalidf("a mount has at most %d issuers: make another mount, or delete issuers that have ended", maxIssuers)
	}
	i := &issuer{ID: newID(), Name: name, Key: keyID, DER: cert.Raw, Chain: [][]byte{cert.Raw}, Leaf: leafErr, Usage: usagesOf(cert)}
	if name != "" {
		if err := checkName("issuer_name", nameDir, name, tx); err != nil {
			return "", false, err
		}
		if err := tx.Put(nameDir+name, []byte(i.ID)); err != nil {
			return "", false, err
		}
	}
	return i.ID, false, save(tx, issuerDir+i.ID, i)
}

// usagesOf leaves out what the certificate itself does not allow.
func usagesOf(c *x509.Certificate) []string {
	usages := slices.Clone(allUsages)
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCRLSign == 0 {
		usages = slices.DeleteFunc(usages, func(u string) bool { return u == useCRL })
	}
	return usages
}

// settle works out chains and the default after issuers were added or removed.
// fresh is the newest issuer with a key, if one was added.
func (e *engine) settle(m engines.Mount, tx engines.Tx, fresh string) error {
	d, err := load[defaultIssuer](tx, issuersRow)
	if err != nil {
		return err
	}
	if d == nil {
		d = new(defaultIssuer)
	}
	if fresh != "" && (d.Default == "" || d.Follow) {
		d.Default = fresh
		if err := save(tx, issuersRow, d); err != nil {
			return err
		}
	}
	list, err := e.all(m, tx)
	if err != nil {
		return err
	}
	for _, a := range list {
		chain := chainOf(a, list)
		if slices.EqualFunc(chain, a.Chain, bytes.Equal) {
			continue
		}
		changed := *a.issuer
		changed.Chain = chain
		if err := save(tx, issuerDir+a.ID, &changed); err != nil {
			return err
		}
	}
	return nil
}

// chainOf is what leads from an issuer towards a root: by hand, or along
// signatures, those with a key first so that the way is the mount's own.
func chainOf(a *authority, list []*authority) [][]byte {
	if len(a.Manual) > 0 {
		var chain [][]byte
		for _, id := range a.Manual {
			if at := slices.IndexFunc(list, func(o *authority) bool { return o.ID == id }); at >= 0 {
				chain = append(chain, list[at].DER)
			}
		}
		return chain
	}
	chain, at := [][]byte{a.DER}, a
	for !selfSigned(at.cert) {
		next := slices.IndexFunc(list, func(o *authority) bool {
			return bytes.Equal(at.cert.RawIssuer, o.cert.RawSubject) && at.cert.CheckSignatureFrom(o.cert) == nil &&
				!slices.ContainsFunc(chain, func(der []byte) bool { return bytes.Equal(der, o.DER) })
		})
		if next < 0 {
			break
		}
		at = list[next]
		chain = append(chain, at.DER)
	}
	return chain
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// What an issuer does about certificates that would outlive it.
const (
	leafErr       = "err"
	leafTruncate  = "truncate"
	leafPermit    = "permit"
	leafAlwaysErr = "always_enforce_err"
)

// limit holds the end of a certificate to that of its issuer.
func (a *authority) limit(c *x509.Certificate, ca bool) error {
	if !c.NotAfter.After(a.cert.NotAfter) || a.Leaf == leafPermit || ca && a.Leaf != leafAlwaysErr {
		return nil
	}
	if a.Leaf == leafTruncate {
		c.NotAfter = a.cert.NotAfter
		if c.NotAfter.After(c.NotBefore) {
			return nil
		}
		return engines.Invalidf("the issuer has ended: there is nothing left to truncate to")
	}
	return engines.Invalidf("cannot satisfy request, as TTL would result in notAfter of %s that is beyond the expiration of the CA certificate at %s",
		c.NotAfter.Format(time.RFC3339), a.cert.NotAfter.Format(time.RFC3339))
}

// algorithm is what the issuer signs lists and answers with.
func (a *authority) algorithm() x509.SignatureAlgorithm {
	for algorithm, name := range hashes {
		if strings.EqualFold(name, a.Hash) {
			return algorithm
		}
	}
	algorithm, err := keys.SignatureAlgorithm(a.cert.PublicKey, 0, false)
	if err != nil {
		return 0 // crypto/x509 takes what fits the key
	}
	return algorithm
}

// hashes are the algorithms that revocation_signature_algorithm names.
var hashes = map[x509.SignatureAlgorithm]string{
	x509.SHA256WithRSA: "SHA256WithRSA", x509.SHA384WithRSA: "SHA384WithRSA", x509.SHA512WithRSA: "SHA512WithRSA",
	x509.SHA256WithRSAPSS: "SHA256WithRSAPSS", x509.SHA384WithRSAPSS: "SHA384WithRSAPSS", x509.SHA512WithRSAPSS: "SHA512WithRSAPSS",
	x509.ECDSAWithSHA256: "ECDSAWithSHA256", x509.ECDSAWithSHA384: "ECDSAWithSHA384", x509.ECDSAWithSHA512: "ECDSAWithSHA512",
	x509.PureEd25519: "Ed25519",
}
