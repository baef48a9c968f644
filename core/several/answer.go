package several

import (
	"encoding/json"

	"github.com/coffer-secrets/coffer/core/answer"
)

// Answer is what one operation is answered.
type Answer struct {
	// Data is valid JSON, or nothing.
	Data     json.RawMessage
	Warnings []string
	// Missing says that what was asked for is not there.
	Missing bool
}

// Answers are those of all operations, in their order: an object whose
// member "operations" is an array of objects with data, warnings and missing,
// each only where there is something to say.
type Answers []Answer

// AppendJSON implements answer.Appender.
func (s Answers) AppendJSON(dst []byte) (_ []byte, err error) {
	dst = append(dst, `{"operations":[`...)
	for i, p := range s {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		if len(p.Data) > 0 {
			dst = append(append(dst, `"data":`...), p.Data...)
		}
		if p.Missing {
			dst = append(comma(dst), `"missing":true`...)
		}
		if len(p.Warnings) > 0 {
			if dst, err = answer.AppendValue(append(comma(dst), `"warnings":`...), p.Warnings); err != nil {
				return nil, err
			}
		}
		dst = append(dst, '}')
	}
	return append(dst, "]}"...), nil
}

// comma separates the next member of an object that has been begun.
func comma(dst []byte) []byte {
	if dst[len(dst)-1] == '{' {
		return dst
	}
	return append(dst, ',')
}
