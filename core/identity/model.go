package identity

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Bounds of what is stored.
const (
	maxNameBytes  = 256
	maxMetaPairs  = 64
	maxMetaKey    = 128
	maxMetaValue  = 512
	maxMembers    = 1 << 14
	maxGroupDepth = 32
)

// Entity is one caller, however they log in.
type Entity struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Policies []string          `json:"policies,omitempty"`
	Disabled bool              `json:"disabled,omitempty"`
	Aliases  []string          `json:"aliases,omitempty"`
	Merged   []string          `json:"merged,omitempty"`
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
}

// Alias is how one way to log in knows an entity, or an external group.
type Alias struct {
	ID string `json:"id"`
	// Owner is the id of the entity, or of the group.
	Owner    string            `json:"owner"`
	Accessor string            `json:"accessor"`
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Custom   map[string]string `json:"custom,omitempty"`
	Local    bool              `json:"local,omitempty"`
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
}

// The types of groups.
const (
	internalGroup = "internal"
	externalGroup = "external"
)

// Group is a set of entities and groups that share policies. The members of an
// external group are those whose logins name its alias.
type Group struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Type     string            `json:"type"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Policies []string          `json:"policies,omitempty"`
	Entities []string          `json:"entities,omitempty"`
	Groups   []string          `json:"groups,omitempty"`
	Alias    string            `json:"alias,omitempty"`
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
}

// The folders of the table. An index row holds an id, and the name as written.
const (
	entityDir      = "entity/"
	entityNameDir  = "entity-name/"
	aliasDir       = "alias/"
	aliasNameDir   = "alias-name/"
	groupDir       = "group/"
	groupNameDir   = "group-name/"
	groupAliasDir  = "group-alias/"
	groupAliasName = "group-alias-name/"
	// memberDir/<kind>/<member>/<group> says that a group has a member.
	memberDir   = "member/"
	entityKind  = "entity/"
	groupKind   = "group/"
	indexParted = "\x00"
)

func region(tx *state.Tx) *state.Region {
	return tx.Region(state.Prefix(state.Identities, state.RootNamespace))
}

// CountEntities tells how many entities there are.
func CountEntities(tx *state.Tx) (int, error) {
	n := 0
	err := region(tx).Walk(entityDir, func(string) error {
		n++
		return nil
	})
	return n, err
}

// newID makes a random UUID (RFC 9562, version 4).
func newID() string {
	var id [16]byte
	_, _ = rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// canonical is the one form in which names are compared.
func canonical(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// indexKey is a name as one segment of a path, whatever is in it.
func indexKey(name string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(canonical(name)))
}

func checkName(what, name string) error {
	if canonical(name) == "" || len(name) > maxNameBytes || !utf8.ValidString(name) ||
		strings.ContainsFunc(name, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return engines.Invalidf("%s: a name has 1 to %d bytes of UTF-8 without control characters", what, maxNameBytes)
	}
	return nil
}

// isID keeps what is looked up by id from being a path.
func isID(id string) bool { return len(id) == 36 && !strings.Contains(id, "/") }

func checkMetadata(what string, m map[string]string) error {
	if len(m) > maxMetaPairs {
		return engines.Invalidf("%s: at most %d pairs", what, maxMetaPairs)
	}
	for k, v := range m {
		if k == "" || len(k) > maxMetaKey || len(v) > maxMetaValue {
			return engines.Invalidf("%s: a key has 1 to %d bytes, a value at most %d", what, maxMetaKey, maxMetaValue)
		}
	}
	return nil
}

// load reads a row of JSON; false if it is not there.
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

func save(tx *state.Tx, path string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return engines.Internal(err)
	}
	return region(tx).Put(path, value)
}

// lookUp returns the id that an index row holds, or "".
func lookUp(tx *state.Tx, path string) (string, error) {
	entry, err := region(tx).Get(path)
	if err != nil || entry == nil {
		return "", err
	}
	id, _, _ := strings.Cut(string(entry.Value), indexParted)
	return id, nil
}

func index(tx *state.Tx, path, id, name string) error {
	return region(tx).Put(path, []byte(id+indexParted+name))
}

func entityByID(tx *state.Tx, id string) (*Entity, error) {
	if !isID(id) {
		return nil, nil
	}
	e := new(Entity)
	ok, err := load(tx, entityDir+id, e)
	if err != nil || !ok {
		return nil, err
	}
	return e, nil
}

func entityByName(tx *state.Tx, name string) (*Entity, error) {
	id, err := lookUp(tx, entityNameDir+indexKey(name))
	if err != nil || id == "" {
		return nil, err
	}
	return entityByID(tx, id)
}

func groupByID(tx *state.Tx, id string) (*Group, error) {
	if !isID(id) {
		return nil, nil
	}
	g := new(Group)
	ok, err := load(tx, groupDir+id, g)
	if err != nil || !ok {
		return nil, err
	}
	return g, nil
}

func groupByName(tx *state.Tx, name string) (*Group, error) {
	id, err := lookUp(tx, groupNameDir+indexKey(name))
	if err != nil || id == "" {
		return nil, err
	}
	return groupByID(tx, id)
}

// factor is the unique index of an alias: one name at one mount.
func factor(dir, accessor, name string) string {
	return dir + indexKey(accessor) + "/" + indexKey(name)
}

func aliasByID(tx *state.Tx, dir, id string) (*Alias, error) {
	if !isID(id) {
		return nil, nil
	}
	a := new(Alias)
	ok, err := load(tx, dir+id, a)
	if err != nil || !ok {
		return nil, err
	}
	return a, nil
}

func aliasByFactor(tx *state.Tx, dir, nameDir, accessor, name string) (*Alias, error) {
	id, err := lookUp(tx, factor(nameDir, accessor, name))
	if err != nil || id == "" {
		return nil, err
	}
	return aliasByID(tx, dir, id)
}
