package awsfake_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/coffer-secrets/coffer/testing/awsfake"
)

func start(t *testing.T) *awsfake.Fake {
	t.Helper()
	f := awsfake.New()
	t.Cleanup(f.Close)
	return f
}

func config(f *awsfake.Fake, id, secret, token string) aws.Config {
	return aws.Config{
		Region: "us-east-1", BaseEndpoint: &f.URL, Credentials: credentials.NewStaticCredentialsProvider(id, secret, token),
		Retryer: func() aws.Retryer { return aws.NopRetryer{} },
	}
}

// code is what AWS's client says that was refused.
func code(err error) string {
	var refused smithy.APIError
	if errors.As(err, &refused) {
		return refused.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// TestSignatures: only who has the secret of a key is let in.
func TestSignatures(t *testing.T) {
	t.Parallel()
	f := start(t)
	id, secret := f.Key(awsfake.RootUser)
	for name, c := range map[string]struct{ id, secret, token, want string }{
		"right":          {id, secret, "", ""},
		"wrong secret":   {id, secret + "x", "", "SignatureDoesNotMatch"},
		"unknown key":    {"AKIAUNKNOWN", secret, "", "InvalidClientTokenId"},
		"a token beside": {id, secret, "token", "InvalidClientTokenId"},
	} {
		_, err := sts.NewFromConfig(config(f, c.id, c.secret, c.token)).GetCallerIdentity(t.Context(), nil)
		if code(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	f.Lag(2)
	made, err := iam.NewFromConfig(config(f, id, secret, "")).CreateAccessKey(t.Context(), &iam.CreateAccessKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	late := sts.NewFromConfig(config(f, *made.AccessKey.AccessKeyId, *made.AccessKey.SecretAccessKey, ""))
	var got []string
	for range 3 {
		_, err := late.GetCallerIdentity(t.Context(), nil)
		got = append(got, code(err))
	}
	if !slices.Equal(got, []string{"InvalidClientTokenId", "InvalidClientTokenId", ""}) {
		t.Errorf("a key that is late: %q", got)
	}
}

// TestLimits: what IAM refuses is refused, with its codes.
func TestLimits(t *testing.T) {
	t.Parallel()
	f := start(t)
	id, secret := f.Key(awsfake.RootUser)
	c, ctx := iam.NewFromConfig(config(f, id, secret, "")), t.Context()
	do := func(want string, fn func() error) {
		t.Helper()
		if got := code(fn()); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	name := aws.String("u")
	create := func() error { _, err := c.CreateUser(ctx, &iam.CreateUserInput{UserName: name}); return err }
	key := func() error {
		_, err := c.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: name})
		return err
	}
	do("NoSuchEntity", key)
	do("", create)
	do("EntityAlreadyExists", create)
	do("", key)
	do("", key)
	do("LimitExceeded", key)
	do("MalformedPolicyDocument", func() error {
		_, err := c.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: name, PolicyName: name, PolicyDocument: aws.String("{}")})
		return err
	})
	do("DeleteConflict", func() error { _, err := c.DeleteUser(ctx, &iam.DeleteUserInput{UserName: name}); return err })
	do("NoSuchEntity", func() error {
		_, err := c.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: name, PolicyArn: aws.String("arn:aws:iam::aws:policy/None")})
		return err
	})
	f.On(func(_ context.Context, s awsfake.Step) *awsfake.Error {
		if s.Action == "GetUser" {
			return awsfake.Throttling()
		}
		return nil
	})
	do("Throttling", func() error { _, err := c.GetUser(ctx, &iam.GetUserInput{UserName: name}); return err })
	f.Deny("ListUsers")
	do("AccessDenied", func() error { _, err := c.ListUsers(ctx, nil); return err })
	if got := f.Users(); !slices.Equal(got, []string{"u"}) || len(f.Keys("u")) != 2 {
		t.Errorf("it holds %q", got)
	}
}
