package database

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/usernames"
)

const (
	configDir = "config/"
	// Bounds of a connection.
	defaultOpen   = 4
	maxOpen       = 1000
	maxURL        = 8 << 10
	maxOption     = 64 << 10
	maxList       = 1024
	maxStatements = 64 << 10
)

// connection is a row: a database, and how to reach it.
type connection struct {
	// Name and what follows it are not in the row.
	Name    string `json:"-"`
	version uint64
	plugin  *Plugin

	Plugin           string            `json:"plugin"`
	PluginVersion    string            `json:"plugin_version,omitempty"`
	URL              string            `json:"url"`
	Username         string            `json:"username,omitempty"`
	Passwords        []candidate       `json:"passwords,omitempty"`
	AllowedRoles     []string          `json:"allowed_roles,omitempty"`
	RootStatements   []string          `json:"root_statements,omitempty"`
	Verify           bool              `json:"verify"`
	PasswordPolicy   string            `json:"password_policy,omitempty"`
	UsernameTemplate string            `json:"username_template,omitempty"`
	MaxOpen          int               `json:"max_open"`
	MaxIdle          int               `json:"max_idle"`
	MaxLifetime      time.Duration     `json:"max_lifetime,omitempty"`
	Options          map[string]string `json:"options,omitempty"`
}

// candidate is a password that the database may have.
type candidate struct {
	Password string    `json:"password"`
	Since    time.Time `json:"since"`
}

func connectionFields() []engines.Field {
	return []engines.Field{
		{Name: "plugin_name", Help: "The kind of database, such as postgresql-database-plugin."},
		{Name: "plugin_version", Help: "Must be empty: each kind has one version, which is built in."},
		{Name: "verify_connection", Type: engines.Bool, Default: true, Help: "Log in at the database before the connection is stored."},
		{Name: "allowed_roles", Type: engines.Strings, Help: "Roles that may use it, with * for any text; none by default."},
		{Name: "root_rotation_statements", Type: engines.Strings, Whole: true, Help: "Statements that change the password of username."},
		{Name: "password_policy", Help: "The password policy that passwords are made by."},
		{Name: "username_template", Help: "How users are called: text with .DisplayName, .RoleName and functions."},
		{Name: "connection_url", Help: "Where the database is, with {{username}} and {{password}}."},
		{Name: "username", Help: "The user that Coffer logs in as."},
		{Name: "password", Secret: true, Help: "The user's password."},
		{Name: "max_open_connections", Type: engines.Int, Default: int64(defaultOpen), Help: "How many connections each node keeps open at most."},
		{Name: "max_idle_connections", Type: engines.Int, Default: int64(0), Help: "How many stay open unused; 0 for all, below 0 for none."},
		{Name: "max_connection_lifetime", Type: engines.Seconds, Help: "How long a connection is used; 0 for any time."},
	}
}

// loadConnection returns nil if there is none of the name.
func (e *engine) loadConnection(tx engines.Tx, name string) (*connection, error) {
	entry, err := tx.Get(configDir + name)
	if err != nil || entry == nil {
		return nil, err
	}
	c := &connection{Name: name, version: entry.Version}
	if err := json.Unmarshal(entry.Value, c); err != nil {
		return nil, engines.Internal(err)
	}
	if c.plugin = e.plugins[c.Plugin]; c.plugin == nil {
		return nil, engines.Invalidf("the connection %q is of a kind that this version does not have: %s", name, c.Plugin)
	}
	return c, nil
}

// needConnection is loadConnection where there has to be one.
func (e *engine) needConnection(tx engines.Tx, name string) (*connection, error) {
	c, err := e.loadConnection(tx, name)
	if err == nil && c == nil {
		return nil, engines.Invalidf("there is no connection %q: write it to config/%s", name, name)
	}
	return c, err
}

func (c *connection) store(tx engines.Tx) error {
	row, err := json.Marshal(c)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(configDir+c.Name, row)
}

