package kv

import (
	"context"
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"unicode"

	"github.com/coffer-secrets/coffer/engines"
)

// metadataAnswer is the answer to a read of metadata.
type metadataAnswer struct {
	CASRequired            bool                 `json:"cas_required"`
	CreatedTime            string               `json:"created_time"`
	CurrentMetadataVersion uint64               `json:"current_metadata_version"`
	CurrentVersion         uint64               `json:"current_version"`
	CustomMetadata         map[string]string    `json:"custom_metadata"`
	DeleteVersionAfter     string               `json:"delete_version_after"`
	MaxVersions            uint32               `json:"max_versions"`
	MetadataCASRequired    bool                 `json:"metadata_cas_required"`
	OldestVersion          uint64               `json:"oldest_version"`
	UpdatedTime            string               `json:"updated_time"`
	Versions               map[string]timesInfo `json:"versions"`
}

// timesInfo is what metadata says of one version.
type timesInfo struct {
	CreatedTime  string `json:"created_time"`
	DeletionTime string `json:"deletion_time"`
	Destroyed    bool   `json:"destroyed"`
}

func (m *metadata) answer() metadataAnswer {
	a := metadataAnswer{
		CASRequired: m.casRequired, CreatedTime: m.created.String(),
		CurrentMetadataVersion: m.changes, CurrentVersion: m.current,
		CustomMetadata: m.custom, DeleteVersionAfter: m.deleteAfter.String(),
		MaxVersions: m.maxVersions, MetadataCASRequired: m.metaCASRequired,
		OldestVersion: m.oldest, UpdatedTime: m.updated.String(),
		Versions: make(map[string]timesInfo, len(m.versions)),
	}
	for i, v := range m.versions {
		n := strconv.FormatUint(m.first()+uint64(i), 10)
		a.Versions[n] = timesInfo{CreatedTime: v.created.String(), DeletionTime: v.deletion.String(), Destroyed: v.destroyed}
	}
	return a
}

func readMetadata(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	s, err := load(req, tx)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, engines.NotFound()
	}
	return &engines.Response{Data: s.meta.answer()}, nil
}

func deleteMetadata(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	s, err := load(req, tx)
	if err != nil || s == nil {
		return nil, err
	}
	return nil, s.remove()
}

func writeMetadata(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return changeMetadata(req, tx, false)
}

func patchMetadata(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return changeMetadata(req, tx, true)
}

// changeMetadata sets the fields given. A patch needs the secret to exist and
// merges custom_metadata instead of replacing it.
func changeMetadata(req *engines.Request, tx engines.Tx, patch bool) (*engines.Response, error) {
	path, err := secretPath(req)
	if err != nil {
		return nil, err
	}
	cfg, err := loadConfig(tx)
	if err != nil {
		return nil, err
	}
	s, err := loadPath(tx, path, &cfg)
	if err != nil {
		return nil, err
	}
	if s == nil && patch {
		return nil, engines.NotFound()
	}
	if !givesMetadata(req) {
		return nil, nil
	}
	if err := checkMetadataCAS(req, cfg, s); err != nil {
		return nil, err
	}
	if s == nil {
		now := at(req.Now)
		s = &secret{tx: tx, path: path, meta: &metadata{created: now, updated: now}}
	}
	if err := setMetadata(req, s.meta, patch); err != nil {
		return nil, err
	}
	s.meta.changes++
	if err := s.save(); err != nil {
		return nil, err
	}
	if warnings := overruled(req, cfg); len(warnings) > 0 {
		return &engines.Response{Warnings: warnings}, nil
	}
	return nil, nil
}

// givesMetadata reports whether the request sets anything.
func givesMetadata(req *engines.Request) bool {
	for _, name := range []string{"max_versions", "cas_required", "metadata_cas_required", "delete_version_after", "custom_metadata"} {
		if req.Fields.Has(name) {
			return true
		}
	}
	return false
}

