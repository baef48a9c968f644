package audit_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/core/audit"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// A deadline that a healthy device never misses, and one for tests in which a
// device hangs.
const (
	relaxed = 10 * time.Second
	short   = 500 * time.Millisecond
)

var errDisk = errors.New("the disk is gone")

func device(name, path string) audit.Entry {
	return audit.Entry{Path: name, Type: "file", Options: map[string]string{"file_path": path}}
}

func works(s *audited) (working, failing int) {
	s.t.Helper()
	devices, _ := s.Core.AuditStatus()
	for _, d := range devices {
		if d.Works {
			working++
		} else {
			failing++
		}
	}
	return working, failing
}

// TestNothingIsExecutedUnrecorded: with no device that works a request changes
// nothing, not even what its token has left.
func TestNothingIsExecutedUnrecorded(t *testing.T) {
	t.Parallel()
	out := new(gate)
	s := serving(t, configured(relaxed, out, stdout()))
	s.Mount("one", "kv", nil)
	s.Put("one/x", body{"a": "before"})
	counted := s.Put("auth/token/create", body{"policies": []string{"root"}, "num_uses": 2}).Text("auth", "client_token")
	out.failing(errDisk, 0)
	index, sum := s.Index(), s.Checksum()
	const text = "audit: no device could record the request"
	for _, r := range []kit.Request{
		{Method: http.MethodPut, Path: "one/x", Body: body{"a": "after"}},
		{Method: http.MethodPut, Path: "one/x", Body: body{"a": "after"}, Token: counted},
		{Method: http.MethodDelete, Path: "one/x"},
		{Path: "one/x"}, {Path: "one/x", Token: counted}, {Path: "one/x", Token: "nobody"}, {Path: "a//b"},
		{Method: http.MethodPut, Path: "one/x", Body: "{"},
		{Method: http.MethodPut, Path: "sys/seal"}, {Method: http.MethodDelete, Path: "sys/audit/out"},
	} {
		got := s.Do(r)
		refused(t, got, http.StatusInternalServerError, text)
		if strings.Contains(string(got.Raw), "before") || strings.Contains(string(got.Raw), errDisk.Error()) {
			t.Errorf("the answer tells %s", got.Raw)
		}
	}
	if s.Index() != index || s.Checksum() != sum {
		t.Error("something was executed")
	}
	health := s.Get("sys/health")
	if fmt.Sprintf("%v %v", health.At("audit_devices"), health.At("audit_devices_failing")) != "1 1" {
		t.Errorf("health tells %s", health.Raw)
	}
	if _, n := s.Core.AuditStatus(); n < 9 {
		t.Errorf("%d refusals were counted", n)
	}
	out.failing(nil, 0) // it is tried by the next request, whatever the pause
	if got := s.Get("one/x").Text("data", "a"); got != "before" {
		t.Errorf("read %q", got)
	}
	s.Must(http.StatusOK, kit.Request{Path: "one/x", Token: counted})
	s.Must(http.StatusOK, kit.Request{Path: "one/x", Token: counted})
	s.Must(http.StatusForbidden, kit.Request{Path: "one/x", Token: counted})
}

// TestNoAnswerLeavesUnrecorded: what was done is done, but is not told.
func TestNoAnswerLeavesUnrecorded(t *testing.T) {
	t.Parallel()
	out := new(gate)
	s := serving(t, configured(relaxed, out, stdout()))
	s.Mount("one", "kv", nil)
	s.Put("one/x", body{"a": "value"})
	out.failing(errDisk, 1)
	got := s.Do(kit.Request{Path: "one/x"})
	refused(t, got, http.StatusInternalServerError, "no device")
	if strings.Contains(string(got.Raw), "value") {
		t.Errorf("the answer is %s", got.Raw)
	}
	out.failing(errDisk, 1)
	refused(t, s.Do(kit.Request{Method: http.MethodPut, Path: "auth/token/create"}), http.StatusInternalServerError, "no device")
	all := parse(t, out.bytes())
	if last := all[len(all)-1]; last["type"] != "request" || at(last, "request", "path") != "auth/token/create" {
		t.Errorf("the last record is %v", last)
	}
}

