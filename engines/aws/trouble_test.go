package aws_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coffer-secrets/coffer/testing/awsfake"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// TestThrottled: AWS that says that it is asked too often is asked again.
func TestThrottled(t *testing.T) {
	t.Parallel()
	s, f := started(t)
	s.Put("aws/roles/dev", body{"credential_type": "iam_user", "policy_arns": readOnly, "iam_groups": "devs"})
	var calls sync.Map
	f.On(func(_ context.Context, step awsfake.Step) *awsfake.Error {
		if n, _ := calls.LoadOrStore(step.Action, new(atomic.Int64)); !step.Done && n.(*atomic.Int64).Add(1) <= 2 {
			return awsfake.Throttling()
		}
		return nil
	})
	r := s.Get("aws/creds/dev")
	f.On(nil)
	if caller(t, f, r) == "" {
		t.Errorf("got %s", r.Raw)
	}
	revoke(s, r)
	if len(f.Users()) > 0 {
		t.Errorf("%q are left", f.Users())
	}
	s.Delete("sys/mounts/aws")
	configure(s, f, body{"max_retries": 1})
	s.Put("aws/roles/session", body{"credential_type": "session_token"})
	f.On(func(context.Context, awsfake.Step) *awsfake.Error { return awsfake.Throttling() })
	refused(t, s, http.StatusBadGateway, "Throttling: Rate exceeded", kit.Request{Path: "aws/creds/session"})
}

// TestLateKeys: a role may wait until AWS takes the new key.
func TestLateKeys(t *testing.T) {
	t.Parallel()
	s, f := started(t)
	s.Put("aws/roles/waits", body{"credential_type": "iam_user", "wait_for_key": true})
	s.Put("aws/roles/hurries", body{"credential_type": "iam_user"})
	f.Lag(3)
	if caller(t, f, s.Get("aws/creds/waits")) == "" {
		t.Error("a key that was waited for is refused")
	}
	if caller(t, f, s.Get("aws/creds/hurries")) != "" {
		t.Error("the stand-in is not late")
	}
}

// TestLostAnswers: a user that was made counts, whatever AWS answered; and one
// that was there before is left alone.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	s, f := started(t)
	s.Put("aws/roles/dev", body{"credential_type": "iam_user"})
	var once sync.Once
	f.On(func(_ context.Context, step awsfake.Step) (lost *awsfake.Error) {
		if step.Action == "CreateUser" && step.Done {
			once.Do(func() {
				lost = &awsfake.Error{Status: http.StatusInternalServerError, Code: "InternalFailure", Message: "lost"}
			})
		}
		return lost
	})
	r := s.Get("aws/creds/dev")
	if len(f.Users()) != 1 || caller(t, f, r) == "" {
		t.Errorf("the users are %q, and the answer %s", f.Users(), r.Raw)
	}
	revoke(s, r)
	f.On(func(_ context.Context, step awsfake.Step) *awsfake.Error {
		if step.Action == "CreateUser" && !step.Done {
			f.AddUser(step.User)
		}
		return nil
	})
	refused(t, s, http.StatusConflict, "username_template gave the name of a user who is there already", kit.Request{Path: "aws/creds/dev"})
	s.Put("sys/leases/revoke-prefix/aws", body{"sync": true})
	if len(f.Users()) != 1 {
		t.Errorf("somebody else's user was removed, or there are more: %q", f.Users())
	}
}

// TestFewPermissions: what roles give is removed with the permissions for that.
func TestFewPermissions(t *testing.T) {
	t.Parallel()
	s, f := started(t)
	f.Deny("DeleteLoginProfile", "ListMFADevices", "ListSigningCertificates", "ListSSHPublicKeys", "ListServiceSpecificCredentials", "GetUser")
	s.Put("aws/roles/dev", body{"credential_type": "iam_user", "policy_arns": readOnly, "policy_document": document})
	r := s.Get("aws/creds/dev")
	revoke(s, r)
	if len(f.Users()) > 0 {
		t.Errorf("%q are left", f.Users())
	}
	r = s.Get("aws/creds/dev")
	f.Clutter(f.Users()[0])
	refused(t, s, http.StatusBadGateway, "AWS refused: AccessDenied", kit.Request{
		Method: http.MethodPut, Path: "sys/leases/revoke", Body: body{"lease_id": r.Text("lease_id"), "sync": true},
	})
	if caller(t, f, r) != "" {
		t.Error("the key is taken although the user cannot be removed")
	}
}

