package aws

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	// within bounds how long making something may take, and waiting until its key
	// is taken too.
	within        = time.Minute
	withinWaiting = engines.MaxWithin
	// defaultSession is how long a session is good if nobody says, and
	// shortestSession what AWS gives at least.
	defaultSession  = time.Hour
	shortestSession = 15 * time.Minute
	// target is the one queue of a mount for what is to be revoked.
	target = "aws"
	// noWayBack is shown with leases of sessions.
	noWayBack = "AWS cannot take these credentials back: they are good until they expire"
)

// undo is what a lease keeps of what was made for it.
type undo struct {
	Type string `json:"type"`
	User string `json:"user,omitempty"`
}

// answer is what the caller gets.
type answer struct {
	AccessKey string `json:"access_key"`
	SecretKey string `json:"secret_key"`
	// SecurityToken and SessionToken are the same; null for users.
	SecurityToken *string `json:"security_token"`
	SessionToken  *string `json:"session_token"`
	ARN           string  `json:"arn,omitempty"`
	TTL           int64   `json:"ttl,omitempty"`
	Expiration    string  `json:"expiration,omitempty"`
}

func issueFields() []engines.Field {
	return []engines.Field{
		nameOf("role"),
		{Name: "role_arn", Query: true, Help: "Which of the role's role_arns to assume, if it has several."},
		{Name: "role_session_name", Query: true, Help: "How the session is called."},
		{Name: "ttl", Type: engines.Seconds, Query: true, Help: "How long a session is good, 15m at least."},
		{Name: "mfa_code", Query: true, Secret: true, Help: "A code of the role's MFA device, for session tokens."},
	}
}

// order is what is to be made.
type order struct {
	root *root
	role *role
	is   string
	// name is that of the user, or of the session.
	name    string
	roleARN string
	code    string
	ttl     time.Duration
}

