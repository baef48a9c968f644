package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"net/url"
	"strconv"
	"time"

	"github.com/gorilla/mux"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/direct"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

// routes are the paths that a sealed node answers too, and so not through the
// core's transactions. POST counts as PUT.
func (s *server) routes() map[string]map[string]handlerFunc {
	get, put, del, head := http.MethodGet, http.MethodPut, http.MethodDelete, http.MethodHead
	list := map[string]map[string]handlerFunc{
		"sys/health":                {get: s.health, head: s.health},
		"sys/init":                  {get: s.initStatus, put: s.initialize},
		"sys/seal-status":           {get: s.sealStatus},
		"sys/unseal":                {put: s.unseal},
		"sys/leader":                {get: s.leader},
		"sys/generate-root/attempt": {get: s.rootStatus, put: s.startRoot, del: s.cancelRoot},
		"sys/generate-root/update":  {put: s.updateRoot},
		"sys/generate-root":         {get: s.guarded(s.rootStatus), put: s.guarded(s.startRoot), del: s.guarded(s.cancelRoot)},
		"sys/generate-root-token/attempt": {
			get: s.enveloped(s.rootStatus), put: s.enveloped(s.startRoot), del: s.enveloped(s.cancelRoot),
		},
		"sys/generate-root-token/update": {put: s.enveloped(s.updateRoot)},
	}
	for name, target := range map[string]core.Target{
		"sys/rekey": core.RekeyUnseal, "sys/rekey-recovery-key": core.RekeyRecovery,
	} {
		c := ceremony{server: s, target: target}
		list[name+"/init"] = map[string]handlerFunc{get: c.status, put: c.start, del: c.cancel}
		list[name+"/update"] = map[string]handlerFunc{put: c.update}
		list[name+"/verify"] = map[string]handlerFunc{get: c.verifyStatus, put: c.verify, del: c.resetVerify}
	}
	for name, target := range map[string]core.Target{
		"sys/rotate/root": core.RekeyUnseal, "sys/rotate/recovery": core.RekeyRecovery,
	} {
		c := ceremony{server: s, target: target}
		list[name+"/init"] = map[string]handlerFunc{get: s.enveloped(c.status), put: s.enveloped(c.start), del: s.enveloped(c.cancel)}
		list[name+"/update"] = map[string]handlerFunc{put: s.enveloped(c.update)}
		list[name+"/verify"] = map[string]handlerFunc{get: s.enveloped(c.verifyStatus), put: s.enveloped(c.verify), del: s.enveloped(c.resetVerify)}
		list[name+"/backup"] = map[string]handlerFunc{get: c.backup, del: c.deleteBackup}
	}
	for path, target := range map[string]core.Target{
		"sys/rekey/backup": core.RekeyUnseal, "sys/rekey/recovery-key-backup": core.RekeyRecovery,
		"sys/rekey/recovery-backup": core.RekeyRecovery,
	} {
		c := ceremony{server: s, target: target}
		list[path] = map[string]handlerFunc{get: c.backup, del: c.deleteBackup}
	}
	list["sys/in-flight-req"] = map[string]handlerFunc{get: s.guarded(s.inFlight)}
	list["sys/monitor"] = map[string]handlerFunc{get: s.guarded(s.monitor)}
	s.profiles(list)
	s.raftRoutes(list)
	if s.OpenMetrics && s.Metrics != nil {
		list["sys/metrics"] = map[string]handlerFunc{get: s.openMetrics}
	}
	return list
}

// directRoutes are what is known of the paths in routes, by path.
func directRoutes() map[string]*engines.Route {
	out := make(map[string]*engines.Route)
	table := direct.Table()
	for i := range table.Routes {
		r := &table.Routes[i]
		out["sys/"+r.Pattern] = r
	}
	return out
}

// decodeBody reads a body by the fields of the request's route.
func decodeBody(r *request) (engines.Values, error) {
	body, err := schema.ParseBody(r.body, schema.Limits{})
	if err != nil {
		return engines.Values{}, err
	}
	values, _, err := schema.Decode(r.route, engines.Update, nil, url.Values{}, body)
	return values, err
}

