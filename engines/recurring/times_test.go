package recurring_test

import (
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/recurring"
)

func at(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		panic(err)
	}
	return t
}

func TestNext(t *testing.T) {
	t.Parallel()
	daily := recurring.Times{Schedule: "0 3 * * *", Window: 2 * time.Hour}
	for what, c := range map[string]struct {
		times              recurring.Times
		changed, now, want string
	}{
		"a period":                       {recurring.Times{Period: time.Hour}, "2026-05-01 10:00", "2026-05-01 10:30", "2026-05-01 11:00"},
		"a period that is over":          {recurring.Times{Period: time.Hour}, "2026-05-01 10:00", "2026-05-03 10:30", "2026-05-01 11:00"},
		"a schedule":                     {daily, "2026-05-01 10:00", "2026-05-01 10:30", "2026-05-02 03:00"},
		"its window is open":             {daily, "2026-05-01 10:00", "2026-05-02 04:59", "2026-05-02 03:00"},
		"its window is over":             {daily, "2026-05-01 10:00", "2026-05-02 05:01", "2026-05-03 03:00"},
		"changed within the window":      {daily, "2026-05-02 03:10", "2026-05-02 03:20", "2026-05-03 03:00"},
		"many windows are over":          {daily, "2026-05-01 10:00", "2026-05-20 12:00", "2026-05-21 03:00"},
		"without a window none is over":  {recurring.Times{Schedule: "0 3 * * *"}, "2026-05-01 10:00", "2026-05-20 12:00", "2026-05-02 03:00"},
		"another zone counts as UTC":     {recurring.Times{Schedule: "30 23 * * SUN"}, "2026-05-01 10:00", "2026-05-01 12:00", "2026-05-03 23:30"},
		"a day that comes in leap years": {recurring.Times{Schedule: "0 0 29 2 *"}, "2026-05-01 10:00", "2026-05-01 12:00", "2028-02-29 00:00"},
	} {
		if err := c.times.Check(time.Minute); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		zone := time.FixedZone("elsewhere", 5*3600)
		if got := c.times.Next(at(c.changed).In(zone), at(c.now).In(zone)); !got.Equal(at(c.want)) {
			t.Errorf("%s: %s, want %s", what, got.UTC(), c.want)
		}
	}
	for now, want := range map[string]bool{"2026-05-02 03:00": false, "2026-05-02 05:00": false, "2026-05-02 05:01": true} {
		if daily.Missed(at("2026-05-02 03:00"), at(now)) != want {
			t.Errorf("at %s: missed is not %v", now, want)
		}
	}
	if unbounded := (recurring.Times{Schedule: "0 3 * * *"}); unbounded.Missed(at("2026-05-02 03:00"), at("2026-06-02 03:00")) {
		t.Error("without a window a time was missed")
	}
}

func TestTake(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		before recurring.Times
		given  map[string]any
		want   recurring.Times
		err    string
	}{
		"nothing":                     {recurring.Times{Period: time.Hour}, nil, recurring.Times{Period: time.Hour}, ""},
		"a period":                    {recurring.Times{}, map[string]any{"rotation_period": time.Hour}, recurring.Times{Period: time.Hour}, ""},
		"a short one":                 {recurring.Times{}, map[string]any{"rotation_period": time.Second}, recurring.Times{}, "rotation_period has to be at least 1m"},
		"a negative one":              {recurring.Times{}, map[string]any{"rotation_period": -time.Hour}, recurring.Times{}, "rotation_period has to be at least 1m"},
		"a schedule for a period":     {recurring.Times{Period: time.Hour}, map[string]any{"rotation_schedule": "0 3 * * *", "rotation_window": time.Hour}, recurring.Times{Schedule: "0 3 * * *", Window: time.Hour}, ""},
		"with a period of 0":          {recurring.Times{Period: time.Hour}, map[string]any{"rotation_schedule": "0 3 * * *", "rotation_period": time.Duration(0)}, recurring.Times{Schedule: "0 3 * * *"}, ""},
		"a period for a schedule":     {recurring.Times{Schedule: "0 3 * * *", Window: time.Hour}, map[string]any{"rotation_period": time.Hour}, recurring.Times{Period: time.Hour}, ""},
		"both":                        {recurring.Times{}, map[string]any{"rotation_schedule": "0 3 * * *", "rotation_period": time.Hour}, recurring.Times{}, "give one of them"},
		"a window alone":              {recurring.Times{Period: time.Hour}, map[string]any{"rotation_window": time.Hour}, recurring.Times{}, "goes with rotation_schedule"},
		"a short window":              {recurring.Times{}, map[string]any{"rotation_schedule": "0 3 * * *", "rotation_window": time.Minute}, recurring.Times{}, "rotation_window has to be at least"},
		"four fields":                 {recurring.Times{}, map[string]any{"rotation_schedule": "0 3 * *"}, recurring.Times{}, "five fields"},
		"a time zone":                 {recurring.Times{}, map[string]any{"rotation_schedule": "TZ=UTC 0 3 * * *"}, recurring.Times{}, "five fields"},
		"a name for a schedule":       {recurring.Times{}, map[string]any{"rotation_schedule": "@daily"}, recurring.Times{}, "five fields"},
		"a day that never comes":      {recurring.Times{}, map[string]any{"rotation_schedule": "0 0 31 2 *"}, recurring.Times{}, "no time that ever comes"},
		"a schedule of great length":  {recurring.Times{}, map[string]any{"rotation_schedule": strings.Repeat("0,", 200) + "0 3 * * *"}, recurring.Times{}, "five fields"},
		"an empty one leaves what is": {recurring.Times{Period: time.Hour}, map[string]any{"rotation_schedule": ""}, recurring.Times{Period: time.Hour}, ""},
	} {
		got := c.before
		err := got.Take(engines.NewValues(c.given, nil))
		if err == nil {
			err = got.Check(time.Minute)
		}
		switch {
		case c.err == "" && (err != nil || got != c.want):
			t.Errorf("%s: %+v, %v", what, got, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || engines.KindOf(err) != engines.KindInvalid):
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		times recurring.Times
		want  map[string]any
	}{
		{recurring.Times{Period: time.Hour}, map[string]any{"rotation_period": int64(3600)}},
		{recurring.Times{Schedule: "0 3 * * *"}, map[string]any{"rotation_schedule": "0 3 * * *"}},
		{recurring.Times{Schedule: "0 3 * * *", Window: time.Hour}, map[string]any{"rotation_schedule": "0 3 * * *", "rotation_window": int64(3600)}},
	} {
		got := map[string]any{}
		c.times.Show(got)
		if len(got) != len(c.want) {
			t.Errorf("%+v shows %v", c.times, got)
		}
		for name, value := range c.want {
			if got[name] != value {
				t.Errorf("%+v shows %v", c.times, got)
			}
		}
	}
}
