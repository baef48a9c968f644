package aws

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/recurring"
	"github.com/coffer-secrets/coffer/engines/usernames"
)

// Bounds of config/root.
const (
	maxText    = 2048
	maxRetries = 100
	// defaultNames is how users and sessions are called.
	defaultNames = `{{if (eq .Type "STS")}}{{printf "vault-%s-%s" (unix_time) (random 15)}}{{else}}` +
		`{{printf "vault-%s-%s-%s" (printf "%s-%s" (.DisplayName) (.PolicyName) | truncate 30) (unix_time) (random 16)}}{{end}}`
	// longestUser and longestSession are what AWS takes.
	longestUser    = 64
	longestSession = 32
	// leastRandom is how many characters of names have to differ: that of a user
	// who is there already makes nothing, but it fails the request.
	leastRandom = 4
	// leastPeriod is the shortest time from one rotation to the next.
	leastPeriod = time.Minute
)

// pair is a key with its secret.
type pair struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// root is a row: the credentials of the mount, and where AWS is.
type root struct {
	// version is not in the row; 0 without one.
	version uint64

	Key               pair     `json:"key"`
	Region            string   `json:"region,omitempty"`
	IAMEndpoint       string   `json:"iam_endpoint,omitempty"`
	STSEndpoint       string   `json:"sts_endpoint,omitempty"`
	STSRegion         string   `json:"sts_region,omitempty"`
	FallbackEndpoints []string `json:"fallback_endpoints,omitempty"`
	FallbackRegions   []string `json:"fallback_regions,omitempty"`
	MaxRetries        int64    `json:"max_retries"`
	UsernameTemplate  string   `json:"username_template,omitempty"`
	RoleARN           string   `json:"role_arn,omitempty"`
	// Audience is whom the mount's own token is for, if that gives the credentials.
	Audience string        `json:"audience,omitempty"`
	TokenTTL time.Duration `json:"token_ttl,omitempty"`
	Resting  bool          `json:"resting,omitempty"`
	Rotated  time.Time     `json:"rotated,omitzero"`
	Rotation *rotation     `json:"rotation,omitempty"`
	// Lost is the asking for a key after whose end to look for lost ones again.
	Lost *asked `json:"lost,omitempty"`
	recurring.Times
}

func rootFields() []engines.Field {
	return append(recurring.Fields("the key", "1m"), []engines.Field{
		{Name: "access_key", Help: "The key that Coffer uses; without one, the environment, profile, web identity or instance of the nodes."},
		{Name: "secret_key", Secret: true, Help: "The key's secret."},
		{Name: "region", Help: "The region; else that of the node's environment, or us-east-1."},
		{Name: "iam_endpoint", Help: "The URL of IAM, if not AWS's own."},
		{Name: "sts_endpoint", Help: "The URL of STS, if not AWS's own."},
		{Name: "sts_region", Help: "The region of STS, if another."},
		{Name: "sts_fallback_endpoints", Type: engines.Strings, Help: "URLs of STS to ask, in this order, if the first does not answer."},
		{Name: "sts_fallback_regions", Type: engines.Strings, Help: "Their regions."},
		{Name: "max_retries", Type: engines.Int, Default: int64(-1), Help: "How often to ask again; -1 for as long as the request may take."},
		{Name: "username_template", Help: "How users and sessions are called: text with .DisplayName, .PolicyName, .Type and functions."},
		{Name: "role_arn", Help: "A role to assume before anything else."},
		{Name: "disable_automated_rotation", Type: engines.Bool, Default: false, Help: "Do not change it by itself."},
		{Name: "identity_token_audience", Help: "Instead of access_key: whom the mount's own identity token is for, with which role_arn is assumed."},
		{Name: "identity_token_ttl", Type: engines.Seconds, Default: time.Hour, Help: "How long the token is good."},
	}...)
}

// loadRoot returns what holds where nothing is configured, if nothing is.
func loadRoot(tx engines.Tx) (*root, error) {
	c := &root{MaxRetries: -1}
	var err error
	c.version, err = load(tx, rootRow, c)
	return c, err
}

