package quotas

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Kind is what a rule limits.
type Kind string

// The kinds of rules.
const (
	Rate  Kind = "rate-limit"
	Count Kind = "lease-count"
)

// maxRules bounds the rules of a kind.
const maxRules = 1024

// Rule is one quota as written.
type Rule struct {
	// ID tells a rule from an earlier one of the same name.
	ID   string `json:"id"`
	Name string `json:"name"`
	Kind Kind   `json:"kind"`
	// Path is empty for everything, the path of a mount with its trailing
	// slash, another path, or the beginning of paths with a trailing "*".
	Path string `json:"path"`
	// Role, if set, limits logins in this role at the mount Path.
	Role        string `json:"role,omitempty"`
	Inheritable bool   `json:"inheritable,omitempty"`

	// Rate is how many requests each Interval has; who has made more is kept
	// out for Block.
	Rate     float64       `json:"rate,omitempty"`
	Interval time.Duration `json:"interval,omitempty"`
	Block    time.Duration `json:"block,omitempty"`
	// MaxLeases is how many leases there may be at once.
	MaxLeases int64 `json:"max_leases,omitempty"`
}

// Config are the settings for all rate limits.
type Config struct {
	AuditLogging bool     `json:"enable_rate_limit_audit_logging"`
	Headers      bool     `json:"enable_rate_limit_response_headers"`
	Exempt       []string `json:"rate_limit_exempt_paths"`
	// ExemptAbsolute are paths from the root namespace, where all are now.
	ExemptAbsolute []string `json:"absolute_rate_limit_exempt_paths"`
}

func region(tx *state.Tx) *state.Region {
	return tx.Region(state.Prefix(state.Quotas, state.RootNamespace))
}

const configPath = "config"

func rulePath(kind Kind, name string) string { return string(kind) + "/" + name }

func readConfig(tx *state.Tx) (Config, error) {
	var c Config
	_, err := load(tx, configPath, &c)
	return c, err
}

func load(tx *state.Tx, path string, into any) (bool, error) {
	entry, err := region(tx).Get(path)
	if err != nil || entry == nil {
		return false, err
	}
	if err := json.Unmarshal(entry.Value, into); err != nil {
		return false, engines.Internal(err)
	}
	return true, nil
}

func store(tx *state.Tx, path string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return engines.Internal(err)
	}
	return region(tx).Put(path, value)
}

// set is the rules as of one state of their table.
type set struct {
	index  uint64
	config Config
	rates  *finder
	counts *finder
	// spent are the clients' allowances by rule.
	spent map[*Rule]*meter
}

// finder finds the rule for a path.
type finder struct {
	// roles, exact and mounts are by path, patterns longest first.
	roles    map[string]map[string]*Rule
	exact    map[string]*Rule
	mounts   map[string]*Rule
	patterns []*Rule
	all      *Rule
}

func newFinder(rules []*Rule) *finder {
	if len(rules) == 0 {
		return nil
	}
	f := &finder{roles: make(map[string]map[string]*Rule), exact: make(map[string]*Rule), mounts: make(map[string]*Rule)}
	for _, r := range rules {
		switch {
		case r.Role != "":
			if f.roles[r.Path] == nil {
				f.roles[r.Path] = make(map[string]*Rule)
			}
			f.roles[r.Path][r.Role] = r
		case r.Path == "":
			f.all = r
		case strings.HasSuffix(r.Path, "*"):
			f.patterns = append(f.patterns, r)
		case strings.HasSuffix(r.Path, "/"):
			f.mounts[r.Path] = r
		default:
			f.exact[r.Path] = r
		}
	}
	slices.SortFunc(f.patterns, func(a, b *Rule) int { return cmp.Compare(len(b.Path), len(a.Path)) })
	return f
}

// find returns the most specific rule for a path; role tells the role of a
// login, and is only asked if there are rules for roles.
func (f *finder) find(path string, role func() string) *Rule {
	if f == nil {
		return nil
	}
	if len(f.roles) > 0 {
		if r := f.ofRole(path, role); r != nil {
			return r
		}
	}
	if r := f.exact[path]; r != nil {
		return r
	}
	for _, r := range f.patterns {
		if strings.HasPrefix(path, r.Path[:len(r.Path)-1]) {
			return r
		}
	}
	if len(f.mounts) > 0 {
		for dir := range folders(path) {
			if r := f.mounts[dir]; r != nil {
				return r
			}
		}
	}
	return f.all
}

func (f *finder) ofRole(path string, role func() string) *Rule {
	for dir := range folders(path) {
		if byName := f.roles[dir]; byName != nil {
			return byName[role()]
		}
	}
	return nil
}

// folders yields the folders that a path is in, the innermost first. The path
// of a mount without its slash is in the mount.
func folders(path string) func(yield func(dir string) bool) {
	return func(yield func(dir string) bool) {
		if !yield(path + "/") {
			return
		}
		for at := strings.LastIndexByte(path, '/'); at >= 0; at = strings.LastIndexByte(path[:at], '/') {
			if !yield(path[:at+1]) {
				return
			}
		}
	}
}

func readSet(tx *state.Tx, index uint64, before *set) (*set, error) {
	s := &set{index: index, spent: make(map[*Rule]*meter)}
	var err error
	if s.config, err = readConfig(tx); err != nil {
		return nil, err
	}
	lists := make(map[Kind][]*Rule)
	for _, kind := range []Kind{Rate, Count} {
		names, err := region(tx).List(string(kind)+"/", engines.Page{})
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			r := new(Rule)
			if _, err := load(tx, rulePath(kind, name), r); err != nil {
				return nil, err
			}
			lists[kind] = append(lists[kind], r)
		}
	}
	s.rates, s.counts = newFinder(lists[Rate]), newFinder(lists[Count])
	for _, r := range lists[Rate] {
		s.spent[r] = before.meterOf(r)
	}
	return s, nil
}

// meterOf takes over what has been spent by a rule that stays as it was.
func (s *set) meterOf(r *Rule) *meter {
	if s != nil {
		for _, old := range slices.Collect(maps.Keys(s.spent)) {
			if *old == *r {
				return s.spent[old]
			}
		}
	}
	return newMeter()
}

// exempt reports whether no rate counts for a path.
func (c *Config) exempt(path string) bool {
	for _, list := range [][]string{c.Exempt, c.ExemptAbsolute} {
		for _, pattern := range list {
			prefix, open := strings.CutSuffix(pattern, "*")
			if path == pattern || open && strings.HasPrefix(path, prefix) {
				return true
			}
		}
	}
	return false
}

// share is what one of so many nodes may allow of a rate: so many requests in
// so much time. A part of one request is one in as many intervals.
func (r *Rule) share(nodes int) (allowed int64, interval time.Duration) {
	part := r.Rate / float64(max(nodes, 1))
	if part >= 1 {
		return int64(min(part, math.MaxInt32)), r.Interval
	}
	return 1, time.Duration(math.Ceil(float64(r.Interval) / part))
}
