package awsfake

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// sessions are the actions of STS.
var sessions = map[string]action{
	"GetCallerIdentity": (*Fake).identity, "AssumeRole": (*Fake).assume, "GetFederationToken": (*Fake).federate,
	"GetSessionToken": (*Fake).session, "AssumeRoleWithWebIdentity": (*Fake).web,
}

var sessionNames = regexp.MustCompile(`^[\w+=,.@-]{2,64}$`)

const (
	shortest   = 15 * time.Minute
	longest    = 36 * time.Hour
	maxSession = 2048
)

func (f *Fake) identity(c *call) (string, error) {
	return leaf("Account", c.who.account) + leaf("Arn", c.who.arn) + leaf("UserId", c.who.userID), nil
}

// newSessionLocked hands out a key that ends.
func (f *Fake) newSessionLocked(arn string, admin bool, length time.Duration) *key {
	k := &key{
		id: "ASIA" + random(16), secret: random(40), token: "FwoG" + random(80), arn: arn, account: Account, userID: "AROA" + random(16),
		admin: admin, made: f.nowLocked(), expires: f.nowLocked().Add(length).Truncate(time.Second), chained: true,
	}
	f.keys[k.id] = k
	return k
}

func (k *key) credentials() string {
	return tag("Credentials", leaf("AccessKeyId", k.id)+leaf("SecretAccessKey", k.secret)+leaf("SessionToken", k.token)+
		leaf("Expiration", k.expires.UTC().Format(time.RFC3339)))
}

// length reads DurationSeconds.
func length(c *call, most time.Duration) (time.Duration, error) {
	text := c.get("DurationSeconds")
	if text == "" {
		return min(time.Hour, most), nil
	}
	seconds, err := strconv.Atoi(text)
	d := time.Duration(seconds) * time.Second
	switch {
	case err != nil || d < shortest:
		return 0, refuse("ValidationError", "1 validation error detected: Value '"+text+"' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900")
	case d > most:
		return 0, refuse("ValidationError", "The requested DurationSeconds exceeds the maximum session duration.")
	}
	return d, nil
}

func sessionPolicy(c *call) error {
	text := c.get("Policy")
	if text == "" {
		return nil
	}
	if len(text) > maxSession {
		return refuse("PackedPolicyTooLarge", "Packed policy consumes more than 100% of allotted space")
	}
	return document(text)
}

func (f *Fake) assume(c *call) (string, error) {
	arn, name := c.get("RoleArn"), c.get("RoleSessionName")
	role, ok := f.roles[arn]
	switch {
	case !ok || role.External != c.get("ExternalId"):
		return "", refuse("AccessDenied", "User: "+c.who.arn+" is not authorized to perform: sts:AssumeRole on resource: "+arn)
	case !sessionNames.MatchString(name):
		return "", refuse("ValidationError", "Value '"+name+"' at 'roleSessionName' failed to satisfy constraint")
	}
	most := role.Most
	if most == 0 || c.who.chained {
		most = time.Hour
	}
	d, err := length(c, most)
	if err != nil {
		return "", err
	}
	if err := sessionPolicy(c); err != nil {
		return "", err
	}
	k := f.assumeLocked(arn, name, role, d)
	return k.credentials() + tag("AssumedRoleUser", leaf("Arn", k.arn)+leaf("AssumedRoleId", k.userID+":"+name)), nil
}

func (f *Fake) assumeLocked(arn, name string, role Role, d time.Duration) *key {
	session := strings.Replace(strings.Replace(arn, ":iam:", ":sts:", 1), ":role/", ":assumed-role/", 1) + "/" + name
	return f.newSessionLocked(session, role.Admin, d)
}

func (f *Fake) web(c *call) (string, error) {
	arn, name := c.get("RoleArn"), c.get("RoleSessionName")
	role, ok := f.roles[arn]
	token := c.get("WebIdentityToken")
	if !ok || f.tokens[token] != arn && (f.trust == nil || !f.trust(token, arn)) {
		return "", refuse("InvalidIdentityToken", "No OpenIDConnect provider found in your account")
	}
	k := f.assumeLocked(arn, name, role, time.Hour)
	return k.credentials() + tag("AssumedRoleUser", leaf("Arn", k.arn)+leaf("AssumedRoleId", k.userID+":"+name)), nil
}

func (f *Fake) federate(c *call) (string, error) {
	name := c.get("Name")
	if len(name) > 32 || !sessionNames.MatchString(name) {
		return "", refuse("ValidationError", "Value '"+name+"' at 'name' failed to satisfy constraint: Member must have length less than or equal to 32")
	}
	if c.who.chained {
		return "", refuse("AccessDenied", "Cannot call GetFederationToken with session credentials")
	}
	d, err := length(c, longest)
	if err != nil {
		return "", err
	}
	if err := sessionPolicy(c); err != nil {
		return "", err
	}
	arn := "arn:aws:sts::" + Account + ":federated-user/" + name
	k := f.newSessionLocked(arn, false, d)
	return k.credentials() + tag("FederatedUser", leaf("Arn", arn)+leaf("FederatedUserId", Account+":"+name)), nil
}

func (f *Fake) session(c *call) (string, error) {
	if c.who.chained {
		return "", refuse("AccessDenied", "Cannot call GetSessionToken with session credentials")
	}
	if c.get("SerialNumber") != "" && c.get("TokenCode") != f.mfa {
		return "", refuse("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.")
	}
	d, err := length(c, longest)
	if err != nil {
		return "", err
	}
	return f.newSessionLocked(c.who.arn, false, d).credentials(), nil
}

// metadata is the instance's, version 2 only.
func (f *Fake) metadata(w http.ResponseWriter, r *http.Request) {
	const token, base = "metadata-token", "/latest/meta-data/iam/security-credentials/"
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain")
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token":
		w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		_, _ = w.Write([]byte(token))
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != token:
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == base && f.instance != "":
		_, _ = w.Write([]byte("instance"))
	case r.URL.Path == base+"instance" && f.instance != "":
		k := f.assumeLocked(f.instance, "i-0123456789", f.roles[f.instance], 6*time.Hour)
		text, err := json.Marshal(map[string]any{
			"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": k.id, "SecretAccessKey": k.secret, "Token": k.token,
			"Expiration": k.expires.UTC().Format(time.RFC3339), "LastUpdated": k.made.UTC().Format(time.RFC3339),
		})
		if err == nil {
			_, _ = w.Write(text)
		}
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}
