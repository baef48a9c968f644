package cli

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/coffer-secrets/coffer/client"
)

// described is the text that stands for a request which was not sent.
type described struct{ text string }

func (d *described) Error() string { return "the request was described and not sent" }

// describer takes the place of the network.
type describer struct {
	policy  bool
	tls     client.TLS
	address string
}

// RoundTrip describes the request.
func (d *describer) RoundTrip(r *http.Request) (*http.Response, error) {
	if d.policy {
		return nil, &described{text: policyFor(r)}
	}
	text, err := d.curl(r)
	if err != nil {
		return nil, err
	}
	return nil, &described{text: text}
}

// curl writes the request as a command. The token is not in it, but the command
// that prints it.
func (d *describer) curl(r *http.Request) (string, error) {
	words := []string{"curl"}
	add := func(flag, value string) {
		if value != "" {
			words = append(words, flag, quote(value))
		}
	}
	if r.Method != http.MethodGet {
		add("-X", r.Method)
	}
	if d.tls.SkipVerify {
		words = append(words, "--insecure")
	}
	add("--cacert", d.tls.CACert)
	add("--capath", d.tls.CAPath)
	add("--cert", d.tls.ClientCert)
	add("--key", d.tls.ClientKey)
	if socket, ok := strings.CutPrefix(d.address, "unix://"); ok {
		add("--unix-socket", socket)
	}
	if r.Header.Get("X-Vault-Token") != "" {
		words = append(words, "-H", `"X-Vault-Token: $(coffer print token)"`)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if name == "X-Vault-Token" {
			continue
		}
		for _, value := range r.Header[name] {
			words = append(words, "-H", `"`+inDoubleQuotes.Replace(name+": "+value)+`"`)
		}
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return "", err
		}
		words = append(words, "-d", "'"+strings.ReplaceAll(string(body), "'", `'"'"'`)+"'")
	}
	return strings.Join(append(words, quote(r.URL.String())), " "), nil
}

var (
	plainWord      = regexp.MustCompile(`^[A-Za-z0-9_@%+:,./=-]+$`)
	inDoubleQuotes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`")
)

// quote makes one word of text for a POSIX shell.
func quote(text string) string {
	if plainWord.MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'"'"'`) + "'"
}

// policyFor is the rule that allows the request.
func policyFor(r *http.Request) string {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	query := r.URL.Query()
	capabilities := []string{"read"}
	switch {
	case query.Get("list") == "true":
		capabilities = []string{"list"}
		if !strings.HasSuffix(path, "/") {
			path += "/" // a list names what is below
		}
	case query.Get("scan") == "true":
		capabilities = []string{"scan"}
		if !strings.HasSuffix(path, "/") {
			path += "/"
		}
	case r.Method == http.MethodPut, r.Method == http.MethodPost:
		capabilities = []string{"create", "update"}
	case r.Method == http.MethodPatch:
		capabilities = []string{"patch"}
	case r.Method == http.MethodDelete:
		capabilities = []string{"delete"}
	}
	if needsSudo(path) {
		capabilities = append(capabilities, "sudo")
	}
	return fmt.Sprintf("path %q {\n  capabilities = [%s]\n}", path, `"`+strings.Join(capabilities, `", "`)+`"`)
}

// needsSudo knows the system's paths that ask for sudo.
func needsSudo(path string) bool {
	path = strings.TrimSuffix(path, "/")
	for _, exact := range []string{
		"auth/token/accessors", "auth/token/revoke-orphan", "sys/audit", "sys/config/cors", "sys/config/ui/headers", "sys/leases",
		"sys/raw", "sys/remount", "sys/rotate", "sys/rotate/keyring", "sys/seal", "sys/step-down",
	} {
		if path == exact {
			return true
		}
	}
	for _, below := range []string{
		"sys/audit/", "sys/auth/", "sys/config/ui/headers/", "sys/leases/lookup/", "sys/leases/revoke-force/",
		"sys/leases/revoke-prefix/", "sys/raw/", "sys/revoke-force/", "sys/revoke-prefix/",
	} {
		if strings.HasPrefix(path, below) {
			return true
		}
	}
	return false
}
