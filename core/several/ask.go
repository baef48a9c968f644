package several

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/coffer-secrets/coffer/engines"
)

// Field is the member of a request, and of its answer, that holds the operations.
const Field = "operations"

// most is how many operations there may be.
const most = 128

// Operation is one of several. What it is told is in Query or Body, as that of a
// request is.
type Operation struct {
	Op    engines.Operation
	Path  string
	Query url.Values
	Body  []byte
}

// operations are what may be done, by the names that policies have for them.
var operations = map[string]engines.Operation{
	"create": engines.Update, "update": engines.Update, "patch": engines.Patch, "delete": engines.Delete,
	"read": engines.Read, "list": engines.List,
}

// Parse reads the operations of a body: an array, or a text that holds one, as
// command lines send it. There are none if the field is missing.
func Parse(body map[string]json.RawMessage) ([]Operation, error) {
	text, ok := body[Field]
	if !ok {
		return nil, nil
	}
	var quoted string
	if json.Unmarshal(text, &quoted) == nil {
		text = json.RawMessage(quoted)
	}
	var asked []struct {
		Operation string          `json:"operation"`
		Path      string          `json:"path"`
		Data      json.RawMessage `json:"data"`
	}
	read := json.NewDecoder(bytes.NewReader(text))
	read.DisallowUnknownFields()
	if err := read.Decode(&asked); err != nil || read.More() {
		return nil, engines.Invalidf("operations: expected an array of objects with operation, path and data")
	}
	if len(asked) == 0 || len(asked) > most {
		return nil, engines.Invalidf("operations: expected 1 to %d", most)
	}
	list := make([]Operation, len(asked))
	for i, a := range asked {
		one := Operation{Path: a.Path, Body: a.Data}
		if one.Op, ok = operations[a.Operation]; !ok {
			return nil, engines.Invalidf("operation %d: expected create, update, patch, delete, read or list", i+1)
		}
		if one.Op != engines.Update && one.Op != engines.Patch {
			if one.Query, ok = query(a.Data); !ok {
				return nil, engines.Invalidf("operation %d: data: expected an object of texts, numbers and booleans", i+1)
			}
			one.Body = nil
		}
		list[i] = one
	}
	return list, nil
}

// query gives what a read is told the form that it has in a URL.
func query(data json.RawMessage) (url.Values, bool) {
	if len(data) == 0 {
		return nil, true
	}
	var members map[string]any
	read := json.NewDecoder(bytes.NewReader(data))
	read.UseNumber()
	if read.Decode(&members) != nil {
		return nil, false
	}
	out := make(url.Values, len(members))
	for name, value := range members {
		switch value.(type) {
		case string, json.Number, bool:
			out.Set(name, fmt.Sprint(value))
		default:
			return nil, false
		}
	}
	return out, true
}
