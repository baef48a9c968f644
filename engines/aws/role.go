package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// The types of credentials.
const (
	iamUser         = "iam_user"
	assumedRole     = "assumed_role"
	federationToken = "federation_token"
	sessionToken    = "session_token"
)

// Bounds of roles.
const (
	maxDocument = 32 << 10
	maxTags     = 50
	maxTagName  = 128
	maxTagValue = 256
	maxGroup    = 128
	maxExternal = 1224
	maxSerial   = 256
)

// role is a row: what credentials are made, and what they may do.
type role struct {
	Types      []string          `json:"types"`
	RoleARNs   []string          `json:"role_arns,omitempty"`
	PolicyARNs []string          `json:"policy_arns,omitempty"`
	Document   string            `json:"document,omitempty"`
	Groups     []string          `json:"groups,omitempty"`
	Tags       map[string]string `json:"tags,omitempty"`
	DefaultTTL time.Duration     `json:"default_ttl,omitempty"`
	MaxTTL     time.Duration     `json:"max_ttl,omitempty"`
	// SessionTags and External are for assumed roles, Path and Boundary for users.
	SessionTags map[string]string `json:"session_tags,omitempty"`
	External    string            `json:"external,omitempty"`
	Path        string            `json:"path,omitempty"`
	Boundary    string            `json:"boundary,omitempty"`
	Serial      string            `json:"serial,omitempty"`
	Wait        bool              `json:"wait,omitempty"`
	// Legacy roles have been written with policy or arn: each type has its path.
	Legacy bool `json:"legacy,omitempty"`
}

func roleFields() []engines.Field {
	return []engines.Field{
		{Name: "credential_type", Allowed: []string{iamUser, assumedRole, federationToken, sessionToken}, Help: "What is made: iam_user, assumed_role, federation_token or session_token."},
		{Name: "role_arns", Type: engines.Strings, Help: "Roles that may be assumed."},
		{Name: "policy_arns", Type: engines.Strings, Help: "Managed policies of users; what sessions are cut down to."},
		{Name: "policy_document", Help: "A policy as JSON: that of users; what sessions are cut down to."},
		{Name: "iam_groups", Type: engines.Strings, Help: "Groups of users; their policies are what sessions are cut down to."},
		{Name: "iam_tags", Type: engines.KVPairs, Help: "Tags of users."},
		{Name: "default_sts_ttl", Type: engines.Seconds, Help: "How long a session is good, if the caller does not say."},
		{Name: "max_sts_ttl", Type: engines.Seconds, Help: "How long a session is good at most."},
		{Name: "session_tags", Type: engines.KVPairs, Help: "Tags of sessions of assumed roles."},
		{Name: "external_id", Help: "The external id that the assumed role asks for."},
		{Name: "user_path", Default: "/", Help: "The path of users."},
		{Name: "permissions_boundary_arn", Help: "A policy that bounds what users may do."},
		{Name: "mfa_serial_number", Help: "The MFA device that session tokens are asked for with."},
		{Name: "wait_for_key", Type: engines.Bool, Default: false, Help: "Answer with the key of a user once AWS takes it, which needs some seconds."},
		{Name: "policy", Deprecated: true, Help: "As policy_document, for users on creds/ and federation tokens on sts/."},
		{Name: "arn", Deprecated: true, Help: "As policy_arns or role_arns, by what it is the ARN of."},
	}
}

// loadRole returns nil if there is none of the name.
func loadRole(tx engines.Tx, name string) (*role, error) {
	r := new(role)
	version, err := load(tx, rolesDir+name, r)
	if err != nil || version == 0 {
		return nil, err
	}
	return r, nil
}

func readRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	r, err := loadRole(tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.NotFound()
	}
	data := map[string]any{
		"credential_type": strings.Join(r.Types, ","), "credential_types": r.Types,
		"policy_arns": orEmpty(r.PolicyARNs), "role_arns": orEmpty(r.RoleARNs), "policy_document": r.Document, "iam_groups": orEmpty(r.Groups),
		"iam_tags": tags(r.Tags), "default_sts_ttl": int64(r.DefaultTTL / time.Second), "max_sts_ttl": int64(r.MaxTTL / time.Second),
		"user_path": r.Path, "permissions_boundary_arn": r.Boundary, "mfa_serial_number": r.Serial,
		"session_tags": tags(r.SessionTags), "external_id": r.External, "wait_for_key": r.Wait,
	}
	return &engines.Response{Data: data}, nil
}

// tags are shown as {} rather than null.
func tags(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func deleteRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return nil, tx.Delete(rolesDir + req.Fields.String("name"))
}

func writeRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	name, v := req.Fields.String("name"), req.Fields
	r, err := loadRole(tx, name)
	if err != nil {
		return nil, err
	}
	if r == nil {
		r = new(role)
	}
	if v.String("policy") != "" || v.String("arn") != "" {
		if r, err = legacy(&v); err != nil {
			return nil, err
		}
		return nil, store(tx, rolesDir+name, r)
	}
	if v.Has("credential_type") {
		r.Types, r.Legacy = []string{v.String("credential_type")}, false
	}
	if len(r.Types) == 0 {
		return nil, engines.Invalidf("credential_type is missing: it is iam_user, assumed_role, federation_token or session_token")
	}
	if r.Legacy {
		return nil, engines.Invalidf("credential_type is missing: the role was written with policy or arn, which cannot be mixed with other fields")
	}
	if err := r.take(&v); err != nil {
		return nil, err
	}
	if r.Path == "" && r.Types[0] == iamUser {
		r.Path = "/"
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return nil, store(tx, rolesDir+name, r)
}

// take takes what the request gives.
func (r *role) take(v *engines.Values) error {
	for field, to := range map[string]*[]string{"role_arns": &r.RoleARNs, "policy_arns": &r.PolicyARNs, "iam_groups": &r.Groups} {
		if v.Has(field) {
			*to = v.Strings(field)
		}
	}
	for field, to := range map[string]*map[string]string{"iam_tags": &r.Tags, "session_tags": &r.SessionTags} {
		if v.Has(field) {
			*to = v.KVPairs(field)
		}
	}
	for field, to := range map[string]*string{
		"external_id": &r.External, "user_path": &r.Path, "permissions_boundary_arn": &r.Boundary, "mfa_serial_number": &r.Serial,
	} {
		if v.Has(field) {
			*to = v.String(field)
		}
	}
	for field, to := range map[string]*time.Duration{"default_sts_ttl": &r.DefaultTTL, "max_sts_ttl": &r.MaxTTL} {
		if v.Has(field) {
			*to = v.Duration(field)
		}
	}
	if v.Has("wait_for_key") {
		r.Wait = v.Bool("wait_for_key")
	}
	if !v.Has("policy_document") {
		return nil
	}
	var err error
	r.Document, err = compact("policy_document", v.String("policy_document"))
	return err
}

// compact takes a policy's text, which has to be a JSON object, and its white
// space away. What the policy means is for AWS to judge.
func compact(field, text string) (string, error) {
	if text = strings.TrimSpace(text); text == "" {
		return "", nil
	}
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(text)); err != nil || text[0] != '{' {
		return "", engines.Invalidf("%s is not a JSON object", field)
	}
	if out.Len() > maxDocument {
		return "", engines.Invalidf("%s is longer than %d bytes", field, maxDocument)
	}
	return out.String(), nil
}

// legacy is a role of the form that came first.
func legacy(v *engines.Values) (*role, error) {
	for _, f := range roleFields() {
		if f.Name != "policy" && f.Name != "arn" && v.Has(f.Name) {
			return nil, engines.Invalidf("%s cannot be given together with policy or arn, which are of an older form: use policy_document, policy_arns and role_arns", f.Name)
		}
	}
	if v.String("policy") != "" && v.String("arn") != "" {
		return nil, engines.Invalidf("policy and arn cannot be given together")
	}
	r := &role{Legacy: true}
	text := v.String("arn")
	switch {
	case text == "":
		var err error
		r.Types = []string{iamUser, federationToken}
		if r.Document, err = compact("policy", v.String("policy")); err == nil && r.Document == "" {
			err = engines.Invalidf("policy is empty")
		}
		return r, err
	case checkARN("arn", text, "role/") == nil:
		r.Types, r.RoleARNs = []string{assumedRole}, []string{text}
	case checkARN("arn", text, "policy/") == nil:
		r.Types, r.PolicyARNs = []string{iamUser}, []string{text}
	default:
		return nil, engines.Invalidf("arn is neither that of a policy nor that of a role")
	}
	return r, nil
}

var (
	userPaths  = regexp.MustCompile(`^/(|[\x21-\x7e]{0,510}/)$`)    //nolint:gochecknoglobals // a constant
	groupNames = regexp.MustCompile(`^[\w+=,.@-]{1,128}$`)          //nolint:gochecknoglobals // a constant
	serials    = regexp.MustCompile(`^[\w+=/:,.@-]{9,256}$`)        //nolint:gochecknoglobals // a constant
	externals  = regexp.MustCompile(`^[\w+=,.@:/-]+$`)              //nolint:gochecknoglobals // a constant
	tagTexts   = regexp.MustCompile(`^[\p{L}\p{Z}\p{N}_.:/=+@-]*$`) //nolint:gochecknoglobals // a constant
)

