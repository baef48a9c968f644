package engines

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseSeconds reads a duration as Vault's API takes it: a whole number of
// seconds, a number of days such as "30d", or what time.ParseDuration takes.
// Empty means zero. It is false for anything else and for what overflows.
func ParseSeconds(text string) (time.Duration, bool) {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0, true
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return scale(n, time.Second)
	}
	// JSON may write 3600 as 3600.0 or 3.6e3.
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return 0, false
		}
		return scale(int64(f), time.Second)
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		if err != nil {
			return 0, false
		}
		return scale(n, 24*time.Hour)
	}
	d, err := time.ParseDuration(text)
	return d, err == nil
}

func scale(n int64, unit time.Duration) (time.Duration, bool) {
	limit := math.MaxInt64 / int64(unit)
	if n > limit || n < -limit {
		return 0, false
	}
	return time.Duration(n) * unit, true
}