var (
	sessionNames = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`) //nolint:gochecknoglobals // a constant
	passcodes    = regexp.MustCompile(`^\d{6}$`)            //nolint:gochecknoglobals // a constant
)

// issuing is what makes credentials, on the path for sessions or the other one.
func (e *engine) issuing(sessions bool) engines.Handler {
	return func(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
		return e.issue(req, tx, sessions)
	}
}

func (e *engine) issue(req *engines.Request, tx engines.Tx, sessions bool) (*engines.Response, error) {
	name := req.Fields.String("name")
	r, err := loadRole(tx, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.Invalidf("unknown role: %s", name)
	}
	c, err := loadRoot(tx)
	if err != nil {
		return nil, err
	}
	o := &order{root: c, role: r}
	if o.is, err = r.typeFor(sessions); err != nil {
		return nil, err
	}
	g, err := e.order(req, tx, o)
	if err != nil {
		return nil, err
	}
	kept, err := json.Marshal(undo{Type: o.is, User: g.What["username"]})
	if err != nil {
		return nil, engines.Internal(err)
	}
	g.Role, g.Target, g.Undo = name, target, kept
	return &engines.Response{Grant: g}, nil
}

// typeFor is what a path gives.
func (r *role) typeFor(session bool) (string, error) {
	if !r.Legacy {
		return r.Types[0], nil
	}
	for _, is := range r.Types {
		if (is != iamUser) == session {
			return is, nil
		}
	}
	return "", engines.Invalidf("the role gives %s only, which is not to be had on this path: it was written with policy or arn", r.Types[0])
}

// order decides on what is to be made.
func (e *engine) order(req *engines.Request, tx engines.Tx, o *order) (*engines.Grant, error) {
	v := req.Fields
	template, err := o.root.names(o.is != iamUser)
	if err != nil {
		return nil, engines.Internal(err)
	}
	in := map[string]string{"DisplayName": req.Caller.DisplayName, "PolicyName": v.String("name")}
	if o.name, err = template.Make(in, req.Now); err != nil {
		return nil, engines.Invalidf("%s", err.Error())
	}
	if o.is == iamUser {
		return e.orderUser(req, tx, o)
	}
	if o.ttl, err = o.length(req); err != nil {
		return nil, err
	}
	if err := o.details(&v); err != nil {
		return nil, err
	}
	g := &engines.Grant{
		What: map[string]string{"credential_type": o.is, "revocation": noWayBack},
		TTL:  o.ttl, MaxTTL: o.ttl, Within: within,
		Create: func(ctx context.Context, l *engines.Granted) (any, error) {
			a, err := e.clients.of(ctx, req.Mount, o.root)
			if err != nil {
				return nil, err
			}
			return a.makeSession(ctx, o, l)
		},
	}
	if o.roleARN != "" && len(o.roleARN) < 200 { // a note is 256 bytes with its name
		g.What["role_arn"] = o.roleARN
	}
	return g, nil
}

func (e *engine) orderUser(req *engines.Request, tx engines.Tx, o *order) (*engines.Grant, error) {
	var l lease
	if _, err := load(tx, leaseRow, &l); err != nil {
		return nil, err
	}
	g := &engines.Grant{
		What: map[string]string{"username": o.name, "credential_type": iamUser}, TTL: l.TTL, MaxTTL: l.Max, Renewable: true, Within: within,
		Create: func(ctx context.Context, _ *engines.Granted) (any, error) {
			a, err := e.clients.of(ctx, req.Mount, o.root)
			if err != nil {
				return nil, notMade(err)
			}
			made, err := a.makeUser(ctx, o.name, o.role)
			if err == nil && o.role.Wait {
				err = e.clients.usable(ctx, o.root, pair{made.AccessKey, made.SecretKey})
			}
			return made, err
		},
	}
	if o.role.Wait {
		g.Within = withinWaiting
	}
	for _, field := range []string{"ttl", "role_arn", "role_session_name", "mfa_code"} {
		if req.Fields.Has(field) {
			g.Warnings = append(g.Warnings, field+" is of no effect: the role gives users of IAM, whose leases are as config/lease says")
		}
	}
	return g, nil
}

// length is how long a session shall be good.
func (o *order) length(req *engines.Request) (time.Duration, error) {
	ttl, field := o.role.DefaultTTL, "default_sts_ttl"
	if req.Fields.Has("ttl") && req.Fields.Duration("ttl") != 0 {
		ttl, field = req.Fields.Duration("ttl"), "ttl"
	}
	most, limit := req.Mount.MaxTTL, "the mount's max_lease_ttl"
	if o.role.MaxTTL > 0 && o.role.MaxTTL < most {
		most, limit = o.role.MaxTTL, "the role's max_sts_ttl"
	}
	if ttl == 0 {
		ttl = min(defaultSession, most)
	}
	switch {
	case ttl > most:
		return 0, engines.Invalidf("%s: %s is longer than %s, which is %s", field, ttl, limit, most)
	case ttl < shortestSession:
		return 0, engines.Invalidf("%s: %s is too short: AWS gives sessions of 15m at least", field, ttl)
	}
	return ttl.Truncate(time.Second), nil
}

// details takes what belongs to one type of sessions.
func (o *order) details(v *engines.Values) error {
	if o.is != assumedRole && (v.String("role_arn") != "" || v.String("role_session_name") != "") {
		return engines.Invalidf("role_arn and role_session_name: the role gives no assumed_role but %s", o.is)
	}
	if o.is != sessionToken && v.String("mfa_code") != "" {
		return engines.Invalidf("mfa_code: the role gives no session_token but %s", o.is)
	}
	switch o.is {
	case assumedRole:
		o.roleARN = v.String("role_arn")
		if o.roleARN == "" {
			if len(o.role.RoleARNs) != 1 {
				return engines.Invalidf("role_arn is missing: the role has %d of them to choose from", len(o.role.RoleARNs))
			}
			o.roleARN = o.role.RoleARNs[0]
		}
		if !slices.Contains(o.role.RoleARNs, o.roleARN) {
			return engines.Invalidf("role_arn: %.100q is not one of the role's role_arns", o.roleARN)
		}
		if name := v.String("role_session_name"); name != "" {
			o.name = name
		}
		if !sessionNames.MatchString(o.name) {
			return engines.Invalidf("role_session_name takes 2 to 64 letters, digits and +=,.@_-")
		}
	case sessionToken:
		o.code = v.String("mfa_code")
		switch {
		case o.role.Serial == "" && o.code != "":
			return engines.Invalidf("mfa_code: the role has no mfa_serial_number")
		case o.role.Serial != "" && !passcodes.MatchString(o.code):
			return engines.Invalidf("mfa_code has to be the six digits that the role's MFA device shows")
		}
	}
	return nil
}
