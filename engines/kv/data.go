package kv

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/coffer-secrets/coffer/engines"
)

// versionAnswer is what answers say of one version, and of the secret.
type versionAnswer struct {
	CreatedTime    string            `json:"created_time"`
	CustomMetadata map[string]string `json:"custom_metadata"`
	DeletionTime   string            `json:"deletion_time"`
	Destroyed      bool              `json:"destroyed"`
	Version        uint64            `json:"version"`
}

// dataAnswer is the answer to a read; Data is null for a version that is gone.
type dataAnswer struct {
	Data     json.RawMessage `json:"data"`
	Metadata versionAnswer   `json:"metadata"`
}

// AppendJSON writes the answer with the value as it came in: it was read as JSON
// when it was written, and reads are too many to read it again.
func (a dataAnswer) AppendJSON(dst []byte) ([]byte, error) {
	dst = append(dst, `{"data":`...)
	if a.Data == nil {
		dst = append(dst, "null"...)
	}
	dst = append(append(dst, a.Data...), `,"metadata":`...)
	return append(a.Metadata.appendJSON(dst), '}'), nil
}

// appendJSON writes what json.Marshal would. The times need no escaping.
func (a *versionAnswer) appendJSON(dst []byte) []byte {
	dst = append(append(append(dst, `{"created_time":"`...), a.CreatedTime...), `","custom_metadata":`...)
	if a.CustomMetadata == nil {
		dst = append(dst, "null"...)
	} else {
		text, err := json.Marshal(a.CustomMetadata)
		if err != nil {
			panic(err) // a map of strings can always be written
		}
		dst = append(dst, text...)
	}
	dst = append(append(append(dst, `,"deletion_time":"`...), a.DeletionTime...), `","destroyed":`...)
	dst = append(strconv.AppendBool(dst, a.Destroyed), `,"version":`...)
	return append(strconv.AppendUint(dst, a.Version, 10), '}')
}

// subkeysAnswer is the answer to a read of subkeys.
type subkeysAnswer struct {
	Metadata versionAnswer   `json:"metadata"`
	Subkeys  json.RawMessage `json:"subkeys"`
}

func (m *metadata) versionAnswer(n uint64) versionAnswer {
	v := m.version(n)
	return versionAnswer{
		CreatedTime: v.created.String(), CustomMetadata: m.custom,
		DeletionTime: v.deletion.String(), Destroyed: v.destroyed, Version: n,
	}
}

func exists(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
	s, err := load(req, tx)
	return s != nil, err
}

// readVersion gets the version that a request asks for. The value is nil, and
// missing true, if the version is deleted or destroyed.
func readVersion(req *engines.Request, tx engines.Tx) (about versionAnswer, value json.RawMessage, missing bool, err error) {
	s, err := load(req, tx)
	if err != nil {
		return about, nil, false, err
	}
	if s == nil {
		return about, nil, false, engines.NotFound()
	}
	n := s.meta.current
	if asked := req.Fields.Int("version"); asked > 0 {
		n = uint64(asked)
	}
	v := s.meta.version(n)
	if v == nil {
		return about, nil, false, engines.NotFound()
	}
	about = s.meta.versionAnswer(n)
	if v.gone(at(req.Now)) {
		return about, nil, true, nil
	}
	value, err = s.value(n)
	return about, value, false, err
}

func readData(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	about, value, missing, err := readVersion(req, tx)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: dataAnswer{Data: value, Metadata: about}, Missing: missing}, nil
}

func readSubkeys(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	about, value, missing, err := readVersion(req, tx)
	if err != nil {
		return nil, err
	}
	answer := subkeysAnswer{Metadata: about}
	if !missing {
		if answer.Subkeys, err = subkeys(value, req.Fields.Int("depth")); err != nil {
			return nil, engines.Internal(err)
		}
	}
	return &engines.Response{Data: answer, Missing: missing}, nil
}

// givenData reads the field "data" of a write.
func givenData(req *engines.Request) (json.RawMessage, error) {
	data := req.Fields.JSON("data")
	switch {
	case len(data) == 0 || data[0] == 'n':
		return nil, engines.Invalidf("no data provided")
	case data[0] != '{':
		return nil, engines.Invalidf("field \"data\": expected an object")
	}
	return data, nil
}

