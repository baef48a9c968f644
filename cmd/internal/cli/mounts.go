package cli

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/coffer-secrets/coffer/client"
)

// mountKind is what secrets engines and ways to log in do not share.
type mountKind struct {
	base   string // API path of all of them
	prefix string // what their paths begin with in sys/remount
	noun   string
}

func secretsKind() mountKind { return mountKind{base: "sys/mounts", noun: "secrets engine"} }
func authKind() mountKind    { return mountKind{base: "sys/auth", prefix: "auth/", noun: "auth method"} }

func (a *app) secretsCommands() *cobra.Command {
	k := secretsKind()
	return group("secrets", "Secrets engines: what is mounted where",
		a.enableMount(k), a.disableMount(k), a.listMounts(k), a.tuneMount(k), a.moveMount(k))
}

func (a *app) authCommands() *cobra.Command {
	k := authKind()
	return group("auth", "Ways to log in",
		a.enableMount(k), a.disableMount(k), a.listMounts(k), a.tuneMount(k), a.moveMount(k), a.authHelp())
}

// path is the mount's path below the kind's own, with a slash at its end.
func (k mountKind) path(arg string) string {
	return strings.TrimSuffix(sanitize(arg), "/") + "/"
}

func (k mountKind) url(path string) string { return k.base + "/" + strings.TrimSuffix(path, "/") }

// enabling are the flags that only a new mount takes.
type enabling struct {
	path, plugin             string
	local, sealWrap, noCache bool
	entropy                  bool
}

func (a *app) enableMount(k mountKind) *cobra.Command {
	var f enabling
	t := newTuning(k)
	cmd := a.remote("enable [options] TYPE", "Enable a "+k.noun, 1, 1, func(ctx context.Context, c *client.Client, args []string) error {
		typ := strings.TrimSpace(args[0])
		path := k.path(typ)
		if f.path != "" {
			path = k.path(f.path)
		}
		body, err := t.body()
		if err != nil {
			return err
		}
		mount := map[string]any{"type": typ, "local": f.local, "seal_wrap": f.sealWrap, "external_entropy_access": f.entropy}
		for _, name := range []string{"description", "options"} {
			if v, ok := body[name]; ok {
				mount[name] = v
				delete(body, name)
			}
		}
		if f.noCache {
			body["force_no_cache"] = true
		}
		if mount["config"] = body; f.plugin != "" {
			mount["plugin_name"] = f.plugin
		}
		s, err := c.Write(ctx, k.url(path), mount)
		if err != nil {
			return remotef(err, "Error enabling")
		}
		return a.done(s, "Success! Enabled the %s %s at: %s", typ, k.noun, path)
	})
	t.flags(cmd)
	cmd.Flags().StringVar(&f.path, "path", "", "Path to mount it at; its type if not given.")
	cmd.Flags().StringVar(&f.plugin, "plugin-name", "", "Another name of the type.")
	cmd.Flags().BoolVar(&f.local, "local", false, "Accepted, as Vault has it.")
	cmd.Flags().BoolVar(&f.sealWrap, "seal-wrap", false, "Accepted: every value is sealed.")
	cmd.Flags().BoolVar(&f.noCache, "force-no-cache", false, "Accepted, as Vault has it.")
	cmd.Flags().BoolVar(&f.entropy, "external-entropy-access", false, "Accepted, as Vault has it.")
	return cmd
}

func (a *app) disableMount(k mountKind) *cobra.Command {
	force := false
	cmd := a.remote("disable [options] PATH", "Disable a "+k.noun+" and remove all that it keeps", 1, 1,
		func(ctx context.Context, c *client.Client, args []string) error {
			path := k.path(args[0])
			var query url.Values
			if force {
				query = url.Values{"force": {"true"}}
			}
			s, err := c.Delete(ctx, k.url(path), query)
			if err != nil {
				return remotef(err, "Error disabling %s at %s", k.noun, path)
			}
			return a.done(s, "Success! Disabled the %s (if it existed) at: %s", k.noun, path)
		})
	if k.prefix == "" {
		cmd.Flags().BoolVar(&force, "force", false, "Give up leases that cannot be undone at once: what was made for them may stay.")
	}
	return cmd
}

func (a *app) listMounts(k mountKind) *cobra.Command {
	var detailed bool
	cmd := a.remote("list [options]", "List the "+k.noun+"s", 0, 0, func(ctx context.Context, c *client.Client, _ []string) error {
		s, err := c.Read(ctx, k.base, nil)
		if err != nil {
			return remotef(err, "Error listing %ss", k.noun)
		}
		if s == nil || s.WrapInfo != nil || a.opts.format == formatRaw {
			return a.secret(s)
		}
		all := make(map[string]client.Mount)
		if err := s.Decode(&all); err != nil {
			return remotef(err, "Error listing %ss", k.noun)
		}
		return a.show(s.Data, func() string { return mountTable(all, detailed) })
	})
	cmd.Flags().BoolVar(&detailed, "detailed", false, "Also print settings and options.")
	return cmd
}

func mountTable(all map[string]client.Mount, detailed bool) string {
	names := []string{"Path", "Type", "Accessor", "Description"}
	if detailed {
		names = []string{"Path", "Type", "Accessor", "Default TTL", "Max TTL", "Listing", "Token Type", "Options", "Description", "UUID"}
	}
	rows := make([][]string, 0, len(all))
	for _, path := range slices.Sorted(maps.Keys(all)) {
		m := all[path]
		row := []string{path, m.Type, m.Accessor, m.Description}
		if detailed {
			row = []string{
				path, m.Type, m.Accessor, systemTTL(m.Config.DefaultLeaseTTL), systemTTL(m.Config.MaxLeaseTTL),
				m.Config.ListingVisibility, m.Config.TokenType, cell("", m.Options), m.Description, m.UUID,
			}
		}
		rows = append(rows, row)
	}
	return titled(names, rows)
}

