package conformance_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

// object is JSON as the clients decode it.
type object = map[string]any

// must returns a call's value and fails the test on its error.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		check(t, err)
		return value
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t testing.TB, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: got %#v, want %#v", what, got, want)
	}
}

func holds(t testing.TB, what string, ok bool) {
	t.Helper()
	if !ok {
		t.Fatalf("%s: it does not hold", what)
	}
}

// refused checks that a call failed with a status, and says so in words that
// clients know.
func refused(t testing.TB, err error, status int, text string) {
	t.Helper()
	var re *api.ResponseError
	if !errors.As(err, &re) {
		t.Fatalf("got %v, want an answer with status %d", err, status)
	}
	if re.StatusCode != status || !strings.Contains(strings.Join(re.Errors, "\n"), text) {
		t.Fatalf("got %d %q, want %d with %q", re.StatusCode, re.Errors, status, text)
	}
}

// missing checks that a call found nothing.
func missing(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, api.ErrSecretNotFound) {
		t.Fatalf("got %v, want %v", err, api.ErrSecretNotFound)
	}
}

// number is a number in an answer.
func number(t testing.TB, v any) int64 {
	t.Helper()
	n, ok := v.(json.Number)
	if !ok {
		t.Fatalf("got %T %v, want a number", v, v)
	}
	return must(n.Int64())(t)
}

// list is a list of strings in an answer.
func list(t testing.TB, s *api.Secret, field string) []string {
	t.Helper()
	if s == nil {
		t.Fatal("the answer is empty")
	}
	values, ok := s.Data[field].([]any)
	if !ok {
		t.Fatalf("%s: got %#v, want a list", field, s.Data[field])
	}
	var out []string
	for _, v := range values {
		text, ok := v.(string)
		if !ok {
			t.Fatalf("%s: got %#v, want a string", field, v)
		}
		out = append(out, text)
	}
	return out
}

// mounted mounts a KV engine for the test and returns its path.
func mounted(t *testing.T, c *api.Client, version string) string {
	t.Helper()
	path := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()))
	check(t, c.Sys().Mount(path, &api.MountInput{Type: "kv", Options: map[string]string{"version": version}}))
	t.Cleanup(func() { check(t, c.Sys().Unmount(path)) })
	return path
}

// policy writes a policy for the test and returns its name.
func policy(t *testing.T, c *api.Client, rules string) string {
	t.Helper()
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	check(t, c.Sys().PutPolicy(name, rules))
	return name
}

// limited returns a client whose token has the policy.
func limited(t *testing.T, c *api.Client, rules string) *api.Client {
	t.Helper()
	made := must(c.Auth().Token().Create(&api.TokenCreateRequest{Policies: []string{policy(t, c, rules)}}))(t)
	return as(t, c, made.Auth.ClientToken)
}
