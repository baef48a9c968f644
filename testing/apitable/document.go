package apitable

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Document is the part of an OpenAPI document that rows are compared with.
type Document struct {
	Paths map[string]*PathItem `json:"paths"`
}

// PathItem is one path of a document.
type PathItem struct {
	Public bool       `json:"x-vault-unauthenticated"`
	Sudo   bool       `json:"x-vault-sudo"`
	Get    *Operation `json:"get"`
	Post   *Operation `json:"post"`
	Patch  *Operation `json:"patch"`
	Delete *Operation `json:"delete"`
}

// Operation is one method of a path.
type Operation struct {
	Parameters []struct {
		Name string `json:"name"`
		In   string `json:"in"`
	} `json:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Schema Schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

// Schema is the type of a body or of one of its members.
type Schema struct {
	Type                 string            `json:"type"`
	Format               string            `json:"format"`
	Default              any               `json:"default"`
	Deprecated           bool              `json:"deprecated"`
	Properties           map[string]Schema `json:"properties"`
	AdditionalProperties json.RawMessage   `json:"additionalProperties"`
}

// method finds what a row's method is in the document: a listing is a GET with
// a query.
func (i *PathItem) method(row *Row) *Operation {
	switch row.Method {
	case http.MethodGet:
		return i.Get
	case http.MethodPost:
		return i.Post
	case http.MethodPatch:
		return i.Patch
	case http.MethodDelete:
		return i.Delete
	case "LIST":
		if i.Get != nil && i.Get.query("list") {
			return i.Get
		}
	}
	return nil
}

func (o *Operation) query(name string) bool {
	for _, p := range o.Parameters {
		if p.In == "query" && p.Name == name {
			return true
		}
	}
	return false
}

// body is the schema of the operation's body.
func (o *Operation) body() map[string]Schema {
	for _, content := range o.RequestBody.Content {
		return content.Schema.Properties
	}
	return nil
}

// Index arranges the paths of a document by what rows call them.
func (d *Document) Index() map[string]*PathItem {
	out := make(map[string]*PathItem)
	for path, item := range d.Paths {
		key := anonymous(path)
		if was := out[key]; was != nil {
			item = was.join(item)
		}
		out[key] = item
	}
	return out
}

// join is for two paths that differ in the names of their parameters only.
func (i *PathItem) join(other *PathItem) *PathItem {
	both := *i
	for _, m := range []struct{ to, from **Operation }{
		{&both.Get, &other.Get}, {&both.Post, &other.Post}, {&both.Patch, &other.Patch}, {&both.Delete, &other.Delete},
	} {
		if *m.to == nil {
			*m.to = *m.from
		}
	}
	return &both
}

// Problem is what a row misses: in the whole, in one field, or, with "(token)"
// for the field, in what a caller needs.
type Problem struct {
	Field string
	Text  string
}

// Compare returns what a row misses in the document; nothing if it is there.
func Compare(row *Row, index map[string]*PathItem) []Problem {
	item := index[anonymous(row.Path)]
	if item == nil {
		return []Problem{{Text: "the path is missing"}}
	}
	op := item.method(row)
	if op == nil {
		return []Problem{{Text: "the method is missing"}}
	}
	var problems []Problem
	add := func(field, format string, args ...any) {
		problems = append(problems, Problem{field, fmt.Sprintf(format, args...)})
	}
	if item.Public != row.Public {
		add("(token)", "needs no token: %v, want %v", item.Public, row.Public)
	}
	if row.Sudo && !item.Sudo {
		add("(token)", "needs no sudo")
	}
	for _, name := range row.Query {
		if !op.query(name) {
			add("", "the query parameter %q is missing", name)
		}
	}
	body := op.body()
	for _, f := range row.Fields {
		got, ok := body[f.Name]
		if !ok && op.query(f.Name) {
			continue // writes take it from the query, and from the body too
		}
		if !ok {
			add(f.Name, "is missing")
			continue
		}
		if !takes(&got, f.Type) {
			add(f.Name, "is a %s %s, want %s", got.Type, got.Format, f.Type)
		}
		if want := normal(f.Default, f.Type); show(got.Default) != want && want != "" {
			add(f.Name, "has the default %q, want %q", show(got.Default), want)
		}
		if f.Deprecated && !got.Deprecated {
			add(f.Name, "is not deprecated")
		}
	}
	return problems
}

// takes reports whether a schema takes all that a field of the table does.
func takes(got *Schema, want string) bool {
	is := func(typ, format string) bool { return got.Type == typ && got.Format == format }
	switch want {
	case "string", "lowercase":
		return got.Type == "string"
	case "integer", "int64":
		return got.Type == "integer" || is("string", "duration")
	case "float":
		return got.Type == "number"
	case "seconds":
		return is("string", "duration")
	case "date-time":
		return is("string", "date-time")
	case "map", "kvpairs":
		return got.Type == "object" || got.Type == ""
	case "boolean", "array":
		return got.Type == want
	}
	return false
}

// normal is a default of the table as the document would have it; nothing for
// what every field is without a default.
func normal(text, typ string) string {
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	var list []string
	if typ == "array" && json.Unmarshal([]byte(text), &list) == nil {
		return fmt.Sprint(list)
	}
	switch {
	case text == "false" || text == "0":
		return ""
	case typ == "seconds":
		for _, unit := range []string{"s", ""} {
			if d, err := time.ParseDuration(text + unit); err == nil {
				return d.String()
			}
		}
	}
	return text
}

func show(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
