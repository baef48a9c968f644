package aws

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/coffer-secrets/coffer/engines"
)

// voucher makes the tokens of a mount.
type voucher func(ctx context.Context, audience string, ttl time.Duration) (string, error)

// web gives the sessions of a role to whom the mount's own token is known (web
// identity). Nothing that it is given for lasts.
type web struct {
	root *root
	// token is the voucher of the last request: that of a node that was sealed since
	// is of no use.
	token atomic.Pointer[voucher]
	// sts asks without credentials.
	sts *api
}

func (w *web) use(m engines.Mount) {
	made := voucher(m.Token)
	w.token.Store(&made)
}

// Retrieve implements aws.CredentialsProvider.
func (w *web) Retrieve(ctx context.Context) (aws.Credentials, error) {
	token, err := (*w.token.Load())(ctx, w.root.Audience, w.root.TokenTTL)
	if err != nil {
		return aws.Credentials{}, err
	}
	name := sessionName
	got, err := session(w.sts, func(c *sts.Client) (*sts.AssumeRoleWithWebIdentityOutput, error) {
		return c.AssumeRoleWithWebIdentity(ctx, &sts.AssumeRoleWithWebIdentityInput{RoleArn: &w.root.RoleARN, RoleSessionName: &name, WebIdentityToken: &token})
	})
	if err != nil {
		return aws.Credentials{}, failure("identity_token_audience and role_arn of config/root", err)
	}
	if got.Credentials == nil {
		return aws.Credentials{}, engines.Errorf(engines.KindUpstream, "AWS gave no credentials")
	}
	return aws.Credentials{
		AccessKeyID: aws.ToString(got.Credentials.AccessKeyId), SecretAccessKey: aws.ToString(got.Credentials.SecretAccessKey),
		SessionToken: aws.ToString(got.Credentials.SessionToken), CanExpire: true, Expires: aws.ToTime(got.Credentials.Expiration),
	}, nil
}

// vouched opens AWS with what the mount's own token gives.
func (l *clients) vouched(c *root) (*api, *web) {
	w := &web{root: c, sts: l.with(c, aws.AnonymousCredentials{})}
	return l.with(c, aws.NewCredentialsCache(w)), w
}
