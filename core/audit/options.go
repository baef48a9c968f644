package audit

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/audit/post"
	"github.com/coffer-secrets/coffer/engines"
)

// Types of devices.
const (
	TypeFile   = "file"
	TypeSyslog = "syslog"
	TypeSocket = "socket"
	TypeHTTP   = "http"
)

// form is how a device writes its records.
type form struct {
	// raw writes everything as it is.
	raw bool
	// plainAccessor does not hash accessors.
	plainAccessor bool
	// elide counts the names of a listing instead of writing them.
	elide bool
}

// reader takes options by name and notes what is wrong with them. It tells no
// values, which may be secrets.
type reader struct {
	left map[string]string
	err  error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = engines.Invalidf(format, args...)
	}
}

func (r *reader) text(name, otherwise string) string {
	value, ok := r.left[name]
	delete(r.left, name)
	if !ok || value == "" {
		return otherwise
	}
	return value
}

func (r *reader) truth(name string, otherwise bool) bool {
	text := r.text(name, "")
	if text == "" {
		return otherwise
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		r.fail("%s: expected true or false", name)
	}
	return value
}

// open reads a device's options and makes what writes its records.
func (b *Broker) open(e *Entry) (sink, form, error) {
	r := &reader{left: maps.Clone(e.Options)}
	f := form{
		raw: r.truth("log_raw", false), plainAccessor: !r.truth("hmac_accessor", true), elide: r.truth("elide_list_responses", false),
	}
	if format := r.text("format", "json"); format != "json" {
		r.fail("format: only \"json\" is offered")
	}
	if r.text("prefix", "") != "" {
		r.fail("prefix: what stands in the file is records and nothing else")
	}
	var s sink
	switch e.Type {
	case TypeFile:
		s = b.fileOptions(r, e)
	case TypeSyslog:
		s = syslogOptions(r)
	case TypeSocket:
		s = socketOptions(r, b.cfg.Deadline)
	case TypeHTTP:
		s = postOptions(r)
	default:
		r.fail("unknown type: the types of audit devices are file, http, socket and syslog")
	}
	if names := slices.Sorted(maps.Keys(r.left)); len(names) > 0 {
		r.fail("options: a device of type %q has no option of one of the names that were given", e.Type)
	}
	if r.err != nil {
		return nil, form{}, r.err
	}
	return s, f, nil
}

func (b *Broker) fileOptions(r *reader, e *Entry) sink {
	path := r.text("path", "")
	if path = r.text("file_path", path); path == "" {
		r.fail("file_path: say where the records go")
	}
	if mode := strings.TrimLeft(r.text("mode", "0600"), "0o"); mode != "600" {
		r.fail("mode: the mode of an audit file is 0600")
	}
	f := &file{sync: r.truth("fsync", false), name: path}
	switch {
	case path == "stdout":
		return &stream{w: b.cfg.Stdout}
	case path == "discard":
		r.fail("file_path: a device that keeps nothing vouches for nothing")
	case strings.ContainsRune(path, 0):
		r.fail("file_path: that is not a path")
	case e.configured:
		if !filepath.IsAbs(path) {
			r.fail("file_path: expected an absolute path")
		}
	default:
		if f.name = b.below(path); f.name == "" {
			r.fail("file_path: over the API, only files in the server's folder for audit files can be named (audit_path)")
		}
		f.folder = b.cfg.Folder
	}
	return f
}

// below is a path relative to the folder for audit files, or empty if it is
// not one of a file there, spelled in the one way there is.
func (b *Broker) below(path string) string {
	if b.cfg.Folder == "" {
		return ""
	}
	if filepath.IsAbs(path) {
		rest, ok := strings.CutPrefix(path, filepath.Clean(b.cfg.Folder)+string(filepath.Separator))
		if !ok {
			return ""
		}
		path = rest
	}
	if path == "." || filepath.Clean(path) != path || !filepath.IsLocal(path) {
		return ""
	}
	return path
}

func socketOptions(r *reader, deadline time.Duration) sink {
	s := &socket{network: r.text("socket_type", "tcp"), address: r.text("address", ""), timeout: deadline}
	switch s.network {
	case "tcp", "udp", "unix":
	default:
		r.fail("socket_type: expected tcp, udp or unix")
	}
	if s.address == "" {
		r.fail("address: say where the records go")
	}
	if text := r.text("write_timeout", ""); text != "" {
		timeout, ok := engines.ParseSeconds(text)
		if !ok || timeout <= 0 {
			r.fail("write_timeout: expected a duration such as \"2s\"")
		}
		s.timeout = min(timeout, deadline)
	}
	return s
}

func postOptions(r *reader) sink {
	url := r.text("uri", "")
	url = r.text("url", url)
	headers := make(map[string][]string)
	if text := r.text("headers", ""); text != "" {
		var object map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &object) != nil {
			r.fail("headers: expected a JSON object")
		}
		for name, raw := range object {
			var one string
			var many []string
			if json.Unmarshal(raw, &one) == nil {
				many = []string{one}
			} else if json.Unmarshal(raw, &many) != nil {
				r.fail("headers: expected texts, or lists of them")
			}
			headers[name] = many
		}
	}
	s, err := post.New(url, headers)
	if err != nil {
		r.fail("%s", err.Error())
		return nil
	}
	return &poster{to: s}
}

// Shown are the options as they may be listed: the values of headers are not.
func (e *Entry) Shown() map[string]string {
	out := maps.Clone(e.Options)
	if out == nil {
		out = make(map[string]string)
	}
	if _, ok := out["headers"]; ok {
		out["headers"] = "(not shown)"
	}
	return out
}
