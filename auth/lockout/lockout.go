package lockout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	knownDir    = "lockout/known/"
	strangerDir = "lockout/stranger/"
)

// Name is who logs in, in the one form of the name.
type Name struct {
	Text string
	// Known says that there is such a user.
	Known bool
}

// Locked is a name that is locked out, until a time.
type Locked struct {
	Name  string
	Until time.Time
}

// count is the row of a name.
type count struct {
	// Name is only kept if there is such a user.
	Name     string    `json:"name,omitempty"`
	Failures int64     `json:"failures"`
	Last     time.Time `json:"last"`
}

func hash(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// period is how long strangers' counts are kept together: a power of two of
// minutes in which every count ends. It is part of the folders' names, so a
// change of the rules begins anew.
func (r Rules) period() time.Duration {
	p := time.Minute
	for p < r.Duration || p < r.Reset {
		p *= 2
	}
	return p
}

// folder is where strangers' counts are that were written n periods ago.
func (r Rules) folder(now time.Time, n int64) string {
	p := r.period()
	return strangerDir + strconv.FormatInt(int64(p/time.Minute), 10) + "-" + strconv.FormatInt(now.UnixNano()/int64(p)-n, 10) + "/"
}

// keys are the rows that a count may be in. It is written to the first.
func (r Rules) keys(n Name, now time.Time) []string {
	h := hash(n.Text)
	if n.Known {
		return []string{knownDir + h}
	}
	return []string{r.folder(now, 0) + h[:2] + "/" + h, r.folder(now, 1) + h[:2] + "/" + h}
}

func load(tx engines.Tx, key string) (*count, error) {
	entry, err := tx.Get(key)
	if err != nil || entry == nil {
		return nil, err
	}
	c := new(count)
	if err := json.Unmarshal(entry.Value, c); err != nil {
		return nil, engines.Internal(err)
	}
	return c, nil
}

// find returns a name's newest count and the rows that it may be in.
func (r Rules) find(tx engines.Tx, n Name, now time.Time) (c *count, keys []string, err error) {
	keys = r.keys(n, now)
	for _, key := range keys {
		if c, err = load(tx, key); err != nil || c != nil {
			return c, keys, err
		}
	}
	return nil, keys, nil
}

func (c *count) locked(r Rules, now time.Time) bool {
	return c.Failures >= r.Threshold && now.Before(c.Last.Add(r.Duration))
}

// Check refuses a login of a name that is locked out. It is asked before the
// login is looked at.
func Check(tx engines.Tx, r Rules, n Name, now time.Time) error {
	if r.Disabled {
		return nil
	}
	c, _, err := r.find(tx, n, now)
	if err != nil || c == nil || !c.locked(r, now) {
		return err
	}
	return engines.Errorf(engines.KindDenied, "permission denied")
}

// Fail counts a failed login. The handler's error has to be kept.
func Fail(tx engines.Tx, r Rules, n Name, now time.Time) error {
	if r.Disabled {
		return nil
	}
	c, keys, err := r.find(tx, n, now)
	if err != nil {
		return err
	}
	if c == nil || !now.Before(c.Last.Add(r.Reset)) || c.Failures >= r.Threshold && !c.locked(r, now) {
		c = new(count)
	}
	c.Failures++
	c.Last = now
	if n.Known {
		c.Name = n.Text
	}
	value, err := json.Marshal(c)
	if err != nil {
		return engines.Internal(err)
	}
	if err := tx.Put(keys[0], value); err != nil || n.Known {
		return err
	}
	return r.sweep(tx, now)
}

// swept is how many folders of strangers' counts one failure removes. A period
// has 256, so that no single removal is long; a period with fewer failures has
// fewer rows.
const swept = 8

// sweep removes some of what strangers left in periods that are over.
func (r Rules) sweep(tx engines.Tx, now time.Time) error {
	periods, err := tx.List(strangerDir, engines.Page{})
	if err != nil {
		return err
	}
	left := swept
	for _, period := range periods {
		dir := strangerDir + period
		if dir == r.folder(now, 0) || dir == r.folder(now, 1) {
			continue
		}
		parts, err := tx.List(dir, engines.Page{Limit: left})
		if err != nil {
			return err
		}
		for _, part := range parts {
			if err := tx.DeletePrefix(dir + part); err != nil {
				return err
			}
		}
		if left -= len(parts); left == 0 {
			return nil
		}
	}
	return nil
}

// Succeed forgets the failures of a user, who has logged in.
func Succeed(tx engines.Tx, name string) error {
	_, err := Unlock(tx, name)
	return err
}

// Unlock forgets the failures of a user and reports whether there were any.
func Unlock(tx engines.Tx, name string) (bool, error) {
	key := knownDir + hash(name)
	c, err := load(tx, key)
	if err != nil || c == nil {
		return false, err
	}
	return true, tx.Delete(key)
}

// List returns the users that are locked now, sorted by name. Strangers are
// not among them.
func List(tx engines.Tx, r Rules, now time.Time) ([]Locked, error) {
	if r.Disabled {
		return nil, nil
	}
	keys, err := tx.List(knownDir, engines.Page{})
	if err != nil {
		return nil, err
	}
	var out []Locked
	for _, key := range keys {
		c, err := load(tx, knownDir+key)
		if err != nil {
			return nil, err
		}
		if c != nil && c.locked(r, now) {
			out = append(out, Locked{Name: c.Name, Until: c.Last.Add(r.Duration)})
		}
	}
	slices.SortFunc(out, func(a, b Locked) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
