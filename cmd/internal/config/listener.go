package config

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Defaults of a listener's timeouts. Nobody may hold a connection for nothing.
const (
	defaultReadHeader = 10 * time.Second
	defaultRead       = 30 * time.Second
	defaultIdle       = 5 * time.Minute
)

func (c *Config) listener(d *decoder, e entry) {
	found, err := e.value.blocks()
	if err != nil {
		d.fail(err)
		return
	}
	for _, block := range found {
		l := newListener(block.label)
		l.place = block.place
		switch l.Type {
		case ListenerTCP:
			d.object(`listener "tcp"`, block.value, l.keys())
			l.checkTCP(d)
		case ListenerUnix:
			d.object(`listener "unix"`, block.value, l.unixKeys())
			l.checkUnix(d)
		default:
			d.fail(block.errorf("listener %q is not supported: use \"tcp\" or \"unix\"", clip(block.label)))
			continue
		}
		c.Listeners = append(c.Listeners, l)
	}
}

func newListener(typ string) Listener {
	return Listener{
		Type: typ, MaxRequestSize: DefaultMaxRequestSize,
		TLS:      TLS{MinVersion: "tls12", MaxVersion: "tls13"},
		Unix:     Unix{Mode: 0o600},
		Timeouts: Timeouts{ReadHeader: defaultReadHeader, Read: defaultRead, Idle: defaultIdle},
	}
}

// keys are those of listener "tcp".
func (l *Listener) keys() table {
	const (
		whyProxy  = "the PROXY protocol is not spoken: use x_forwarded_for_authorized_addrs"
		whyRedact = "answers would still carry it"
	)
	t := l.commonKeys()
	for key, set := range (table{
		"cluster_address":                       text(&l.ClusterAddress),
		"tls_disable":                           truth(&l.TLS.Disable),
		"tls_cert_file":                         text(&l.TLS.CertFile),
		"tls_key_file":                          text(&l.TLS.KeyFile),
		"tls_min_version":                       one(version(&l.TLS.MinVersion)),
		"tls_max_version":                       one(version(&l.TLS.MaxVersion)),
		"tls_cipher_suites":                     suites(&l.TLS.CipherSuites),
		"tls_prefer_server_cipher_suites":       quiet(),
		"tls_client_ca_file":                    text(&l.TLS.ClientCAFile),
		"tls_require_and_verify_client_cert":    truth(&l.TLS.RequireClientCert),
		"tls_disable_client_certs":              truth(&l.TLS.DisableClientCerts),
		"x_forwarded_for_authorized_addrs":      prefixes(&l.Proxies.Trusted),
		"x_forwarded_for_hop_skips":             number(&l.Proxies.Hops, 0, 64),
		"x_forwarded_for_reject_not_authorized": negated(&l.Proxies.AllowUntrusted),
		"x_forwarded_for_reject_not_present":    negated(&l.Proxies.AllowMissing),
		"x_forwarded_for_client_cert_header":    refused("a client certificate is that of the connection"),
		"proxy_protocol_behavior":               refused(whyProxy),
		"proxy_protocol_authorized_addrs":       refused(whyProxy),
		"redact_addresses":                      refusedIfOn(whyRedact),
		"redact_cluster_name":                   refusedIfOn(whyRedact),
		"redact_version":                        refusedIfOn(whyRedact),
		"chroot_namespace":                      refused(whyNamespaces),
		"tls_acme_ca_directory":                 refused("certificates come from files"),
		"tls_acme_domains":                      refused("certificates come from files"),
		"disable_replication_status_endpoints":  quiet(),
	}) {
		t[key] = set
	}
	return t
}

// unixKeys are those of listener "unix".
func (l *Listener) unixKeys() table {
	t := l.commonKeys()
	t["socket_mode"] = one(func(text string) error {
		mode, err := strconv.ParseUint(text, 8, 32)
		if err != nil || mode > 0o777 {
			return fmt.Errorf("expected an octal mode such as \"0660\", not %q", clip(text))
		}
		l.Unix.Mode = uint32(mode)
		return nil
	})
	t["socket_user"], t["socket_group"] = text(&l.Unix.User), text(&l.Unix.Group)
	t["tls_disable"] = quiet()
	return t
}

