package httpapi_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/coffer-secrets/coffer/core/direct"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// Every path that is said to be answered past the core's transactions is.
func TestDirectRoutesAreAnswered(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	for _, route := range direct.Table().Routes {
		token := kit.NoToken
		if !route.Public {
			token = s.Login("default")
		}
		for _, op := range route.Ops {
			method := map[engines.Operation]string{
				engines.Read: http.MethodGet, engines.Update: http.MethodPut, engines.Delete: http.MethodDelete,
			}[op.Do]
			got := s.Do(kit.Request{Method: method, Path: "sys/" + route.Pattern, Token: token})
			switch {
			case route.Public && (got.Status == http.StatusForbidden || got.Status == http.StatusMethodNotAllowed):
				t.Errorf("%s %s answered %d: %s", method, route.Pattern, got.Status, got.Raw)
			case !route.Public && got.Status != http.StatusForbidden:
				t.Errorf("%s %s answered %d to somebody: %s", method, route.Pattern, got.Status, got.Raw)
			}
		}
	}
}

// Each of them can be asked about.
func TestDirectRoutesExplainThemselves(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	for _, route := range direct.Table().Routes {
		if got := s.Get("sys/" + route.Pattern + "?help=1").Text("help"); !strings.Contains(got, route.Help) {
			t.Errorf("%s: help %q", route.Pattern, got)
		}
		s.Must(http.StatusBadRequest, kit.Request{Path: "sys/" + route.Pattern + "?help=1", Token: kit.NoToken})
	}
}

func TestInFlightRequests(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	data, _ := s.Get("sys/in-flight-req").At("data").(map[string]any)
	if len(data) != 1 {
		t.Fatalf("in flight: %v", data)
	}
	for _, v := range data {
		request, _ := v.(map[string]any)
		if request["request_path"] != "/v1/sys/in-flight-req" || request["request_method"] != http.MethodGet || request["start_time"] == "" {
			t.Errorf("in flight: %v", request)
		}
	}
}

func TestMonitor(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	s.Must(http.StatusBadRequest, kit.Request{Path: "sys/monitor?log_level=loud"})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/v1/sys/monitor?log_level=debug&log_format=json", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", s.Root)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("status %d", resp.StatusCode)
	}
	s.Core.Logs().Logger().With("part", "raft").Debug("look here", "n", 1)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		if line["msg"] == "look here" {
			if line["part"] != "raft" || line["level"] != "DEBUG" {
				t.Errorf("line %v", line)
			}
			return
		}
	}
	t.Errorf("the log ended: %v", lines.Err())
}

func TestProfiles(t *testing.T) {
	t.Parallel()
	s := kit.New(t)
	if got := s.Get("sys/pprof/goroutine?debug=1"); !strings.Contains(string(got.Raw), "goroutine profile") {
		t.Errorf("profile %.80q", got.Raw)
	}
	if got := s.Get("sys/pprof"); !strings.Contains(string(got.Raw), "threadcreate") {
		t.Errorf("index %.80q", got.Raw)
	}
	s.Get("sys/pprof/cmdline")
	for _, seconds := range []string{"61", "-1", "x"} {
		s.Must(http.StatusBadRequest, kit.Request{Path: "sys/pprof/trace?seconds=" + seconds})
	}
}
