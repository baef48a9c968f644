package kv_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

func TestMetadata(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	k.absent(engines.Read, "metadata/x", "")
	k.absent(engines.Read, "metadata", "")
	k.fails(engines.KindInvalid, "missing path", engines.Update, "metadata", `{"max_versions":1}`, "")
	k.do(engines.Update, "data/x", `{"data":{}}`, "")
	k.after(time.Second)
	k.do(engines.Update, "data/x", `{"data":{}}`, "")
	k.write(engines.Update, "delete/x", `{"versions":[1]}`)
	same(t, "metadata", k.data(engines.Read, "metadata/x", "", ""), `{
		"cas_required":false, "created_time":`+t0+`, "current_metadata_version":0, "current_version":2,
		"custom_metadata":null, "delete_version_after":"0s", "max_versions":0, "metadata_cas_required":false,
		"oldest_version":0, "updated_time":`+t1+`, "versions":{
			"1":{"created_time":`+t0+`,"deletion_time":`+t1+`,"destroyed":false},
			"2":{"created_time":`+t1+`,"deletion_time":"","destroyed":false}}}`)
	k.write(engines.Update, "metadata/x", `{"max_versions":5,"cas_required":true,"metadata_cas_required":true,"delete_version_after":"1h","custom_metadata":{"a":"b"}}`)
	k.write(engines.Update, "destroy/x", `{"versions":[2]}`)
	same(t, "metadata", k.data(engines.Read, "metadata/x", "", ""), `{
		"cas_required":true, "created_time":`+t0+`, "current_metadata_version":1, "current_version":2,
		"custom_metadata":{"a":"b"}, "delete_version_after":"1h0m0s", "max_versions":5, "metadata_cas_required":true,
		"oldest_version":0, "updated_time":`+t1+`, "versions":{
			"1":{"created_time":`+t0+`,"deletion_time":`+t1+`,"destroyed":false},
			"2":{"created_time":`+t1+`,"deletion_time":"","destroyed":true}}}`)
	same(t, "custom", k.data(engines.Read, "data/x", "", "")["metadata"].(map[string]any)["custom_metadata"], `{"a":"b"}`)
	k.write(engines.Delete, "metadata/x", "")
	k.write(engines.Delete, "metadata/x", "")
	k.absent(engines.Read, "metadata/x", "")
	same(t, "rows", k.Store.Rows(), `null`)
}

// TestDeleteOnlyOne deletes a secret whose version rows have another secret's
// below them.
func TestDeleteOnlyOne(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	for _, path := range []string{"a", "a/1", "a/1/1"} {
		k.do(engines.Update, "data/"+path, `{"data":{"path":"`+path+`"}}`, "")
	}
	k.write(engines.Delete, "metadata/a", "")
	k.absent(engines.Read, "data/a", "")
	for _, path := range []string{"a/1", "a/1/1"} {
		same(t, path, k.data(engines.Read, "data/"+path, "", "")["data"], `{"path":"`+path+`"}`)
	}
	// Nothing of the old versions comes back with a new secret.
	k.do(engines.Update, "data/a", `{"data":{}}`, "")
	same(t, "fresh", k.data(engines.Read, "metadata/a", "", "")["current_version"], `1`)
}

func TestMetadataOnly(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	k.write(engines.Update, "metadata/x", `{}`)
	k.write(engines.Update, "metadata/x", `{"metadata_cas":9}`)
	k.absent(engines.Read, "metadata/x", "")
	k.write(engines.Update, "metadata/x", `{"max_versions":null}`)
	same(t, "versions", k.data(engines.Read, "metadata/x", "", "")["versions"], `{}`)
	k.absent(engines.Read, "data/x", "")
	k.write(engines.Delete, "data/x", "")
	k.do(engines.Update, "data/x", `{"data":{},"options":{"cas":0}}`, "")
}

func TestPatchMetadata(t *testing.T) {
	t.Parallel()
	k := mount(t, "2")
	k.fails(engines.KindNotFound, "", engines.Patch, "metadata/x", `{"max_versions":1}`, "")
	k.write(engines.Update, "metadata/x", `{"max_versions":4,"cas_required":true,"custom_metadata":{"a":"1","b":"2"}}`)
	k.write(engines.Patch, "metadata/x", `{"custom_metadata":{"a":null,"c":3}}`)
	meta := k.data(engines.Read, "metadata/x", "", "")
	same(t, "custom", meta["custom_metadata"], `{"b":"2","c":"3"}`)
	same(t, "kept", meta["max_versions"], `4`)
	k.write(engines.Patch, "metadata/x", `{"max_versions":null,"cas_required":null,"delete_version_after":"5s"}`)
	meta = k.data(engines.Read, "metadata/x", "", "")
	same(t, "reset", []any{meta["max_versions"], meta["cas_required"], meta["delete_version_after"]}, `[0,false,"5s"]`)
	k.write(engines.Patch, "metadata/x", `{"custom_metadata":null}`)
	same(t, "cleared", k.data(engines.Read, "metadata/x", "", "")["custom_metadata"], `null`)
	// A plain write replaces.
	k.write(engines.Update, "metadata/x", `{"custom_metadata":{"z":"1"}}`)
	k.write(engines.Update, "metadata/x", `{"custom_metadata":{"y":"1"}}`)
	same(t, "replaced", k.data(engines.Read, "metadata/x", "", "")["custom_metadata"], `{"y":"1"}`)
}

