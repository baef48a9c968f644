package kit

import (
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/engines"
	httpapi "github.com/coffer-secrets/coffer/http"
	"github.com/coffer-secrets/coffer/seal"
)

// Option changes what New starts.
type Option func(*options)

type options struct {
	dir               string
	logStore          string
	shares, threshold int
	uninitialized     bool
	sealed            bool
	clock             *Clock
	member            *member
	core              []func(*core.Config)
	http              []func(*httpapi.Config)
}

// Uninitialized leaves the node without keys.
func Uninitialized() Option { return func(o *options) { o.uninitialized = true } }

// Sealed leaves the node initialised and sealed.
func Sealed() Option { return func(o *options) { o.sealed = true } }

// Shares sets how many key shares there are and how many unseal. Without it
// there is one.
func Shares(shares, threshold int) Option {
	return func(o *options) { o.shares, o.threshold = shares, threshold }
}

// RawStorage allows sys/raw.
func RawStorage() Option { return Core(func(c *core.Config) { c.RawStorage = true }) }

// Wrapper makes the node unseal itself; the shares are those of the recovery
// key then.
func Wrapper(w seal.Wrapper) Option { return Core(func(c *core.Config) { c.Wrapper = w }) }

// Engines adds engines to those that every server has.
func Engines(list ...*engines.Engine) Option {
	return Core(func(c *core.Config) { c.Engines = append(c.Engines, list...) })
}

// Limits sets the system's lease limits.
func Limits(standard, most time.Duration) Option {
	return Core(func(c *core.Config) { c.Limits.Default, c.Limits.Max = standard, most })
}

// At runs the node by a clock that the test moves.
func At(c *Clock) Option { return func(o *options) { o.clock = c } }

// AtEach runs the nodes of a cluster by clocks of their own, by their number.
func AtEach(clocks ...*Clock) Option {
	return func(o *options) {
		if n, err := strconv.Atoi(strings.TrimPrefix(o.member.id, memberPrefix)); err == nil && n <= len(clocks) {
			o.clock = clocks[n-1]
		}
	}
}

// ReadHold is how long a read waits for a leader in a cluster.
func ReadHold(d time.Duration) Option { return func(o *options) { o.member.readHold = d } }

// LogStore keeps the log in another store than the default.
func LogStore(name string) Option { return func(o *options) { o.logStore = name } }

// Dir keeps the node in a folder instead of a temporary one.
func Dir(dir string) Option { return func(o *options) { o.dir = dir } }

// Core changes how the core is configured.
func Core(change func(*core.Config)) Option {
	return func(o *options) { o.core = append(o.core, change) }
}

// HTTP changes how the API is configured.
func HTTP(change func(*httpapi.Config)) Option {
	return func(o *options) { o.http = append(o.http, change) }
}
