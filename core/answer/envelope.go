package answer

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// Envelope is the usual form of an answer, field by field as Vault's clients
// decode it.
type Envelope struct {
	RequestID     string         `json:"request_id"`
	LeaseID       string         `json:"lease_id"`
	Renewable     bool           `json:"renewable"`
	LeaseDuration int64          `json:"lease_duration"`
	Data          any            `json:"data"`
	WrapInfo      *Info          `json:"wrap_info"`
	Warnings      []string       `json:"warnings"`
	Auth          *Auth          `json:"auth"`
	MountType     string         `json:"mount_type"`
	Extra         map[string]any `json:"-"`
}

// Auth is the token that an answer carries.
type Auth struct {
	ClientToken      string            `json:"client_token"`
	Accessor         string            `json:"accessor"`
	Policies         []string          `json:"policies"`
	TokenPolicies    []string          `json:"token_policies"`
	IdentityPolicies []string          `json:"identity_policies,omitempty"`
	Metadata         map[string]string `json:"metadata"`
	LeaseDuration    int64             `json:"lease_duration"`
	Renewable        bool              `json:"renewable"`
	EntityID         string            `json:"entity_id"`
	TokenType        string            `json:"token_type"`
	Orphan           bool              `json:"orphan"`
	MFARequirement   any               `json:"mfa_requirement"`
	NumUses          int64             `json:"num_uses"`
}

// Info is what the receiver of a wrapped answer is told.
type Info struct {
	Token           string    `json:"token"`
	Accessor        string    `json:"accessor"`
	TTL             int64     `json:"ttl"`
	CreationTime    time.Time `json:"creation_time"`
	CreationPath    string    `json:"creation_path"`
	WrappedAccessor string    `json:"wrapped_accessor,omitempty"`
}

// Appender is implemented by data that can write its own JSON form.
type Appender interface {
	AppendJSON(dst []byte) ([]byte, error)
}

// AppendJSON writes the envelope's JSON form. The parts that every answer has
// are written by hand: this is the hot path of every read.
func (e *Envelope) AppendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, `{"request_id":"`...)
	dst = append(dst, e.RequestID...)
	dst = append(dst, `","lease_id":`...)
	dst = strconv.AppendQuote(dst, e.LeaseID)
	dst = append(dst, `,"renewable":`...)
	dst = strconv.AppendBool(dst, e.Renewable)
	dst = append(dst, `,"lease_duration":`...)
	dst = strconv.AppendInt(dst, e.LeaseDuration, 10)
	var err error
	for _, field := range []struct {
		name  string
		value any
		skip  bool
	}{
		{`,"data":`, e.Data, e.Data == nil},
		{`,"wrap_info":`, e.WrapInfo, e.WrapInfo == nil},
		{`,"warnings":`, e.Warnings, len(e.Warnings) == 0},
		{`,"auth":`, e.Auth, e.Auth == nil},
	} {
		dst = append(dst, field.name...)
		if field.skip {
			dst = append(dst, "null"...)
			continue
		}
		if dst, err = AppendValue(dst, field.value); err != nil {
			return nil, err
		}
	}
	dst = append(dst, `,"mount_type":`...)
	dst = strconv.AppendQuote(dst, e.MountType)
	if dst, err = e.appendExtra(dst); err != nil {
		return nil, err
	}
	return append(dst, '}'), nil
}

// appendExtra spreads data over the top level, where some of Vault's system
// paths have it too. The envelope's own names win.
func (e *Envelope) appendExtra(dst []byte) ([]byte, error) {
	for name, value := range e.Extra {
		switch name {
		case "request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth", "mount_type":
			continue
		}
		key, err := json.Marshal(name)
		if err != nil {
			return nil, engines.Internal(err)
		}
		dst = append(append(append(dst, ','), key...), ':')
		if dst, err = AppendValue(dst, value); err != nil {
			return nil, err
		}
	}
	return dst, nil
}

// AppendValue writes a value by itself, as it stands in an envelope.
func AppendValue(dst []byte, value any) ([]byte, error) {
	if a, ok := value.(Appender); ok {
		return a.AppendJSON(dst)
	}
	text, err := json.Marshal(value)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return append(dst, text...), nil
}