func TestCustomMetadataLimits(t *testing.T) {
	t.Parallel()
	const prefix = "custom_metadata validation failed: "
	many := func(from, n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"k%d":"v"`, from+i)
		}
		return `{"custom_metadata":{` + b.String()[1:] + `}}`
	}
	k := mount(t, "2")
	for body, text := range map[string]string{
		`{"custom_metadata":{"":"v"}}`:                                    "the length of a key must be 0 < len(key) <= 128",
		`{"custom_metadata":{"` + strings.Repeat("k", 129) + `":"v"}}`:    "the length of a key must be 0 < len(key) <= 128",
		`{"custom_metadata":{"hush":""}}`:                                 "the length of a value must be 0 < len(value) <= 512",
		`{"custom_metadata":{"hush":null}}`:                               "the length of a value must be 0 < len(value) <= 512",
		`{"custom_metadata":{"hush":"` + strings.Repeat("v", 513) + `"}}`: "the length of a value must be 0 < len(value) <= 512",
		`{"custom_metadata":{"hush":"\u0007"}}`:                           "a key or value contains unprintable characters",
		`{"custom_metadata":{"hush\u200b":"x"}}`:                          "a key or value contains unprintable characters",
		`{"custom_metadata":{"hush":["x"]}}`:                              "values must be strings",
		`{"custom_metadata":{"hush":{}}}`:                                 "values must be strings",
		many(0, 65):                                                       "payload must contain at most 64 keys, provided 65",
	} {
		k.fails(engines.KindInvalid, prefix+text, engines.Update, "metadata/x", body, "")
	}
	k.fails(engines.KindInvalid, `field "custom_metadata": expected an object`, engines.Update, "metadata/x", `{"custom_metadata":"a=b"}`, "")
	k.write(engines.Update, "metadata/x", `{"custom_metadata":{"`+strings.Repeat("k", 128)+`":"`+strings.Repeat("v", 512)+`","t":true,"f":false,"n":1.50}}`)
	custom := k.data(engines.Read, "metadata/x", "", "")["custom_metadata"].(map[string]any)
	same(t, "weak", []any{custom["t"], custom["f"], custom["n"]}, `["1","0","1.50"]`)
	k.write(engines.Update, "metadata/x", many(0, 64))
	// A patch counts with what is there already.
	k.fails(engines.KindInvalid, prefix+"payload must contain at most 64 keys, provided 65", engines.Patch, "metadata/x", many(64, 1), "")
	k.write(engines.Patch, "metadata/x", `{"custom_metadata":{"k0":null,"k64":"v"}}`)
}

// TestMetadataCAS follows the scenario that OpenBao 2.6 answers.
func TestMetadataCAS(t *testing.T) {
	t.Parallel()
	const (
		required = "metadata check-and-set parameter required for this call"
		mismatch = "metadata check-and-set parameter does not match the current version"
		zero     = "metadata_cas must be 0 when creating new metadata"
	)
	k := mount(t, "2")
	version := func(path, want string) {
		t.Helper()
		same(t, path, k.data(engines.Read, "metadata/"+path, "", "")["current_metadata_version"], want)
	}
	k.do(engines.Update, "data/first", `{"data":{}}`, "")
	version("first", `0`)
	k.write(engines.Update, "metadata/first", `{"metadata_cas":0,"custom_metadata":{"o":"1"}}`)
	version("first", `1`)
	k.fails(engines.KindInvalid, zero, engines.Update, "metadata/new", `{"metadata_cas":1,"max_versions":1}`, "")
	k.absent(engines.Read, "metadata/new", "")
	k.write(engines.Update, "metadata/new", `{"metadata_cas":0,"metadata_cas_required":true}`)
	version("new", `1`)
	for _, op := range []engines.Operation{engines.Update, engines.Patch} {
		k.fails(engines.KindInvalid, required, op, "metadata/new", `{"max_versions":1}`, "")
		for _, cas := range []string{"0", "2", "-1", "null"} {
			k.fails(engines.KindInvalid, mismatch, op, "metadata/new", `{"metadata_cas":`+cas+`,"max_versions":1}`, "")
		}
		k.write(op, "metadata/new", `{}`)
		k.write(op, "metadata/new", `{"metadata_cas":999}`)
	}
	version("new", `1`)
	k.write(engines.Patch, "metadata/new", `{"metadata_cas":1,"max_versions":1}`)
	k.do(engines.Update, "data/new", `{"data":{}}`, "")
	version("new", `2`)
	k.write(engines.Update, "metadata/new", `{"metadata_cas":2,"metadata_cas_required":false}`)
	k.write(engines.Update, "metadata/new", `{"max_versions":2}`)
	version("new", `4`)
	k.write(engines.Update, "config", `{"metadata_cas_required":true,"cas_required":true}`)
	k.fails(engines.KindInvalid, required, engines.Update, "metadata/other", `{"max_versions":1}`, "")
	k.absent(engines.Read, "metadata/other", "")
	const ignored = ` set to false, but is mandated by backend config. This value will be ignored.`
	for n, op := range []engines.Operation{engines.Update, engines.Patch} {
		resp := k.do(op, "metadata/other", fmt.Sprintf(`{"metadata_cas":%d,"metadata_cas_required":false,"cas_required":false}`, n), "")
		same(t, "warnings", resp.Warnings, `["\"cas_required\"`+ignored+`","\"metadata_cas_required\"`+ignored+`"]`)
	}
	version("other", `2`)
}
