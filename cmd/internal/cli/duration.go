package cli

import (
	"errors"
	"regexp"
	"strings"
)

// durationText is a number of seconds, or numbers with units as the server
// reads them; a day and a week are units too.
var durationText = regexp.MustCompile(`^-?([0-9]+|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h|d|w))+)$`)

func isDurationText(text string) bool { return len(text) <= 64 && durationText.MatchString(text) }

// underscored is the API's name of a flag.
func underscored(name string) string { return strings.ReplaceAll(name, "-", "_") }

// durationValue is a flag for a time: seconds, or a number with a unit. It is
// kept as text: the server reads it by its own rules.
type durationValue string

func (d *durationValue) String() string { return string(*d) }
func (d *durationValue) Type() string   { return "duration" }

// Set implements pflag.Value.
func (d *durationValue) Set(text string) error {
	if !isDurationText(text) {
		return errors.New("expected a time such as 30s, 1h or 7d, or seconds")
	}
	*d = durationValue(text)
	return nil
}

// leaseValue is a time, or "system" for what the system says.
type leaseValue string

func (l *leaseValue) String() string { return string(*l) }
func (l *leaseValue) Type() string   { return "duration" }

// Set implements pflag.Value.
func (l *leaseValue) Set(text string) error {
	if text != "system" && text != "" && !isDurationText(text) {
		return errors.New("expected a time such as 30s, 1h or 7d, seconds, or system")
	}
	*l = leaseValue(text)
	return nil
}
