package tokens

import (
	"fmt"
	"time"
)

// boundTTL works out how long a token lives from now if it is renewed.
//
// A periodic token always gets its period; any other gets what is asked for, or
// what it was created with, and never lives beyond its limit, counted from its
// creation. The explicit maximum bounds both.
func boundTTL(t *Token, increment, limit time.Duration, now time.Time) (time.Duration, string) {
	age := now.Sub(t.Created)
	if t.Period > 0 {
		ttl := t.Period
		if limit > 0 && ttl > limit {
			ttl = limit
		}
		if t.ExplicitMaxTTL > 0 {
			ttl = min(ttl, t.ExplicitMaxTTL-age)
		}
		return ttl, ""
	}
	ttl := increment
	if ttl <= 0 {
		ttl = t.CreationTTL
	}
	if t.ExplicitMaxTTL > 0 && (limit == 0 || t.ExplicitMaxTTL < limit) {
		limit = t.ExplicitMaxTTL
	}
	if left := limit - age; limit > 0 && ttl > left {
		if increment <= 0 {
			return left, ""
		}
		return left, CapWarning(ttl, left)
	}
	return ttl, ""
}

// CapWarning says that a TTL was cut, in the words that Vault's clients know.
func CapWarning(asked, got time.Duration) string {
	return fmt.Sprintf("TTL of %q exceeded the effective max_ttl of %q; TTL value is capped accordingly", short(asked), short(got))
}

func short(d time.Duration) string { return d.Round(time.Second).String() }