// checkMetadataCAS compares metadata_cas with how often the metadata changed.
func checkMetadataCAS(req *engines.Request, cfg config, s *secret) error {
	var changes uint64
	required := cfg.MetadataCASRequired
	if s != nil {
		changes = s.meta.changes
		required = required || s.meta.metaCASRequired
	}
	switch given := req.Fields.Has("metadata_cas"); {
	case !given && required:
		return engines.Invalidf("metadata check-and-set parameter required for this call")
	case !given:
		return nil
	}
	cas := uint64(req.Fields.Int("metadata_cas")) // a negative number matches none
	if s == nil && cas != 0 {
		return engines.Invalidf("metadata_cas must be 0 when creating new metadata")
	}
	if cas != changes {
		return engines.Invalidf("metadata check-and-set parameter does not match the current version")
	}
	return nil
}

func setMetadata(req *engines.Request, m *metadata, patch bool) (err error) {
	if req.Fields.Has("max_versions") {
		if m.maxVersions, err = maxVersions(req); err != nil {
			return err
		}
	}
	if req.Fields.Has("cas_required") {
		m.casRequired = req.Fields.Bool("cas_required")
	}
	if req.Fields.Has("metadata_cas_required") {
		m.metaCASRequired = req.Fields.Bool("metadata_cas_required")
	}
	if req.Fields.Has("delete_version_after") {
		m.deleteAfter = req.Fields.Duration("delete_version_after")
	}
	if req.Fields.Has("custom_metadata") {
		given := req.Fields.Map("custom_metadata")
		base := map[string]string{}
		if patch && given != nil { // null removes all of it
			base = maps.Clone(m.custom)
		}
		m.custom, err = customMetadata(base, given, patch)
	}
	return err
}

// overruled warns of settings that the mount's are stricter than.
func overruled(req *engines.Request, cfg config) (warnings []string) {
	ignored := func(name string, mandated bool) {
		if mandated && req.Fields.Has(name) && !req.Fields.Bool(name) {
			warnings = append(warnings, `"`+name+`" set to false, but is mandated by backend config. This value will be ignored.`)
		}
	}
	ignored("cas_required", cfg.CASRequired)
	ignored("metadata_cas_required", cfg.MetadataCASRequired)
	return warnings
}

// customMetadata sets the members given in base, which is changed, and checks
// the result. A null removes in a patch. Errors do not repeat names or texts.
func customMetadata(base map[string]string, given map[string]json.RawMessage, patch bool) (map[string]string, error) {
	if base == nil {
		base = map[string]string{}
	}
	for name, raw := range given {
		if patch && raw[0] == 'n' {
			delete(base, name)
			continue
		}
		text, err := customText(raw)
		if err != nil {
			return nil, err
		}
		base[name] = text
		if len(name) == 0 || len(name) > maxCustomKeyBytes {
			return nil, invalidCustom("the length of a key must be 0 < len(key) <= " + strconv.Itoa(maxCustomKeyBytes))
		}
		if len(text) == 0 || len(text) > maxCustomValueBytes {
			return nil, invalidCustom("the length of a value must be 0 < len(value) <= " + strconv.Itoa(maxCustomValueBytes))
		}
		if !printable(name) || !printable(text) {
			return nil, invalidCustom("a key or value contains unprintable characters")
		}
	}
	if len(base) > maxCustomKeys {
		return nil, invalidCustom("payload must contain at most " + strconv.Itoa(maxCustomKeys) + " keys, provided " + strconv.Itoa(len(base)))
	}
	if len(base) == 0 {
		return nil, nil
	}
	return base, nil
}

// customText reads a value as Vault's weak decoding does.
func customText(raw json.RawMessage) (string, error) {
	switch raw[0] {
	case 't':
		return "1", nil
	case 'f':
		return "0", nil
	case 'n':
		return "", nil
	}
	text, ok := scalar(raw)
	if !ok {
		return "", invalidCustom("values must be strings")
	}
	return text, nil
}

func invalidCustom(what string) error {
	return engines.Invalidf("custom_metadata validation failed: %s", what)
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}