func (c *root) store(tx engines.Tx) error { return store(tx, rootRow, c) }

// names are how users, or sessions, are called.
func (c *root) names(session bool) (*usernames.Template, error) {
	text := c.UsernameTemplate
	if text == "" {
		text = defaultNames
	}
	rules := usernames.Rules{
		Target: "AWS", Fields: []string{"DisplayName", "PolicyName", "Type"}, Conditions: true, Others: "_+=,.@-",
	}
	if session {
		rules.Most, rules.Fixed = longestSession, map[string]string{"Type": "STS"}
	} else {
		rules.Most, rules.Least, rules.Fixed = longestUser, leastRandom, map[string]string{"Type": "IAM"}
	}
	return usernames.Parse(text, rules)
}

func readRoot(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	c, err := loadRoot(tx)
	if err != nil {
		return nil, err
	}
	if c.version == 0 {
		return nil, engines.NotFound()
	}
	return &engines.Response{Data: map[string]any{
		"access_key": c.Key.ID, "region": c.Region, "iam_endpoint": c.IAMEndpoint, "sts_endpoint": c.STSEndpoint, "sts_region": c.STSRegion,
		"sts_fallback_endpoints": orEmpty(c.FallbackEndpoints), "sts_fallback_regions": orEmpty(c.FallbackRegions),
		"max_retries": c.MaxRetries, "username_template": c.UsernameTemplate, "role_arn": c.RoleARN,
		"rotation_period": int64(c.Period / time.Second), "rotation_schedule": c.Schedule, "rotation_window": int64(c.Window / time.Second),
		"disable_automated_rotation": c.Resting, "identity_token_audience": c.Audience, "identity_token_ttl": int64(c.TokenTTL / time.Second),
	}}, nil
}

func writeRoot(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	v := req.Fields
	c := &root{
		Key: pair{v.String("access_key"), v.String("secret_key")}, Region: v.String("region"), IAMEndpoint: v.String("iam_endpoint"),
		STSEndpoint: v.String("sts_endpoint"), STSRegion: v.String("sts_region"),
		FallbackEndpoints: v.Strings("sts_fallback_endpoints"), FallbackRegions: v.Strings("sts_fallback_regions"),
		MaxRetries: v.Int("max_retries"), UsernameTemplate: v.String("username_template"), RoleARN: v.String("role_arn"),
		Audience: v.String("identity_token_audience"), TokenTTL: v.Duration("identity_token_ttl"), Resting: v.Bool("disable_automated_rotation"), Rotated: req.Now,
	}
	if err := c.Take(v); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	was, err := loadRoot(tx)
	if err != nil {
		return nil, err
	}
	if was.Key.ID == c.Key.ID {
		c.Rotation, c.Lost = was.Rotation, was.Lost // what is under way goes on
	}
	return nil, errors.Join(c.store(tx), tx.Schedule(rootDue, c.due(req.Now)))
}

// next is when the key is changed by itself; never for the zero time.
func (c *root) next(now time.Time) time.Time {
	if c.None() || c.Resting {
		return time.Time{}
	}
	return c.Next(c.Rotated, now)
}

// due is when there is something to do for it; never for the zero time.
func (c *root) due(now time.Time) time.Time {
	if c.Rotation != nil {
		return now
	}
	at := c.next(now)
	if c.Lost != nil && (at.IsZero() || c.Lost.Until.Before(at)) {
		at = c.Lost.Until
	}
	return at
}