func systemTTL(seconds int64) string {
	if seconds == 0 {
		return "system"
	}
	return humanDuration(seconds)
}

func (a *app) tuneMount(k mountKind) *cobra.Command {
	t := newTuning(k)
	cmd := a.remote("tune [options] PATH", "Change the settings of a "+k.noun, 1, 1, func(ctx context.Context, c *client.Client, args []string) error {
		path := k.path(args[0])
		body, err := t.body()
		if err != nil {
			return err
		}
		if len(body) == 0 {
			return usagef("Nothing to change: give at least one option.")
		}
		s, err := c.Write(ctx, k.url(path)+"/tune", body)
		if err != nil {
			return remotef(err, "Error tuning %s %s", k.noun, path)
		}
		return a.done(s, "Success! Tuned the %s at: %s", k.noun, path)
	})
	t.flags(cmd)
	return cmd
}

func (a *app) moveMount(k mountKind) *cobra.Command {
	return a.remote("move [options] SOURCE DESTINATION", "Move a "+k.noun+" to another path", 2, 2,
		func(ctx context.Context, c *client.Client, args []string) error {
			from, to := k.path(args[0]), k.path(args[1])
			s, err := c.Call(ctx, &client.Request{Method: http.MethodPut, Path: "sys/remount", Plain: true, Body: map[string]string{
				"from": k.prefix + from, "to": k.prefix + to,
			}})
			if err != nil {
				return remotef(err, "Error moving %s %s to %s", k.noun, from, to)
			}
			if s == nil || s.Data["migration_id"] == nil {
				return a.say("Success! Finished moving %s %s to %s", k.noun, from, to)
			}
			if err := a.say("Started moving %s %s to %s", k.noun, from, to); err != nil {
				return err
			}
			id, _ := s.Data["migration_id"].(string)
			return a.awaitMove(ctx, c, k, id, from, to)
		})
}

// tuning are the settings of a mount, by flag. Only what is given is sent.
type tuning struct {
	kind    mountKind
	cmd     *cobra.Command
	version int
	options []string
}

func newTuning(k mountKind) *tuning { return &tuning{kind: k} }

func (t *tuning) flags(cmd *cobra.Command) {
	t.cmd = cmd
	set := cmd.Flags()
	set.String("description", "", "What the mount is for.")
	set.Var(new(leaseValue), "default-lease-ttl", "How long leases and tokens live, if nothing else says.")
	set.Var(new(leaseValue), "max-lease-ttl", "How long they can live at most.")
	set.String("listing-visibility", "", "unauth to show the mount to callers without a token, or hidden.")
	set.StringArray("audit-non-hmac-request-keys", nil, "A field of requests that stands plain in audit records. May be repeated.")
	set.StringArray("audit-non-hmac-response-keys", nil, "A field of answers that stands plain in audit records. May be repeated.")
	set.StringArray("passthrough-request-headers", nil, "A header that is passed on. May be repeated.")
	set.StringArray("allowed-response-headers", nil, "A header that may be answered. May be repeated.")
	set.String("plugin-version", "", "Accepted if empty: engines are built in.")
	set.StringArrayVar(&t.options, "options", nil, "An option, as key=value. May be repeated.")
	if t.kind.prefix != "" {
		set.String("token-type", "", "Type of the tokens of logins: service, batch, default-service or default-batch.")
		set.Uint("user-lockout-threshold", 0, "How many failed tries lock a user out.")
		set.Var(new(durationValue), "user-lockout-duration", "For how long.")
		set.Var(new(durationValue), "user-lockout-counter-reset-duration", "After how long failed tries are forgotten.")
		set.Bool("user-lockout-disable", false, "Lock nobody out.")
		return
	}
	set.IntVar(&t.version, "version", 0, "Version of the engine, such as 2 for kv.")
}

// body is what was given, by the API's names.
func (t *tuning) body() (map[string]any, error) {
	body, lockout := make(map[string]any), make(map[string]string)
	set := t.cmd.Flags()
	for _, name := range []string{"description", "default-lease-ttl", "max-lease-ttl", "listing-visibility", "plugin-version", "token-type"} {
		if set.Changed(name) {
			body[underscored(name)] = set.Lookup(name).Value.String()
		}
	}
	for _, name := range []string{
		"audit-non-hmac-request-keys", "audit-non-hmac-response-keys", "passthrough-request-headers", "allowed-response-headers",
	} {
		if set.Changed(name) {
			list, err := set.GetStringArray(name)
			if err != nil {
				return nil, err
			}
			body[underscored(name)] = list
		}
	}
	for _, name := range []string{"threshold", "duration", "counter-reset-duration", "disable"} {
		if set.Changed("user-lockout-" + name) {
			lockout["lockout_"+underscored(name)] = set.Lookup("user-lockout-" + name).Value.String()
		}
	}
	if len(lockout) > 0 {
		body["user_lockout_config"] = lockout
	}
	options, err := pairs("options", t.options)
	if err != nil {
		return nil, err
	}
	if t.version != 0 {
		options["version"] = strconv.Itoa(t.version)
	}
	if len(options) > 0 {
		body["options"] = options
	}
	return body, nil
}