func ok(v any) (*response, error) { return &response{json: v}, nil }

// health tells load balancers what the node is, by status.
func (s *server) health(_ context.Context, r *request) (*response, error) {
	seal, err := s.Core.SealStatus()
	if err != nil {
		return nil, err
	}
	node := s.Core.Node()
	q := r.URL.Query()
	standby := !node.Leader
	var status int
	switch {
	case !seal.Initialized:
		status, err = codeOr(q, "uninitcode", http.StatusNotImplemented)
	case seal.Sealed:
		status, err = codeOr(q, "sealedcode", http.StatusServiceUnavailable)
	case standby && !given(q, "standbyok") && !given(q, "perfstandbyok"):
		status, err = codeOr(q, "standbycode", http.StatusTooManyRequests)
	default:
		status, err = codeOr(q, "activecode", http.StatusOK)
	}
	if err != nil {
		return nil, err
	}
	body := map[string]any{
		"initialized": seal.Initialized, "sealed": seal.Sealed, "standby": standby, "performance_standby": false,
		"replication_performance_mode": "disabled", "replication_dr_mode": "disabled", "enterprise": false,
		"server_time_utc": time.Now().UTC().Unix(), "version": seal.Version, "echo_duration_ms": 0, "clock_skew_ms": 0,
	}
	if seal.ClusterID != "" {
		body["cluster_name"], body["cluster_id"] = seal.ClusterName, seal.ClusterID
	}
	s.addAudit(body)
	return &response{status: status, json: body, headOnly: r.Method == http.MethodHead}, nil
}

// addAudit tells how many audit devices there are and how many fail, if any is
// enabled.
func (s *server) addAudit(body map[string]any) {
	devices, _ := s.Core.AuditStatus()
	if len(devices) == 0 {
		return
	}
	failing := 0
	for _, d := range devices {
		if !d.Works {
			failing++
		}
	}
	body["audit_devices"], body["audit_devices_failing"] = len(devices), failing
}

func given(q url.Values, name string) bool {
	values, ok := q[name]
	return ok && (values[0] == "" || values[0] == "true" || values[0] == "1")
}

func codeOr(q url.Values, name string, otherwise int) (int, error) {
	value := q.Get(name)
	if value == "" {
		return otherwise, nil
	}
	code, err := strconv.Atoi(value)
	if err != nil || code < 200 || code > 599 {
		return 0, engines.Invalidf("%s: expected a status between 200 and 599", name)
	}
	return code, nil
}

func (s *server) initStatus(context.Context, *request) (*response, error) {
	done, err := s.Core.Initialized()
	if err != nil {
		return nil, err
	}
	return ok(map[string]bool{"initialized": done})
}

func (s *server) initialize(ctx context.Context, r *request) (*response, error) {
	v, err := decodeBody(r)
	if err != nil {
		return nil, err
	}
	result, err := s.Core.Init(ctx, core.InitRequest{
		Shares: int(v.Int("secret_shares")), Threshold: int(v.Int("secret_threshold")), PGPKeys: v.Strings("pgp_keys"),
		RootTokenPGPKey: v.String("root_token_pgp_key"), RecoveryShares: int(v.Int("recovery_shares")),
		RecoveryThreshold: int(v.Int("recovery_threshold")), RecoveryPGPKeys: v.Strings("recovery_pgp_keys"),
	})
	if err != nil {
		return nil, err
	}
	return ok(result)
}

func (s *server) sealStatus(context.Context, *request) (*response, error) {
	status, err := s.Core.SealStatus()
	if err != nil {
		return nil, err
	}
	return ok(status)
}

func (s *server) unseal(ctx context.Context, r *request) (*response, error) {
	v, err := decodeBody(r)
	if err != nil {
		return nil, err
	}
	var status core.SealStatus
	if v.Bool("reset") {
		status, err = s.Core.ResetUnseal()
	} else {
		status, err = s.Core.SubmitUnsealKey(ctx, v.String("key"))
	}
	if err != nil {
		return nil, err
	}
	return ok(status)
}