// TestOneDeviceIsEnough: those that cannot be written are passed over.
func TestOneDeviceIsEnough(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unread, stuck := filepath.Join(dir, "unread"), filepath.Join(dir, "stuck")
	for _, fifo := range []string{unread, stuck} {
		if err := syscall.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	reader, err := os.OpenFile(stuck, os.O_RDWR, 0) // never reads
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	good := filepath.Join(dir, "good.log")
	out := new(gate)
	release := out.block()
	defer release()
	s := serving(t, configured(short, out,
		device("full", "/dev/full"), device("unread", unread), device("stuck", stuck), stdout(), device("nowhere", filepath.Join(dir, "no", "file")),
		device("good", good)))
	s.Mount("one", "kv", nil)
	for i := range 200 {
		s.Put("one/x", body{"a": strings.Repeat("x", 100), "n": i})
	}
	// Another device may have been the first to take a record.
	eventually(t, "the last record", func() bool { return len(on(records(t, good), "response", "one/x")) == 200 })
	eventually(t, "the failing of five devices", func() bool { working, failing := works(s); return working == 1 && failing == 5 })
	list := s.Get("sys/audit")
	if list.At("data", "good/", "works") != true || list.At("data", "full/", "works") != false || list.At("data", "good/", "configured") != true {
		t.Errorf("sys/audit tells %s", list.Raw)
	}
	if strings.Count(s.Log(), "an audit device failed") > 10 {
		t.Error("every record is logged as lost")
	}
	release()
	eventually(t, "the return of standard output", func() bool {
		s.Get("one/x")
		working, _ := works(s)
		return working >= 2
	})
}

// TestHangingDeviceAlone: a request waits for the deadline and is refused.
func TestHangingDeviceAlone(t *testing.T) {
	t.Parallel()
	out := new(gate)
	s := serving(t, configured(short, out, stdout()))
	s.Mount("one", "kv", nil)
	release := out.block()
	defer release()
	index := s.Index()
	for range 2 {
		refused(t, put(s, "one/x", body{"a": "b"}), http.StatusInternalServerError, "no device")
	}
	if s.Index() != index {
		t.Error("something was executed")
	}
	release()
	eventually(t, "its return", func() bool { return put(s, "one/x", body{"a": "b"}).Status == http.StatusNoContent })
}

// TestFilesAreReopened: whatever happens to the file, records go to the one of
// that name.
func TestFilesAreReopened(t *testing.T) {
	t.Parallel()
	s := serving(t)
	s.Mount("one", "kv", nil)
	file := s.enable("file", nil)
	moved := file + ".1"
	check := func(what string) {
		t.Helper()
		before := 0
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			before = len(on(records(t, file), "response", "one/x"))
		}
		s.Put("one/x", body{"a": "b"})
		if n := len(on(records(t, file), "response", "one/x")); n != before+1 {
			t.Errorf("%s: %d records, not %d", what, n, before+1)
		}
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s: the mode is %v", what, info.Mode())
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check("new")
	must(os.Rename(file, moved))
	check("moved")
	must(os.Remove(file))
	check("removed")
	must(os.WriteFile(file+".new", nil, 0o644))
	must(os.Rename(file+".new", file))
	check("replaced")
	must(os.Truncate(file, 0))
	check("emptied")
	must(os.RemoveAll(s.folder))
	check("folder removed")
	s.Core.ReopenAudit()
	check("told to")
	if info, err := os.Stat(s.folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v, %v", info, err)
	}
}

// TestFilesStayInTheirFolder is attack 84: what the API can do to files is to
// append records to files in one folder.
func TestFilesStayInTheirFolder(t *testing.T) {
	t.Parallel()
	s := serving(t)
	outside := t.TempDir()
	if err := os.MkdirAll(filepath.Join(s.folder, "dir"), 0o700); err != nil {
		t.Fatal(err)
	}
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(s.folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	link(outside, "out")
	link(filepath.Join(outside, "file"), "link")
	link("../x", "up")
	if err := syscall.Mkfifo(filepath.Join(s.folder, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(filepath.Join(s.folder, "fifo"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	index := s.Index()
	for _, path := range []string{
		"", ".", "..", "../x", "dir/../../x", "dir/../x", "./x", "dir//x", "/etc/cron.d/x", outside + "/x", s.folder, s.folder + "/", s.folder + "x/y",
		s.folder + "/../x", "/dev/stdout", "/dev/null", "discard", "out/x", "link", "up", "dir", "fifo", "missing/x", "a\x00b", "~/x", "stdout/x",
	} {
		got := put(s, "sys/audit/new", body{"type": "file", "options": body{"file_path": path}})
		if got.Status != http.StatusBadRequest {
			t.Errorf("file_path %q was answered with %d %s", path, got.Status, got.Raw)
		}
	}
	for _, options := range []body{
		{"file_path": "x", "mode": "0755"}, {"file_path": "x", "mode": "0"}, {"file_path": "x", "prefix": "#!/bin/sh\n"}, {"file_path": "x", "format": "jsonx"},
		{"file_path": "x", "log_raw": "perhaps"}, {"file_path": "x", "hmac_accesor": "false"}, {"file_path": strings.Repeat("x", 5000)},
	} {
		refused(t, put(s, "sys/audit/new", body{"type": "file", "options": options}), http.StatusBadRequest, "")
	}
	for _, path := range []string{"a%20b", "a;b", strings.Repeat("x", 200), "-a", ".a"} {
		refused(t, put(s, "sys/audit/"+path, body{"type": "file", "options": body{"file_path": "x"}}), http.StatusBadRequest, "path")
	}
	for _, b := range []body{
		{"type": "syslog", "options": body{"facility": "none"}}, {"type": "socket"}, {"type": "socket", "options": body{"address": "x", "socket_type": "icmp"}},
		{"type": "http"}, {"type": "http", "options": body{"url": "file:///etc/passwd"}}, {"type": "pipe"}, {},
	} {
		refused(t, put(s, "sys/audit/new", b), http.StatusBadRequest, "")
	}
	if s.Index() != index {
		t.Error("something was enabled")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside there are %v, %v", entries, err)
	}
	s.Put("sys/audit/in", body{"type": "file", "options": body{"file_path": "dir/x.log", "mode": "0600"}})
	s.Put("sys/audit/absolute", body{"type": "file", "options": body{"file_path": filepath.Join(s.folder, "y.log")}})
	// A link that is made later leads nowhere either.
	if err := os.Remove(filepath.Join(s.folder, "y.log")); err != nil {
		t.Fatal(err)
	}
	link(filepath.Join(outside, "late"), "y.log")
	s.Get("sys/mounts")
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("outside there are %v, %v", entries, err)
	}
}

func TestSocketsAndServers(t *testing.T) {
	t.Parallel()
	s := serving(t)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close() }()
	stream := collect(t, unix)
	var mu sync.Mutex
	var posted bytes.Buffer
	siem := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Header.Get("X-Key") != "k" {
			w.WriteHeader(http.StatusForbidden)
		}
		_, _ = posted.ReadFrom(r.Body)
	}))
	defer siem.Close()
	s.Put("sys/audit/udp", body{"type": "socket", "options": body{"address": udp.LocalAddr().String(), "socket_type": "udp", "write_timeout": "1s"}})
	s.Put("sys/audit/unix", body{"type": "socket", "options": body{"address": unix.Addr().String(), "socket_type": "unix"}})
	refused(t, put(s, "sys/audit/http", body{"type": "http", "options": body{"url": siem.URL}}), http.StatusBadRequest, "did not take")
	s.Put("sys/audit/http", body{"type": "http", "options": body{"url": siem.URL, "headers": `{"X-Key": "k"}`}})
	list := s.Get("sys/audit")
	if strings.Contains(string(list.Raw), "X-Key") {
		t.Errorf("sys/audit tells %s", list.Raw)
	}
	s.Get("sys/policies/acl/default")
	eventually(t, "the post", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(on(parse(t, posted.Bytes()), "response", "sys/policies/acl/default")) == 1
	})
	packet := make([]byte, 64<<10)
	for found := false; !found; {
		if err := udp.SetReadDeadline(time.Now().Add(relaxed)); err != nil {
			t.Fatal(err)
		}
		n, _, err := udp.ReadFrom(packet)
		if err != nil {
			t.Fatal(err)
		}
		found = len(on(parse(t, packet[:n]), "response", "sys/policies/acl/default")) == 1
	}
	s.Close()
	if len(on(parse(t, stream()), "response", "sys/policies/acl/default")) != 1 {
		t.Error("the Unix socket has missed the record")
	}
}

