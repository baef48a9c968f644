package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
	"github.com/coffer-secrets/coffer/core/logs"
)

// level is a level by the name that the configuration knows.
func level(name string) slog.Level {
	if level, ok := logs.Level(name); ok {
		return level
	}
	return slog.LevelInfo
}

// logging is where the server's log goes, and what of it.
type logging struct {
	*slog.Logger
	hub  *logs.Hub
	file *logFile // nil if there is none
}

// newLogging logs to out, and to a file too if one is configured.
func newLogging(c config.Log, out io.Writer) (*logging, error) {
	l := &logging{}
	if c.File != "" {
		var err error
		if l.file, err = openLogFile(c.File); err != nil {
			return nil, err
		}
		out = io.MultiWriter(out, l.file)
	}
	all := &slog.HandlerOptions{Level: level("trace")} // the hub decides
	var to slog.Handler = slog.NewTextHandler(out, all)
	if c.Format == "json" {
		to = slog.NewJSONHandler(out, all)
	}
	l.hub = logs.New(to, level(c.Level))
	l.Logger = l.hub.Logger()
	return l, nil
}

// Close closes the file.
func (l *logging) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// logFile is a file that can be opened again after someone moved it away.
type logFile struct {
	path string
	mu   sync.Mutex
	f    *os.File
}

// openLogFile opens a file for appending. A folder gets a file of its own.
func openLogFile(path string) (*logFile, error) {
	if info, err := os.Stat(path); strings.HasSuffix(path, "/") || err == nil && info.IsDir() {
		path = filepath.Join(path, "coffer.log")
	}
	l := &logFile{path: path}
	return l, l.Reopen()
}

// Reopen opens the file under its name again.
func (l *logFile) Reopen() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log file: %w", err)
	}
	l.mu.Lock()
	old := l.f
	l.f = f
	l.mu.Unlock()
	if old != nil {
		return old.Close()
	}
	return nil
}

// Write implements io.Writer.
func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return 0, errors.New("the log file is closed")
	}
	return l.f.Write(p)
}

// Close closes the file.
func (l *logFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	err := l.f.Close()
	l.f = nil
	return err
}
