package schema

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/coffer-secrets/coffer/engines"
)

// maxItems bounds a list written as one string.
const maxItems = DefaultTokens

// fromJSON converts a JSON value to how fields of f's type are kept. Null is
// the zero value, nil; only JSON keeps it as text.
func fromJSON(f *engines.Field, raw json.RawMessage) (any, bool) {
	if f.Type == engines.JSON {
		return raw, len(raw) > 0
	}
	if len(raw) == 0 {
		return nil, false
	}
	switch raw[0] {
	case 'n':
		return nil, true
	case '"':
		text, ok := unquote(raw)
		if !ok {
			return nil, false
		}
		return fromText(f, text)
	case 't', 'f':
		return fromBool(f, raw[0] == 't')
	case '[':
		return fromArray(f, raw)
	case '{':
		return fromObject(f, raw)
	}
	if f.Type == engines.Map || f.Type == engines.KVPairs {
		return nil, false
	}
	return fromText(f, string(raw))
}

func unquote(raw json.RawMessage) (string, bool) {
	text, err := jsontext.AppendUnquote(nil, raw)
	return string(text), err == nil
}

func fromBool(f *engines.Field, b bool) (any, bool) {
	switch f.Type {
	case engines.Bool:
		return b, true
	case engines.String:
		// As Vault's weak decoding does.
		if b {
			return "1", true
		}
		return "0", true
	}
	return nil, false
}

func fromArray(f *engines.Field, raw json.RawMessage) (any, bool) {
	if f.Type != engines.Strings && f.Type != engines.Ints && f.Type != engines.KVPairs {
		return nil, false
	}
	items, ok := arrayItems(raw, maxItems)
	if !ok {
		return nil, false
	}
	texts := make([]string, len(items))
	for i, item := range items {
		if texts[i], ok = scalarText(item); !ok {
			return nil, false
		}
	}
	return fromList(f, texts)
}

// scalarText gives the text of a string, number or boolean.
func scalarText(raw json.RawMessage) (string, bool) {
	switch raw[0] {
	case '"':
		return unquote(raw)
	case '{', '[', 'n':
		return "", false
	}
	return string(raw), true
}

// fromList converts the items of a list.
func fromList(f *engines.Field, texts []string) (any, bool) {
	switch f.Type {
	case engines.Strings:
		for i := range texts {
			texts[i] = strings.TrimSpace(texts[i])
		}
		return texts, true
	case engines.Ints:
		numbers := make([]int64, len(texts))
		for i, text := range texts {
			var ok bool
			if numbers[i], ok = parseInt(strings.TrimSpace(text)); !ok {
				return nil, false
			}
		}
		return numbers, true
	case engines.KVPairs:
		pairs := make(map[string]string, len(texts))
		for _, text := range texts {
			key, value, ok := strings.Cut(text, "=")
			if !ok {
				return nil, false
			}
			pairs[key] = value
		}
		return pairs, true
	}
	return nil, false
}

func fromObject(f *engines.Field, raw json.RawMessage) (any, bool) {
	if f.Type != engines.Map && f.Type != engines.KVPairs {
		return nil, false
	}
	members, ok := objectMembers(raw)
	if !ok || f.Type == engines.Map {
		return members, ok
	}
	pairs := make(map[string]string, len(members))
	for key, value := range members {
		if value[0] == 'n' {
			pairs[key] = ""
			continue
		}
		if pairs[key], ok = scalarText(value); !ok {
			return nil, false
		}
	}
	return pairs, true
}

// fromText converts a string, or the text of a number.
func fromText(f *engines.Field, text string) (any, bool) {
	switch f.Type {
	case engines.String:
		return text, true
	case engines.Int:
		return orZero(parseInt, text)
	case engines.Float:
		return orZero(parseFloat, text)
	case engines.Bool:
		return orZero(parseBool, text)
	case engines.Seconds:
		d, ok := engines.ParseSeconds(text)
		return d, ok && (d >= 0 || f.Signed)
	case engines.Strings, engines.Ints:
		return splitList(f, text)
	case engines.KVPairs:
		if text == "" {
			return map[string]string{}, true
		}
		return fromList(f, []string{text})
	case engines.JSON:
		quoted, err := jsontext.AppendQuote(nil, text)
		return json.RawMessage(quoted), err == nil
	case engines.Time:
		return orZero(parseTime, text)
	}
	return nil, false
}

// orZero lets an empty string stand for the zero value, as Vault does.
func orZero[T any](parse func(string) (T, bool), text string) (any, bool) {
	if text == "" {
		var zero T
		return zero, true
	}
	return parse(text)
}

func splitList(f *engines.Field, text string) (any, bool) {
	if strings.TrimSpace(text) == "" {
		return fromList(f, []string{})
	}
	// A list that was written as JSON in a string, as command lines do.
	if strings.HasPrefix(text, "[") && checkLimits([]byte(text), Limits{Depth: 1, Tokens: maxItems}) == nil {
		if value, ok := fromArray(f, json.RawMessage(text)); ok {
			return value, true
		}
	}
	if f.Whole {
		return fromList(f, []string{text})
	}
	if strings.Count(text, ",") >= maxItems {
		return nil, false
	}
	return fromList(f, strings.Split(text, ","))
}

// parseInt takes an integer, also one written as 1.0 or 1e3.
func parseInt(text string) (int64, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	f, ok := parseFloat(text)
	// Above 2^53 a float no longer says which integer was meant.
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

func parseFloat(text string) (float64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}

func parseBool(text string) (bool, bool) {
	b, err := strconv.ParseBool(text)
	return b, err == nil
}

func parseTime(text string) (time.Time, bool) {
	if seconds, ok := parseInt(text); ok {
		return time.Unix(seconds, 0).UTC(), true
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	return t, err == nil
}