// TestEndpoints: STS is asked where it answers, and as a role if there is one.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	s, f := started(t)
	s.Put("aws/roles/session", body{"credential_type": "session_token"})
	s.Put("aws/roles/reader", body{"credential_type": "assumed_role", "role_arns": reader})
	id, secret := f.Key(awsfake.RootUser)
	root := body{
		"access_key": id, "secret_key": secret, "sts_endpoint": "http://127.0.0.1:1", "sts_region": "eu-west-1", "max_retries": 0,
		"sts_fallback_endpoints": "http://127.0.0.1:1," + f.URL, "sts_fallback_regions": "eu-west-1,eu-west-3",
	}
	s.Put("aws/config/root", root)
	if caller(t, f, s.Get("aws/creds/session")) == "" {
		t.Error("no session from the one that answers")
	}
	s.Put("aws/config/root", body{"access_key": id, "secret_key": secret, "sts_endpoint": "http://127.0.0.1:1", "max_retries": 0})
	refused(t, s, http.StatusBadGateway, "AWS cannot be asked", kit.Request{Path: "aws/creds/session"}, id, secret)
	admin := "arn:aws:iam::123456789012:role/admin"
	f.AddRole(admin, awsfake.Role{Admin: true})
	s.Put("aws/config/root", body{"access_key": id, "secret_key": secret, "sts_endpoint": f.URL, "iam_endpoint": f.URL, "role_arn": admin})
	refused(t, s, http.StatusBadRequest, "Cannot call GetSessionToken with session credentials", kit.Request{Path: "aws/creds/session"})
	if caller(t, f, s.Get("aws/creds/reader")) == "" {
		t.Error("no session of a role by way of a role")
	}
}

// TestOwnCredentials: without a key of its own the engine has what the node has.
// It sets the environment, and so cannot be parallel.
func TestOwnCredentials(t *testing.T) {
	s, f := started(t)
	admin := "arn:aws:iam::123456789012:role/node"
	f.AddRole(admin, awsfake.Role{Admin: true})
	f.Web("the-token", admin)
	s.Put("aws/roles/reader", body{"credential_type": "assumed_role", "role_arns": reader})
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	id, secret := f.Key(awsfake.RootUser)
	profile := write("credentials", fmt.Sprintf("[coffer]\naws_access_key_id = %s\naws_secret_access_key = %s\n", id, secret))
	token := write("token", "the-token")
	for _, c := range []struct {
		name string
		env  map[string]string
		on   bool
	}{
		{"environment", map[string]string{"AWS_ACCESS_KEY_ID": id, "AWS_SECRET_ACCESS_KEY": secret}, true},
		{"profile", map[string]string{"AWS_SHARED_CREDENTIALS_FILE": profile, "AWS_PROFILE": "coffer"}, true},
		{"web identity", map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": token, "AWS_ROLE_ARN": admin, "AWS_ENDPOINT_URL_STS": f.URL}, true},
		{"instance", map[string]string{"AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": f.URL}, true},
		{"nothing", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, name := range []string{
				"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_REGION",
			} {
				t.Setenv(name, "")
			}
			for _, name := range []string{"AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"} {
				t.Setenv(name, filepath.Join(dir, "none"))
			}
			t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
			for name, value := range c.env {
				t.Setenv(name, value)
			}
			f.Instance(admin)
			s.Put("aws/config/root", body{"iam_endpoint": f.URL, "sts_endpoint": f.URL})
			if !c.on {
				refused(t, s, http.StatusBadRequest, "the node has no credentials of its own", kit.Request{Path: "aws/creds/reader"})
			} else if caller(t, f, s.Get("aws/creds/reader")) == "" {
				t.Error("no session")
			}
		})
	}
}

// TestTemplates: names are as config/root says, and as AWS takes them.
func TestTemplates(t *testing.T) {
	t.Parallel()
	f := account(t)
	s, _ := started(t)
	s.Delete("sys/mounts/aws")
	configure(s, f, body{"username_template": `{{ if (eq .Type "STS") }}{{ printf "vault-%s-%s" (unix_time) (random 20) | truncate 32 }}{{ else }}` +
		`{{ printf "vault-%s-%s-%s" (printf "%s-%s" (.DisplayName) (.PolicyName) | truncate 42) (unix_time) (random 20) | truncate 64 }}{{ end }}`})
	s.Put("aws/roles/"+strings.Repeat("r", 60), body{"credential_type": "iam_user"})
	s.Put("aws/roles/reader", body{"credential_type": "assumed_role", "role_arns": reader})
	s.Get("aws/creds/" + strings.Repeat("r", 60))
	if users := f.Users(); len(users) != 1 || len(users[0]) != 64 || !strings.HasPrefix(users[0], "vault-root-rrr") {
		t.Errorf("the users are %q", users)
	}
	if arn := s.Get("aws/sts/reader").Text("data", "arn"); !strings.Contains(arn, "/s3-reader/vault-") {
		t.Errorf("the session is %s", arn)
	}
	r := s.Get("aws/sts/reader?ttl=15m")
	f.Advance(16 * time.Minute)
	if caller(t, f, r) != "" {
		t.Error("a session does not end")
	}
}
