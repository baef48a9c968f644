package mfa

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// typeTOTP is the one type of method there is.
const typeTOTP = "totp"

// Bounds and defaults of methods.
const (
	maxMethods      = 1000
	maxIssuer       = 128
	maxQR           = 2000
	minKey          = 16 // RFC 4226 asks for 128 bits at least
	maxKey          = 128
	maxPeriod       = time.Hour
	maxAttempts     = 100
	defaultAttempts = 5
)

// Method is a way to prove a second factor.
type Method struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	TOTP
	KeySize     int64 `json:"key_size"`
	QRSize      int64 `json:"qr_size"`
	MaxAttempts int64 `json:"max_attempts"`
}

// TOTP are the parameters of the passcodes.
type TOTP struct {
	Issuer    string        `json:"issuer"`
	Period    time.Duration `json:"period"`
	Algorithm string        `json:"algorithm"`
	Digits    int64         `json:"digits"`
	Skew      int64         `json:"skew"`
}

func (m *MFA) methodRoutes() []engines.Route {
	id := field("method_id", engines.String, "The method's id.")
	fields := []engines.Field{
		id, field("method_name", engines.String, "A name for it, unique among methods."),
		field("issuer", engines.String, "Who issues the passcodes, as the authenticator shows it."),
		{Name: "period", Type: engines.Seconds, Default: 30 * time.Second, Help: "How long a passcode is shown."},
		{Name: "key_size", Type: engines.Int, Default: int64(20), Help: "Bytes of a secret, from 16 to 128."},
		{Name: "qr_size", Type: engines.Int, Default: int64(200), Help: "Pixels along a side of the barcode; 0 for none."},
		{Name: "algorithm", Type: engines.String, Default: "SHA1", Allowed: []string{"SHA1", "SHA256", "SHA512"}, Help: "Hash of the passcodes."},
		{Name: "digits", Type: engines.Int, Default: int64(6), Help: "Digits of a passcode: 6 or 8."},
		{Name: "skew", Type: engines.Int, Default: int64(1), Help: "Periods before and after the present one that count too: 0 or 1."},
		field("max_validation_attempts", engines.Int, "Wrong passcodes in a row before one has to wait; 5 if not given."),
	}
	entity := field("entity_id", engines.String, "The entity's id.")
	return []engines.Route{
		{Pattern: "mfa/method", Help: "List all methods.", Ops: []engines.Op{list(m.listMethods)}},
		{Pattern: "mfa/method/totp", Help: "List and make TOTP methods.", Fields: fields, Ops: []engines.Op{
			list(m.listMethods), update(m.writeMethod),
		}},
		{Pattern: "mfa/method/totp/generate", Help: "Make the caller's own secret for a method.", Fields: []engines.Field{id}, Ops: []engines.Op{
			update(m.generateOwn),
		}},
		{Pattern: "mfa/method/totp/admin-generate", Help: "Make an entity's secret for a method.", Fields: []engines.Field{id, entity}, Ops: []engines.Op{
			update(m.generateFor),
		}},
		{Pattern: "mfa/method/totp/admin-destroy", Help: "Destroy an entity's secret for a method.", Fields: []engines.Field{id, entity}, Ops: []engines.Op{
			update(m.destroySecret),
		}},
		{Pattern: "mfa/method/totp/{method_id}", Help: "Read, change and delete a TOTP method.", Fields: fields, Ops: []engines.Op{
			read(m.readMethod), update(m.writeMethod), remove(m.deleteMethod),
		}},
		{Pattern: "mfa/method/{method_id}", Help: "Read a method of any type.", Fields: []engines.Field{id}, Ops: []engines.Op{read(m.readMethod)}},
	}
}

// isID keeps what is looked up by id from being a path.
func isID(id string) bool { return len(id) == 36 && !strings.Contains(id, "/") }

func methodByID(tx *state.Tx, id string) (*Method, error) {
	if !isID(id) {
		return nil, nil
	}
	out := new(Method)
	ok, err := load(region(tx), methodDir+id, out)
	if err != nil || !ok {
		return nil, err
	}
	return out, nil
}

func (m *Method) show() map[string]any {
	return map[string]any{
		"id": m.ID, "type": typeTOTP, "name": m.Name, "namespace_id": "root", "namespace_path": "", "mount_accessor": "",
		"issuer": m.Issuer, "period": int64(m.Period / time.Second), "algorithm": m.Algorithm, "digits": m.Digits, "skew": m.Skew,
		"key_size": m.KeySize, "qr_size": m.QRSize, "max_validation_attempts": m.MaxAttempts,
	}
}

func (m *MFA) readMethod(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	method, err := methodByID(tx, req.Fields.String("method_id"))
	if err != nil {
		return nil, err
	}
	if method == nil {
		return nil, engines.NotFound()
	}
	return data(method.show()), nil
}

func (m *MFA) listMethods(_ *engines.Request, tx *state.Tx) (*engines.Response, error) {
	all, err := m.at(tx)
	if err != nil {
		return nil, err
	}
	var keys []string
	infos := make(map[string]any)
	for id, method := range all.methods {
		keys, infos[id] = append(keys, id), method.show()
	}
	slices.Sort(keys)
	return listed(keys, infos)
}

