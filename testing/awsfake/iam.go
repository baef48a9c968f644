package awsfake

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// IAM's limits.
const (
	maxKeys     = 2
	maxGroups   = 10
	maxAttached = 10
	maxInline   = 2048
	maxTags     = 50
)

// Group is one of users. Its policies are its own, and those attached to it.
type Group struct {
	Inline   map[string]string
	Attached []string
}

// user is an IAM user with all that can hang on one.
type user struct {
	name, id, path, boundary string

	admin    bool
	tags     map[string]string
	groups   []string
	attached []string
	inline   map[string]string
	// extras are what somebody else gave the user, which has to go first: by the
	// kind, the ids.
	extras map[string][]string
}

// Kinds of extras.
const (
	loginProfile = "login profile"
	mfaDevice    = "MFA device"
	certificate  = "signing certificate"
	sshKey       = "SSH public key"
	service      = "service specific credential"
)

// Clutter gives a user all that somebody at the console can.
func (f *Fake) Clutter(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.users[name]
	u.extras = map[string][]string{
		loginProfile: {"login"}, mfaDevice: {"arn:aws:iam::" + Account + ":mfa/" + name, "GAHT12345678"},
		certificate: {"cert-" + random(20)}, sshKey: {"APKA" + random(16)}, service: {"ACCA" + random(16)},
	}
	if u.inline == nil {
		u.inline = make(map[string]string)
	}
	u.inline["by-hand"] = "{}"
}

// Of tells what a user has: groups, policies (managed ones by their ARN, its own
// by their text), tags, path and boundary.
func (f *Fake) Of(name string) (groups, policies []string, tags map[string]string, path, boundary string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := f.users[name]
	if u == nil {
		return nil, nil, nil, "", ""
	}
	policies = slices.Clone(u.attached)
	for _, text := range u.inline {
		policies = append(policies, text)
	}
	return slices.Clone(u.groups), policies, u.tags, u.path, u.boundary
}

type action func(f *Fake, c *call) (string, error)

// actions are those of IAM.
var actions = map[string]action{
	"CreateUser": (*Fake).createUser, "GetUser": (*Fake).getUser, "DeleteUser": (*Fake).deleteUser, "ListUsers": (*Fake).listUsers,
	"CreateAccessKey": (*Fake).createKey, "DeleteAccessKey": (*Fake).deleteKey, "ListAccessKeys": (*Fake).listKeys,
	"PutUserPolicy": (*Fake).putPolicy, "DeleteUserPolicy": (*Fake).deletePolicy, "ListUserPolicies": (*Fake).listPolicies,
	"AttachUserPolicy": (*Fake).attach, "DetachUserPolicy": (*Fake).detach, "ListAttachedUserPolicies": (*Fake).listAttached,
	"AddUserToGroup": (*Fake).join, "RemoveUserFromGroup": (*Fake).leave, "ListGroupsForUser": (*Fake).listGroups,
	"ListGroupPolicies": (*Fake).groupPolicies, "GetGroupPolicy": (*Fake).groupPolicy, "ListAttachedGroupPolicies": (*Fake).groupAttached,
	"DeleteLoginProfile": dropExtra(loginProfile, ""),
	"ListMFADevices":     listExtras(mfaDevice, "MFADevices", "SerialNumber"), "DeactivateMFADevice": dropExtra(mfaDevice, "SerialNumber"),
	"DeleteVirtualMFADevice":  func(*Fake, *call) (string, error) { return "", nil },
	"ListSigningCertificates": listExtras(certificate, "Certificates", "CertificateId"), "DeleteSigningCertificate": dropExtra(certificate, "CertificateId"),
	"ListSSHPublicKeys": listExtras(sshKey, "SSHPublicKeys", "SSHPublicKeyId"), "DeleteSSHPublicKey": dropExtra(sshKey, "SSHPublicKeyId"),
	"ListServiceSpecificCredentials":  listExtras(service, "ServiceSpecificCredentials", "ServiceSpecificCredentialId"),
	"DeleteServiceSpecificCredential": dropExtra(service, "ServiceSpecificCredentialId"),
}

func (f *Fake) userLocked(c *call) (*user, error) {
	name := c.get("UserName")
	if name == "" {
		name = c.who.user
	}
	if u := f.users[name]; u != nil {
		return u, nil
	}
	return nil, refuse("NoSuchEntity", "The user with name "+name+" cannot be found.")
}

func (u *user) xml() string {
	return leaf("UserName", u.name) + leaf("UserId", u.id) + leaf("Path", u.path) + leaf("Arn", u.arn()) + leaf("CreateDate", "2026-01-01T00:00:00Z")
}

func (u *user) arn() string { return "arn:aws:iam::" + Account + ":user" + u.path + u.name }

var (
	userNames = regexp.MustCompile(`^[\w+=,.@-]{1,64}$`)
	userPaths = regexp.MustCompile(`^/(|[\x21-\x7e]{0,510}/)$`)
)

