package config

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxFiles bounds a folder of configuration.
const maxFiles = 100

// Lookup finds an environment variable, as os.LookupEnv does.
type Lookup func(name string) (string, bool)

// Load reads files, and folders of *.hcl and *.json files, in order, then the
// environment. What a later file sets stands.
func Load(paths []string, env Lookup) (*Config, error) {
	c := newConfig()
	d := new(decoder)
	for _, path := range paths {
		files, err := expand(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := read(file)
			if err != nil {
				return nil, err
			}
			c.decode(d, file, text)
			c.Files = append(c.Files, file)
		}
	}
	return c, c.finish(d, env)
}

// Parse reads one file's text and the environment.
func Parse(file string, text []byte, env Lookup) (*Config, error) {
	c := newConfig()
	d := new(decoder)
	c.decode(d, file, text)
	c.Files = []string{file}
	return c, c.finish(d, env)
}

func newConfig() *Config {
	return &Config{
		DefaultLeaseTTL: DefaultLeaseTTL, MaxLeaseTTL: DefaultLeaseTTL, MaxRequestDuration: DefaultMaxDuration,
		Storage: Storage{LogStore: LogStoreBolt}, Seal: Seal{Type: SealShamir}, Log: Log{Level: "info", Format: "standard"},
	}
}

func (c *Config) decode(d *decoder, file string, text []byte) {
	root, err := parse(file, text)
	if err != nil {
		d.fail(err)
		return
	}
	d.object("the configuration", root, c.top())
}

func (c *Config) finish(d *decoder, env Lookup) error {
	c.environment(d, env)
	c.check(d)
	slices.Sort(d.warnings)
	c.Warnings = d.warnings
	return errors.Join(d.problems...)
}

// expand lists the files that a path names.
func expand(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	var files []string
	for _, e := range entries {
		name := e.Name()
		if e.IsDir() || strings.HasPrefix(name, ".") {
			continue
		}
		if ext := filepath.Ext(name); ext == ".hcl" || ext == ".json" {
			files = append(files, filepath.Join(path, name))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("read the configuration: %s holds no .hcl and no .json files", path)
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("read the configuration: %s holds more than %d files", path, maxFiles)
	}
	return files, nil
}

func read(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return text, nil
}

// check is for what concerns several keys.
func (c *Config) check(d *decoder) {
	d.fail(checkURL("api_addr", c.APIAddr))
	d.fail(checkURL("cluster_addr", c.ClusterAddr))
	switch {
	case c.DefaultLeaseTTL <= 0 || c.MaxLeaseTTL <= 0:
		d.fail(errors.New("default_lease_ttl and max_lease_ttl must be above zero"))
	case c.DefaultLeaseTTL > c.MaxLeaseTTL:
		d.fail(fmt.Errorf("default_lease_ttl (%s) is above max_lease_ttl (%s)", c.DefaultLeaseTTL, c.MaxLeaseTTL))
	}
	for i := range c.Listeners {
		if c.Listeners[i].Timeouts.Request == 0 {
			c.Listeners[i].Timeouts.Request = c.MaxRequestDuration
		}
	}
	d.fail(c.Seal.check())
	if c.Audit.Path != "" && !filepath.IsAbs(c.Audit.Path) {
		d.fail(errors.New("audit_path: expected an absolute path"))
	}
}

// Runnable says what is missing for a server.
func (c *Config) Runnable() error {
	var problems []error
	if c.Storage.line == 0 && c.Storage.Path == "" {
		problems = append(problems, errors.New("no storage is configured: add storage \"raft\" { path = \"/var/lib/coffer\" }"))
	} else if c.Storage.Path == "" {
		problems = append(problems, c.Storage.errorf("storage \"raft\" needs a path"))
	}
	if s := &c.Snapshots; s.line != 0 && (s.Path == "" || s.Interval < minSnapshotInterval) {
		problems = append(problems, s.errorf("snapshots needs a path, and an interval of at least %s", minSnapshotInterval))
	}
	if len(c.Listeners) == 0 {
		problems = append(problems, errors.New("no listener is configured: add listener \"tcp\" { ... }"))
	}
	return errors.Join(problems...)
}

func checkURL(key, text string) error {
	if text == "" {
		return nil
	}
	if strings.Contains(text, "{{") {
		return fmt.Errorf("%s: templates are not supported: write the address", key)
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%s: expected an address such as \"https://10.0.0.1:8200\", not %q", key, clip(text))
	}
	return nil
}

func (s *Seal) check() error {
	switch s.Type {
	case SealStatic:
		if s.Keys.CurrentKeyID == "" || s.Keys.CurrentKey == "" {
			return s.errorf("seal \"static\" needs current_key_id and current_key")
		}
		if (s.Keys.PreviousKeyID == "") != (s.Keys.PreviousKey == "") {
			return s.errorf("seal \"static\": previous_key_id and previous_key go together")
		}
	case SealTransit:
		if s.Transit.Address == "" || s.Transit.KeyName == "" {
			return s.errorf("seal \"transit\" needs address and key_name")
		}
		if s.Transit.Token == "" {
			return s.errorf("seal \"transit\" needs a token, best given as COFFER_TRANSIT_SEAL_TOKEN")
		}
	}
	return nil
}

func (j *RetryJoin) check() error {
	if j.LeaderAPIAddr == "" {
		return j.errorf("retry_join needs leader_api_addr")
	}
	if err := checkURL("leader_api_addr", j.LeaderAPIAddr); err != nil {
		return j.errorf("%w", err)
	}
	if j.CACert != "" && j.CACertFile != "" || j.ClientCert != "" && j.ClientCertFile != "" || j.ClientKey != "" && j.ClientKeyFile != "" {
		return j.errorf("retry_join: give a certificate or key as a file or as text, not as both")
	}
	if (j.ClientCert+j.ClientCertFile == "") != (j.ClientKey+j.ClientKeyFile == "") {
		return j.errorf("retry_join: a client certificate and its key go together")
	}
	return nil
}
