//go:build unix

package audit

import (
	"context"
	"log/syslog"
	"strings"
)

// facilities are the names of RFC 5424, section 6.2.1, that a program may use.
var facilities = map[string]syslog.Priority{
	"KERN": syslog.LOG_KERN, "USER": syslog.LOG_USER, "MAIL": syslog.LOG_MAIL, "DAEMON": syslog.LOG_DAEMON,
	"AUTH": syslog.LOG_AUTH, "SYSLOG": syslog.LOG_SYSLOG, "LPR": syslog.LOG_LPR, "NEWS": syslog.LOG_NEWS,
	"UUCP": syslog.LOG_UUCP, "CRON": syslog.LOG_CRON, "AUTHPRIV": syslog.LOG_AUTHPRIV, "FTP": syslog.LOG_FTP,
	"LOCAL0": syslog.LOG_LOCAL0, "LOCAL1": syslog.LOG_LOCAL1, "LOCAL2": syslog.LOG_LOCAL2, "LOCAL3": syslog.LOG_LOCAL3,
	"LOCAL4": syslog.LOG_LOCAL4, "LOCAL5": syslog.LOG_LOCAL5, "LOCAL6": syslog.LOG_LOCAL6, "LOCAL7": syslog.LOG_LOCAL7,
}

// system writes to the host's syslog.
type system struct {
	priority syslog.Priority
	tag      string
	w        *syslog.Writer
}

func syslogOptions(r *reader) sink {
	facility, ok := facilities[strings.ToUpper(r.text("facility", "AUTH"))]
	if !ok {
		r.fail("facility: expected one such as AUTH, AUTHPRIV, DAEMON or LOCAL0")
	}
	tag := r.text("tag", "coffer")
	if strings.ContainsFunc(tag, func(c rune) bool { return c <= ' ' || c > '~' }) {
		r.fail("tag: expected a word")
	}
	return &system{priority: facility | syslog.LOG_INFO, tag: tag}
}

// Open implements sink.
func (s *system) Open(context.Context) (err error) {
	if s.w == nil {
		s.w, err = syslog.New(s.priority, s.tag)
	}
	return err
}

// Write implements sink.
func (s *system) Write(ctx context.Context, lines [][]byte) (int, error) {
	if err := s.Open(ctx); err != nil {
		return 0, err
	}
	for i, line := range lines {
		if _, err := s.w.Write(line); err != nil {
			_ = s.Close()
			return i, err
		}
	}
	return len(lines), nil
}

// Close implements sink.
func (s *system) Close() error {
	if s.w == nil {
		return nil
	}
	err := s.w.Close()
	s.w = nil
	return err
}
