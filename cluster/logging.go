package cluster

import (
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftLogger passes what the Raft libraries say to slog.
type raftLogger struct {
	l    *slog.Logger
	name string
	args []any
}

var _ hclog.Logger = (*raftLogger)(nil)

func newRaftLogger(l *slog.Logger) *raftLogger {
	return &raftLogger{l: l.With("part", "raft"), name: "raft"}
}

// Log implements hclog.Logger.
func (r *raftLogger) Log(level hclog.Level, msg string, args ...any) {
	attrs := make([]any, 0, len(args))
	for _, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			a = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		attrs = append(attrs, a)
	}
	switch level {
	case hclog.Error:
		r.l.Error(msg, attrs...)
	case hclog.Warn:
		r.l.Warn(msg, attrs...)
	case hclog.Info:
		r.l.Info(msg, attrs...)
	default:
		r.l.Debug(msg, attrs...)
	}
}

func (r *raftLogger) Trace(msg string, args ...any) { r.Log(hclog.Trace, msg, args...) }
func (r *raftLogger) Debug(msg string, args ...any) { r.Log(hclog.Debug, msg, args...) }
func (r *raftLogger) Info(msg string, args ...any)  { r.Log(hclog.Info, msg, args...) }
func (r *raftLogger) Warn(msg string, args ...any)  { r.Log(hclog.Warn, msg, args...) }
func (r *raftLogger) Error(msg string, args ...any) { r.Log(hclog.Error, msg, args...) }

// Which levels are written is up to the slog handler.

func (r *raftLogger) IsTrace() bool         { return false }
func (r *raftLogger) IsDebug() bool         { return true }
func (r *raftLogger) IsInfo() bool          { return true }
func (r *raftLogger) IsWarn() bool          { return true }
func (r *raftLogger) IsError() bool         { return true }
func (r *raftLogger) SetLevel(hclog.Level)  {}
func (r *raftLogger) GetLevel() hclog.Level { return hclog.Debug }

// ImpliedArgs implements hclog.Logger.
func (r *raftLogger) ImpliedArgs() []any { return r.args }

// With implements hclog.Logger.
func (r *raftLogger) With(args ...any) hclog.Logger {
	return &raftLogger{l: r.l.With(args...), name: r.name, args: append(r.args[:len(r.args):len(r.args)], args...)}
}

// Name implements hclog.Logger.
func (r *raftLogger) Name() string { return r.name }

// Named implements hclog.Logger.
func (r *raftLogger) Named(name string) hclog.Logger {
	return &raftLogger{l: r.l, name: r.name + "." + name, args: r.args}
}

// ResetNamed implements hclog.Logger.
func (r *raftLogger) ResetNamed(name string) hclog.Logger {
	return &raftLogger{l: r.l, name: name, args: r.args}
}

// StandardLogger implements hclog.Logger.
func (r *raftLogger) StandardLogger(o *hclog.StandardLoggerOptions) *log.Logger {
	return log.New(r.StandardWriter(o), "", 0)
}

// StandardWriter implements hclog.Logger.
func (r *raftLogger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer {
	return slog.NewLogLogger(r.l.Handler(), slog.LevelInfo).Writer()
}
