//go:build !unix

package audit

func syslogOptions(r *reader) sink {
	r.fail("type: this operating system has no syslog")
	return nil
}
