package policies

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-secrets/coffer/core/policy"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

const (
	maxPolicyBytes = 512 << 10
	maxCompiled    = 4096
	aclDir         = "acl/"
)

// Stored is one policy as written.
type Stored struct {
	Name        string    `json:"name"`
	Text        string    `json:"text"`
	Version     int64     `json:"version"`
	Modified    time.Time `json:"modified"`
	CASRequired bool      `json:"cas_required,omitempty"`
	Expiration  time.Time `json:"expiration,omitzero"`
}

// Policies reads and writes policies. It is safe for concurrent use.
type Policies struct{ compiled atomic.Pointer[compiled] }

// compiled holds what was made of one state of the table.
type compiled struct {
	index uint64
	mu    sync.RWMutex
	acls  map[string]entry
}

// entry is what a list of policies came to, until the first of them expires;
// the zero time if none does.
type entry struct {
	acl   *policy.ACL
	until time.Time
	// templated says that the policies allow more to a caller with an identity.
	templated bool
	// missing are the names that no policy has.
	missing []string
}

// Subject is the identity that the templates of policies are filled from.
type Subject struct {
	// ID and Index identify what Resolve gives.
	ID      string
	Index   uint64
	Resolve policy.Resolver
}

// New returns policies with nothing compiled yet.
func New() *Policies { return &Policies{} }

func region(tx *state.Tx) *state.Region {
	return tx.Region(state.Prefix(state.Policies, state.RootNamespace))
}

// ACL returns the compiled form of the policies with these names, which are
// sorted, for a subject; nil for a caller without an identity. Names of policies
// that do not exist allow nothing.
func (p *Policies) ACL(tx *state.Tx, names []string, subject *Subject) (*policy.ACL, error) {
	c := p.at(tx.TableIndex(state.Policies))
	key := strings.Join(names, "\x00")
	plain, err := p.entry(tx, c, key, names, nil)
	if err != nil || !plain.templated || subject == nil {
		return plain.acl, err
	}
	key += "\x01" + subject.ID + "\x01" + strconv.FormatUint(subject.Index, 16)
	filled, err := p.entry(tx, c, key, names, subject.Resolve)
	return filled.acl, err
}

// Missing returns those of the names that no policy has. They allow nothing,
// which who wrote them may not know.
func (p *Policies) Missing(tx *state.Tx, names []string) ([]string, error) {
	e, err := p.entry(tx, p.at(tx.TableIndex(state.Policies)), strings.Join(names, "\x00"), names, nil)
	return e.missing, err
}

// entry returns what is cached under a key, or makes it.
func (p *Policies) entry(tx *state.Tx, c *compiled, key string, names []string, resolve policy.Resolver) (entry, error) {
	c.mu.RLock()
	known, ok := c.acls[key]
	c.mu.RUnlock()
	if ok && (known.until.IsZero() || tx.Now().Before(known.until)) {
		return known, nil
	}
	made, err := p.compile(tx, names, resolve)
	if err != nil || tx.Wrote(state.Policies) { // may rest on what this transaction has not committed
		return made, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.acls) >= maxCompiled {
		clear(c.acls)
	}
	c.acls[key] = made
	return made, nil
}

func (p *Policies) at(index uint64) *compiled {
	for {
		c := p.compiled.Load()
		if c != nil && c.index == index {
			return c
		}
		fresh := &compiled{index: index, acls: make(map[string]entry)}
		if c != nil && c.index > index { // an older snapshot: compile for it alone
			return fresh
		}
		if p.compiled.CompareAndSwap(c, fresh) {
			return fresh
		}
	}
}

func (p *Policies) compile(tx *state.Tx, names []string, resolve policy.Resolver) (entry, error) {
	var list []*policy.Policy
	var out entry
	for _, name := range names {
		if name == policy.Root {
			list = append(list, policy.RootPolicy())
			continue
		}
		if checkName(name) != nil {
			continue // tokens may hold names that no policy can have
		}
		stored, err := p.Get(tx, name)
		if err != nil {
			return entry{}, err
		}
		if stored == nil {
			out.missing = append(out.missing, name)
			continue
		}
		if end := stored.Expiration; !end.IsZero() {
			if !tx.Now().Before(end) {
				continue
			}
			if out.until.IsZero() || end.Before(out.until) {
				out.until = end
			}
		}
		parsed, err := policy.Parse(name, stored.Text)
		if err != nil {
			return entry{}, engines.Internal(err) // was parsed when it was written
		}
		list = append(list, parsed)
		out.templated = out.templated || parsed.Templated()
	}
	out.acl = policy.Compile(list, resolve)
	return out, nil
}

