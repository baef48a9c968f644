package answer

// Part is what one of several operations of a request is answered.
type Part struct {
	Data     any
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
		for _, member := range []struct {
			name  string
			value any
			has   bool
		}{
			{`"data":`, p.Data, p.Data != nil}, {`"missing":`, true, p.Missing}, {`"warnings":`, p.Warnings, len(p.Warnings) > 0},
		} {
			if !member.has {
				continue
			}
			if dst[len(dst)-1] != '{' {
				dst = append(dst, ',')
			}
			if dst, err = AppendValue(append(dst, member.name...), member.value); err != nil {
				return nil, err
			}
		}
		dst = append(dst, '}')
	}
	return append(dst, "]}"...), nil
}
