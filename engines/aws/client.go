package aws

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	defaultRegion = "us-east-1"
	// Pauses before AWS is asked again grow from the first to the longest.
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
	// tries is how often AWS is asked when it does not answer or fails; one that
	// says that it is asked too often is asked until the deadline.
	tries   = 4
	endless = 1000
	// sessionName is what sessions of a mount's own role are called.
	sessionName = "coffer"
)

// api is AWS with the credentials of a mount.
type api struct {
	iam *iam.Client
	// sts are asked one after the other until one answers.
	sts []*sts.Client
	// credentials are what the above sign with.
	credentials aws.CredentialsProvider
}

// clients has an api for each mount that is in use.
type clients struct {
	http bounded

	mu   sync.Mutex
	open map[string]*opened
}

type opened struct {
	version uint64
	api     *api
	// web is where its credentials are from, if the mount's token gives them.
	web *web
}

// maxOpen bounds how many mounts are remembered.
const maxOpen = 1000

func newClients() *clients {
	return &clients{http: bounded{awshttp.NewBuildableClient()}, open: make(map[string]*opened)}
}

// maxAnswer bounds what is read of an answer: config/root may name any endpoint.
const maxAnswer = 4 << 20

// bounded is an HTTP client whose answers have an end.
type bounded struct{ client aws.HTTPClient }

// Do implements aws.HTTPClient.
func (b bounded) Do(req *http.Request) (*http.Response, error) {
	resp, err := b.client.Do(req)
	if err == nil && resp.Body != nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// of returns AWS with the credentials of a mount. Those of the node itself, such
// as an instance's, are looked for when they are needed.
func (l *clients) of(ctx context.Context, m engines.Mount, c *root) (*api, error) {
	l.mu.Lock()
	known := l.open[m.UUID]
	l.mu.Unlock()
	if known != nil && known.version == c.version {
		if known.web != nil {
			known.web.use(m)
		}
		return known.api, nil
	}
	made, err := l.opened(ctx, m, c)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.open) >= maxOpen {
		clear(l.open)
	}
	l.open[m.UUID] = made
	return made.api, nil
}

func (l *clients) opened(ctx context.Context, m engines.Mount, c *root) (*opened, error) {
	out := &opened{version: c.version}
	if c.Audience != "" {
		if m.Token == nil {
			return nil, engines.Invalidf("identity_token_audience: there are no identity tokens here")
		}
		out.api, out.web = l.vouched(c)
		out.web.use(m)
		return out, nil
	}
	made, err := l.make(ctx, c)
	if err != nil {
		return nil, err
	}
	if c.RoleARN != "" {
		made = l.assuming(made, c, c.RoleARN, sessionName, "")
	}
	out.api = made
	return out, nil
}

// make opens AWS with the key of config/root, or else with what the node has.
func (l *clients) make(ctx context.Context, c *root) (*api, error) {
	if c.Key.ID != "" {
		return l.base(c), nil
	}
	own, err := config.LoadDefaultConfig(ctx, config.WithRegion(c.region()))
	if err != nil {
		return nil, engines.Errorf(engines.KindUpstream, "config/root has no access_key, and the node's own credentials cannot be read")
	}
	if _, err := own.Credentials.Retrieve(ctx); err != nil {
		failed := engines.Invalidf("config/root has no access_key and secret_key, and the node has no credentials of its own: neither environment nor profile, web identity or instance")
		failed.Cause = engines.ErrNotMade
		return nil, failed
	}
	return l.with(c, own.Credentials), nil
}

func staticKey(key pair) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(key.ID, key.Secret, "")
}

func (c *root) region() string {
	for _, region := range []string{c.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")} {
		if region != "" {
			return region
		}
	}
	return defaultRegion
}

// with opens AWS, where config/root says that it is, with credentials.
func (l *clients) with(c *root, creds aws.CredentialsProvider) *api {
	settings := func(region, endpoint string) aws.Config {
		s := aws.Config{Region: region, Credentials: creds, HTTPClient: l.http, Retryer: func() aws.Retryer { return retryer(c.MaxRetries) }}
		if endpoint != "" {
			s.BaseEndpoint = &endpoint
		}
		return s
	}
	region := c.STSRegion
	if region == "" {
		region = c.region()
	}
	out := &api{
		iam: iam.NewFromConfig(settings(c.region(), c.IAMEndpoint)), credentials: creds,
		sts: []*sts.Client{sts.NewFromConfig(settings(region, c.STSEndpoint))},
	}
	for i, endpoint := range c.FallbackEndpoints {
		out.sts = append(out.sts, sts.NewFromConfig(settings(c.FallbackRegions[i], endpoint)))
	}
	return out
}

// assuming is AWS with the session of a role, which is renewed in time.
func (l *clients) assuming(as *api, c *root, arn, session, external string) *api {
	return l.with(c, aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(as.sts[0], arn, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = session
		if external != "" {
			o.ExternalID = &external
		}
	})))
}

// retryer asks again after growing pauses: up to so many times, or with -1 as
// long as the context lasts.
func retryer(times int64) aws.Retryer {
	most := endless
	if times >= 0 {
		most = int(times) + 1
	}
	throttled := retry.IsErrorThrottles(retry.DefaultThrottles)
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.RateLimiter = most, ratelimit.None
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, err error) (time.Duration, error) {
			if times < 0 && attempt >= tries && !throttled.IsErrorThrottle(err).Bool() {
				return 0, err
			}
			return pause(attempt), nil
		})
	})
}

// pause is how long to wait after some tries: between half of it and all.
func pause(attempt int) time.Duration {
	d := min(firstPause<<min(attempt, 10), longestPause)
	return d/2 + rand.N(d/2) // #nosec G404 -- it only spreads those who wait
}

// wait waits, unless ctx ends before.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// session asks STS, and where that does not answer, those that stand in for it.
func session[T any](a *api, fn func(c *sts.Client) (T, error)) (out T, err error) {
	for _, c := range a.sts {
		if out, err = fn(c); err == nil || refusal(err) != nil {
			return out, err
		}
	}
	return out, err
}

// usable waits until a key answers, or ctx ends: AWS needs some seconds until all
// of it knows a new key.
func (l *clients) usable(ctx context.Context, c *root, key pair) error {
	a := l.with(c, staticKey(key))
	for attempt := 0; ; attempt++ {
		_, err := session(a, func(c *sts.Client) (*sts.GetCallerIdentityOutput, error) { return c.GetCallerIdentity(ctx, nil) })
		if err == nil {
			return nil
		}
		if wait(ctx, pause(attempt)) != nil {
			return engines.Errorf(engines.KindUpstream, "AWS did not take the new key in time")
		}
	}
}
