package mounts

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/schema"
)

// Mounted is a mount that requests can be sent to.
type Mounted struct {
	Entry
	// Info is the entry as its engine sees it.
	Info   engines.Mount
	Engine *engines.Engine
	Table  *schema.Compiled
	prefix []byte
}

// Storage is the mount's own part of a transaction.
func (m *Mounted) Storage(tx *state.Tx) *state.Region { return tx.Region(m.prefix) }

// Router finds mounts by path. It is immutable.
type Router struct {
	index  uint64
	byPath map[string]*Mounted
	byName map[string]*Mounted // by accessor
	sorted []*Mounted
}

// Find returns the mount that a path is below, and the rest of the path. The
// mount with the longest path wins. A path that names a mount without its
// trailing slash is the mount itself.
func (r *Router) Find(path string) (m *Mounted, rest string, ok bool) {
	for end := len(path); end > 0; {
		at := strings.LastIndexByte(path[:end], '/')
		if at < 0 {
			break
		}
		if m, ok := r.byPath[path[:at+1]]; ok {
			return m, path[at+1:], true
		}
		end = at
	}
	if m, ok := r.byPath[path+"/"]; ok {
		return m, "", true
	}
	return nil, "", false
}

// Get returns the mount at a path with a trailing slash.
func (r *Router) Get(path string) (*Mounted, bool) { m, ok := r.byPath[path]; return m, ok }

// ByAccessor returns the mount with an accessor.
func (r *Router) ByAccessor(accessor string) (*Mounted, bool) {
	m, ok := r.byName[accessor]
	return m, ok
}

// All lists the mounts, sorted by path.
func (r *Router) All() []*Mounted { return r.sorted }

// conflict returns a mount that path would hide or be hidden by.
func (r *Router) conflict(path string) (*Mounted, bool) {
	for _, m := range r.sorted {
		if strings.HasPrefix(m.Path, path) || strings.HasPrefix(path, m.Path) {
			return m, true
		}
	}
	return nil, false
}

// Mounts makes routers and changes the table. It is safe for concurrent use.
type Mounts struct {
	engines map[string]*engines.Engine
	limits  Limits
	vouch   Vouch
	current atomic.Pointer[Router]

	mu     sync.Mutex
	tables map[string]*schema.Compiled
}

// Vouch gives what makes tokens of a mount (engines.Mount.Token).
type Vouch func(class engines.Class, accessor string) func(ctx context.Context, audience string, ttl time.Duration) (string, error)

// New returns the mounts of a system with these engines. Nil for vouch gives none
// of them tokens.
func New(list []*engines.Engine, limits Limits, vouch Vouch) (*Mounts, error) {
	m := &Mounts{engines: make(map[string]*engines.Engine), limits: limits, vouch: vouch, tables: make(map[string]*schema.Compiled)}
	for _, e := range list {
		name := engineName(e.Class, e.Type)
		if e.Type == "" || m.engines[name] != nil {
			return nil, fmt.Errorf("mounts: engine %q is nameless or listed twice", e.Type)
		}
		m.engines[name] = e
	}
	return m, nil
}

func engineName(class engines.Class, typ string) string {
	if class == engines.ClassAuth {
		return "auth:" + typ
	}
	return typ
}

// Limits are the system's lease limits.
func (m *Mounts) Limits() Limits { return m.limits }

// Types lists the engines of a class, sorted.
func (m *Mounts) Types(class engines.Class) []string {
	var names []string
	for _, e := range m.engines {
		if e.Class == class {
			names = append(names, e.Type)
		}
	}
	sort.Strings(names)
	return names
}

// Router returns the router for a transaction's snapshot.
func (m *Mounts) Router(tx *state.Tx) (*Router, error) {
	index := tx.TableIndex(state.Mounts)
	if r := m.current.Load(); r != nil && r.index == index {
		return r, nil
	}
	r, err := m.build(tx, index)
	if err != nil || tx.Dirty() { // may show what this transaction has not committed
		return r, err
	}
	if old := m.current.Load(); old == nil || old.index < index {
		m.current.CompareAndSwap(old, r)
	}
	return r, nil
}

func (m *Mounts) build(tx *state.Tx, index uint64) (*Router, error) {
	r := &Router{index: index, byPath: make(map[string]*Mounted), byName: make(map[string]*Mounted)}
	generation := string(generationKey())
	err := tx.Scan(state.Prefix(state.Mounts, state.RootNamespace), func(key []byte, row *state.Row) error {
		if string(key) == generation {
			return nil
		}
		var e Entry
		if err := json.Unmarshal(row.Value, &e); err != nil {
			return engines.Internal(err)
		}
		mounted, err := m.mounted(e)
		if err != nil {
			return err
		}
		r.byPath[e.Path], r.byName[e.Accessor] = mounted, mounted
		r.sorted = append(r.sorted, mounted)
		return nil
	})
	if err != nil {
		return nil, err
	}
	sort.Slice(r.sorted, func(i, j int) bool { return r.sorted[i].Path < r.sorted[j].Path })
	return r, nil
}

// mounted resolves an entry to its engine. A mount whose engine this binary
// lacks stays in the table and answers nothing.
func (m *Mounts) mounted(e Entry) (*Mounted, error) {
	prefix, err := e.DataPrefix()
	if err != nil {
		return nil, engines.Internal(err)
	}
	out := &Mounted{Entry: e, Info: e.Engine(m.limits), prefix: prefix}
	if m.vouch != nil {
		out.Info.Token = m.vouch(e.Class, e.Accessor)
	}
	engine, ok := m.engines[engineName(e.Class, e.Type)]
	if !ok {
		out.Engine = &engines.Engine{Type: e.Type, Class: e.Class}
		out.Table, err = schema.Compile(&engines.Table{})
		return out, err
	}
	out.Engine = engine
	out.Table, err = m.table(engine, out.Info)
	return out, err
}

// table compiles an engine's routes once per set of options.
func (m *Mounts) table(engine *engines.Engine, info engines.Mount) (*schema.Compiled, error) {
	options, err := json.Marshal(info.Options) // map keys come out sorted
	if err != nil {
		return nil, engines.Internal(err)
	}
	key := engineName(engine.Class, engine.Type) + string(options)
	m.mu.Lock()
	defer m.mu.Unlock()
	if t, ok := m.tables[key]; ok {
		return t, nil
	}
	table, err := engine.Table(info)
	if err != nil {
		return nil, err
	}
	compiled, err := schema.Compile(table)
	if err != nil {
		return nil, engines.Internal(err)
	}
	if len(m.tables) > 256 {
		clear(m.tables)
	}
	m.tables[key] = compiled
	return compiled, nil
}

// generationKey is the row that every change of the table rewrites, so that
// two changes never commit on the same picture of it.
func generationKey() []byte { return state.Key(state.Mounts, state.RootNamespace, []byte{0}) }