// Get returns a policy, or nil if there is none of that name.
func (p *Policies) Get(tx *state.Tx, name string) (*Stored, error) {
	row, err := region(tx).Get(aclDir + name)
	if err != nil || row == nil {
		return nil, err
	}
	s := new(Stored)
	if err := json.Unmarshal(row.Value, s); err != nil {
		return nil, engines.Internal(err)
	}
	return s, nil
}

// List returns the names of all policies that a token can be given, sorted, with
// "root".
func (p *Policies) List(tx *state.Tx, page engines.Page) ([]string, error) {
	names, err := region(tx).List(aclDir, engines.Page{})
	if err != nil {
		return nil, err
	}
	names = append(slices.DeleteFunc(names, func(name string) bool { return name == wrappingName }), policy.Root)
	slices.Sort(names)
	if page.After != "" {
		at, found := slices.BinarySearch(names, page.After)
		if found {
			at++
		}
		names = names[at:]
	}
	if page.Limit > 0 && page.Limit < len(names) {
		names = names[:page.Limit]
	}
	return names, nil
}

// Change is what Put shall write.
type Change struct {
	Text string
	// CAS, if set, is the version that the policy must have; -1 or 0 that it
	// must not exist.
	CAS         *int64
	CASRequired *bool
	Expiration  time.Time
}

// Put writes a policy after it has been parsed.
func (p *Policies) Put(tx *state.Tx, name string, change Change) error {
	if err := checkName(name); err != nil {
		return err
	}
	if len(change.Text) > maxPolicyBytes {
		return engines.Errorf(engines.KindTooLarge, "a policy may have at most %d bytes", maxPolicyBytes)
	}
	if _, err := policy.Parse(name, change.Text); err != nil {
		return engines.Invalidf("failed to parse policy: %s", err.Error())
	}
	stored, err := p.Get(tx, name)
	if err != nil {
		return err
	}
	next := Stored{Name: name, Text: change.Text, Version: 1, Modified: tx.Now(), Expiration: change.Expiration}
	var version int64
	if stored != nil {
		version, next.CASRequired = stored.Version, stored.CASRequired
		next.Version = version + 1
	}
	if change.CASRequired != nil {
		next.CASRequired = *change.CASRequired
	}
	switch {
	case change.CAS == nil && next.CASRequired:
		return engines.Invalidf("check-and-set parameter required for this call")
	case change.CAS != nil && max(*change.CAS, 0) != version:
		return engines.Invalidf("check-and-set parameter did not match the current version")
	}
	value, err := json.Marshal(next)
	if err != nil {
		return engines.Internal(err)
	}
	return region(tx).Put(aclDir+name, value)
}

// Delete removes a policy. The default policy stays.
func (p *Policies) Delete(tx *state.Tx, name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if name == DefaultName || name == wrappingName {
		return engines.Invalidf("cannot delete %q: it is part of the system", name)
	}
	return region(tx).Delete(aclDir + name)
}

func checkName(name string) error {
	if name == policy.Root {
		return engines.Invalidf("cannot update or delete the policy %q", policy.Root)
	}
	if normal, err := policy.NormalizeName(name); err != nil || normal != name {
		return engines.Invalidf("the policy's name cannot be used: it is 1 to 128 lower-case characters without '/'")
	}
	return nil
}

// Install writes the policies that every cluster begins with.
func (p *Policies) Install(tx *state.Tx) error {
	if err := p.Put(tx, DefaultName, Change{Text: defaultPolicy}); err != nil {
		return err
	}
	return p.Put(tx, wrappingName, Change{Text: wrappingPolicy})
}
