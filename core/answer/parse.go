package answer

import (
	"encoding/json"

	"github.com/coffer-secrets/coffer/engines"
)

// envelopeFields are the members that AppendJSON writes by itself.
var envelopeFields = []string{
	"request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth", "mount_type",
}

// Parse reads what AppendJSON wrote. Data stays as it is written.
func Parse(text []byte) (*Envelope, error) {
	var e struct {
		Envelope
		Data json.RawMessage `json:"data"`
	}
	if err := json.Unmarshal(text, &e); err != nil {
		return nil, engines.Internal(err)
	}
	out := e.Envelope
	if len(e.Data) > 0 && string(e.Data) != "null" {
		out.Data = e.Data
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, engines.Internal(err)
	}
	for _, name := range envelopeFields {
		delete(all, name)
	}
	for name, value := range all {
		if out.Extra == nil {
			out.Extra = make(map[string]any, len(all))
		}
		out.Extra[name] = value
	}
	return &out, nil
}
