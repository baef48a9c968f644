package members

import (
	"encoding/json"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Bounds of the configuration.
const (
	leastQuorum    = 3
	leastDeadAfter = time.Minute
	mostMembers    = 1 << 10
)

// Config says what the autopilot does.
type Config struct {
	// CleanupDead removes members that have been silent for DeadAfter, as long as
	// MinQuorum voters are left.
	CleanupDead bool          `json:"cleanup_dead_servers"`
	DeadAfter   time.Duration `json:"dead_server_last_contact_threshold"`
	MinQuorum   int64         `json:"min_quorum"`
	// A member is healthy that has answered within Contact and whose log ends at
	// most MaxTrailing entries before the leader's.
	Contact     time.Duration `json:"last_contact_threshold"`
	MaxTrailing uint64        `json:"max_trailing_logs"`
	// Stable is how long a newcomer has to be healthy until it votes.
	Stable time.Duration `json:"server_stabilization_time"`
	// NoUpgrades is kept for clients.
	NoUpgrades bool `json:"disable_upgrade_migration"`
}

func defaults() Config {
	return Config{DeadAfter: 24 * time.Hour, Contact: 10 * time.Second, MaxTrailing: 1000, Stable: 10 * time.Second}
}

func configKey() []byte { return state.Key(state.Config, state.RootNamespace, []byte("autopilot")) }

func readConfig(tx *state.Tx) (Config, error) {
	c := defaults()
	row, err := tx.Get(configKey())
	if err != nil || row == nil {
		return c, err
	}
	if err := json.Unmarshal(row.Value, &c); err != nil {
		return c, engines.Internal(err)
	}
	return c, nil
}

// check refuses what would remove members that are needed.
func (c *Config) check() error {
	switch {
	case c.Contact <= 0 || c.Stable < 0:
		return engines.Invalidf("last_contact_threshold must be above zero, server_stabilization_time not below")
	case c.DeadAfter < leastDeadAfter:
		return engines.Invalidf("dead_server_last_contact_threshold should not be less than %s", leastDeadAfter)
	case c.MinQuorum < 0 || c.MinQuorum > mostMembers:
		return engines.Invalidf("min_quorum must be between 0 and %d", mostMembers)
	case c.CleanupDead && c.MinQuorum < leastQuorum:
		return engines.Invalidf("min_quorum must be set when cleanup_dead_servers is set and it should at least be %d; cleanup_dead_servers: true, min_quorum: %d", leastQuorum, c.MinQuorum)
	}
	return nil
}
