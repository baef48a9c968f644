package client

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const (
	// DefaultAddress is where a server is looked for if nobody says.
	DefaultAddress = "https://127.0.0.1:8200"

	defaultTimeout = 60 * time.Second
	defaultRetries = 2
	defaultMaxBody = 64 << 20
	defaultMinWait = 100 * time.Millisecond
	defaultMaxWait = 2 * time.Second
	maxRetries     = 20
)

// Config says where the server is and how to speak with it. The zero value of
// a field is its default.
type Config struct {
	// Address is http://…, https://… or unix:///path/of/socket.
	Address string
	Token   string
	// Namespace is sent as it is; servers that have none refuse others than root.
	Namespace string
	// WrapTTL asks for every answer to be wrapped for so long, such as "5m".
	WrapTTL string
	// Header is added to every request.
	Header http.Header
	TLS    TLS
	// Timeout bounds a call, tries and waits included; negative for no bound.
	Timeout time.Duration
	// MaxRetries is how often a request is tried again; negative for never.
	MaxRetries int
	// MinWait and MaxWait bound the wait before a retry, which doubles.
	MinWait, MaxWait time.Duration
	// MaxBody bounds the bytes of an answer.
	MaxBody int64
	// Middleware, if set, sees every request that leaves and its answer.
	Middleware func(http.RoundTripper) http.RoundTripper
}

// TLS says whom to trust and who the client is. Names are of files in PEM.
type TLS struct {
	CACert     string
	CACertPEM  []byte
	CAPath     string // a folder
	ClientCert string
	ClientKey  string
	ServerName string
	SkipVerify bool
}

// envPrefixes are the families of environment variables, best first.
func envPrefixes() [3]string { return [3]string{"COFFER_", "VAULT_", "BAO_"} }

// Env returns the first environment variable that is set and not empty of
// COFFER_name, VAULT_name and BAO_name, and its full name.
func Env(name string) (value, variable string) {
	for _, prefix := range envPrefixes() {
		if v := os.Getenv(prefix + name); v != "" {
			return v, prefix + name
		}
	}
	return "", ""
}

// FromEnvironment returns the configuration that the environment asks for. It
// names a variable that it cannot read, never its value.
func FromEnvironment() (Config, error) {
	var c Config
	for name, to := range map[string]*string{
		"ADDR": &c.Address, "TOKEN": &c.Token, "NAMESPACE": &c.Namespace, "WRAP_TTL": &c.WrapTTL,
		"CACERT": &c.TLS.CACert, "CAPATH": &c.TLS.CAPath, "CLIENT_CERT": &c.TLS.ClientCert,
		"CLIENT_KEY": &c.TLS.ClientKey, "TLS_SERVER_NAME": &c.TLS.ServerName,
	} {
		*to, _ = Env(name)
	}
	if pem, _ := Env("CACERT_BYTES"); pem != "" {
		c.TLS.CACertPEM = []byte(pem)
	}
	var problems []error
	parse := func(name string, into func(string) error) {
		if value, variable := Env(name); value != "" {
			if err := into(value); err != nil {
				problems = append(problems, fmt.Errorf("%s: %w", variable, err))
			}
		}
	}
	parse("SKIP_VERIFY", func(v string) (err error) {
		if c.TLS.SkipVerify, err = strconv.ParseBool(v); err != nil {
			return errors.New("expected true or false")
		}
		return nil
	})
	parse("CLIENT_TIMEOUT", func(v string) (err error) {
		c.Timeout, err = parseTimeout(v)
		return err
	})
	parse("MAX_RETRIES", func(v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < 0 {
			return errors.New("expected a number of 0 or more")
		}
		if c.MaxRetries = n; n == 0 {
			c.MaxRetries = -1
		}
		return nil
	})
	return c, errors.Join(problems...)
}

// parseTimeout reads seconds or a duration; 0 is no bound.
func parseTimeout(text string) (time.Duration, error) {
	if strings.Trim(text, "0123456789") == "" {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, errors.New("expected a duration such as \"30s\", or seconds")
	}
	if d == 0 {
		d = -1
	}
	return d, nil
}

// withDefaults fills what is not said.
func (c Config) withDefaults() Config {
	if c.Address == "" {
		c.Address = DefaultAddress
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.MaxRetries == 0 {
		c.MaxRetries = defaultRetries
	}
	c.MaxRetries = min(max(c.MaxRetries, 0), maxRetries)
	if c.MinWait <= 0 {
		c.MinWait = defaultMinWait
	}
	if c.MaxWait <= 0 {
		c.MaxWait = defaultMaxWait
	}
	c.MaxWait = max(c.MaxWait, c.MinWait)
	if c.MaxBody <= 0 {
		c.MaxBody = defaultMaxBody
	}
	return c
}
