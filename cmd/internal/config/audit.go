package config

import "strings"

// Audit says where audit records go.
type Audit struct {
	// Path is the folder of the files that are enabled over the API.
	Path    string
	Devices []AuditDevice
}

// AuditDevice is a stanza audit "file" "name". Options may hold secrets.
type AuditDevice struct {
	place

	Type        string
	Name        string
	Description string
	Options     map[string]string
}

// audit takes over the devices, which have a type and a name.
func (c *Config) audit(d *decoder, e entry) {
	const form = `expected audit "file" "name" { options { file_path = "/var/log/coffer/audit.log" } }`
	types, err := e.value.blocks()
	if err != nil {
		d.fail(e.errorf(form))
		return
	}
	for _, typ := range types {
		named, err := typ.value.blocks()
		if err != nil {
			d.fail(typ.errorf(form))
			continue
		}
		for _, block := range named {
			if _, key := (&AuditDevice{}).keys()[block.label]; key { // the name was left out
				d.fail(block.errorf(form))
				continue
			}
			a := AuditDevice{place: block.place, Type: typ.label, Name: block.label, Options: make(map[string]string)}
			d.object(`audit "`+clip(a.Type)+`"`, block.value, a.keys())
			c.Audit.Devices = append(c.Audit.Devices, a)
		}
	}
}

func (a *AuditDevice) keys() table {
	return table{
		"description": text(&a.Description),
		"local":       quiet(), // what stands in a node's configuration is the node's own
		"options": blocks(func(d *decoder, v value) {
			for _, option := range v.entries {
				name := strings.ToLower(option.name)
				if _, twice := a.Options[name]; twice {
					d.fail(option.errorf("options: %q is set twice", clip(name)))
					continue
				}
				value := ""
				text(&value)(d, option)
				a.Options[name] = value
			}
		}),
	}
}