// commonKeys are those of every listener.
func (l *Listener) commonKeys() table {
	const whyJSON = "the limits of JSON bodies are fixed"
	return table{
		"address":                          text(&l.Address),
		"max_request_size":                 size(&l.MaxRequestSize),
		"max_request_duration":             duration(&l.Timeouts.Request),
		"http_read_header_timeout":         duration(&l.Timeouts.ReadHeader),
		"http_read_timeout":                duration(&l.Timeouts.Read),
		"http_write_timeout":               duration(&l.Timeouts.Write),
		"http_idle_timeout":                duration(&l.Timeouts.Idle),
		"custom_response_headers":          blocks(l.customHeaders),
		"telemetry":                        blocks(func(d *decoder, v value) { d.object("a listener's telemetry", v, l.telemetryKeys()) }),
		"profiling":                        blocks(func(d *decoder, v value) { d.object("a listener's profiling", v, l.profilingKeys()) }),
		"inflight_requests_logging":        ignored("requests under way are not listed"),
		"max_json_depth":                   ignored(whyJSON),
		"max_json_string_value_length":     ignored(whyJSON),
		"max_json_object_entry_count":      ignored(whyJSON),
		"max_json_array_element_count":     ignored(whyJSON),
		"max_request_json_memory":          ignored(whyJSON),
		"max_request_json_strings":         ignored(whyJSON),
		"disable_request_limiter":          ignored(whyEnterprise),
		"disable_unauthed_rekey_endpoints": refusedIfOn("key shares are the authority of a rekey"),
	}
}

func (l *Listener) telemetryKeys() table {
	return table{
		"unauthenticated_metrics_access": truth(&l.OpenMetrics),
		"disallow_metrics":               refusedIfOn("sys/metrics asks for a token as it is"),
		"metrics_only":                   refusedIfOn("every listener answers the whole API"),
	}
}

func (l *Listener) profilingKeys() table {
	return table{
		"unauthenticated_pprof_access":             truth(&l.OpenProfiling),
		"unauthenticated_in_flight_request_access": ignored("requests under way are not listed"),
	}
}

// statusKey is "default", a class of statuses or a status.
var statusKey = regexp.MustCompile(`^(default|[1-5]xx|[1-5][0-9][0-9])$`)

func (l *Listener) customHeaders(d *decoder, v value) {
	for _, e := range v.entries {
		if !statusKey.MatchString(e.name) {
			d.fail(e.errorf("custom_response_headers: expected \"default\", a status such as \"404\" or a class such as \"4xx\", not %q", clip(e.name)))
			continue
		}
		found, err := e.value.objects()
		if err != nil {
			d.fail(e.errorf("custom_response_headers: expected headers in braces"))
			continue
		}
		for _, block := range found {
			for _, header := range block.entries {
				l.customHeader(d, e.name, header)
			}
		}
	}
}

func (l *Listener) customHeader(d *decoder, status string, e entry) {
	var values []string
	if e.value.kind == scalar {
		values = []string{e.value.text} // a header may hold commas
	} else {
		texts(&values)(d, e)
	}
	joined := strings.Join(values, "; ")
	name := http.CanonicalHeaderKey(e.name)
	switch {
	case !headerName.MatchString(e.name) || strings.ContainsFunc(joined, func(r rune) bool { return r < ' ' || r == 0x7f }):
		d.fail(e.errorf("custom_response_headers: %q is not a header that can be sent", clip(e.name)))
	case strings.HasPrefix(name, "X-Vault-") || strings.HasPrefix(name, "X-Coffer-") || name == "Content-Type" || name == "Content-Length":
		d.fail(e.errorf("custom_response_headers: %q is the server's own", clip(e.name)))
	default:
		if l.Headers == nil {
			l.Headers = make(map[string]map[string]string)
		}
		if l.Headers[status] == nil {
			l.Headers[status] = make(map[string]string)
		}
		l.Headers[status][name] = joined
	}
}

// headerName is a token (RFC 9110, 5.6.2).
var headerName = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$")

