package lockout

import (
	"strconv"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// Defaults of the rules, which are Vault's.
const (
	DefaultThreshold = 5
	DefaultDuration  = 15 * time.Minute
	DefaultReset     = 15 * time.Minute
)

// longest bounds the durations of the rules.
const longest = 366 * 24 * time.Hour

// Rules say when a name is locked.
type Rules struct {
	Disabled  bool
	Threshold int64
	// Duration is how long a lock lasts, Reset how long a failure counts.
	Duration time.Duration
	Reset    time.Duration
}

// RulesOf reads a mount's user_lockout_config. What is missing or cannot be
// read is as by default.
func RulesOf(config map[string]string) Rules {
	r, _ := Parse(config)
	return r
}

// Parse is RulesOf with an error that names what cannot be read.
func Parse(config map[string]string) (Rules, error) {
	r := Rules{Threshold: DefaultThreshold, Duration: DefaultDuration, Reset: DefaultReset}
	var bad error
	for name, text := range config {
		if !r.set(name, text) {
			bad = engines.Invalidf("user_lockout_config: lockout_threshold is a number, lockout_duration and lockout_counter_reset_duration are durations of up to a year, lockout_disable is true or false, and there is nothing else")
		}
	}
	return r, bad
}

func (r *Rules) set(name, text string) bool {
	if text == "" {
		return true
	}
	switch name {
	case "lockout_threshold":
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil || n < 0 {
			return false
		}
		if n > 0 {
			r.Threshold = n
		}
	case "lockout_duration":
		return setDuration(&r.Duration, text)
	case "lockout_counter_reset_duration", "lockout_counter_reset":
		return setDuration(&r.Reset, text)
	case "lockout_disable":
		off, err := strconv.ParseBool(text)
		r.Disabled = off
		return err == nil
	default:
		return false
	}
	return true
}

// setDuration leaves the default where there is no duration.
func setDuration(into *time.Duration, text string) bool {
	d, ok := engines.ParseSeconds(text)
	if !ok || d < 0 || d > longest {
		return false
	}
	if d > 0 {
		*into = d
	}
	return true
}