func (s *server) leader(context.Context, *request) (*response, error) {
	if s.Core.Unsealed() == nil {
		return nil, core.ErrSealed()
	}
	node, info := s.Core.Node(), s.Core.Info()
	body := map[string]any{
		"ha_enabled": true, "is_self": node.Leader, "active_time": "0001-01-01T00:00:00Z", "leader_address": "",
		"leader_cluster_address": node.LeaderAddress, "performance_standby": false, "performance_standby_last_remote_wal": 0,
		"raft_committed_index": node.Committed, "raft_applied_index": node.Applied,
	}
	for _, m := range node.Members {
		if m.Leader {
			body["leader_address"] = m.APIAddress
		}
	}
	if node.Leader {
		body["leader_address"] = info.APIAddr
		body["active_time"] = node.LeadingSince.UTC().Format(time.RFC3339Nano)
	}
	return ok(body)
}

func (s *server) rootStatus(context.Context, *request) (*response, error) {
	status, err := s.Core.RootStatus()
	if err != nil {
		return nil, err
	}
	return ok(status)
}

func (s *server) startRoot(_ context.Context, r *request) (*response, error) {
	v, err := decodeBody(r)
	if err != nil {
		return nil, err
	}
	status, err := s.Core.StartRoot(v.String("otp"), v.String("pgp_key"))
	if err != nil {
		return nil, err
	}
	return ok(status)
}

func (s *server) cancelRoot(ctx context.Context, r *request) (*response, error) {
	nonce, trusted, err := s.canceller(ctx, r)
	if err != nil {
		return nil, err
	}
	return &response{}, s.Core.CancelRoot(nonce, trusted)
}

func (s *server) updateRoot(ctx context.Context, r *request) (*response, error) {
	v, err := decodeBody(r)
	if err != nil {
		return nil, err
	}
	status, err := s.Core.UpdateRoot(ctx, v.String("key"), v.String("nonce"))
	if err != nil {
		return nil, err
	}
	return ok(status)
}

// canceller returns what a caller shows to cancel a ceremony: its nonce, in
// the body or the query, or a token that has sudo on the path.
func (s *server) canceller(ctx context.Context, r *request) (nonce string, trusted bool, err error) {
	v, err := decodeBody(r)
	if err != nil {
		return "", false, err
	}
	if nonce = v.String("nonce"); nonce == "" {
		nonce = r.URL.Query().Get("nonce")
	}
	id, err := token(r.Header)
	if err != nil || id == "" {
		return nonce, false, err
	}
	in, err := s.inbound(r)
	if err != nil {
		return "", false, err
	}
	trusted, err = s.Core.Sudo(ctx, in)
	return nonce, trusted, err
}

func (s *server) openMetrics(context.Context, *request) (*response, error) {
	body, contentType, err := s.Metrics()
	if err != nil {
		return nil, engines.Internal(err)
	}
	return &response{raw: &engines.Raw{Status: http.StatusOK, ContentType: contentType, Body: body}}, nil
}

// profiling answers sys/pprof/* as net/http/pprof does.
func (s *server) profiling(v1 *mux.Router) {
	v1.HandleFunc("/sys/pprof/cmdline", pprof.Cmdline)
	v1.HandleFunc("/sys/pprof/profile", pprof.Profile)
	v1.HandleFunc("/sys/pprof/symbol", pprof.Symbol)
	v1.HandleFunc("/sys/pprof/trace", pprof.Trace)
	for _, name := range []string{"allocs", "block", "goroutine", "heap", "mutex", "threadcreate"} {
		v1.Handle("/sys/pprof/"+name, pprof.Handler(name))
	}
}

// spread merges a value's JSON fields with an envelope's, for paths that clients
// read in both forms.
func spread(v any) (map[string]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, engines.Internal(err)
	}
	out := make(map[string]any)
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, engines.Internal(err)
	}
	return out, nil
}
