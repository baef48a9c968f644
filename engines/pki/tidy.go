package pki

import (
	"context"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// tidySettings say what tidying removes.
type tidySettings struct {
	Store       bool          `json:"tidy_cert_store"`
	Revoked     bool          `json:"tidy_revoked_certs"`
	Invalid     bool          `json:"tidy_invalid_certs"`
	Assoc       bool          `json:"tidy_revoked_cert_issuer_associations"`
	Issuers     bool          `json:"tidy_expired_issuers"`
	Legacy      bool          `json:"tidy_move_legacy_ca_bundle"`
	ACME        bool          `json:"tidy_acme"`
	Buffer      time.Duration `json:"safety_buffer"`
	RevokedWait time.Duration `json:"revoked_safety_buffer"`
	IssuerWait  time.Duration `json:"issuer_safety_buffer"`
	ACMEWait    time.Duration `json:"acme_account_safety_buffer"`
	Pause       string        `json:"pause_duration"`
	Page        int64         `json:"page_size"`
}

func defaultTidy() tidySettings {
	return tidySettings{Buffer: 72 * time.Hour, IssuerWait: 365 * 24 * time.Hour, ACMEWait: 30 * 24 * time.Hour, Pause: "0s", Page: 1000}
}

func (s *tidySettings) flags() map[string]*bool {
	return map[string]*bool{
		"tidy_cert_store": &s.Store, "tidy_revoked_certs": &s.Revoked, "tidy_invalid_certs": &s.Invalid, "tidy_expired_issuers": &s.Issuers,
		"tidy_revoked_cert_issuer_associations": &s.Assoc, "tidy_move_legacy_ca_bundle": &s.Legacy, "tidy_acme": &s.ACME,
	}
}

func (s *tidySettings) buffers() map[string]*time.Duration {
	return map[string]*time.Duration{
		"safety_buffer": &s.Buffer, "revoked_safety_buffer": &s.RevokedWait, "issuer_safety_buffer": &s.IssuerWait, "acme_account_safety_buffer": &s.ACMEWait,
	}
}

// maxPage bounds how many certificates one transaction removes.
const maxPage = 4000

func (s *tidySettings) set(v engines.Values) error {
	for name, to := range s.flags() {
		if v.Has(name) {
			*to = v.Bool(name)
		}
	}
	if v.Has("tidy_revocation_list") {
		s.Revoked = s.Revoked || v.Bool("tidy_revocation_list")
	}
	for name, to := range s.buffers() {
		if v.Has(name) {
			*to = v.Duration(name)
		}
		if *to < 0 || *to == 0 && v.Has(name) {
			return engines.Invalidf("%s: has to be longer than 0", name)
		}
	}
	if v.Has("pause_duration") {
		s.Pause = v.String("pause_duration")
	}
	if d, ok := engines.ParseSeconds(s.Pause); !ok || d < 0 {
		return engines.Invalidf("pause_duration: expected a duration such as 1s")
	}
	if v.Has("page_size") {
		s.Page = v.Int("page_size")
	}
	if s.Page < 1 || s.Page > maxPage {
		return engines.Invalidf("page_size: expected 1 to %d", maxPage)
	}
	return nil
}

func (s *tidySettings) show(data map[string]any) {
	for name, value := range s.flags() {
		data[name] = *value
	}
	for name, value := range s.buffers() {
		data[name] = int64(*value / time.Second)
	}
	data["pause_duration"], data["page_size"] = s.Pause, s.Page
}

// revokedBuffer is the one for revoked certificates.
func (s *tidySettings) revokedBuffer() time.Duration {
	if s.RevokedWait > 0 {
		return s.RevokedWait
	}
	return s.Buffer
}

// autoTidy is the row of config/auto-tidy.
type autoTidy struct {
	Enabled  bool          `json:"enabled"`
	Interval time.Duration `json:"interval"`
	Counts   bool          `json:"counts"`
	Publish  bool          `json:"publish"`
	Settings tidySettings  `json:"settings"`
}

// The states of tidying.
const (
	tidyInactive   = "Inactive"
	tidyRunning    = "Running"
	tidyFinished   = "Finished"
	tidyError      = "Error"
	tidyCancelling = "Cancelling"
	tidyCancelled  = "Cancelled"
)

// tidying is the row of the run that is going on, or was the last. A leader that
// comes after goes on at Next.
type tidying struct {
	State    string       `json:"state"`
	Settings tidySettings `json:"settings"`
	Phase    int          `json:"phase"`
	Next     []byte       `json:"next,omitempty"`
	Started  time.Time    `json:"started"`
	Finished time.Time    `json:"finished,omitzero"`
	AutoEnd  time.Time    `json:"auto_end,omitzero"`
	Auto     bool         `json:"auto,omitempty"`
	Message  string       `json:"message,omitempty"`
	Certs    int64        `json:"certs"`
	Revoked  int64        `json:"revoked"`
	Missing  int64        `json:"missing"`
	// Count says to count what is left: Stored certificates and Listed revocations.
	Count  bool  `json:"count,omitempty"`
	Stored int64 `json:"stored,omitempty"`
	Listed int64 `json:"listed,omitempty"`
}

const (
	phaseCerts = iota
	phaseRevoked
	phaseIssuers
	phaseDone
)

const (
	dueTidy     = "tidy/run"
	dueAutoTidy = "tidy/auto"
)

func loadTidying(tx engines.Tx) (*tidying, error) {
	t, err := load[tidying](tx, tidyRow)
	if t == nil {
		t = &tidying{State: tidyInactive, Settings: defaultTidy()}
	}
	return t, err
}

// startTidy begins a run, unless one is going on.
func startTidy(tx engines.Tx, s tidySettings, now time.Time, auto bool) (bool, error) {
	old, err := loadTidying(tx)
	if err != nil || old.State == tidyRunning || old.State == tidyCancelling {
		return false, err
	}
	a, err := loadAutoTidy(tx)
	if err != nil {
		return false, err
	}
	t := &tidying{State: tidyRunning, Settings: s, Started: now, Auto: auto, AutoEnd: old.AutoEnd, Count: a.Counts}
	if err := save(tx, tidyRow, t); err != nil {
		return false, err
	}
	return true, tx.Schedule(dueTidy, soon)
}

func tidy(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	s := defaultTidy()
	if err := s.set(req.Fields); err != nil {
		return nil, err
	}
	if !s.Store && !s.Revoked && !s.Issuers && !s.Invalid && !s.Assoc && !s.Legacy && !s.ACME {
		return nil, engines.Invalidf("no tidy operation was requested: set tidy_cert_store, tidy_revoked_certs or another")
	}
	started, err := startTidy(tx, s, req.Now, false)
	if err != nil {
		return nil, err
	}
	warning := "Tidy operation successfully started. Any information from the operation will be shown by tidy-status."
	if !started {
		warning = "Tidy operation already in progress."
	}
	return &engines.Response{Warnings: []string{warning}}, nil
}

func (t *tidying) show(uuid string) map[string]any {
	data := map[string]any{
		"state": t.State, "error": nil, "message": t.Message, "cert_store_deleted_count": t.Certs, "revoked_cert_deleted_count": t.Revoked,
		"missing_issuer_cert_count": t.Missing, "time_started": when(t.Started), "time_finished": when(t.Finished),
		"last_auto_tidy_finished": when(t.AutoEnd), "internal_backend_uuid": uuid, "current_cert_store_count": nil,
		"current_revoked_cert_count": nil, "acme_account_deleted_count": 0, "acme_account_revoked_count": 0, "acme_orders_deleted_count": 0,
		"total_acme_account_count": 0,
	}
	if t.State == tidyError {
		data["error"] = t.Message
	}
	if t.Count && t.State == tidyFinished {
		data["current_cert_store_count"], data["current_revoked_cert_count"] = t.Stored, t.Listed
	}
	t.Settings.show(data)
	return data
}

func when(at time.Time) any {
	if at.IsZero() {
		return nil
	}
	return at.UTC().Format(time.RFC3339)
}

func tidyStatus(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	t, err := loadTidying(tx)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: t.show(req.Mount.UUID)}, nil
}