// settings are what the plugin opens.
func (c *connection) settings() *Settings {
	s := &Settings{URL: c.URL, Username: c.Username, MaxOpen: c.MaxOpen, MaxIdle: c.MaxIdle, MaxLifetime: c.MaxLifetime, Options: c.Options}
	for _, p := range c.Passwords {
		s.Passwords = append(s.Passwords, p.Password)
	}
	return s
}

// changed is the connection as it is with what the request gives.
func (e *engine) changed(req *engines.Request, tx engines.Tx) (*connection, error) {
	name := req.Fields.String("name")
	c, err := e.loadConnection(tx, name)
	if err != nil {
		return nil, err
	}
	v := req.Fields
	if c == nil {
		c = &connection{Name: name, Verify: true, MaxOpen: defaultOpen, MaxIdle: defaultOpen}
	}
	for field, to := range map[string]*string{
		"plugin_name": &c.Plugin, "connection_url": &c.URL, "username": &c.Username,
		"password_policy": &c.PasswordPolicy, "username_template": &c.UsernameTemplate,
	} {
		if v.Has(field) {
			*to = v.String(field)
		}
	}
	if v.Has("password") {
		c.Passwords = nil
		if v.String("password") != "" {
			c.Passwords = []candidate{{Password: v.String("password"), Since: req.Now}}
		}
	}
	if v.Has("allowed_roles") {
		c.AllowedRoles = v.Strings("allowed_roles")
	}
	if v.Has("root_rotation_statements") {
		c.RootStatements = v.Strings("root_rotation_statements")
	}
	c.Verify = v.Bool("verify_connection")
	if v.Has("max_connection_lifetime") {
		c.MaxLifetime = v.Duration("max_connection_lifetime")
	}
	if c.plugin = e.plugins[c.Plugin]; c.plugin == nil {
		known := slices.Sorted(maps.Keys(e.plugins))
		return nil, engines.Invalidf("plugin_name has to be one of %q", known)
	}
	if v.String("plugin_version") != "" {
		return nil, engines.Invalidf("plugin_version has to be empty: %s is built in", c.Plugin)
	}
	c.pool(&v)
	c.options(&v)
	return c, c.check()
}

// pool takes the numbers of connections; an idle one cannot be more than open.
func (c *connection) pool(v *engines.Values) {
	if v.Has("max_open_connections") {
		c.MaxOpen = int(max(min(v.Int("max_open_connections"), maxOpen), 0))
		if c.MaxOpen == 0 {
			c.MaxOpen = defaultOpen
		}
	}
	if v.Has("max_idle_connections") {
		c.MaxIdle = int(min(v.Int("max_idle_connections"), maxOpen))
	} else if v.Has("max_open_connections") {
		c.MaxIdle = c.MaxOpen
	}
	if c.MaxIdle == 0 || c.MaxIdle > c.MaxOpen {
		c.MaxIdle = c.MaxOpen
	}
}

// options takes what only this kind of database has.
func (c *connection) options(v *engines.Values) {
	kept := make(map[string]string)
	for _, f := range c.plugin.Fields {
		if value, ok := c.Options[f.Name]; ok {
			kept[f.Name] = value
		}
		if v.Has(f.Name) {
			kept[f.Name] = fmt.Sprint(v.Get(f.Name))
		}
	}
	c.Options = kept
}

// check tells what is wrong with a connection, without asking the database.
func (c *connection) check() error {
	if len(c.URL) > maxURL || len(c.Username) > maxURL || len(c.UsernameTemplate) > usernames.MaxTemplate || len(c.AllowedRoles) > maxList {
		return engines.Invalidf("the connection is too long: connection_url and username take %d bytes, allowed_roles %d entries", maxURL, maxList)
	}
	for name, value := range c.Options {
		if len(value) > maxOption {
			return engines.Invalidf("%s is longer than %d bytes", name, maxOption)
		}
	}
	if err := checkStatements(c.plugin, "root_rotation_statements", c.RootStatements); err != nil {
		return err
	}
	if _, err := c.names(usernames.Parse); err != nil {
		return engines.Invalidf("%s", err.Error())
	}
	db, err := c.plugin.Open(c.settings())
	if err != nil {
		return engines.Invalidf("%s", err.Error())
	}
	return db.Close()
}

