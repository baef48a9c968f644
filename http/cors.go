package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

const corsMethods = "DELETE,GET,OPTIONS,POST,PUT,LIST,SCAN,PATCH"

// applyCORS answers preflight requests and refuses origins that may not call
// (WHATWG Fetch, 3.2). Requests without an Origin are not from a page.
func (s *server) applyCORS(ctx context.Context, w http.ResponseWriter, r *request) (done bool, status int) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false, 0
	}
	u := s.Core.Unsealed()
	if u == nil {
		return false, 0
	}
	settings, err := u.CORS()
	if err != nil {
		return true, s.fail(w, r, err)
	}
	if !settings.Enabled {
		return false, 0
	}
	if !slices.Contains(settings.Origins, origin) && !slices.Contains(settings.Origins, "*") {
		return true, s.fail(w, r, engines.Errorf(engines.KindDenied, "origin not allowed"))
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", origin)
	h.Add("Vary", "Origin")
	if settings.AllowCredentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if r.Method != http.MethodOptions {
		return false, 0
	}
	asked := r.Header.Get("Access-Control-Request-Method")
	if !slices.Contains(strings.Split(corsMethods, ","), asked) {
		return true, s.fail(w, r, engines.Errorf(engines.KindMethod, "the method is not allowed for other origins"))
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", strings.Join(settings.Headers, ","))
	h.Set("Access-Control-Max-Age", "300")
	return true, s.respond(ctx, w, r, &response{status: http.StatusNoContent})
}