func tidyCancel(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	t, err := loadTidying(tx)
	if err != nil {
		return nil, err
	}
	if t.State != tidyRunning {
		return &engines.Response{Data: t.show(req.Mount.UUID), Warnings: []string{"Tidy operation cannot be cancelled as none is currently running."}}, nil
	}
	t.State = tidyCancelling
	if err := save(tx, tidyRow, t); err != nil {
		return nil, err
	}
	return &engines.Response{Data: t.show(req.Mount.UUID)}, tx.Schedule(dueTidy, soon)
}

// runTidy removes page after page, each in a transaction of its own, and goes on
// later if it is to pause.
func (e *engine) runTidy(ctx context.Context, r *engines.Reach) error {
	for {
		on := false
		err := r.Change(ctx, func(tx engines.Tx) error {
			var err error
			on, err = e.tidyStep(r, tx)
			return err
		})
		if err != nil || !on {
			return err
		}
	}
}

// tidyStep does one page, and reports whether the next follows at once.
func (e *engine) tidyStep(r *engines.Reach, tx engines.Tx) (on bool, err error) {
	t, err := loadTidying(tx)
	if err != nil {
		return false, err
	}
	now := r.Now()
	if t.State == tidyCancelling {
		t.State, t.Finished = tidyCancelled, now
	}
	if t.State == tidyRunning {
		if err := e.tidyPage(r.Mount, tx, t, now); err != nil {
			return false, err
		}
	}
	if t.State == tidyRunning && t.Phase == phaseDone {
		if t.State, t.Finished, t.Message = tidyFinished, now, ""; t.Auto {
			t.AutoEnd = now
		}
	}
	if err := save(tx, tidyRow, t); err != nil {
		return false, err
	}
	if t.State != tidyRunning {
		return false, tx.Schedule(dueTidy, time.Time{})
	}
	pause := duration(t.Settings.Pause)
	if pause == 0 {
		return true, nil
	}
	return false, tx.Schedule(dueTidy, now.Add(pause))
}

