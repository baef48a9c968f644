package aws_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	engine "github.com/coffer-secrets/coffer/engines/aws"
	"github.com/coffer-secrets/coffer/testing/awsfake"
	"github.com/coffer-secrets/coffer/testing/kit"
)

// testPath is where users are that these tests make.
const testPath = "/coffer-test/"

// target is an account: the stand-in, or a real one.
type target struct {
	// endpoint is empty for AWS's own.
	endpoint   string
	id, secret string
	// role may be assumed, if there is one.
	role string
}

func standIn(t *testing.T) *target {
	t.Helper()
	f := account(t)
	f.Lag(2)
	id, secret := f.Key(awsfake.RootUser)
	return &target{endpoint: f.URL, id: id, secret: secret, role: reader}
}

func (a *target) config(id, secret, token string) aws.Config {
	c := aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(id, secret, token)}
	if a.endpoint != "" {
		c.BaseEndpoint = &a.endpoint
	}
	return c
}

// becomes waits until AWS takes the credentials of an answer, or no longer does.
func (a *target) becomes(t *testing.T, r *kit.Response, taken bool) {
	t.Helper()
	data := func(name string) string { return r.Text("data", name) }
	c := sts.NewFromConfig(a.config(data("access_key"), data("secret_key"), data("security_token")))
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		_, err := c.GetCallerIdentity(t.Context(), nil)
		if (err == nil) == taken {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			t.Errorf("after a minute AWS says %v", err)
			return
		}
	}
}

// TestAccount is what holds of any account; make test-aws runs it with a real
// one.
func TestAccount(t *testing.T) {
	t.Parallel()
	a := realAccount()
	if a == nil {
		a = standIn(t)
	}
	s := kit.New(t, kit.Engines(engine.New()))
	s.Mount("aws", "aws", nil)
	s.Put("aws/config/root", body{"access_key": a.id, "secret_key": a.secret, "iam_endpoint": a.endpoint, "sts_endpoint": a.endpoint})
	t.Cleanup(func() { a.empty(t) })
	a.users(t, s)
	a.static(t, s)
	s.Put("aws/roles/federated", body{"credential_type": "federation_token", "policy_document": document})
	s.Put("aws/roles/session", body{"credential_type": "session_token"})
	roles := []string{"federated", "session"}
	if a.role != "" {
		s.Put("aws/roles/assumed", body{"credential_type": "assumed_role", "role_arns": a.role, "policy_document": document})
		roles = append(roles, "assumed")
	}
	for _, role := range roles {
		r := s.Get("aws/sts/" + role + "?ttl=15m")
		a.becomes(t, r, true)
		revoke(s, r)
	}
}

// users makes and removes users.
func (a *target) users(t *testing.T, s *kit.Server) {
	t.Helper()
	s.Put("aws/roles/dev", body{
		"credential_type": "iam_user", "policy_arns": readOnly, "policy_document": document, "user_path": testPath, "wait_for_key": true, "iam_tags": "made-by=coffer-test",
	})
	r := s.Get("aws/creds/dev")
	a.becomes(t, r, true)
	revoke(s, r)
	a.becomes(t, r, false)
	s.Put("aws/roles/wrong", body{"credential_type": "iam_user", "policy_document": `{"Statement": "x"}`, "user_path": testPath})
	refused(t, s, http.StatusBadRequest, "policy_document: AWS refused: MalformedPolicyDocument", kit.Request{Path: "aws/creds/wrong"}, a.id, a.secret)
	s.Put("sys/leases/revoke-prefix/aws", body{"sync": true})
}

// static keeps the key of a user for a while.
func (a *target) static(t *testing.T, s *kit.Server) {
	t.Helper()
	c, name, path := iam.NewFromConfig(a.config(a.id, a.secret, "")), "coffer-test-"+rand.Text(), testPath
	if _, err := c.CreateUser(t.Context(), &iam.CreateUserInput{UserName: &name, Path: &path}); err != nil {
		t.Fatal(err)
	}
	s.Put("aws/static-roles/app", body{"username": name, "rotation_period": "1h"})
	r := s.Get("aws/static-creds/app")
	a.becomes(t, r, true)
	s.Delete("aws/static-roles/app")
	a.becomes(t, r, false)
	if _, err := c.DeleteUser(t.Context(), &iam.DeleteUserInput{UserName: &name}); err != nil {
		t.Error(err)
	}
}

// empty wants nobody to be left.
func (a *target) empty(t *testing.T) {
	t.Helper()
	got, err := iam.NewFromConfig(a.config(a.id, a.secret, "")).ListUsers(context.Background(), &iam.ListUsersInput{PathPrefix: aws.String(testPath)})
	if err != nil {
		t.Error(err)
		return
	}
	var names []string
	for i := range got.Users {
		names = append(names, aws.ToString(got.Users[i].UserName))
	}
	if len(names) > 0 {
		t.Errorf("there are still %s", strings.Join(names, ", "))
	}
}
