package client

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Secret is the usual form of an answer. Numbers in Data are json.Number.
type Secret struct {
	RequestID     string         `json:"request_id"`
	LeaseID       string         `json:"lease_id"`
	LeaseDuration int64          `json:"lease_duration"` // seconds
	Renewable     bool           `json:"renewable"`
	Data          map[string]any `json:"data"`
	Warnings      []string       `json:"warnings"`
	Auth          *Auth          `json:"auth,omitempty"`
	WrapInfo      *WrapInfo      `json:"wrap_info,omitempty"`
	MountType     string         `json:"mount_type,omitempty"`

	raw []byte
}

// Auth is a token that an answer carries.
type Auth struct {
	ClientToken      string            `json:"client_token"`
	Accessor         string            `json:"accessor"`
	Policies         []string          `json:"policies"`
	TokenPolicies    []string          `json:"token_policies"`
	IdentityPolicies []string          `json:"identity_policies"`
	Metadata         map[string]string `json:"metadata"`
	Orphan           bool              `json:"orphan"`
	EntityID         string            `json:"entity_id"`
	LeaseDuration    int64             `json:"lease_duration"` // seconds
	Renewable        bool              `json:"renewable"`
	TokenType        string            `json:"token_type,omitempty"`
	NumUses          int64             `json:"num_uses,omitempty"`
	MFARequirement   json.RawMessage   `json:"mfa_requirement"`
}

// WrapInfo tells of the token that an answer is kept under.
type WrapInfo struct {
	Token           string    `json:"token"`
	Accessor        string    `json:"accessor"`
	TTL             int64     `json:"ttl"` // seconds
	CreationTime    time.Time `json:"creation_time"`
	CreationPath    string    `json:"creation_path"`
	WrappedAccessor string    `json:"wrapped_accessor"`
}

// Raw is the answer's body as it came.
func (s *Secret) Raw() []byte {
	if s == nil {
		return nil
	}
	return s.raw
}

// Decode reads the data into v, which has the form of what was asked for.
func (s *Secret) Decode(v any) error {
	text, err := encode(s.Data)
	if err == nil {
		err = strictDecode(text, v)
	}
	if err != nil {
		return fmt.Errorf("client: the answer's data has another form than was expected: %w", err)
	}
	return nil
}

// Empty reports whether the answer says nothing but, perhaps, warnings.
func (s *Secret) Empty() bool {
	return s == nil || len(s.Data) == 0 && s.Auth == nil && s.WrapInfo == nil && s.LeaseID == ""
}

// ParseSecret reads an answer: an envelope, or, from the few paths that have
// none, an object, which is then all data. A body of nothing is nil.
func ParseSecret(body []byte) (*Secret, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	bad := func(err error) error { return fmt.Errorf("client: the answer is not JSON of the usual form: %w", err) }
	var names map[string]json.RawMessage
	if err := strictDecode(body, &names); err != nil {
		return nil, bad(err)
	}
	s := &Secret{raw: body}
	if _, ok := names["request_id"]; !ok && !enveloped(names) {
		if err := strictDecode(body, &s.Data); err != nil {
			return nil, bad(err)
		}
		return s, nil
	}
	if err := strictDecode(body, s); err != nil {
		return nil, bad(err)
	}
	return s, nil
}

func enveloped(names map[string]json.RawMessage) bool {
	for _, name := range []string{"data", "auth", "wrap_info"} {
		if _, ok := names[name]; ok {
			return true
		}
	}
	return false
}

// strictDecode keeps numbers exact and refuses what follows the value.
func strictDecode(body []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows it")
	}
	return nil
}
