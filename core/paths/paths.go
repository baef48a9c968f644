package paths

import (
	"strings"
	"unicode/utf8"

	"github.com/coffer-secrets/coffer/engines"
)

// MaxBytes bounds a path.
const MaxBytes = 2048

// Canonical checks a path that has been percent-decoded exactly once, without
// its leading "/v1/", and reports whether it ended in a slash. The canonical
// form has no slash at either end.
//
// A path that could be spelled in two ways is refused rather than cleaned:
// empty segments, "." and "..", backslashes, control characters and anything
// that is not UTF-8. Nothing is folded or normalised beyond that: names that
// differ in case or in Unicode form are different names.
func Canonical(path string) (canonical string, dir bool, err error) {
	if len(path) > MaxBytes {
		return "", false, engines.Invalidf("the path is longer than the limit of %d bytes", MaxBytes)
	}
	if !utf8.ValidString(path) {
		return "", false, engines.Invalidf("the path is not valid UTF-8")
	}
	trimmed := strings.TrimSuffix(path, "/")
	if trimmed == "" {
		return "", false, engines.Errorf(engines.KindNotFound, "the path is empty")
	}
	start := 0
	for i := 0; i <= len(trimmed); i++ {
		if i < len(trimmed) && trimmed[i] != '/' {
			if c := trimmed[i]; c < 0x20 || c == 0x7f || c == '\\' {
				return "", false, engines.Invalidf("the path contains a control character or a backslash")
			}
			continue
		}
		switch trimmed[start:i] {
		case "", ".", "..":
			return "", false, engines.Invalidf("the path contains an empty segment, \".\" or \"..\"")
		}
		start = i + 1
	}
	return trimmed, len(trimmed) < len(path), nil
}