// placeholder finds what looks like one of the placeholders of statements. One that
// is not filled in would make a user called by it, whom no lease is for.
var (
	placeholder  = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)                            //nolint:gochecknoglobals // a constant
	placeholders = []string{"name", "username", "password", "expiration", "public_key"} //nolint:gochecknoglobals // a constant
)

func checkStatements(p *Plugin, field string, statements []string) error {
	size := 0
	for _, text := range statements {
		size += len(text)
	}
	if size > maxStatements || len(statements) > maxList {
		return engines.Invalidf("%s take at most %d bytes", field, maxStatements)
	}
	for _, found := range placeholder.FindAllStringSubmatch(strings.Join(statements, "\n"), -1) {
		if !slices.Contains(placeholders, found[1]) {
			return engines.Invalidf("%s: there is no placeholder %s: there are %q", field, found[0], placeholders)
		}
	}
	if err := p.Check(statements); err != nil {
		return engines.Invalidf("%s: %s", field, err.Error())
	}
	return nil
}

// names are how users of the connection are called, as parse reads it.
func (c *connection) names(parse func(text string, r usernames.Rules) (*usernames.Template, error)) (*usernames.Template, error) {
	text := c.UsernameTemplate
	if text == "" {
		text = c.plugin.Username
	}
	return parse(text, nameRules(c.plugin.MaxUsername))
}

// verifying logs in at the database before the connection is stored.
func (e *engine) verifying(_ context.Context, req *engines.Request, tx engines.Tx) (func(ctx context.Context) (any, error), error) {
	if req.Op == engines.Help {
		return nil, nil
	}
	c, err := e.changed(req, tx)
	if err != nil || !c.Verify {
		return nil, err
	}
	return func(ctx context.Context) (any, error) {
		db, err := c.plugin.Open(c.settings())
		if err != nil {
			return nil, engines.Invalidf("%s", err.Error())
		}
		defer closeLater(db)
		ctx, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		if _, err := db.Verify(ctx); err != nil {
			return nil, engines.Invalidf("the database does not take the connection: %s; verify_connection=false stores it all the same", err.Error())
		}
		return c.version, nil
	}, nil
}

func (e *engine) writeConnection(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := e.changed(req, tx)
	if err != nil {
		return nil, err
	}
	if verified, ok := req.Ahead.(uint64); c.Verify && (!ok || verified != c.version) {
		return nil, engines.ErrStale
	}
	if err := c.store(tx); err != nil {
		return nil, err
	}
	return e.then(req.Mount, c.Name), nil
}

// then closes what is open to connections once a transaction has been committed.
func (e *engine) then(m engines.Mount, names ...string) *engines.Response {
	return &engines.Response{Then: func(context.Context) error {
		for _, name := range names {
			e.pools.drop(poolKey(m, name))
		}
		return nil
	}}
}

// literalPassword finds passwords that somebody wrote into a URL.
var literalPassword = regexp.MustCompile(`(://[^:/@]*:)[^@]*(@)|((?i:password)\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&]+)`) //nolint:gochecknoglobals // a constant

// passwordOfDSN finds those in what MySQL's driver takes: user:password@tcp(host).
var passwordOfDSN = regexp.MustCompile(`(?s)^([^:/@]*:)(?:.*(@\w*\()|[^/].*(@/))`) //nolint:gochecknoglobals // a constant

