package quotas_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

func put(s *kit.Server, token, path string, b any) *kit.Response {
	return s.Do(kit.Request{Method: http.MethodPut, Path: path, Token: token, Body: b})
}

// approle mounts approle with roles, and returns how to log in to each.
func approle(s *kit.Server, roles ...string) map[string]body {
	s.Put("sys/auth/approle", body{"type": "approle"})
	out := make(map[string]body)
	for _, role := range roles {
		s.Put("auth/approle/role/"+role, body{"bind_secret_id": false, "token_bound_cidrs": "127.0.0.0/8", "secret_id_bound_cidrs": "127.0.0.0/8"})
		out[role] = body{"role_id": s.Get("auth/approle/role/"+role+"/role-id").Text("data", "role_id")}
	}
	return out
}

func number(r *kit.Response, names ...string) string { return fmt.Sprint(r.At(names...)) }

// statuses makes n requests and counts the answers by status.
func statuses(t *testing.T, n int, ask func() *kit.Response) map[int]int {
	t.Helper()
	out := make(map[int]int)
	for range n {
		out[ask().Status]++
	}
	return out
}
