package signed

import (
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Claims are what a token says. Numbers are json.Number.
type Claims map[string]any

// At returns a claim by its name or, if the name begins with a slash, by JSON
// pointer (RFC 6901).
func (c Claims) At(name string) (any, bool) {
	if !strings.HasPrefix(name, "/") {
		v, ok := c[name]
		return v, ok && v != nil
	}
	return c.Pointer(name)
}

var unescape = strings.NewReplacer("~1", "/", "~0", "~")

// Pointer returns what a JSON pointer leads to, with or without its first slash.
func (c Claims) Pointer(pointer string) (any, bool) {
	var at any = map[string]any(c)
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		switch v := at.(type) {
		case map[string]any:
			next, ok := v[unescape.Replace(part)]
			if !ok {
				return nil, false
			}
			at = next
		case []any:
			n, err := strconv.Atoi(part)
			if err != nil || n < 0 || n >= len(v) || strconv.Itoa(n) != part {
				return nil, false
			}
			at = v[n]
		default:
			return nil, false
		}
	}
	return at, at != nil
}

// Text writes a string, number or boolean as text.
func Text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// Texts reads a text, or a list of nothing but texts.
func Texts(v any) ([]string, bool) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	out := make([]string, len(list))
	for i, item := range list {
		if out[i], ok = item.(string); !ok {
			return nil, false
		}
	}
	return out, true
}

// Audience is the claim "aud"; empty if there is none.
func (c Claims) Audience() ([]string, error) {
	v, ok := c["aud"]
	if !ok {
		return nil, nil
	}
	if list, ok := Texts(v); ok {
		return list, nil
	}
	return nil, errors.New("the claim \"aud\" is neither a text nor a list of texts")
}

// Issuer checks the claim "iss"; any will do if want is empty.
func (c Claims) Issuer(want string) error {
	if got, _ := c["iss"].(string); want != "" && got != want {
		return errors.New("invalid issuer (iss) claim")
	}
	return nil
}

// For refuses a token that is for none of these audiences, and without any one
// that is for somebody in particular.
func (c Claims) For(audiences []string) error {
	got, err := c.Audience()
	switch {
	case err != nil:
		return err
	case len(audiences) == 0 && len(got) > 0:
		return errors.New("audience claim found in JWT but no audiences bound to the role")
	case len(audiences) > 0 && !slices.ContainsFunc(got, func(a string) bool { return slices.Contains(audiences, a) }):
		return errors.New("aud claim does not match any bound audience")
	}
	return nil
}

// Leeways are how far clocks may be apart. Zero is the default, and what is
// negative none at all.
type Leeways struct {
	// Expiration and NotBefore make up for a claim that is not there.
	Expiration time.Duration `json:"expiration,omitempty"`
	NotBefore  time.Duration `json:"not_before,omitempty"`
	ClockSkew  time.Duration `json:"clock_skew,omitempty"`
}

// The defaults of leeways.
const (
	DefaultLeeway    = 150 * time.Second
	DefaultClockSkew = time.Minute
)

func leeway(given, standard time.Duration) time.Duration {
	if given == 0 {
		return standard
	}
	return max(given, 0)
}

// maxNumericDate is the last second of the year 9999.
const maxNumericDate = 253402300799

// Time reads a claim that is seconds since 1970; the zero time if there is none.
func (c Claims) Time(name string) (time.Time, error) {
	v, ok := c[name]
	if !ok {
		return time.Time{}, nil
	}
	n, _ := v.(json.Number)
	seconds, err := n.Float64()
	if err != nil || seconds <= 0 || seconds > maxNumericDate {
		return time.Time{}, errors.New("the claim \"" + name + "\" is not a time")
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), nil
}

// Skewed is the clock skew that counts.
func (l Leeways) Skewed() time.Duration { return leeway(l.ClockSkew, DefaultClockSkew) }

// Current refuses a token before and after its time.
func (c Claims) Current(now time.Time, l Leeways) error {
	var at [3]time.Time
	for i, name := range []string{"iat", "nbf", "exp"} {
		var err error
		if at[i], err = c.Time(name); err != nil {
			return err
		}
	}
	issued, begins, ends := at[0], at[1], at[2]
	if issued.IsZero() && begins.IsZero() && ends.IsZero() {
		return errors.New("no issued at (iat), not before (nbf), or expiration time (exp) claims in token")
	}
	if ends.IsZero() {
		ends = issued
		if begins.After(issued) {
			ends = begins
		}
		ends = ends.Add(leeway(l.Expiration, DefaultLeeway))
	}
	if begins.IsZero() {
		begins = issued
		if issued.IsZero() {
			begins = ends.Add(-leeway(l.NotBefore, DefaultLeeway))
		}
	}
	skew := l.Skewed()
	switch {
	case now.Add(skew).Before(begins):
		return errors.New("invalid not before (nbf) claim: token not yet valid")
	case now.Add(-skew).After(ends):
		return errors.New("invalid expiration time (exp) claim: token is expired")
	case now.Add(skew).Before(issued):
		return errors.New("invalid issued at (iat) claim: token issued in the future")
	}
	return nil
}
