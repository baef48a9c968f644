package policy

import "strings"

// Capability is one thing that a rule may allow, or a set of them.
type Capability uint16

// The capabilities. Deny takes away all others.
const (
	Deny Capability = 1 << iota
	Create
	Read
	Update
	Delete
	List
	Scan
	Sudo
	Patch
)

// capabilityNames are in the order in which they are shown.
var capabilityNames = []struct {
	name string
	is   Capability
}{
	{"create", Create}, {"delete", Delete}, {"deny", Deny}, {"list", List}, {"patch", Patch},
	{"read", Read}, {"scan", Scan}, {"sudo", Sudo}, {"update", Update},
}

// CapabilityOf returns the capability with a name.
func CapabilityOf(name string) (Capability, bool) {
	for _, c := range capabilityNames {
		if c.name == name {
			return c.is, true
		}
	}
	return 0, false
}

// Names lists the capabilities of the set, sorted; only "deny" if it is in it
// or if the set is empty.
func (c Capability) Names() []string {
	if c&Deny != 0 || c == 0 {
		return []string{"deny"}
	}
	var out []string
	for _, n := range capabilityNames {
		if c&n.is != 0 {
			out = append(out, n.name)
		}
	}
	return out
}

// String gives the set as policies spell it, parted by commas.
func (c Capability) String() string { return strings.Join(c.Names(), ", ") }

// legacy are the values that the older attribute "policy" of a rule takes.
var legacy = map[string]Capability{
	"deny":  Deny,
	"read":  Read | List,
	"write": Create | Read | Update | Delete | List,
	"sudo":  Create | Read | Update | Delete | List | Sudo,
}
