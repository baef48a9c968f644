package server

import (
	"regexp"
	"strings"
)

// semantic is a version that clients can compare (semver.org, 2.0).
var semantic = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$`)

// compatible is the release of Vault whose API this is: clients that look for
// later parts of it should not find them.
const compatible = "1.14.0"

// apiVersion is what clients are told: they compare it with releases of Vault, for
// which what follows the plus counts for nothing (semver.org, section 10).
func apiVersion(own string) string {
	return compatible + "+coffer." + strings.ReplaceAll(own, "+", ".")
}

var unsemantic = regexp.MustCompile(`[^0-9A-Za-z.-]+`)

// semver gives a version a form that clients can compare: some refuse a server
// whose version they cannot read. A build without a tag is before all others.
func semver(version string) string {
	version = strings.TrimPrefix(version, "v")
	if semantic.MatchString(version) {
		return version
	}
	if version = strings.Trim(unsemantic.ReplaceAllString(version, "-"), "-."); version == "" || version == "dev" {
		return "0.0.0-dev"
	}
	return "0.0.0-dev+" + version
}