// check tells what is wrong with it, without asking AWS.
func (c *root) check() error {
	for field, text := range map[string]string{
		"access_key": c.Key.ID, "secret_key": c.Key.Secret, "region": c.Region, "sts_region": c.STSRegion, "role_arn": c.RoleARN,
		"identity_token_audience": c.Audience,
	} {
		if len(text) > maxText {
			return engines.Invalidf("%s is longer than %d bytes", field, maxText)
		}
	}
	if err := c.checkEndpoints(); err != nil {
		return err
	}
	switch {
	case (c.Key.ID == "") != (c.Key.Secret == ""):
		return engines.Invalidf("access_key and secret_key: give both, or neither for the credentials of the nodes")
	case c.MaxRetries < -1 || c.MaxRetries > maxRetries:
		return engines.Invalidf("max_retries is -1 to %d", maxRetries)
	case !c.None() && c.Key.ID == "":
		return engines.Invalidf("rotation_period and rotation_schedule: there is no key to change without access_key and secret_key")
	}
	if err := errors.Join(c.Check(leastPeriod), c.checkWeb()); err != nil {
		return err
	}
	if c.RoleARN != "" {
		if err := checkARN("role_arn", c.RoleARN, "role/"); err != nil {
			return err
		}
	}
	for _, session := range []bool{false, true} {
		if _, err := c.names(session); err != nil {
			return engines.Invalidf("%s", err.Error())
		}
	}
	return nil
}

func (c *root) checkWeb() error {
	switch {
	case c.Audience == "":
		return nil
	case c.Key.ID != "":
		return engines.Invalidf("identity_token_audience cannot be given together with access_key")
	case c.RoleARN == "":
		return engines.Invalidf("role_arn is missing: it is what the token of identity_token_audience lets assume")
	case c.TokenTTL < leastPeriod:
		return engines.Invalidf("identity_token_ttl has to be at least %s", leastPeriod)
	}
	return nil
}

func (c *root) checkEndpoints() error {
	for field, list := range map[string][]string{
		"iam_endpoint": {c.IAMEndpoint}, "sts_endpoint": {c.STSEndpoint}, "sts_fallback_endpoints": c.FallbackEndpoints,
	} {
		for _, text := range list {
			if err := checkURL(field, text); err != nil {
				return err
			}
		}
	}
	switch {
	case len(c.FallbackEndpoints) != len(c.FallbackRegions) || len(c.FallbackRegions) > maxList:
		return engines.Invalidf("sts_fallback_regions: give one for each of sts_fallback_endpoints, %d at most", maxList)
	case len(c.FallbackEndpoints) > 0 && c.STSEndpoint == "":
		return engines.Invalidf("sts_fallback_endpoints: give sts_endpoint too, which is asked first")
	}
	return nil
}

func checkURL(field, text string) error {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || len(text) > maxText || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return engines.Invalidf("%s has to be a URL of https or http, without user, query and fragment", field)
	}
	return nil
}

// checkARN wants the name of something of IAM, of a kind such as "role/".
func checkARN(field, text, kind string) error {
	a, err := arn.Parse(text)
	if err != nil || len(text) > maxText || a.Service != "iam" || len(a.Resource) <= len(kind) || a.Resource[:len(kind)] != kind {
		return engines.Invalidf("%s: %.100q is not the ARN of a %s, such as arn:aws:iam::123456789012:%sname", field, text, kind[:len(kind)-1], kind)
	}
	return nil
}

// lease is a row: how long users live.
type lease struct {
	TTL time.Duration `json:"ttl"`
	Max time.Duration `json:"max"`
}

func readLease(_ context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
	var l lease
	if version, err := load(tx, leaseRow, &l); err != nil || version == 0 {
		if err == nil {
			err = engines.NotFound()
		}
		return nil, err
	}
	return &engines.Response{Data: map[string]any{"lease": l.TTL.String(), "lease_max": l.Max.String()}}, nil
}

func writeLease(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	var l lease
	for field, to := range map[string]*time.Duration{"lease": &l.TTL, "lease_max": &l.Max} {
		d, ok := engines.ParseSeconds(req.Fields.String(field))
		if !ok || d <= 0 {
			return nil, engines.Invalidf("%s has to be a duration above 0, such as 30m or 24h", field)
		}
		*to = d
	}
	if l.TTL > l.Max {
		return nil, engines.Invalidf("lease cannot be longer than lease_max")
	}
	return nil, store(tx, leaseRow, l)
}
