package server

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
)

// started is the line that tells whoever started the process that its
// listeners are open.
const started = "==> Coffer server started! Log data will stream in below:"

// banner tells what the server runs with.
func (s *Server) banner(w io.Writer) error {
	rows := [][2]string{
		{"Api Address", s.cfg.APIAddr},
		{"Cluster Address", s.cfg.ClusterAddr},
		{"Environment Variables", strings.Join(environment(), ", ")},
		{"Go Version", runtime.Version()},
	}
	for i, l := range s.listeners {
		rows = append(rows, [2]string{fmt.Sprintf("Listener %d", i+1), l.describe()})
	}
	rows = append(rows,
		[2]string{"Log Level", s.cfg.Log.Level},
		[2]string{"Mlock", "supported: false, enabled: false"},
		[2]string{"Node ID", s.cfg.Storage.NodeID},
		[2]string{"Recovery Mode", "false"},
		[2]string{"Seal", s.cfg.Seal.Type},
		[2]string{"Storage", fmt.Sprintf("raft (log store: %s)", s.cfg.Storage.LogStore)},
		[2]string{"Version", strings.TrimSpace("Coffer v" + s.build.Version + " " + s.build.Date)},
	)
	width := 0
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	var b strings.Builder
	b.WriteString("==> Coffer server configuration:\n\n")
	for _, row := range rows {
		fmt.Fprintf(&b, "%*s: %s\n", width+1, row[0], row[1])
	}
	b.WriteString("\n")
	for _, warning := range s.cfg.Warnings {
		fmt.Fprintf(&b, "Warning: %s\n", warning)
	}
	b.WriteString(started + "\n\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// environment lists the variables that are set and that the server reads. Their
// values stay out of it.
func environment() []string {
	var out []string
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		for _, prefix := range []string{"COFFER_", "VAULT_", "BAO_"} {
			if strings.HasPrefix(name, prefix) {
				out = append(out, name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// describe is a listener in the form that operators know.
func (l *listener) describe() string {
	if l.cfg.Type == config.ListenerUnix {
		return fmt.Sprintf("unix (addr: %q, mode: %04o, max_request_duration: %q, max_request_size: \"%d\")",
			l.cfg.Address, l.cfg.Unix.Mode, l.cfg.Timeouts.Request, l.cfg.MaxRequestSize)
	}
	state := "enabled"
	if l.cfg.TLS.Disable {
		state = "disabled"
	}
	return fmt.Sprintf("tcp (addr: %q, max_request_duration: %q, max_request_size: \"%d\", tls: %q)",
		l.Addr().String(), l.cfg.Timeouts.Request, l.cfg.MaxRequestSize, state)
}