func (m *MFA) writeMethod(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	f, made := req.Fields, false
	method, err := methodByID(tx, f.String("method_id"))
	switch {
	case err != nil:
		return nil, err
	case method == nil && f.String("method_id") != "":
		return nil, engines.Invalidf("there is no method with this id: make one by writing without an id")
	case method == nil:
		all, err := m.at(tx)
		if err != nil {
			return nil, err
		}
		if len(all.methods) >= maxMethods {
			return nil, engines.Invalidf("there are %d methods already, which is the limit", maxMethods)
		}
		method, made = &Method{ID: newID()}, true
	}
	// A change keeps what it does not name.
	set := func(name string) bool { return made || f.Has(name) }
	if set("issuer") {
		method.Issuer = f.String("issuer")
	}
	if set("period") {
		method.Period = f.Duration("period")
	}
	if set("algorithm") {
		method.Algorithm = f.String("algorithm")
	}
	for name, to := range map[string]*int64{
		"digits": &method.Digits, "skew": &method.Skew, "key_size": &method.KeySize, "qr_size": &method.QRSize,
		"max_validation_attempts": &method.MaxAttempts,
	} {
		if set(name) {
			*to = f.Int(name)
		}
	}
	if method.MaxAttempts == 0 {
		method.MaxAttempts = defaultAttempts
	}
	if err := method.check(); err != nil {
		return nil, err
	}
	if err := renameMethod(req, tx, method); err != nil {
		return nil, err
	}
	if err := save(region(tx), methodDir+method.ID, method, state.PutOptions{}); err != nil || !made {
		return nil, err
	}
	return data(map[string]any{"method_id": method.ID}), nil
}

// check has the words of what is wrong for whoever configures the method.
func (m *Method) check() error {
	switch {
	case m.Issuer == "" || len(m.Issuer) > maxIssuer || strings.ContainsAny(m.Issuer, ":\x00\n\r"):
		return engines.Invalidf("issuer: expected 1 to %d characters and no colon", maxIssuer)
	case m.Period < time.Second || m.Period > maxPeriod || m.Period%time.Second != 0:
		return engines.Invalidf("period: expected whole seconds, at most an hour")
	case m.Digits != 6 && m.Digits != 8:
		return engines.Invalidf("digits can only be 6 or 8")
	case m.Skew != 0 && m.Skew != 1:
		return engines.Invalidf("skew can only be 0 or 1")
	case m.KeySize < minKey || m.KeySize > maxKey:
		return engines.Invalidf("key_size: expected %d to %d bytes", minKey, maxKey)
	case m.QRSize < 0 || m.QRSize > maxQR:
		return engines.Invalidf("qr_size: expected 0 to %d", maxQR)
	case m.MaxAttempts < 1 || m.MaxAttempts > maxAttempts:
		return engines.Invalidf("max_validation_attempts: expected 1 to %d", maxAttempts)
	}
	return nil
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

// nameKey is a name as one segment of a path.
func nameKey(name string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.ToLower(name)))
}

// renameMethod gives a method the name that the request asks for. A header of a
// login names the method, so that one name is one method.
func renameMethod(req *engines.Request, tx *state.Tx, method *Method) error {
	name := req.Fields.String("method_name")
	if !req.Fields.Has("method_name") || name == method.Name {
		return nil
	}
	if name != "" {
		if !nameForm.MatchString(name) || isID(name) {
			return engines.Invalidf("method_name: expected at most 128 letters, digits, \"_\", \".\" and \"-\", and not the form of an id")
		}
		taken, err := region(tx).Get(methodNameDir + nameKey(name))
		if err != nil {
			return err
		}
		if taken != nil && string(taken.Value) != method.ID {
			return engines.Invalidf("method_name: another method has this name")
		}
	}
	if method.Name != "" {
		if err := region(tx).Delete(methodNameDir + nameKey(method.Name)); err != nil {
			return err
		}
	}
	method.Name = name
	if name == "" {
		return nil
	}
	return region(tx).Put(methodNameDir+nameKey(name), []byte(method.ID))
}

func (m *MFA) deleteMethod(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	method, err := methodByID(tx, req.Fields.String("method_id"))
	if err != nil || method == nil {
		return nil, err
	}
	all, err := m.at(tx)
	if err != nil {
		return nil, err
	}
	for _, e := range all.enforcements {
		if slices.Contains(e.Methods, method.ID) {
			return nil, engines.Invalidf("methodID is still used by an enforcement configuration: %s", e.Name)
		}
	}
	if method.Name != "" {
		if err := region(tx).Delete(methodNameDir + nameKey(method.Name)); err != nil {
			return nil, err
		}
	}
	if err := region(tx).DeletePrefix(secretDir + method.ID + "/"); err != nil {
		return nil, err
	}
	return nil, region(tx).Delete(methodDir + method.ID)
}

// label is how a method is called in what a user reads.
func (m *Method) label() string {
	if m.Name != "" {
		return fmt.Sprintf("%q", m.Name)
	}
	return m.ID
}
