package lockout

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// Defaults of the rules, which are Vault's.
const (
	DefaultThreshold = 5
	DefaultDuration  = 15 * time.Minute
	DefaultReset     = 15 * time.Minute
)

// strangerRows is how many rows the names share that do not exist.
const strangerRows = 4096

const (
	dir         = "lockout/"
	knownDir    = dir + "known/"
	strangerDir = dir + "stranger/"
)

// Rules say when a name is locked.
type Rules struct {
	Disabled  bool
	Threshold int64
	// Duration is how long a lock lasts, Reset how long a failure counts.
	Duration time.Duration
	Reset    time.Duration
}

// RulesOf reads the mount's user_lockout_config. What is missing or cannot be
// read is as by default.
func RulesOf(config map[string]string) Rules {
	r := Rules{Threshold: DefaultThreshold, Duration: DefaultDuration, Reset: DefaultReset}
	if n, err := strconv.ParseInt(config["lockout_threshold"], 10, 32); err == nil && n > 0 {
		r.Threshold = n
	}
	if d, ok := engines.ParseSeconds(config["lockout_duration"]); ok && d > 0 {
		r.Duration = d
	}
	if d, ok := engines.ParseSeconds(config["lockout_counter_reset"]); ok && d > 0 {
		r.Reset = d
	}
	r.Disabled, _ = strconv.ParseBool(config["lockout_disable"])
	return r
}

// Name is who logs in, in the one form of the name.
type Name struct {
	Text string
	// Known says that there is such a user.
	Known bool
}

// count is the row of a name.
type count struct {
	Name     string    `json:"name"`
	Failures int64     `json:"failures"`
	Last     time.Time `json:"last"`
}

func (n Name) key() string {
	sum := sha256.Sum256([]byte(n.Text))
	if n.Known {
		return knownDir + hex.EncodeToString(sum[:])
	}
	return strangerDir + strconv.Itoa(int(binary.BigEndian.Uint16(sum[:2])%strangerRows))
}

func (n Name) load(tx engines.Tx) (*count, error) {
	entry, err := tx.Get(n.key())
	if err != nil || entry == nil {
		return nil, err
	}
	c := new(count)
	if err := json.Unmarshal(entry.Value, c); err != nil {
		return nil, engines.Internal(err)
	}
	return c, nil
}

// Locked reports whether a name is locked out now.
func Locked(tx engines.Tx, r Rules, n Name, now time.Time) (bool, error) {
	if r.Disabled {
		return false, nil
	}
	c, err := n.load(tx)
	return c != nil && c.locked(r, now), err
}

func (c *count) locked(r Rules, now time.Time) bool {
	return c.Failures >= r.Threshold && now.Before(c.Last.Add(r.Duration))
}

// Fail counts a failed login. The handler's error has to be kept.
func Fail(tx engines.Tx, r Rules, n Name, now time.Time) error {
	if r.Disabled {
		return nil
	}
	c, err := n.load(tx)
	if err != nil {
		return err
	}
	if c == nil || !now.Before(c.Last.Add(r.Reset)) || c.Failures >= r.Threshold && !c.locked(r, now) {
		c = &count{Name: n.Text}
	}
	c.Failures++
	c.Last = now
	value, err := json.Marshal(c)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(n.key(), value)
}

// Succeed forgets the failures of a name.
func Succeed(tx engines.Tx, n Name) error {
	c, err := n.load(tx)
	if err != nil || c == nil {
		return err
	}
	return tx.Delete(n.key())
}

// Names lists the known names that are locked now, sorted by what hides them.
func Names(tx engines.Tx, r Rules, now time.Time) ([]string, error) {
	keys, err := tx.List(knownDir, engines.Page{})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, key := range keys {
		entry, err := tx.Get(knownDir + key)
		if err != nil {
			return nil, err
		}
		if entry == nil {
			continue
		}
		var c count
		if err := json.Unmarshal(entry.Value, &c); err != nil {
			return nil, engines.Internal(err)
		}
		if c.locked(r, now) {
			names = append(names, c.Name)
		}
	}
	return names, nil
}
