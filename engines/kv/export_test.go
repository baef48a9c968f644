package kv

// Recode decodes a metadata row and encodes it again.
func Recode(row []byte) ([]byte, error) {
	m, err := decodeMetadata(row)
	if err != nil {
		return nil, err
	}
	return m.encode(), nil
}
