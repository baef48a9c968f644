package system

import (
	"context"

	"github.com/coffer-secrets/coffer/core/logs"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

func (s *system) loggerRoutes() []engines.Route {
	level := engines.Field{Name: "level", Type: engines.String, Help: "\"trace\", \"debug\", \"info\", \"warn\", \"error\" or \"off\"."}
	name := field("name", engines.String, "The part of the node.")
	forget := engines.Op{Do: engines.Delete, Handler: whole(s.resetLoggers)}
	ops := []engines.Op{read(whole(s.loggers)), compute(whole(s.setLoggers)), forget}
	return []engines.Route{
		{Pattern: "loggers", Help: "The log levels of this node's parts.", Fields: []engines.Field{level}, Ops: ops},
		{Pattern: "loggers/{name}", Help: "The log level of one of this node's parts.", Fields: []engines.Field{name, level}, Ops: ops},
	}
}

// named are the parts that a request is about, none for all.
func named(req *engines.Request) []string {
	if name, _ := req.Fields.Get("name").(string); name != "" {
		return []string{name}
	}
	return nil
}

func errLogger() error {
	return engines.Errorf(engines.KindNotFound, "no part of the node logs under this name")
}

func (s *system) loggers(_ context.Context, req *engines.Request, _ *state.Tx) (*engines.Response, error) {
	if s.Logs == nil {
		return nil, errLogger()
	}
	out := make(map[string]any)
	levels := s.Logs.Levels()
	for name, level := range levels {
		out[name] = logs.Name(level)
	}
	for _, name := range named(req) {
		if _, ok := levels[name]; !ok {
			return nil, errLogger()
		}
		out = map[string]any{name: out[name]}
	}
	return both(out), nil
}

func (s *system) setLoggers(_ context.Context, req *engines.Request, _ *state.Tx) (*engines.Response, error) {
	level, ok := logs.Level(req.Fields.String("level"))
	if !ok {
		return nil, engines.Invalidf("level: it is \"trace\", \"debug\", \"info\", \"warn\", \"error\" or \"off\"")
	}
	return s.changeLoggers(func(h *logs.Hub) bool { return h.Set(level, named(req)...) })
}

func (s *system) resetLoggers(_ context.Context, req *engines.Request, _ *state.Tx) (*engines.Response, error) {
	return s.changeLoggers(func(h *logs.Hub) bool { return h.Reset(named(req)...) })
}

// changeLoggers makes a change once it has been allowed and recorded.
func (s *system) changeLoggers(change func(h *logs.Hub) bool) (*engines.Response, error) {
	if s.Logs == nil {
		return nil, errLogger()
	}
	return &engines.Response{Then: func(context.Context) error {
		if !change(s.Logs) {
			return errLogger()
		}
		return nil
	}}, nil
}