// TestServerThatComesBack: a peer that closed its connections is dialled anew.
func TestServerThatComesBack(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			buffer := make([]byte, 64<<10)
			n, err := conn.Read(buffer) // takes one record or some, and hangs up
			if err == nil || errors.Is(err, io.EOF) {
				lines <- string(buffer[:n])
			}
			_ = conn.Close()
		}
	}()
	defer func() { _ = listener.Close() }()
	s := serving(t)
	s.Put("sys/audit/tcp", body{"type": "socket", "options": body{"address": listener.Addr().String()}})
	for range 10 {
		s.Get("sys/mounts")
	}
	if len(lines) < 2 {
		t.Errorf("%d connections were made", len(lines))
	}
}

// TestManyAtOnce: every answer that was given has both of its records.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	s := serving(t)
	s.Mount("one", "kv", nil)
	file := s.enable("file", nil)
	const workers, each = 8, 25
	var group sync.WaitGroup
	for w := range workers {
		group.Go(func() {
			for i := range each {
				path := fmt.Sprintf("one/%d/%d", w, i)
				s.Put(path, body{"a": path})
				s.Get(path)
			}
		})
	}
	for i := range 20 {
		name := fmt.Sprintf("extra%d", i)
		s.enable(name, nil)
		s.Delete("sys/audit/" + name)
		s.Core.ReopenAudit()
		if i == 10 {
			if err := os.Rename(file, file+".1"); err != nil {
				t.Fatal(err)
			}
		}
	}
	group.Wait()
	s.Close() // another device may have been the first to take a record
	all := append(records(t, file+".1"), records(t, file)...)
	for w := range workers {
		for i := range each {
			path := fmt.Sprintf("one/%d/%d", w, i)
			if n, m := len(on(all, "request", path)), len(on(all, "response", path)); n != 2 || m != 2 {
				t.Fatalf("%s has %d and %d records", path, n, m)
			}
		}
	}
}

