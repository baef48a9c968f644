package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/client"
)

// secretRows are the rows of an answer: what is around the data, then the data.
func secretRows(s *client.Secret) [][]string {
	if s == nil {
		return nil
	}
	var rows [][]string
	add := func(name string, v any) { rows = append(rows, []string{name, cell(name, v)}) }
	switch {
	case s.LeaseID != "":
		add("lease_id", s.LeaseID)
		add("lease_duration", s.LeaseDuration)
		add("lease_renewable", s.Renewable)
	case s.LeaseDuration > 0:
		// Stored and not leased: how often to look again.
		rows = append(rows, []string{"refresh_interval", humanDuration(s.LeaseDuration)})
	}
	rows = append(rows, authRows(s.Auth)...)
	rows = append(rows, wrapRows(s.WrapInfo)...)
	return append(rows, mapRows(s.Data)...)
}

func authRows(a *client.Auth) [][]string {
	if a == nil {
		return nil
	}
	rows := [][]string{
		{"token", a.ClientToken}, {"token_accessor", a.Accessor},
	}
	if a.LeaseDuration == 0 {
		rows = append(rows, []string{"token_duration", "∞"})
	} else {
		rows = append(rows, []string{"token_duration", humanDuration(a.LeaseDuration)})
	}
	rows = append(rows,
		[]string{"token_renewable", strconv.FormatBool(a.Renewable)}, []string{"token_policies", quoted(a.TokenPolicies)},
		[]string{"identity_policies", quoted(a.IdentityPolicies)}, []string{"policies", quoted(a.Policies)},
	)
	for _, name := range slices.Sorted(maps.Keys(a.Metadata)) {
		rows = append(rows, []string{"token_meta_" + name, a.Metadata[name]})
	}
	return rows
}

func wrapRows(w *client.WrapInfo) [][]string {
	if w == nil {
		return nil
	}
	rows := [][]string{
		{"wrapping_token:", w.Token}, {"wrapping_accessor:", w.Accessor}, {"wrapping_token_ttl:", humanDuration(w.TTL)},
		{"wrapping_token_creation_time:", w.CreationTime.Format(time.RFC3339Nano)},
		{"wrapping_token_creation_path:", w.CreationPath},
	}
	if w.WrappedAccessor != "" {
		rows = append(rows, []string{"wrapped_accessor:", w.WrappedAccessor})
	}
	return rows
}

func quoted(list []string) string {
	out := make([]string, len(list))
	for i, text := range list {
		out[i] = strconv.Quote(text)
	}
	return "[" + strings.Join(out, " ") + "]"
}

// fieldOf prints the field that -field names.
func (a *app) fieldOf(s *client.Secret) error {
	v, ok := field(s, a.opts.field)
	if !ok {
		return usagef("Field %q not present in secret", a.opts.field)
	}
	return a.value(v)
}

// fieldIn prints a field of a map.
func (a *app) fieldIn(m map[string]any) error {
	v, ok := m[a.opts.field]
	if !ok {
		return usagef("Field %q not present in secret", a.opts.field)
	}
	return a.value(v)
}

// field finds a field by the name that it has in the table, or in the data.
func field(s *client.Secret, name string) (any, bool) {
	if s == nil {
		return nil, false
	}
	if v, ok := authField(s.Auth, name); ok {
		return v, true
	}
	if v, ok := wrapField(s.WrapInfo, name); ok {
		return v, true
	}
	switch name {
	case "lease_id":
		return s.LeaseID, true
	case "lease_duration", "refresh_interval":
		return s.LeaseDuration, true
	case "lease_renewable":
		return s.Renewable, true
	case "request_id":
		return s.RequestID, true
	case "warnings":
		return s.Warnings, true
	}
	if v, ok := s.Data[name]; ok {
		return v, true
	}
	if name == "data" && s.Data != nil {
		return s.Data, true
	}
	return nil, false
}

func authField(a *client.Auth, name string) (any, bool) {
	if a == nil {
		return nil, false
	}
	switch name {
	case "token":
		return a.ClientToken, true
	case "token_accessor":
		return a.Accessor, true
	case "token_duration":
		return a.LeaseDuration, true
	case "token_renewable":
		return a.Renewable, true
	case "token_policies":
		return a.TokenPolicies, true
	case "identity_policies":
		return a.IdentityPolicies, true
	case "policies":
		return a.Policies, true
	}
	if key, ok := strings.CutPrefix(name, "token_meta_"); ok {
		v, found := a.Metadata[key]
		return v, found
	}
	return nil, false
}

func wrapField(w *client.WrapInfo, name string) (any, bool) {
	if w == nil {
		return nil, false
	}
	switch strings.TrimSuffix(name, ":") {
	case "wrapping_token":
		return w.Token, true
	case "wrapping_accessor":
		return w.Accessor, true
	case "wrapping_token_ttl":
		return w.TTL, true
	case "wrapping_token_creation_time":
		return w.CreationTime.Format(time.RFC3339Nano), true
	case "wrapping_token_creation_path":
		return w.CreationPath, true
	case "wrapped_accessor":
		return w.WrappedAccessor, true
	}
	return nil, false
}

// keysOf is the list of names in an answer.
func keysOf(s *client.Secret) ([]any, bool) {
	if s == nil {
		return nil, false
	}
	keys, ok := s.Data["keys"].([]any)
	return keys, ok && len(keys) > 0
}

// texts turns values into text.
func texts(list []any) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = fmt.Sprint(v)
	}
	return out
}