func negated(into *bool) setter {
	return one(func(text string) error {
		yes, err := parseTruth(text)
		*into = !yes
		return err
	})
}

func version(into *string) func(string) error {
	return func(text string) error {
		switch text {
		case "tls12", "tls13":
			*into = text
			return nil
		case "tls10", "tls11":
			return fmt.Errorf("%s is broken and not offered: use \"tls12\" or \"tls13\"", text)
		}
		return fmt.Errorf("expected \"tls12\" or \"tls13\", not %q", clip(text))
	}
}

func suites(into *[]uint16) setter {
	return func(d *decoder, e entry) {
		var names []string
		texts(&names)(d, e)
		*into = nil
		for _, name := range names {
			id, err := suite(name)
			if err != nil {
				d.fail(e.value.errorf("%s: %w", e.name, err))
				return
			}
			*into = append(*into, id)
		}
	}
}

func suite(name string) (uint16, error) {
	for _, s := range tls.CipherSuites() {
		if s.Name == name {
			return s.ID, nil
		}
	}
	for _, s := range tls.InsecureCipherSuites() {
		if s.Name == name {
			return 0, fmt.Errorf("%s is broken and not offered", name)
		}
	}
	return 0, fmt.Errorf("unknown cipher suite %q", clip(name))
}

func prefixes(into *[]netip.Prefix) setter {
	return func(d *decoder, e entry) {
		var names []string
		texts(&names)(d, e)
		*into = nil
		for _, name := range names {
			prefix, err := parsePrefix(name)
			if err != nil {
				d.fail(e.value.errorf("%s: expected an address or a network such as \"10.0.0.0/8\", not %q", e.name, clip(name)))
				return
			}
			*into = append(*into, prefix)
		}
	}
}

func parsePrefix(text string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Masked(), nil
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Prefix{}, err
	}
	addr = addr.Unmap().WithZone("")
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}

func (l *Listener) checkTCP(d *decoder) {
	if l.Address == "" {
		l.Address = DefaultAddress
	}
	d.fail(l.checkAddress("address", l.Address))
	if l.ClusterAddress != "" {
		d.fail(l.checkAddress("cluster_address", l.ClusterAddress))
	}
	t := &l.TLS
	switch {
	case t.Disable:
		if t.RequireClientCert {
			d.fail(l.errorf("tls_require_and_verify_client_cert needs TLS, which tls_disable switches off"))
		}
	case t.CertFile == "" || t.KeyFile == "":
		d.fail(l.errorf("listener \"tcp\" needs tls_cert_file and tls_key_file, or tls_disable = true"))
	case t.MinVersion > t.MaxVersion:
		d.fail(l.errorf("tls_min_version is above tls_max_version"))
	case t.RequireClientCert && t.DisableClientCerts:
		d.fail(l.errorf("tls_require_and_verify_client_cert and tls_disable_client_certs exclude each other"))
	}
	if len(l.Proxies.Trusted) == 0 && l.Proxies.Hops > 0 {
		d.fail(l.errorf("x_forwarded_for_hop_skips needs x_forwarded_for_authorized_addrs"))
	}
}

func (l *Listener) checkUnix(d *decoder) {
	l.TLS.Disable = true
	if l.Address == "" {
		d.fail(l.errorf("listener \"unix\" needs an address: the path of its socket"))
	}
}

func (l *Listener) checkAddress(key, address string) error {
	if strings.Contains(address, "{{") {
		return l.errorf("%s: templates are not supported: write the address", key)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return l.errorf("%s: expected host:port, such as %q, not %q", key, DefaultAddress, clip(address))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 || strings.ContainsAny(host, " /") {
		return l.errorf("%s: expected host:port, such as %q, not %q", key, DefaultAddress, clip(address))
	}
	return nil
}

// NewListener is a TCP listener as a program asks for it.
func NewListener(address string, t TLS) (Listener, error) {
	l := newListener(ListenerTCP)
	l.Address, l.TLS, l.Timeouts.Request = address, t, DefaultMaxDuration
	return l, l.checkAddress("address", address)
}
