package aws_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	engine "github.com/coffer-secrets/coffer/engines/aws"
	"github.com/coffer-secrets/coffer/testing/awsfake"
	"github.com/coffer-secrets/coffer/testing/kit"
)

type body = map[string]any

const (
	reader   = "arn:aws:iam::123456789012:role/s3-reader"
	writer   = "arn:aws:iam::123456789012:role/s3-writer"
	readOnly = "arn:aws:iam::aws:policy/ReadOnlyAccess"
	boundary = "arn:aws:iam::123456789012:policy/boundary"
	document = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}`
)

// account starts a stand-in with what the tests' roles name.
func account(t *testing.T) *awsfake.Fake {
	t.Helper()
	f := awsfake.New()
	t.Cleanup(f.Close)
	f.AddGroup("devs", awsfake.Group{Inline: map[string]string{"own": document}, Attached: []string{readOnly}})
	f.AddPolicy(readOnly)
	f.AddPolicy(boundary)
	f.AddRole(reader, awsfake.Role{})
	f.AddRole(writer, awsfake.Role{External: "extern"})
	return f
}

// configure mounts the engine and lets it at an account.
func configure(s *kit.Server, f *awsfake.Fake, changes body) (id, secret string) {
	s.Mount("aws", "aws", nil)
	id, secret = f.Key(awsfake.RootUser)
	s.Put("aws/config/root", with(body{"access_key": id, "secret_key": secret, "iam_endpoint": f.URL, "sts_endpoint": f.URL}, changes))
	return id, secret
}

func with(base, changes body) body {
	for name, value := range changes {
		base[name] = value
	}
	return base
}

func started(t *testing.T, options ...kit.Option) (*kit.Server, *awsfake.Fake) {
	t.Helper()
	f := account(t)
	s := kit.New(t, append(options, kit.Engines(engine.New()))...)
	configure(s, f, nil)
	return s, f
}

// caller tells who AWS takes the answer's credentials for; empty for nobody.
func caller(t *testing.T, f *awsfake.Fake, r *kit.Response) string {
	t.Helper()
	c := sts.NewFromConfig(aws.Config{
		Region: "us-east-1", BaseEndpoint: &f.URL, Retryer: func() aws.Retryer { return aws.NopRetryer{} },
		Credentials: credentials.NewStaticCredentialsProvider(r.Text("data", "access_key"), r.Text("data", "secret_key"), r.Text("data", "security_token")),
	})
	got, err := c.GetCallerIdentity(t.Context(), nil)
	if err != nil {
		return ""
	}
	return aws.ToString(got.Arn)
}

func revoke(s *kit.Server, r *kit.Response) {
	s.Put("sys/leases/revoke", body{"lease_id": r.Text("lease_id"), "sync": true})
}

func TestUsers(t *testing.T) {
	t.Parallel()
	s, f := started(t)
	s.Put("aws/config/lease", body{"lease": "30m", "lease_max": "12h"})
	s.Put("aws/roles/dev", body{
		"credential_type": "iam_user", "policy_arns": readOnly, "policy_document": document, "iam_groups": "devs",
		"iam_tags": "team=a", "user_path": "/coffer/", "permissions_boundary_arn": boundary,
	})
	r := s.Get("aws/creds/dev")
	if fmt.Sprint(r.At("lease_duration")) != "1800" || r.Body["renewable"] != true || r.At("data", "security_token") != nil || r.At("data", "session_token") != nil {
		t.Errorf("got %s", r.Raw)
	}
	users := f.Users()
	if len(users) != 1 || !strings.HasPrefix(users[0], "vault-root-dev-") {
		t.Fatalf("the users are %q", users)
	}
	groups, policies, tags, path, bound := f.Of(users[0])
	slices.Sort(policies)
	want := fmt.Sprint([]string{"devs"}, []string{readOnly, strings.ReplaceAll(document, " ", "")}, "a", "/coffer/", boundary)
	if got := fmt.Sprint(groups, policies, tags["team"], path, bound); got != want {
		t.Errorf("the user is %s, want %s", got, want)
	}
	if who := caller(t, f, r); who != "arn:aws:iam::123456789012:user/coffer/"+users[0] {
		t.Errorf("AWS takes it for %q", who)
	}
	s.Put("sys/leases/renew", body{"lease_id": r.Text("lease_id"), "increment": "2h"})
	f.Page(1)
	f.Clutter(users[0])
	f.Key(users[0])
	revoke(s, r)
	if who := caller(t, f, r); who != "" || len(f.Users()) != 0 {
		t.Errorf("a revoked credential passes for %q, and %q are left", who, f.Users())
	}
	for range 5 {
		s.Put("aws/creds/dev", body{})
	}
	f.DropUser(f.Users()[0]) // gone already
	s.Put("sys/leases/revoke-prefix/aws/creds/dev", body{"sync": true})
	if len(f.Users()) != 0 {
		t.Errorf("%q outlive the revocation of their prefix", f.Users())
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	s, f := started(t)
	f.Passcode("123456")
	for role, c := range map[string]struct{ role, ask body }{
		"assumed":   {body{"credential_type": "assumed_role", "role_arns": reader, "iam_groups": "devs", "policy_document": document}, body{"role_session_name": "me@work"}},
		"chosen":    {body{"credential_type": "assumed_role", "role_arns": reader + "," + writer, "external_id": "extern", "session_tags": body{"a": "b"}}, body{"role_arn": writer}},
		"federated": {body{"credential_type": "federation_token", "policy_document": document}, nil},
		"grouped":   {body{"credential_type": "federation_token", "iam_groups": "devs"}, nil},
		"session":   {body{"credential_type": "session_token", "mfa_serial_number": "arn:aws:iam::123456789012:mfa/me"}, body{"mfa_code": "123456"}},
	} {
		s.Put("aws/roles/"+role, c.role)
		for _, path := range []string{"creds", "sts"} {
			r := s.Must(http.StatusOK, kit.Request{Method: http.MethodPut, Path: "aws/" + path + "/" + role, Body: with(body{"ttl": "20m"}, c.ask)})
			if fmt.Sprintf("%v %v", r.At("lease_duration"), r.At("data", "ttl")) != "1200 1200" || r.Body["renewable"] != false ||
				r.Text("data", "security_token") == "" || r.Text("data", "security_token") != r.Text("data", "session_token") || r.Text("data", "expiration") == "" {
				t.Errorf("%s: %s", role, r.Raw)
			}
			who := caller(t, f, r)
			if arn := r.Text("data", "arn"); who == "" || strings.HasPrefix(role, "assumed") && (arn != who || !strings.HasSuffix(arn, "s3-reader/me@work")) {
				t.Errorf("%s: AWS takes it for %q, and the answer says %q", role, who, arn)
			}
			l := s.Do(kit.Request{Method: http.MethodPut, Path: "sys/leases/lookup", Body: body{"lease_id": r.Text("lease_id")}})
			if !strings.Contains(l.Text("data", "created", "revocation"), "cannot take these credentials back") {
				t.Errorf("the lease says %s", l.Raw)
			}
			revoke(s, r)
			if caller(t, f, r) == "" {
				t.Errorf("%s: revoking took back what AWS cannot", role)
			}
		}
	}
	if r := s.Get("aws/sts/federated"); fmt.Sprint(r.At("lease_duration")) != "3600" {
		t.Errorf("without a TTL: %s", r.Raw)
	}
	if len(f.Users()) != 0 {
		t.Errorf("there are users: %q", f.Users())
	}
}

// TestLegacy: roles of the older form give one type on each path.
func TestLegacy(t *testing.T) {
	t.Parallel()
	s, f := started(t)
	s.Put("aws/roles/old", body{"policy": document})
	s.Put("aws/roles/policy", body{"arn": readOnly})
	s.Put("aws/roles/role", body{"arn": reader})
	for path, want := range map[string]int{
		"creds/old": http.StatusOK, "sts/old": http.StatusOK, "creds/policy": http.StatusOK, "sts/policy": http.StatusBadRequest,
		"creds/role": http.StatusBadRequest, "sts/role": http.StatusOK,
	} {
		if r := s.Do(kit.Request{Path: "aws/" + path}); r.Status != want || r.Status == http.StatusOK && caller(t, f, r) == "" {
			t.Errorf("%s: %d %s", path, r.Status, r.Raw)
		}
	}
	if r := s.Get("aws/roles/old"); r.Text("data", "credential_type") != "iam_user,federation_token" || len(r.Strings("data", "credential_types")) != 2 {
		t.Errorf("it reads %s", r.Raw)
	}
}

// refused asks for something and wants a text in a refusal that holds no key.
func refused(t *testing.T, s *kit.Server, status int, want string, r kit.Request, secrets ...string) {
	t.Helper()
	got := s.Do(r)
	if got.Status != status || !strings.Contains(strings.Join(got.Errors(), " "), want) {
		t.Errorf("%s %v: %d %s, want %d with %q", r.Path, r.Body, got.Status, got.Raw, status, want)
	}
	for _, secret := range secrets {
		if strings.Contains(string(got.Raw), secret) {
			t.Errorf("%s answers with a key: %s", r.Path, got.Raw)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	s, f := started(t)
	for want, role := range map[string]body{
		"credential_type is missing":                  {"policy_document": document},
		"credential_type":                             {"credential_type": "other"},
		"role_arns is missing":                        {"credential_type": "assumed_role"},
		"role_arns does not go with":                  {"credential_type": "iam_user", "role_arns": reader},
		"role_arns: ":                                 {"credential_type": "assumed_role", "role_arns": readOnly},
		"policy_arns: ":                               {"credential_type": "iam_user", "policy_arns": "ReadOnly"},
		"policy_document is not a JSON object":        {"credential_type": "iam_user", "policy_document": "{"},
		"iam_groups":                                  {"credential_type": "iam_user", "iam_groups": "a b"},
		"iam_tags":                                    {"credential_type": "iam_user", "iam_tags": body{"a": strings.Repeat("x", 300)}},
		"user_path":                                   {"credential_type": "iam_user", "user_path": "x"},
		"permissions_boundary_arn":                    {"credential_type": "iam_user", "permissions_boundary_arn": "x"},
		"default_sts_ttl does not go with":            {"credential_type": "iam_user", "default_sts_ttl": "1h"},
		"default_sts_ttl cannot be longer":            {"credential_type": "session_token", "default_sts_ttl": "2h", "max_sts_ttl": "1h"},
		"federation token without a policy":           {"credential_type": "federation_token"},
		"mfa_serial_number does not go with":          {"credential_type": "iam_user", "mfa_serial_number": "GAHT12345678"},
		"external_id":                                 {"credential_type": "assumed_role", "role_arns": reader, "external_id": "x"},
		"wait_for_key does not go with":               {"credential_type": "session_token", "wait_for_key": true},
		"credential_type cannot be given together":    {"credential_type": "iam_user", "policy": document},
		"policy_arns cannot be given together":        {"policy_arns": readOnly, "arn": reader},
		"policy and arn cannot be given together":     {"policy": document, "arn": reader},
		"arn is neither that of a policy nor that of": {"arn": "arn:aws:s3:::bucket"},
	} {
		refused(t, s, http.StatusBadRequest, want, kit.Request{Method: http.MethodPut, Path: "aws/roles/r", Body: role})
	}
	for name, role := range map[string]body{
		"wrong":    {"credential_type": "iam_user", "policy_document": `{"Statement": "x"}`},
		"missing":  {"credential_type": "iam_user", "policy_arns": "arn:aws:iam::aws:policy/None"},
		"grouped":  {"credential_type": "federation_token", "iam_groups": "nobody"},
		"two":      {"credential_type": "assumed_role", "role_arns": reader + "," + writer, "max_sts_ttl": "1h"},
		"mfa":      {"credential_type": "session_token", "mfa_serial_number": "GAHT12345678"},
		"bounded":  {"credential_type": "iam_user", "permissions_boundary_arn": "arn:aws:iam::aws:policy/None"},
		"too-long": {"credential_type": "iam_user", "policy_document": fmt.Sprintf(`{"Statement": [{"Effect": "Allow", "Action": "%s"}]}`, strings.Repeat("x", 2100))},
	} {
		s.Put("aws/roles/"+name, role)
	}
	for path, want := range map[string]string{
		"creds/unknown":                          "unknown role: unknown",
		"creds/wrong":                            "policy_document: AWS refused: MalformedPolicyDocument: Syntax errors in policy.",
		"creds/missing":                          "policy_arns: AWS refused: NoSuchEntity",
		"creds/bounded":                          "permissions_boundary_arn: AWS refused: NoSuchEntity",
		"creds/too-long":                         "policy_document: AWS refused: LimitExceeded",
		"sts/grouped":                            "iam_groups: AWS refused: NoSuchEntity",
		"sts/two":                                "role_arn is missing",
		"sts/two?role_arn=" + readOnly:           "is not one of the role's role_arns",
		"sts/two?role_arn=" + writer:             "AWS refused: AccessDenied",
		"sts/two?role_arn=" + reader + "&ttl=2h": "ttl: 2h0m0s is longer than the role's max_sts_ttl",
		"sts/two?role_arn=" + reader + "&ttl=1m": "ttl: 1m0s is too short",
		"sts/two?role_arn=" + reader + "&role_session_name=a%20b": "role_session_name",
		"sts/two?role_arn=" + reader + "&mfa_code=123456":         "mfa_code",
		"sts/mfa":                 "mfa_code has to be",
		"sts/mfa?mfa_code=654321": "AWS refused: AccessDenied: MultiFactorAuthentication failed",
		"sts/mfa?ttl=9000h":       "ttl: 9000h0m0s is longer than the mount's max_lease_ttl",
	} {
		refused(t, s, http.StatusBadRequest, want, kit.Request{Path: "aws/" + path})
	}
	s.Put("sys/leases/revoke-prefix/aws", body{"sync": true})
	if len(f.Users()) != 0 {
		t.Errorf("what was refused leaves %q", f.Users())
	}
}

func TestWrongRoot(t *testing.T) {
	t.Parallel()
	s, f := started(t)
	id, secret := f.Key(awsfake.RootUser)
	s.Put("aws/roles/dev", body{"credential_type": "iam_user"})
	s.Put("aws/roles/session", body{"credential_type": "session_token"})
	for want, root := range map[string]body{
		"access_key and secret_key of config/root: AWS refused: SignatureDoesNotMatch": {"access_key": id, "secret_key": secret + "x"},
		"access_key and secret_key of config/root: AWS refused: InvalidClientTokenId":  {"access_key": "AKIAUNKNOWNUNKNOWN12", "secret_key": secret},
	} {
		s.Put("aws/config/root", with(root, body{"iam_endpoint": f.URL, "sts_endpoint": f.URL}))
		for _, path := range []string{"aws/creds/dev", "aws/sts/session"} {
			refused(t, s, http.StatusBadRequest, want, kit.Request{Path: path}, id, secret, "AKIAUNKNOWN")
			if l := s.Do(kit.Request{Method: "LIST", Path: "sys/leases/lookup/" + path}); l.Status != http.StatusNotFound {
				t.Errorf("%s leaves a lease: %s", path, l.Raw)
			}
		}
		r := s.Get("aws/config/root")
		if strings.Contains(string(r.Raw), secret) || r.Text("data", "access_key") != root["access_key"] {
			t.Errorf("it reads %s", r.Raw)
		}
	}
	for want, root := range map[string]body{
		"access_key and secret_key": {"access_key": id},
		"iam_endpoint":              {"iam_endpoint": "file:///etc/passwd"},
		"sts_endpoint":              {"sts_endpoint": "https://me:pass@example.com"},
		"sts_fallback_regions":      {"sts_endpoint": f.URL, "sts_fallback_endpoints": f.URL},
		"sts_fallback_endpoints":    {"sts_fallback_endpoints": f.URL, "sts_fallback_regions": "eu-west-1"},
		"max_retries":               {"max_retries": -2},
		"username_template":         {"username_template": "{{.RoleName}}-{{random 20}}"},
		"not unique":                {"username_template": "{{.DisplayName}}"},
		"rotation_period":           {"rotation_period": "1h"},
		"rotation_schedule":         {"rotation_schedule": "* * * * *"},
		"rotation_window":           {"rotation_window": "1h"},
		"identity_token_audience":   {"identity_token_audience": "aud"},
		"role_arn":                  {"role_arn": "x"},
	} {
		refused(t, s, http.StatusBadRequest, want, kit.Request{Method: http.MethodPut, Path: "aws/config/root", Body: root})
	}
	for want, l := range map[string]body{"lease_max": {"lease": "1h"}, "lease has to be": {"lease": "x", "lease_max": "1h"}, "lease cannot": {"lease": "2h", "lease_max": "1h"}} {
		refused(t, s, http.StatusBadRequest, want, kit.Request{Method: http.MethodPut, Path: "aws/config/lease", Body: l})
	}
	s.Put("aws/config/lease", body{"lease": "1800", "lease_max": "1d"})
	if r := s.Get("aws/config/lease"); r.Text("data", "lease") != "30m0s" || r.Text("data", "lease_max") != "24h0m0s" {
		t.Errorf("it reads %s", r.Raw)
	}
}
