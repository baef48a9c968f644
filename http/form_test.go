package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

func TestForms(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	post := func(contentType, body string) *kit.Response {
		t.Helper()
		return s.Do(kit.Request{Method: http.MethodPost, Path: "sys/tools/hash", Body: body, Header: http.Header{"Content-Type": {contentType}}})
	}
	const form = "application/x-www-form-urlencoded; charset=utf-8"
	want := post("application/json", `{"input":"YSBiPSY="}`).Text("data", "sum")
	if want == "" {
		t.Fatal("nothing to compare with")
	}
	for contentType, body := range map[string]string{
		form:                                "input=YSBiPSY%3D",
		"application/x-www-form-urlencoded": ` {"input":"YSBiPSY="}`,
		"text/plain":                        `{"input":"YSBiPSY="}`,
	} {
		if r := post(contentType, body); r.Text("data", "sum") != want {
			t.Errorf("%s %s answered %d %s", contentType, body, r.Status, r.Raw)
		}
	}
	for _, c := range []struct {
		contentType, body string
		status            int
	}{
		{"text/plain", "input=YQ%3D%3D", http.StatusBadRequest},
		{form, "input=%zz", http.StatusBadRequest},
		{form, "input=YQ%3D%3D&input=YQ%3D%3D", http.StatusBadRequest},
		{form, "input=" + strings.Repeat("A", 300<<10), http.StatusRequestEntityTooLarge},
	} {
		if r := post(c.contentType, c.body); r.Status != c.status {
			t.Errorf("%s %.40s answered %d %s, want %d", c.contentType, c.body, r.Status, r.Raw, c.status)
		}
	}
}