// checkCAS compares the option cas with the newest version's number.
func checkCAS(req *engines.Request, cfg config, m *metadata) error {
	raw, given := req.Fields.Map("options")["cas"]
	if !given {
		if cfg.CASRequired || m.casRequired {
			return engines.Invalidf("check-and-set parameter required for this call")
		}
		return nil
	}
	var cas uint64
	if raw[0] != 'n' { // null is 0 to Vault
		text, ok := scalar(raw)
		n, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil {
			return engines.Invalidf("error parsing check-and-set parameter")
		}
		cas = uint64(n) // a negative number is no version's
	}
	if cas != m.current {
		return engines.Invalidf("check-and-set parameter did not match the current version")
	}
	return nil
}

func writeData(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	path, err := secretPath(req)
	if err != nil {
		return nil, err
	}
	data, err := givenData(req)
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
	if s == nil {
		s = &secret{tx: tx, path: path, meta: &metadata{}}
	}
	if err := checkCAS(req, cfg, s.meta); err != nil {
		return nil, err
	}
	if err := s.write(cfg, data, at(req.Now)); err != nil {
		return nil, err
	}
	return &engines.Response{Data: s.meta.versionAnswer(s.meta.current)}, nil
}

func patchData(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	path, err := secretPath(req)
	if err != nil {
		return nil, err
	}
	patch, err := givenData(req)
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
	if s == nil {
		return nil, engines.NotFound()
	}
	if err := checkCAS(req, cfg, s.meta); err != nil {
		return nil, err
	}
	current := s.meta.version(s.meta.current)
	if current == nil {
		return nil, engines.NotFound()
	}
	if current.gone(at(req.Now)) {
		return &engines.Response{Data: s.meta.versionAnswer(s.meta.current), Missing: true}, nil
	}
	value, err := s.value(s.meta.current)
	if err != nil {
		return nil, err
	}
	merged, err := mergePatch(value, patch)
	if err != nil {
		return nil, engines.Internal(err)
	}
	if err := s.write(cfg, merged, at(req.Now)); err != nil {
		return nil, err
	}
	return &engines.Response{Data: s.meta.versionAnswer(s.meta.current)}, nil
}

func deleteData(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	s, err := load(req, tx)
	if err != nil || s == nil {
		return nil, err
	}
	now := at(req.Now)
	current := s.meta.version(s.meta.current)
	if current == nil || current.gone(now) {
		return nil, nil
	}
	current.deletion = now
	return nil, s.save()
}

// eachVersion calls change for the versions that a request names and that are
// kept and not destroyed, and saves the secret if there are any.
func eachVersion(req *engines.Request, tx engines.Tx, change func(s *secret, n uint64, v *versionInfo) error) (*engines.Response, error) {
	numbers := req.Fields.Ints("versions")
	if len(numbers) == 0 {
		return nil, engines.Invalidf("No version number provided")
	}
	s, err := load(req, tx)
	if err != nil || s == nil {
		return nil, err
	}
	changed := false
	for _, n := range numbers {
		if n <= 0 {
			continue
		}
		v := s.meta.version(uint64(n))
		if v == nil || v.destroyed {
			continue
		}
		if err := change(s, uint64(n), v); err != nil {
			return nil, err
		}
		changed = true
	}
	if !changed {
		return nil, nil
	}
	return nil, s.save()
}

func deleteVersions(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	now := at(req.Now)
	return eachVersion(req, tx, func(_ *secret, _ uint64, v *versionInfo) error {
		if !v.deleted(now) {
			v.deletion = now
		}
		return nil
	})
}

func undeleteVersions(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	cfg, err := loadConfig(tx)
	if err != nil {
		return nil, err
	}
	now := at(req.Now)
	return eachVersion(req, tx, func(s *secret, _ uint64, v *versionInfo) error {
		v.deletion = deletionTime(cfg, s.meta, now)
		return nil
	})
}

func destroyVersions(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return eachVersion(req, tx, func(s *secret, n uint64, v *versionInfo) error {
		v.destroyed = true
		if s.old != nil {
			return nil // the value goes with the row below v1/
		}
		return s.tx.Delete(s.dataRow(n))
	})
}