// TestReadsOfManyKinds: a read has its record and that of its answer, in this
// order, whatever becomes of it, on devices that take them apart too.
func TestReadsOfManyKinds(t *testing.T) {
	t.Parallel()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	bad := &engines.Engine{Type: "bad", Class: engines.ClassSecret, Table: func(engines.Mount) (*engines.Table, error) {
		breaks := func(context.Context, *engines.Request, engines.Tx) (*engines.Response, error) { panic("on purpose") }
		return &engines.Table{Routes: []engines.Route{{Pattern: "x", Help: "It breaks.", Ops: []engines.Op{{Do: engines.Read, Handler: breaks}}}}}, nil
	}}
	s := serving(t, kit.Engines(bad))
	s.Mount("bad", "bad", nil)
	s.Mount("one", "kv", nil)
	s.Put("one/x", body{"a": "value"})
	s.Policy("none", `path "one/x" { capabilities = ["deny"] }`)
	denied := s.Login("none")
	file := s.enable("file", nil)
	s.Put("sys/audit/udp", body{"type": "socket", "options": body{"address": udp.LocalAddr().String(), "socket_type": "udp", "write_timeout": "1s"}})
	before := len(records(t, file))
	for _, c := range []struct {
		path, token string
		status      int
	}{{"one/x", "", http.StatusOK}, {"one/none", "", http.StatusNotFound}, {"one/x", denied, http.StatusForbidden}, {"bad/x", "", http.StatusInternalServerError}} {
		s.Must(c.status, kit.Request{Path: c.path, Token: c.token})
	}
	want := []string{
		"request one/x", "response one/x", "request one/none", "response one/none", "request one/x", "response one/x", "request bad/x",
	}
	var got []string
	eventually(t, "the records are there", func() bool { // nobody waits for that of what broke
		got = nil
		for _, r := range records(t, file)[before:] {
			got = append(got, fmt.Sprint(r["type"], " ", at(r, "request", "path")))
		}
		return len(got) >= len(want)
	})
	if !slices.Equal(got, want) {
		t.Errorf("recorded %q, want %q", got, want)
	}
	packet := make([]byte, 64<<10)
	for i := 0; i < len(want); i++ {
		if err := udp.SetReadDeadline(time.Now().Add(relaxed)); err != nil {
			t.Fatal(err)
		}
		n, _, err := udp.ReadFrom(packet)
		if err != nil {
			t.Fatal(err)
		}
		one := parse(t, packet[:n])
		if len(one) != 1 {
			t.Fatalf("a packet holds %d records", len(one))
		}
		if is := fmt.Sprint(one[0]["type"], " ", at(one[0], "request", "path")); strings.Contains(is, "sys/audit") {
			i--
		} else if is != want[i] {
			t.Errorf("packet %d is %q, want %q", i, is, want[i])
		}
	}
}