func (f *Fake) createUser(c *call) (string, error) {
	u := &user{name: c.get("UserName"), id: "AIDA" + random(16), path: c.get("Path"), boundary: c.get("PermissionsBoundary"), tags: make(map[string]string)}
	if u.path == "" {
		u.path = "/"
	}
	keys, values := c.list("Tags", ".Key"), c.list("Tags", ".Value")
	switch {
	case !userNames.MatchString(u.name):
		return "", refuse("ValidationError", "The specified value for userName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-")
	case !userPaths.MatchString(u.path):
		return "", refuse("ValidationError", "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters.")
	case f.users[u.name] != nil:
		return "", refuse("EntityAlreadyExists", "User with name "+u.name+" already exists.")
	case u.boundary != "" && !f.policies[u.boundary]:
		return "", refuse("NoSuchEntity", "Scope ARN: "+u.boundary+" does not exist or is not attachable.")
	case len(keys) > maxTags:
		return "", refuse("LimitExceeded", "Cannot exceed quota for TagsPerUser: 50")
	}
	for i := range keys {
		u.tags[keys[i]] = values[i]
	}
	f.users[u.name] = u
	return tag("User", u.xml()), nil
}

func (f *Fake) getUser(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	return tag("User", u.xml()), nil
}

func (f *Fake) listUsers(c *call) (string, error) {
	var items []string
	for _, u := range f.users {
		if strings.HasPrefix(u.path, c.get("PathPrefix")) {
			items = append(items, tag("member", u.xml()))
		}
	}
	sort.Strings(items)
	return f.paged(c, "Users", items)
}

func (f *Fake) deleteUser(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	blocked := map[string]int{
		"access keys": len(f.keysLocked(u.name)), "group memberships": len(u.groups), "attached policies": len(u.attached), "policies": len(u.inline),
	}
	for kind, ids := range u.extras {
		blocked[kind] += len(ids)
	}
	for kind, n := range blocked {
		if n > 0 {
			return "", refuse("DeleteConflict", "Cannot delete entity, must delete "+kind+" first.")
		}
	}
	delete(f.users, u.name)
	return "", nil
}

func (f *Fake) keysLocked(name string) []*key {
	var list []*key
	for _, k := range f.keys {
		if k.user == name && k.token == "" {
			list = append(list, k)
		}
	}
	slices.SortFunc(list, func(a, b *key) int { return a.serial - b.serial })
	return list
}

func (f *Fake) newKeyLocked(u *user) *key {
	k := &key{
		id: "AKIA" + random(16), secret: random(40), user: u.name, arn: u.arn(), account: Account, userID: u.id,
		admin: u.admin, made: f.nowLocked(), lag: f.lag, serial: len(f.keys) + f.calls["CreateAccessKey"],
	}
	f.keys[k.id] = k
	return k
}

func (f *Fake) createKey(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	if len(f.keysLocked(u.name)) >= maxKeys {
		return "", refuse("LimitExceeded", "Cannot exceed quota for AccessKeysPerUser: 2")
	}
	k := f.newKeyLocked(u)
	return tag("AccessKey", k.xml()+leaf("SecretAccessKey", k.secret)), nil
}

func (k *key) xml() string {
	return leaf("UserName", k.user) + leaf("AccessKeyId", k.id) + leaf("Status", "Active") + leaf("CreateDate", k.made.UTC().Format(time.RFC3339))
}

func (f *Fake) deleteKey(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	k := f.keys[c.get("AccessKeyId")]
	if k == nil || k.user != u.name {
		return "", refuse("NoSuchEntity", "The Access Key with id "+c.get("AccessKeyId")+" cannot be found.")
	}
	delete(f.keys, k.id)
	return "", nil
}

func (f *Fake) listKeys(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	var items []string
	for _, k := range f.keysLocked(u.name) {
		items = append(items, tag("member", k.xml()))
	}
	return f.paged(c, "AccessKeyMetadata", items)
}

// paged answers one page of a list.
func (f *Fake) paged(c *call, name string, items []string) (string, error) {
	from, _ := strconv.Atoi(c.get("Marker"))
	from = min(max(from, 0), len(items))
	to := min(from+f.page, len(items))
	text := tag(name, strings.Join(items[from:to], "")) + leaf("IsTruncated", strconv.FormatBool(to < len(items)))
	if to < len(items) {
		text += leaf("Marker", strconv.Itoa(to))
	}
	return text, nil
}

func (f *Fake) putPolicy(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	text := c.get("PolicyDocument")
	if err := document(text); err != nil {
		return "", err
	}
	if len(text) > maxInline {
		return "", refuse("LimitExceeded", "Maximum policy size of 2048 bytes exceeded for user "+u.name)
	}
	if u.inline == nil {
		u.inline = make(map[string]string)
	}
	u.inline[c.get("PolicyName")] = text
	return "", nil
}

// document checks what a policy has to have.
func document(text string) error {
	var doc struct {
		Statement []struct{ Effect string }
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Statement) == 0 {
		return refuse("MalformedPolicyDocument", "Syntax errors in policy.")
	}
	for _, s := range doc.Statement {
		if s.Effect != "Allow" && s.Effect != "Deny" {
			return refuse("MalformedPolicyDocument", "Syntax error at position: Effect has to be Allow or Deny")
		}
	}
	return nil
}