func isExternal(text string) bool {
	return len(text) > 1 && len(text) <= maxExternal && externals.MatchString(text)
}

// check tells what is wrong with a role.
func (r *role) check() error {
	if err := r.fits(); err != nil {
		return err
	}
	for _, l := range []struct {
		field string
		list  []string
		kind  string
	}{{"role_arns", r.RoleARNs, "role/"}, {"policy_arns", r.PolicyARNs, "policy/"}} {
		if len(l.list) > maxList {
			return engines.Invalidf("%s takes %d at most", l.field, maxList)
		}
		for _, text := range l.list {
			if err := checkARN(l.field, text, l.kind); err != nil {
				return err
			}
		}
	}
	for _, group := range r.Groups {
		if !groupNames.MatchString(group) || len(r.Groups) > maxList {
			return engines.Invalidf("iam_groups takes names of letters, digits and +=,.@_-, of %d characters, and %d of them", maxGroup, maxList)
		}
	}
	if err := errors.Join(checkTags("iam_tags", r.Tags), checkTags("session_tags", r.SessionTags)); err != nil {
		return err
	}
	if r.Boundary != "" {
		if err := checkARN("permissions_boundary_arn", r.Boundary, "policy/"); err != nil {
			return err
		}
	}
	switch {
	case r.Path != "" && !userPaths.MatchString(r.Path):
		return engines.Invalidf("user_path has to begin and end with a slash, and hold no white space")
	case r.Serial != "" && !serials.MatchString(r.Serial):
		return engines.Invalidf("mfa_serial_number is not one of a device: at most %d characters", maxSerial)
	case r.External != "" && !isExternal(r.External):
		return engines.Invalidf("external_id takes 2 to %d letters, digits and +=,.@:/_-", maxExternal)
	case r.MaxTTL > 0 && r.DefaultTTL > r.MaxTTL:
		return engines.Invalidf("default_sts_ttl cannot be longer than max_sts_ttl")
	}
	return nil
}

func checkTags(field string, tags map[string]string) error {
	if len(tags) > maxTags {
		return engines.Invalidf("%s takes %d tags at most", field, maxTags)
	}
	for name, value := range tags {
		if name == "" || len(name) > maxTagName || len(value) > maxTagValue || !tagTexts.MatchString(name) || !tagTexts.MatchString(value) {
			return engines.Invalidf("%s: a tag has a name of 1 to %d and a value of at most %d letters, digits, spaces and _.:/=+-@", field, maxTagName, maxTagValue)
		}
	}
	return nil
}

// fits sees whether each field belongs to the type of credentials.
func (r *role) fits() error {
	is := r.Types[0]
	for _, f := range []struct {
		name  string
		given bool
		types []string
	}{
		{"role_arns", len(r.RoleARNs) > 0, []string{assumedRole}},
		{"session_tags", len(r.SessionTags) > 0, []string{assumedRole}},
		{"external_id", r.External != "", []string{assumedRole}},
		{"policy_arns", len(r.PolicyARNs) > 0, []string{iamUser, assumedRole, federationToken}},
		{"policy_document", r.Document != "", []string{iamUser, assumedRole, federationToken}},
		{"iam_groups", len(r.Groups) > 0, []string{iamUser, assumedRole, federationToken}},
		{"iam_tags", len(r.Tags) > 0, []string{iamUser}},
		{"user_path", r.Path != "" && r.Path != "/", []string{iamUser}},
		{"permissions_boundary_arn", r.Boundary != "", []string{iamUser}},
		{"wait_for_key", r.Wait, []string{iamUser}},
		{"default_sts_ttl", r.DefaultTTL != 0, []string{assumedRole, federationToken, sessionToken}},
		{"max_sts_ttl", r.MaxTTL != 0, []string{assumedRole, federationToken, sessionToken}},
		{"mfa_serial_number", r.Serial != "", []string{sessionToken}},
	} {
		if f.given && !slices.Contains(f.types, is) {
			return engines.Invalidf("%s does not go with credential_type=%s: it is for %s", f.name, is, strings.Join(f.types, ", "))
		}
	}
	switch {
	case is == assumedRole && len(r.RoleARNs) == 0:
		return engines.Invalidf("role_arns is missing: it names the roles to assume")
	case is == federationToken && r.Document == "" && len(r.PolicyARNs) == 0 && len(r.Groups) == 0:
		return engines.Invalidf("policy_document, policy_arns or iam_groups: a federation token without a policy may do nothing")
	}
	return nil
}