// tidyPage does one page of the phase that is on.
func (e *engine) tidyPage(m engines.Mount, tx engines.Tx, t *tidying, now time.Time) error {
	var dir string
	var one func(tx engines.Tx, serial string) error
	s := &t.Settings
	switch {
	case t.Phase == phaseCerts && (s.Store || s.Invalid || t.Count):
		dir, one = certDir, func(tx engines.Tx, serial string) error { return t.tidyCert(tx, serial, now) }
	case t.Phase == phaseRevoked && (s.Revoked || s.Assoc || t.Count):
		dir, one = revokedDir, func(tx engines.Tx, serial string) error { return t.tidyRevoked(tx, serial, now) }
	case t.Phase == phaseIssuers && s.Issuers:
		if err := e.tidyIssuers(m, tx, s, now); err != nil {
			return err
		}
		fallthrough
	default:
		t.Phase, t.Next = t.Phase+1, nil
		return nil
	}
	serials, next, err := tx.WalkPage(dir, t.Next, int(s.Page))
	if err != nil {
		return err
	}
	if t.Phase == phaseCerts {
		t.Stored += int64(len(serials))
	} else {
		t.Listed += int64(len(serials))
	}
	for _, serial := range serials {
		if err := one(tx, serial); err != nil {
			return err
		}
	}
	if t.Next = next; next == nil {
		t.Phase++
	}
	return nil
}

// tidyCert removes a certificate that has ended. One that is revoked stays for as
// long as its line in the list does.
func (t *tidying) tidyCert(tx engines.Tx, serial string, now time.Time) error {
	if !t.Settings.Store && !t.Settings.Invalid {
		return nil // it is only counted
	}
	row, err := tx.Get(certDir + serial)
	if err != nil || row == nil {
		return err
	}
	s, err := decodeStored(row.Value)
	if err != nil {
		if t.Settings.Invalid {
			t.Certs, t.Stored = t.Certs+1, t.Stored-1
			return tx.Delete(certDir + serial)
		}
		return err
	}
	if !t.Settings.Store || !now.After(s.end.Add(t.Settings.Buffer)) {
		return nil
	}
	revoked, err := tx.Get(revokedDir + serial)
	if err != nil || revoked != nil {
		return err
	}
	t.Certs, t.Stored = t.Certs+1, t.Stored-1
	return tx.Delete(certDir + serial)
}