func (f *Fake) deletePolicy(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	if _, ok := u.inline[c.get("PolicyName")]; !ok {
		return "", refuse("NoSuchEntity", "The user policy with name "+c.get("PolicyName")+" cannot be found.")
	}
	delete(u.inline, c.get("PolicyName"))
	return "", nil
}

func (f *Fake) listPolicies(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	return f.paged(c, "PolicyNames", names(u.inline))
}

func names(policies map[string]string) []string {
	var items []string
	for name := range policies {
		items = append(items, leaf("member", name))
	}
	sort.Strings(items)
	return items
}

func (f *Fake) attach(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	arn := c.get("PolicyArn")
	switch {
	case !f.policies[arn]:
		return "", refuse("NoSuchEntity", "Policy "+arn+" does not exist or is not attachable.")
	case slices.Contains(u.attached, arn):
		return "", nil
	case len(u.attached) >= maxAttached:
		return "", refuse("LimitExceeded", "Cannot exceed quota for PoliciesPerUser: 10")
	}
	u.attached = append(u.attached, arn)
	return "", nil
}

func (f *Fake) detach(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	at := slices.Index(u.attached, c.get("PolicyArn"))
	if at < 0 {
		return "", refuse("NoSuchEntity", "Policy "+c.get("PolicyArn")+" was not found.")
	}
	u.attached = slices.Delete(u.attached, at, at+1)
	return "", nil
}

func attached(arns []string) []string {
	var items []string
	for _, arn := range arns {
		items = append(items, tag("member", leaf("PolicyArn", arn)+leaf("PolicyName", arn[strings.LastIndexByte(arn, '/')+1:])))
	}
	return items
}

func (f *Fake) listAttached(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	return f.paged(c, "AttachedPolicies", attached(u.attached))
}

func (f *Fake) groupLocked(c *call) (*Group, error) {
	if g := f.groups[c.get("GroupName")]; g != nil {
		return g, nil
	}
	return nil, refuse("NoSuchEntity", "The group with name "+c.get("GroupName")+" cannot be found.")
}

func (f *Fake) join(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	if _, err := f.groupLocked(c); err != nil {
		return "", err
	}
	if len(u.groups) >= maxGroups {
		return "", refuse("LimitExceeded", "Cannot exceed quota for GroupsPerUser: 10")
	}
	if !slices.Contains(u.groups, c.get("GroupName")) {
		u.groups = append(u.groups, c.get("GroupName"))
	}
	return "", nil
}

func (f *Fake) leave(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	u.groups = slices.DeleteFunc(u.groups, func(name string) bool { return name == c.get("GroupName") })
	return "", nil
}

func (f *Fake) listGroups(c *call) (string, error) {
	u, err := f.userLocked(c)
	if err != nil {
		return "", err
	}
	var items []string
	for _, name := range u.groups {
		items = append(items, tag("member", leaf("GroupName", name)+leaf("GroupId", "AGPA"+name)+leaf("Path", "/")+leaf("Arn", "arn:aws:iam::"+Account+":group/"+name)+leaf("CreateDate", "2026-01-01T00:00:00Z")))
	}
	return f.paged(c, "Groups", items)
}

func (f *Fake) groupPolicies(c *call) (string, error) {
	g, err := f.groupLocked(c)
	if err != nil {
		return "", err
	}
	return f.paged(c, "PolicyNames", names(g.Inline))
}

func (f *Fake) groupPolicy(c *call) (string, error) {
	g, err := f.groupLocked(c)
	if err != nil {
		return "", err
	}
	text, ok := g.Inline[c.get("PolicyName")]
	if !ok {
		return "", refuse("NoSuchEntity", "The group policy with name "+c.get("PolicyName")+" cannot be found.")
	}
	return leaf("GroupName", c.get("GroupName")) + leaf("PolicyName", c.get("PolicyName")) + leaf("PolicyDocument", url.QueryEscape(text)), nil
}

func (f *Fake) groupAttached(c *call) (string, error) {
	g, err := f.groupLocked(c)
	if err != nil {
		return "", err
	}
	return f.paged(c, "AttachedPolicies", attached(g.Attached))
}

// listExtras lists what somebody gave a user of one kind.
func listExtras(kind, list, field string) action {
	return func(f *Fake, c *call) (string, error) {
		u, err := f.userLocked(c)
		if err != nil {
			return "", err
		}
		var items []string
		for _, id := range u.extras[kind] {
			items = append(items, tag("member", leaf("UserName", u.name)+leaf(field, id)))
		}
		return f.paged(c, list, items)
	}
}

// dropExtra removes one that a field names.
func dropExtra(kind, field string) action {
	return func(f *Fake, c *call) (string, error) {
		u, err := f.userLocked(c)
		if err != nil {
			return "", err
		}
		at := 0
		if field != "" {
			at = slices.Index(u.extras[kind], c.get(field))
		}
		if at < 0 || at >= len(u.extras[kind]) {
			return "", refuse("NoSuchEntity", "The "+kind+" of "+u.name+" cannot be found.")
		}
		u.extras[kind] = slices.Delete(u.extras[kind], at, at+1)
		return "", nil
	}
}
