package system

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func (s *system) infoRoutes() []engines.Route {
	return []engines.Route{
		{Pattern: "metrics", Help: "Tell the node's metrics.", Fields: []engines.Field{
			{Name: "format", Type: engines.String, Help: "Only \"prometheus\", which is also the default."},
		}, Ops: []engines.Op{read(whole(s.metrics))}},
		{Pattern: "host-info", Help: "Tell of the machine that the node runs on.", Ops: []engines.Op{read(whole(s.hostInfo))}},
		{Pattern: "ha-status", Help: "List the nodes of the cluster.", Ops: []engines.Op{read(whole(s.haStatus))}},
		{Pattern: "version-history", Help: "List the versions that have run.", Ops: []engines.Op{list(whole(s.versionHistory))}},
	}
}

func (s *system) hostInfo(_ context.Context, req *engines.Request, _ *state.Tx) (*engines.Response, error) {
	out := map[string]any{"timestamp": req.Now.Format(time.RFC3339Nano)}
	hostname, err := os.Hostname()
	if err != nil {
		return nil, engines.Internal(err)
	}
	out["host"] = map[string]any{
		"hostname": hostname, "os": runtime.GOOS, "kernelArch": runtime.GOARCH, "procs": runtime.NumCPU(), "uptime": uptime(),
	}
	var warnings []string
	for name, get := range map[string]func() (any, error){
		"cpu": cpuInfo, "cpu_times": cpuTimes, "memory": memoryInfo, "disk": func() (any, error) { return diskInfo("/") },
	} {
		value, err := get()
		if err != nil {
			warnings = append(warnings, "the machine does not tell its "+name)
			continue
		}
		out[name] = value
	}
	return &engines.Response{Data: out, Warnings: warnings}, nil
}

func (s *system) haStatus(_ context.Context, req *engines.Request, _ *state.Tx) (*engines.Response, error) {
	node := s.Control.Node()
	hostname, _ := os.Hostname()
	nodes := make([]map[string]any, 0, len(node.Members))
	for _, m := range node.Members {
		entry := map[string]any{
			"api_address": m.APIAddress, "cluster_address": m.Address, "active_node": m.Leader, "node_id": m.ID, "version": m.Version, "last_echo": nil,
		}
		if !m.Seen.IsZero() {
			entry["last_echo"] = m.Seen.UTC().Format(time.RFC3339Nano)
		}
		if m.Host != "" {
			entry["hostname"] = m.Host
		}
		if m.Self {
			entry["hostname"], entry["last_echo"] = hostname, req.Now.Format(time.RFC3339Nano)
		}
		nodes = append(nodes, entry)
	}
	return both(map[string]any{"nodes": nodes}), nil
}

func (s *system) versionHistory(context.Context, *engines.Request, *state.Tx) (*engines.Response, error) {
	node := s.Control.Node()
	return data(map[string]any{
		"keys": []string{node.Version},
		"key_info": map[string]any{node.Version: map[string]any{
			"build_date": node.BuildDate, "previous_version": nil, "timestamp_installed": node.Started,
		}},
	}), nil
}

func (s *system) metrics(_ context.Context, req *engines.Request, _ *state.Tx) (*engines.Response, error) {
	if format := req.Fields.String("format"); format != "" && format != "prometheus" {
		return nil, engines.Invalidf("format: only \"prometheus\" is offered")
	}
	if s.Metrics == nil {
		return nil, engines.Errorf(engines.KindNotFound, "this node collects no metrics")
	}
	body, contentType, err := s.Metrics()
	if err != nil {
		return nil, engines.Internal(err)
	}
	return &engines.Response{Raw: &engines.Raw{Status: statusOK, ContentType: contentType, Body: body}}, nil
}
