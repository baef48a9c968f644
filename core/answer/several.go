package answer

import "encoding/json"

// Part is what one of several operations of a request is answered.
type Part struct {
	// Data is valid JSON, or nothing.
	Data     json.RawMessage
	Warnings []string
	// Missing says that what was asked for is not there.
	Missing bool
}

// Several is the answer of several operations, in their order: an object whose
// member "operations" is an array of objects with data, warnings and missing,
// each only where there is something to say.
type Several []Part

// AppendJSON implements Appender.
func (s Several) AppendJSON(dst []byte) (_ []byte, err error) {
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
			if dst, err = AppendValue(append(comma(dst), `"warnings":`...), p.Warnings); err != nil {
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