// TestLinesAreNotMixed: what a line was written in is used again only once
// nobody reads it, whatever comes at once.
func TestLinesAreNotMixed(t *testing.T) {
	t.Parallel()
	s := serving(t)
	s.Mount("one", "kv", nil)
	file := s.enable("file", nil)
	const workers, each = 8, 40
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			path := fmt.Sprintf("one/w%d", w)
			for range each {
				s.Must(http.StatusNoContent, kit.Request{Method: http.MethodPut, Path: path, Body: body{"a": strings.Repeat("x", 100*w)}})
				s.Must(http.StatusOK, kit.Request{Path: path})
				s.Must(http.StatusOK, kit.Request{Method: "LIST", Path: "one"})
			}
		})
	}
	wg.Wait()
	seen := make(map[any][]record)
	for _, r := range records(t, file) {
		id := at(r, "request", "id")
		seen[id] = append(seen[id], r)
	}
	complete := 0
	for id, list := range seen {
		if len(list) == 2 && list[0]["type"] == "request" && list[1]["type"] == "response" && at(list[0], "request", "path") == at(list[1], "request", "path") {
			complete++
		} else if at(list[0], "request", "path") != "sys/audit/file" && at(list[0], "request", "path") != "sys/audit/test" {
			t.Errorf("request %v has the records %v", id, list)
		}
	}
	if want := workers * each * 3; complete < want {
		t.Errorf("%d requests are on record, want %d", complete, want)
	}
}

// TestDevicesChangeDuringARead: the record of the request stands before that of its
// answer also where the devices are others by then.
func TestDevicesChangeDuringARead(t *testing.T) {
	t.Parallel()
	var s *audited
	slow := &engines.Engine{Type: "slow", Class: engines.ClassSecret, Table: func(engines.Mount) (*engines.Table, error) {
		enables := func(context.Context, *engines.Request, engines.Tx) (*engines.Response, error) {
			s.enable("second", nil)
			return &engines.Response{Data: body{"a": "b"}}, nil
		}
		return &engines.Table{Routes: []engines.Route{{Pattern: "x", Help: "It enables a device.", Ops: []engines.Op{{Do: engines.Read, Handler: enables}}}}}, nil
	}}
	s = serving(t, kit.Engines(slow))
	s.Mount("slow", "slow", nil)
	file := s.enable("first", nil)
	s.Get("slow/x")
	var got []string
	for _, r := range records(t, file) {
		if at(r, "request", "path") == "slow/x" {
			got = append(got, fmt.Sprint(r["type"]))
		}
	}
	if !slices.Equal(got, []string{"request", "response"}) {
		t.Errorf("the records are %q", got)
	}
}
