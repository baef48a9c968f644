package schema

import (
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// openAPIVersion is the version of the OpenAPI Specification that is written.
const openAPIVersion = "3.0.2"

// Document wraps the paths of tables, as OpenAPI gives them, as one OpenAPI
// document. version is that of the API or the server.
func Document(paths map[string]any, version string) map[string]any {
	return map[string]any{
		"openapi": openAPIVersion,
		"info":    map[string]any{"title": "Coffer", "version": version},
		"paths":   paths,
	}
}

// OpenAPI describes a table as the paths object of an OpenAPI 3.0.2 document:
// path below /v1 with mountPrefix ("secret/") before it, to path item object.
// An optional last capture makes two paths, with and without it.
func OpenAPI(mountPrefix string, t *engines.Table) map[string]any {
	paths := map[string]any{}
	for i := range t.Routes {
		r := &t.Routes[i]
		for _, pattern := range patternForms(r.Pattern) {
			// A path parameter of OpenAPI cannot say that it spans segments.
			path := "/" + mountPrefix + strings.ReplaceAll(pattern, "...}", "}")
			item := pathItem(r, mountPrefix, pattern)
			if earlier, ok := paths[path].(map[string]any); ok {
				for key, value := range earlier {
					item[key] = value
				}
			}
			paths[path] = item
		}
	}
	return paths
}

// patternForms spells an optional capture out.
func patternForms(pattern string) []string {
	without, ok := strings.CutSuffix(pattern, "...?}")
	if !ok {
		return []string{pattern}
	}
	return []string{pattern[:strings.LastIndexByte(without, '{')], without + "...}"}
}

func pathItem(r *engines.Route, prefix, pattern string) map[string]any {
	item := map[string]any{"description": r.Help}
	if r.Public {
		item["x-vault-unauthenticated"] = true
	}
	if r.Sudo {
		item["x-vault-sudo"] = true
	}
	captured := func(f engines.Field) bool {
		return strings.Contains(pattern, "{"+f.Name+"}") || strings.Contains(pattern, "{"+f.Name+"...}")
	}
	var inPath []any
	for i := range r.Fields {
		if f := &r.Fields[i]; captured(*f) {
			inPath = append(inPath, parameter(f, "path", true))
		}
	}
	if len(inPath) > 0 {
		item["parameters"] = inPath
	}
	for i := range r.Ops {
		op := &r.Ops[i]
		switch op.Do {
		case engines.Create, engines.Update:
			item["x-vault-createSupported"] = op.Exists != nil || op.Do == engines.Create
			item["post"] = operation(r, op, prefix+pattern, captured)
		case engines.Patch:
			item["patch"] = operation(r, op, prefix+pattern, captured)
		case engines.Delete:
			item["delete"] = operation(r, op, prefix+pattern, captured)
		case engines.Read:
			item["get"] = operation(r, op, prefix+pattern, captured)
		}
	}
	addListings(item, r, prefix, pattern, captured)
	return item
}

// addListings describes LIST and SCAN, methods that OpenAPI does not know, as
// GET with the query that asks for the same.
func addListings(item map[string]any, r *engines.Route, prefix, pattern string, captured func(engines.Field) bool) {
	for i := range r.Ops {
		op := &r.Ops[i]
		if op.Do != engines.List && op.Do != engines.Scan {
			continue
		}
		flag := map[string]any{
			"name": op.Do.String(), "in": "query", "description": "Must be set to `true` for this operation.",
			"schema": map[string]any{"type": "string", "enum": []string{"true"}},
		}
		get, shared := item["get"].(map[string]any)
		if !shared {
			get = operation(r, op, prefix+pattern, captured)
			item["get"] = get
			flag["required"] = true
		}
		parameters, _ := get["parameters"].([]any)
		get["parameters"] = append(parameters, flag)
		item["x-coffer-"+op.Do.String()] = true
	}
}

func operation(r *engines.Route, op *engines.Op, path string, captured func(engines.Field) bool) map[string]any {
	help := op.Help
	if help == "" {
		help = r.Help
	}
	method := map[string]any{
		"summary":     help,
		"operationId": operationID(op.Do, path),
		"responses":   map[string]any{"200": map[string]any{"description": "OK"}},
	}
	writes := op.Do == engines.Create || op.Do == engines.Update || op.Do == engines.Patch
	properties := map[string]any{}
	var required []string
	var parameters []any
	for i := range r.Fields {
		f := &r.Fields[i]
		switch {
		case captured(*f), f.Body && !writes:
		case !writes || f.Query:
			parameters = append(parameters, parameter(f, "query", false))
		case f.Body:
		default:
			properties[f.Name] = describe(f)
			if f.Required && op.Do != engines.Patch {
				required = append(required, f.Name)
			}
		}
	}
	if len(parameters) > 0 {
		method["parameters"] = parameters
	}
	if writes {
		body := map[string]any{"type": "object"}
		if len(properties) > 0 {
			body["properties"] = properties
		}
		if len(required) > 0 {
			slices.Sort(required)
			body["required"] = required
		}
		mime := "application/json"
		if op.Do == engines.Patch {
			mime = "application/merge-patch+json"
		}
		method["requestBody"] = map[string]any{"content": map[string]any{mime: map[string]any{"schema": body}}}
	}
	return method
}

// operationID makes "update-secret-data-path" of an update of
// "secret/data/{path...}".
func operationID(op engines.Operation, pattern string) string {
	words := strings.FieldsFunc(pattern, func(r rune) bool { return strings.ContainsRune("/{}.?", r) })
	if strings.HasSuffix(pattern, "/") { // an optional capture left out
		words = append(words, "all")
	}
	return strings.Join(append([]string{op.String()}, words...), "-")
}

func parameter(f *engines.Field, in string, required bool) map[string]any {
	p := map[string]any{"name": f.Name, "in": in, "description": f.Help, "schema": fieldSchema(f)}
	if required {
		p["required"] = true
	}
	if f.Deprecated {
		p["deprecated"] = true
	}
	return p
}

func describe(f *engines.Field) map[string]any {
	s := fieldSchema(f)
	s["description"] = f.Help
	if f.Deprecated {
		s["deprecated"] = true
	}
	if f.Secret {
		s["x-vault-displayAttrs"] = map[string]any{"sensitive": true}
	}
	return s
}

// fieldSchema is the schema object of a field's type.
func fieldSchema(f *engines.Field) map[string]any {
	s := map[string]any{}
	switch f.Type {
	case engines.String:
		s["type"] = "string"
	case engines.Int:
		s["type"], s["format"] = "integer", "int64"
	case engines.Float:
		s["type"] = "number"
	case engines.Bool:
		s["type"] = "boolean"
	case engines.Seconds:
		s["type"], s["format"] = "string", "duration"
	case engines.Strings:
		s["type"], s["items"] = "array", map[string]any{"type": "string"}
	case engines.Ints:
		s["type"], s["items"] = "array", map[string]any{"type": "integer"}
	case engines.KVPairs:
		s["type"], s["additionalProperties"] = "object", map[string]any{"type": "string"}
	case engines.Map:
		s["type"], s["additionalProperties"] = "object", true
	case engines.Time:
		s["type"], s["format"] = "string", "date-time"
	}
	if len(f.Allowed) > 0 {
		s["enum"] = f.Allowed
	}
	switch d := f.Default.(type) {
	case nil:
	case time.Duration:
		s["default"] = d.String()
	default:
		s["default"] = d
	}
	return s
}
