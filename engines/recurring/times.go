package recurring

import (
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	// leastWindow is the shortest window: a leader that is lost may need a while to
	// be followed, and what fails is tried again with pauses.
	leastWindow = time.Hour
	maxSchedule = 256
)

// Times are when something is changed: after Period, or at the times of Schedule.
// They are stored within a row.
type Times struct {
	Period   time.Duration `json:"period,omitempty"`
	Schedule string        `json:"schedule,omitempty"`
	Window   time.Duration `json:"window,omitempty"`
}

// Fields are those of times for what is changed, such as "the key".
func Fields(what, least string) []engines.Field {
	return []engines.Field{
		{Name: "rotation_period", Type: engines.Seconds, Help: "How often " + what + " is changed, " + least + " at least."},
		{Name: "rotation_schedule", Help: "When it is changed instead: minute, hour, day of the month, month and day of the week, in UTC, as cron takes them."},
		{Name: "rotation_window", Type: engines.Seconds, Help: "How long after a time of rotation_schedule it may still be changed, 1h at least; 0 for any time."},
	}
}

// Take takes what a request gives.
func (t *Times) Take(v engines.Values) error {
	scheduled := v.Has("rotation_schedule") && v.String("rotation_schedule") != ""
	switch {
	case v.Has("rotation_period") && v.Duration("rotation_period") != 0 && scheduled:
		return engines.Invalidf("rotation_period and rotation_schedule: give one of them")
	case scheduled:
		t.Period, t.Schedule = 0, v.String("rotation_schedule")
	case v.Has("rotation_period"):
		t.Period, t.Schedule, t.Window = v.Duration("rotation_period"), "", 0
	}
	if v.Has("rotation_window") {
		t.Window = v.Duration("rotation_window")
	}
	return nil
}

// None reports whether there is neither a period nor a schedule.
func (t *Times) None() bool { return t.Period == 0 && t.Schedule == "" }

// Check tells what is wrong with times whose periods are at least so long.
func (t *Times) Check(least time.Duration) error {
	switch {
	case t.Schedule == "" && t.Window != 0:
		return engines.Invalidf("rotation_window goes with rotation_schedule")
	case t.Window != 0 && t.Window < leastWindow:
		return engines.Invalidf("rotation_window has to be at least %s", leastWindow)
	case t.Schedule != "":
		_, err := parse(t.Schedule)
		return err
	case t.Period != 0 && t.Period < least:
		return engines.Invalidf("rotation_period has to be at least %s", least)
	}
	return nil
}

// Next is when what was changed last at a time is due to be changed, seen from
// now: a time whose window is over by then is passed over.
func (t *Times) Next(changed, now time.Time) time.Time {
	if t.Schedule == "" {
		return changed.Add(t.Period)
	}
	plan, err := parse(t.Schedule)
	if err != nil {
		return changed.Add(leastWindow) // it was read when it was written
	}
	from := changed
	if open := now.Add(-t.Window); t.Window > 0 && open.After(from) {
		from = open
	}
	return plan.Next(from.UTC())
}

// Missed reports whether the window of a time when a change was due is over.
func (t *Times) Missed(due, now time.Time) bool {
	return t.Window > 0 && now.After(due.Add(t.Window))
}

// Show adds the times to an answer.
func (t *Times) Show(data map[string]any) {
	if t.Schedule == "" {
		data["rotation_period"] = int64(t.Period / time.Second)
		return
	}
	data["rotation_schedule"] = t.Schedule
	if t.Window > 0 {
		data["rotation_window"] = int64(t.Window / time.Second)
	}
}

func parse(text string) (cron.Schedule, error) {
	bad := engines.Invalidf(`rotation_schedule has to be five fields as cron takes them, such as "0 3 * * SUN" for 3:00 UTC on Sundays`)
	if len(text) > maxSchedule || strings.Contains(text, "=") { // time zones are named so
		return nil, bad
	}
	plan, err := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(text)
	if err != nil {
		return nil, bad
	}
	if plan.Next(anyTime).IsZero() {
		return nil, engines.Invalidf("rotation_schedule names no time that ever comes")
	}
	return plan, nil
}

// anyTime is one from which each time that comes every four years is near enough
// to be found.
var anyTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) //nolint:gochecknoglobals // a constant
