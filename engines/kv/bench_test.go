package kv_test

import (
	"testing"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

// body is what a client sends to write a secret of about 400 bytes.
const body = `{"data":{"username":"app","password":"Tr0ub4dor&3","hosts":["db-1.example.com","db-2.example.com","db-3.example.com"],"options":{"sslmode":"verify-full","connect_timeout":10,"application_name":"orders","target_session_attrs":"read-write"},"note":"Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore et dolore"},"options":{}}`

// prepare decodes one request and gives its handler.
func prepare(b *testing.B, k *kit, op engines.Operation, path, body string) (*engines.Op, *engines.Request) {
	b.Helper()
	match, _ := k.Compiled().Match(path)
	offered, ok := match.Op(op)
	if !ok {
		b.Fatal("no such operation")
	}
	members, err := schema.ParseBody([]byte(body), schema.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	fields, _, err := match.Decode(op, nil, members)
	if err != nil {
		b.Fatal(err)
	}
	return offered, &engines.Request{Op: op, Path: path, Fields: fields, Mount: k.Info, Now: k.Now}
}

func benchmark(b *testing.B, version string, op engines.Operation, path, text string) {
	k := mount(b, version)
	k.Once = true
	for range 12 {
		k.do(engines.Update, path, body, "")
	}
	offered, req := prepare(b, k, op, path, text)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := offered.Handler(b.Context(), req, k.Store.Begin()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadV2(b *testing.B)  { benchmark(b, "2", engines.Read, "data/app/db", "") }
func BenchmarkWriteV2(b *testing.B) { benchmark(b, "2", engines.Update, "data/app/db", body) }
func BenchmarkPatchV2(b *testing.B) {
	benchmark(b, "2", engines.Patch, "data/app/db", `{"data":{"password":"new"}}`)
}
func BenchmarkReadV1(b *testing.B)  { benchmark(b, "1", engines.Read, "app/db", "") }
func BenchmarkWriteV1(b *testing.B) { benchmark(b, "1", engines.Update, "app/db", body) }
