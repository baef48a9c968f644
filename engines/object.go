package engines

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// JoinObject makes one JSON object of members, such as a Map field holds,
// sorted by name; each value keeps its text.
func JoinObject(members map[string]json.RawMessage) (json.RawMessage, error) {
	text := []byte{'{'}
	var err error
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if len(text) > 1 {
			text = append(text, ',')
		}
		if text, err = jsontext.AppendQuote(text, name); err != nil {
			return nil, err
		}
		text = append(append(text, ':'), members[name]...)
	}
	return append(text, '}'), nil
}