func maskURL(url string) string {
	if found := passwordOfDSN.FindStringSubmatch(url); found != nil {
		end := found[2] + found[3]
		if found[0] == found[1]+"{{password}}"+end {
			return url
		}
		return found[1] + "*****" + end + url[len(found[0]):]
	}
	return literalPassword.ReplaceAllStringFunc(url, func(found string) string {
		parts := literalPassword.FindStringSubmatch(found)
		if parts[1]+"{{password}}"+parts[2] == found || parts[3] != "" && parts[4] == "{{password}}" {
			return found
		}
		return parts[1] + parts[3] + "*****" + parts[2]
	})
}

func (e *engine) readConnection(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := e.loadConnection(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, engines.NotFound()
	}
	details := map[string]any{
		"username":             c.Username,
		"max_open_connections": c.MaxOpen, "max_idle_connections": c.MaxIdle, "max_connection_lifetime": c.MaxLifetime.String(),
	}
	if c.URL != "" {
		details["connection_url"] = maskURL(c.URL)
	}
	if c.UsernameTemplate != "" {
		details["username_template"] = c.UsernameTemplate
	}
	for _, f := range c.plugin.Fields {
		if value, ok := c.Options[f.Name]; ok && !f.Secret {
			details[f.Name] = shown(&f, value)
		}
	}
	return &engines.Response{Data: map[string]any{
		"plugin_name": c.Plugin, "plugin_version": c.PluginVersion, "allowed_roles": orEmpty(c.AllowedRoles),
		"connection_details": details, "password_policy": c.PasswordPolicy, "verify_connection": c.Verify,
		"root_credentials_rotate_statements": orEmpty(c.RootStatements),
	}}, nil
}

// shown is the value of an option as its field has it.
func shown(f *engines.Field, value string) any {
	switch f.Type {
	case engines.Bool:
		return value == "true"
	case engines.Int:
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return n
		}
	}
	return value
}

// orEmpty is shown as [] rather than null.
func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (e *engine) deleteConnection(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name := req.Fields.String("name")
	if !req.Fields.Bool("force") {
		if err := unused(req, tx, name); err != nil {
			return nil, err
		}
	}
	if err := tx.Delete(configDir + name); err != nil {
		return nil, err
	}
	return e.then(req.Mount, name), nil
}

// unused says what still needs a connection.
func unused(req *engines.Request, tx engines.Tx, name string) error {
	kept := 0
	names, err := tx.List(staticDir, engines.Page{})
	if err != nil {
		return err
	}
	for _, of := range names {
		s, err := loadStatic(tx, of)
		if err != nil {
			return err
		}
		if s != nil && s.Connection == name {
			kept++
		}
	}
	leases, more := 0, false
	if req.Leases != nil {
		if leases, more, err = req.Leases(name); err != nil {
			return err
		}
	}
	if kept == 0 && leases == 0 && !more {
		return nil
	}
	least := ""
	if more {
		least = "at least "
	}
	return engines.Invalidf("the connection is needed to undo %s%d leases and to change the passwords of %d static roles: revoke the leases and delete the static roles first, or delete it with force=true, after which such leases can only be ended by force",
		least, leases, kept)
}

func (e *engine) reset(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := e.needConnection(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	return e.then(req.Mount, c.Name), nil
}

func (e *engine) reload(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	plugin := e.plugins[req.Fields.String("plugin_name")]
	names, err := tx.List(configDir, engines.Page{})
	if err != nil {
		return nil, err
	}
	found := []string{}
	for _, name := range names {
		c, err := e.loadConnection(tx, name)
		if err != nil {
			return nil, err
		}
		if c != nil && c.plugin == plugin {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return nil, engines.Errorf(engines.KindNotFound, "there are no connections of the kind %q", req.Fields.String("plugin_name"))
	}
	resp := e.then(req.Mount, found...)
	resp.Data = map[string]any{"connections": found, "count": len(found)}
	return resp, nil
}