// tidyRevoked removes all of a certificate that was revoked and has ended.
func (t *tidying) tidyRevoked(tx engines.Tx, serial string, now time.Time) error {
	r, err := load[revocation](tx, revokedDir+serial)
	if err != nil || r == nil {
		return err
	}
	issuer, err := tx.Get(issuerDir + r.Issuer)
	if err != nil {
		return err
	}
	if issuer == nil {
		t.Missing++
	}
	if !t.Settings.Revoked || !now.After(r.End.Add(t.Settings.revokedBuffer())) {
		return nil
	}
	kept, err := tx.Get(certDir + serial)
	if err != nil {
		return err
	}
	if kept != nil {
		t.Stored--
	}
	t.Revoked, t.Listed = t.Revoked+1, t.Listed-1
	for _, path := range []string{revokedDir + serial, entryDir + r.Group + "/" + serial, certDir + serial} {
		if err := tx.Delete(path); err != nil {
			return err
		}
	}
	return scheduleLists(tx, r.Group, time.Time{})
}

// tidyIssuers forgets issuers that have long ended, but never the default one. Their
// keys stay.
func (e *engine) tidyIssuers(m engines.Mount, tx engines.Tx, s *tidySettings, now time.Time) error {
	d, err := load[defaultIssuer](tx, issuersRow)
	if err != nil {
		return err
	}
	all, err := e.all(m, tx)
	if err != nil {
		return err
	}
	for _, a := range slices.Clone(all) {
		if d != nil && d.Default == a.ID || !now.After(a.cert.NotAfter.Add(s.IssuerWait)) {
			continue
		}
		if err := e.forget(m, tx, a); err != nil {
			return err
		}
	}
	return nil
}

func loadAutoTidy(tx engines.Tx) (*autoTidy, error) {
	a, err := load[autoTidy](tx, autoTidyRow)
	if a == nil {
		a = &autoTidy{Interval: 12 * time.Hour, Settings: defaultTidy()}
	}
	return a, err
}

func (a *autoTidy) show() map[string]any {
	data := map[string]any{
		"enabled": a.Enabled, "interval_duration": int64(a.Interval / time.Second), "maintain_stored_certificate_counts": a.Counts,
		"publish_stored_certificate_count_metrics": a.Publish,
	}
	a.Settings.show(data)
	return data
}

func readAutoTidy(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	a, err := loadAutoTidy(tx)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: a.show()}, nil
}

func writeAutoTidy(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	a, err := loadAutoTidy(tx)
	if err != nil {
		return nil, err
	}
	v := req.Fields
	if err := a.Settings.set(v); err != nil {
		return nil, err
	}
	for name, to := range map[string]*bool{
		"enabled": &a.Enabled, "maintain_stored_certificate_counts": &a.Counts, "publish_stored_certificate_count_metrics": &a.Publish,
	} {
		if v.Has(name) {
			*to = v.Bool(name)
		}
	}
	if v.Has("interval_duration") {
		a.Interval = v.Duration("interval_duration")
	}
	if a.Interval < time.Minute {
		return nil, engines.Invalidf("interval_duration: at least 1m")
	}
	s := &a.Settings
	if a.Enabled && !s.Store && !s.Revoked && !s.Issuers && !s.Invalid && !s.Assoc && !s.Legacy && !s.ACME {
		return nil, engines.Invalidf("auto-tidy enabled but no tidy operations were requested: enable at least one of the tidy operations")
	}
	at := time.Time{}
	if a.Enabled {
		at = req.Now.Add(a.Interval)
	}
	if err := tx.Schedule(dueAutoTidy, at); err != nil {
		return nil, err
	}
	return &engines.Response{Data: a.show()}, save(tx, autoTidyRow, a)
}

// runAutoTidy starts a run, and sets the time of the next.
func (e *engine) runAutoTidy(ctx context.Context, r *engines.Reach) error {
	return r.Change(ctx, func(tx engines.Tx) error {
		a, err := loadAutoTidy(tx)
		if err != nil {
			return err
		}
		if !a.Enabled {
			return tx.Schedule(dueAutoTidy, time.Time{})
		}
		if _, err := startTidy(tx, a.Settings, r.Now(), true); err != nil {
			return err
		}
		return tx.Schedule(dueAutoTidy, r.Now().Add(a.Interval))
	})
}
