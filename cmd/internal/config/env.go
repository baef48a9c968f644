package config

// prefixes of environment variables, the first that is set counts.
var envPrefixes = []string{"COFFER_", "VAULT_", "BAO_"}

// Env returns the first of COFFER_name, VAULT_name and BAO_name that is set and
// not empty, with the name it has.
func Env(lookup Lookup, name string) (value, from string) {
	for _, prefix := range envPrefixes {
		if text, ok := lookup(prefix + name); ok && text != "" {
			return text, prefix + name
		}
	}
	return "", ""
}

// environment takes over what the environment says; it stands over the files.
func (c *Config) environment(d *decoder, lookup Lookup) {
	take := func(name string, set setter) bool {
		text, from := Env(lookup, name)
		if from == "" {
			return false
		}
		at := place{}
		set(d, entry{place: at, name: from, value: value{place: at, text: text, quoted: true}})
		return true
	}
	take("API_ADDR", text(&c.APIAddr))
	if !take("CLUSTER_ADDR", text(&c.ClusterAddr)) {
		// Vault's older name.
		take("RAFT_ADDR", text(&c.ClusterAddr))
	}
	take("LOG_LEVEL", choice(&c.Log.Level, LogLevels()...))
	take("LOG_FORMAT", choice(&c.Log.Format, "standard", "json"))
	take("RAFT_NODE_ID", text(&c.Storage.NodeID))
	take("RAFT_PATH", text(&c.Storage.Path))
	if c.Seal.line == 0 {
		take("SEAL_TYPE", choice(&c.Seal.Type, SealShamir, SealStatic, SealTransit))
	}
	switch c.Seal.Type {
	case SealStatic:
		take("STATIC_SEAL_CURRENT_KEY_ID", text(&c.Seal.Keys.CurrentKeyID))
		take("STATIC_SEAL_CURRENT_KEY", text(&c.Seal.Keys.CurrentKey))
		take("STATIC_SEAL_PREVIOUS_KEY_ID", text(&c.Seal.Keys.PreviousKeyID))
		take("STATIC_SEAL_PREVIOUS_KEY", text(&c.Seal.Keys.PreviousKey))
	case SealTransit:
		c.transitEnvironment(take)
	}
}

// transitEnvironment reads the names of its own, which say what they are for,
// and then those of the command line, which Vault reads too.
func (c *Config) transitEnvironment(take func(name string, set setter) bool) {
	t := &c.Seal.Transit
	take("TRANSIT_SEAL_KEY_NAME", text(&t.KeyName))
	take("TRANSIT_SEAL_MOUNT_PATH", text(&t.MountPath))
	take("TRANSIT_SEAL_DISABLE_RENEWAL", truth(&t.DisableRenewal))
	for _, of := range []struct {
		own, shared string
		set         setter
	}{
		{"TRANSIT_SEAL_ADDR", "ADDR", text(&t.Address)},
		{"TRANSIT_SEAL_TOKEN", "TOKEN", text(&t.Token)},
		{"TRANSIT_SEAL_NAMESPACE", "NAMESPACE", text(&t.Namespace)},
		{"TRANSIT_SEAL_CACERT", "CACERT", text(&t.CACert)},
		{"TRANSIT_SEAL_CLIENT_CERT", "CLIENT_CERT", text(&t.ClientCert)},
		{"TRANSIT_SEAL_CLIENT_KEY", "CLIENT_KEY", text(&t.ClientKey)},
		{"TRANSIT_SEAL_TLS_SERVER_NAME", "TLS_SERVER_NAME", text(&t.ServerName)},
		{"TRANSIT_SEAL_SKIP_VERIFY", "SKIP_VERIFY", truth(&t.SkipVerify)},
	} {
		if !take(of.own, of.set) {
			take(of.shared, of.set)
		}
	}
}
