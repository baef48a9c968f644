package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/coffer-secrets/coffer/core/audit/post"
)

// sink is where a device's records go. It is used by one goroutine, opens
// itself when it has to, and after an error opens itself anew.
type sink interface {
	// Open opens the sink if it is not.
	Open(ctx context.Context) error
	// Write writes lines, each with its end, until ctx ends. It returns how many
	// have been written whole.
	Write(ctx context.Context, lines [][]byte) (int, error)
	// Close lets go of what is open.
	Close() error
}

const (
	fileMode   = 0o600
	folderMode = 0o700
	// keptBytes bounds the buffer that a file keeps for its next write.
	keptBytes = 256 << 10
)

// file appends to a file that others may move away, remove or replace.
type file struct {
	// folder, if set, is what name is in and cannot lead out of.
	folder string
	name   string
	sync   bool

	f *os.File
	// info says which file is open.
	info fs.FileInfo
	// text is what writes are put together in.
	text []byte
	// torn says that the last line was not written to its end.
	torn bool
}

// Open implements sink.
func (s *file) Open(context.Context) error {
	if s.f != nil {
		if s.current() {
			return nil
		}
		_ = s.Close() // what it held is written, or was told to be not
	}
	// Without O_NONBLOCK, a pipe that nobody reads would block.
	const flags = os.O_WRONLY | os.O_APPEND | os.O_CREATE | syscall.O_NONBLOCK
	f, err := s.openFile(flags)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm() != fileMode {
		err = f.Chmod(fileMode)
	}
	if err == nil && s.folder != "" && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.f, s.info = f, info
	return nil
}

func (s *file) openFile(flags int) (*os.File, error) {
	if s.folder == "" {
		return os.OpenFile(s.name, flags, fileMode)
	}
	if err := os.MkdirAll(s.folder, folderMode); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(s.folder)
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(s.name, flags, fileMode)
	return f, errors.Join(err, root.Close())
}

// current reports whether the name still leads to the file that is open. It
// does not matter by which way.
func (s *file) current() bool {
	named, err := os.Stat(filepath.Join(s.folder, s.name))
	return err == nil && os.SameFile(s.info, named)
}

// Write implements sink: one write for all lines.
func (s *file) Write(ctx context.Context, lines [][]byte) (int, error) {
	if err := s.Open(ctx); err != nil {
		return 0, err
	}
	text := s.text[:0]
	extra := 0
	if s.torn {
		text, extra = append(text, '\n'), 1
	}
	for _, line := range lines {
		text = append(text, line...)
	}
	if s.text = text; cap(text) > keptBytes {
		s.text = nil
	}
	if deadline, ok := ctx.Deadline(); ok && !s.info.Mode().IsRegular() {
		_ = s.f.SetWriteDeadline(deadline) // what is no pipe has none
	}
	n, err := s.f.Write(text)
	if err == nil && s.sync {
		if err = s.f.Sync(); err != nil {
			n = 0 // nobody knows what is on the disk
		}
	}
	if err == nil {
		s.torn = false
		return len(lines), nil
	}
	whole, rest := count(lines, n-extra)
	s.torn = rest > 0 || s.torn && n == 0
	return whole, errors.Join(err, s.Close())
}

// count is how many lines n bytes hold, and how many bytes are left over.
func count(lines [][]byte, n int) (whole, rest int) {
	for _, line := range lines {
		if n < len(line) {
			break
		}
		n -= len(line)
		whole++
	}
	return whole, max(0, n)
}

// Close implements sink.
func (s *file) Close() error {
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	s.f = nil
	return err
}

// stream is the process's standard output.
type stream struct {
	w    io.Writer
	torn bool
}

// Open implements sink.
func (s *stream) Open(context.Context) error {
	if s.w == nil {
		return errors.New("there is no standard output")
	}
	return nil
}

// Write implements sink.
func (s *stream) Write(ctx context.Context, lines [][]byte) (int, error) {
	if err := s.Open(ctx); err != nil {
		return 0, err
	}
	for i, line := range lines {
		if s.torn {
			line = append([]byte{'\n'}, line...)
		}
		n, err := s.w.Write(line)
		if err != nil {
			s.torn = s.torn || n > 0
			return i, err
		}
		s.torn = false
	}
	return len(lines), nil
}

// Close implements sink. Standard output is the process's own.
func (s *stream) Close() error { return nil }

// socket writes to a peer: a line at a time to one that takes datagrams.
type socket struct {
	network, address string
	timeout          time.Duration

	conn net.Conn
}

// Open implements sink.
func (s *socket) Open(ctx context.Context) error {
	if s.conn != nil {
		return nil
	}
	conn, err := (&net.Dialer{Timeout: s.timeout}).DialContext(ctx, s.network, s.address)
	if err != nil {
		return err
	}
	s.conn = conn
	return nil
}

// Write implements sink.
func (s *socket) Write(ctx context.Context, lines [][]byte) (int, error) {
	if err := s.Open(ctx); err != nil {
		return 0, err
	}
	deadline := time.Now().Add(s.timeout)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	if err := s.conn.SetWriteDeadline(deadline); err != nil {
		return 0, errors.Join(err, s.Close())
	}
	for i, line := range lines {
		if _, err := s.conn.Write(line); err != nil {
			return i, errors.Join(err, s.Close()) // the peer has a torn line, and a new connection
		}
	}
	return len(lines), nil
}

// Close implements sink.
func (s *socket) Close() error {
	if s.conn == nil {
		return nil
	}
	err := s.conn.Close()
	s.conn = nil
	return err
}

// poster sends records over HTTP.
type poster struct{ to *post.Sender }

// Open implements sink: connections are made when they are needed.
func (s *poster) Open(context.Context) error { return nil }

// Write implements sink.
func (s *poster) Write(ctx context.Context, lines [][]byte) (int, error) {
	for i, line := range lines {
		if err := s.to.Send(ctx, line); err != nil {
			return i, fmt.Errorf("post: %w", err)
		}
	}
	return len(lines), nil
}

// Close implements sink.
func (s *poster) Close() error {
	s.to.Close()
	return nil
}
