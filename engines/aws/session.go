package aws

import (
	"context"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/aws-sdk-go-v2/service/sts/types"

	"github.com/coffer-secrets/coffer/engines"
)

// bounds are what a session is cut down to.
type bounds struct {
	document *string
	arns     []types.PolicyDescriptorType
}

// makeSession asks for a session that ends with its lease. Whatever fails, there
// is nothing to undo.
func (a *api) makeSession(ctx context.Context, o *order, l *engines.Granted) (any, error) {
	length := l.Expires.Sub(l.Issued).Round(time.Second)
	if length < shortestSession {
		return nil, notMade(engines.Invalidf("the token lives for %s only, and AWS gives sessions of 15m at least", length))
	}
	seconds := aws.Int32(int32(min(length/time.Second, 1<<30)))
	made, err := a.sessionOf(ctx, o, seconds)
	if err != nil {
		return nil, notMade(failure(o.field(), err))
	}
	if made.creds == nil || made.creds.SessionToken == nil {
		return nil, notMade(engines.Errorf(engines.KindUpstream, "AWS gave no credentials"))
	}
	out := answer{
		AccessKey: aws.ToString(made.creds.AccessKeyId), SecretKey: aws.ToString(made.creds.SecretAccessKey),
		SecurityToken: made.creds.SessionToken, SessionToken: made.creds.SessionToken, ARN: made.arn, TTL: int64(*seconds),
	}
	if made.creds.Expiration != nil {
		out.Expiration = made.creds.Expiration.UTC().Format(time.RFC3339)
	}
	return out, nil
}

// field is what a refusal is about, as far as one can tell.
func (o *order) field() string {
	switch o.is {
	case assumedRole:
		return "role_arn " + o.roleARN
	case federationToken:
		return "policy_document, policy_arns or iam_groups of the role"
	}
	return "session_token"
}

// given is a session that AWS gave.
type given struct {
	creds *types.Credentials
	arn   string
}

func (a *api) sessionOf(ctx context.Context, o *order, seconds *int32) (out given, err error) {
	b, err := a.bounds(ctx, o.role)
	if err != nil {
		return out, err
	}
	switch o.is {
	case assumedRole:
		in := &sts.AssumeRoleInput{
			RoleArn: &o.roleARN, RoleSessionName: &o.name, DurationSeconds: seconds, Policy: b.document, PolicyArns: b.arns, Tags: sessionTags(o.role.SessionTags),
		}
		if o.role.External != "" {
			in.ExternalId = &o.role.External
		}
		got, err := session(a, func(c *sts.Client) (*sts.AssumeRoleOutput, error) { return c.AssumeRole(ctx, in) })
		if err != nil {
			return out, err
		}
		if out.creds = got.Credentials; got.AssumedRoleUser != nil {
			out.arn = aws.ToString(got.AssumedRoleUser.Arn)
		}
	case federationToken:
		in := &sts.GetFederationTokenInput{Name: &o.name, DurationSeconds: seconds, Policy: b.document, PolicyArns: b.arns}
		got, err := session(a, func(c *sts.Client) (*sts.GetFederationTokenOutput, error) { return c.GetFederationToken(ctx, in) })
		if err != nil {
			return out, err
		}
		out.creds = got.Credentials
	default:
		in := &sts.GetSessionTokenInput{DurationSeconds: seconds}
		if o.role.Serial != "" {
			in.SerialNumber, in.TokenCode = &o.role.Serial, &o.code
		}
		got, err := session(a, func(c *sts.Client) (*sts.GetSessionTokenOutput, error) { return c.GetSessionToken(ctx, in) })
		if err != nil {
			return out, err
		}
		out.creds = got.Credentials
	}
	return out, nil
}

func sessionTags(tags map[string]string) []types.Tag {
	var out []types.Tag
	for _, name := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, types.Tag{Key: aws.String(name), Value: aws.String(tags[name])})
	}
	return out
}

// bounds are the policies of a role and of its groups.
func (a *api) bounds(ctx context.Context, r *role) (*bounds, error) {
	arns := slices.Clone(r.PolicyARNs)
	var documents []string
	if r.Document != "" {
		documents = append(documents, r.Document)
	}
	for _, group := range r.Groups {
		texts, managed, err := a.group(ctx, group)
		if err != nil {
			return nil, failure("iam_groups", err)
		}
		documents, arns = append(documents, texts...), append(arns, managed...)
	}
	if r.Types[0] == federationToken && !r.Legacy && len(documents) == 0 && len(arns) == 0 {
		return nil, engines.Invalidf("iam_groups: the groups have no policies, and a federation token without one may do nothing")
	}
	out := new(bounds)
	slices.Sort(arns)
	for _, arn := range slices.Compact(arns) {
		out.arns = append(out.arns, types.PolicyDescriptorType{Arn: aws.String(arn)})
	}
	switch len(documents) {
	case 0:
		return out, nil
	case 1:
		out.document = &documents[0]
		return out, nil
	}
	text, err := merged(documents)
	out.document = &text
	return out, err
}

// group reads the policies of a group: the texts of its own, and the ARNs of
// managed ones.
func (a *api) group(ctx context.Context, name string) (texts, arns []string, err error) {
	own := iam.NewListGroupPoliciesPaginator(a.iam, &iam.ListGroupPoliciesInput{GroupName: &name})
	for own.HasMorePages() {
		page, err := own.NextPage(ctx)
		if err != nil {
			return nil, nil, err
		}
		for _, policy := range page.PolicyNames {
			got, err := a.iam.GetGroupPolicy(ctx, &iam.GetGroupPolicyInput{GroupName: &name, PolicyName: &policy})
			if err != nil {
				return nil, nil, err
			}
			text, err := url.QueryUnescape(aws.ToString(got.PolicyDocument))
			if err != nil {
				return nil, nil, engines.Errorf(engines.KindUpstream, "iam_groups: a policy of %q cannot be read", name)
			}
			texts = append(texts, text)
		}
	}
	managed := iam.NewListAttachedGroupPoliciesPaginator(a.iam, &iam.ListAttachedGroupPoliciesInput{GroupName: &name})
	for managed.HasMorePages() {
		page, err := managed.NextPage(ctx)
		if err != nil {
			return nil, nil, err
		}
		for i := range page.AttachedPolicies {
			arns = append(arns, aws.ToString(page.AttachedPolicies[i].PolicyArn))
		}
	}
	return texts, arns, nil
}

// merged makes one policy that says what all of them say.
func merged(documents []string) (string, error) {
	var all []json.RawMessage
	for _, text := range documents {
		var doc struct {
			Statement json.RawMessage
		}
		if err := json.Unmarshal([]byte(text), &doc); err != nil || len(doc.Statement) == 0 {
			return "", engines.Invalidf("policy_document and the policies of iam_groups cannot be merged: one of them has no Statement")
		}
		var list []json.RawMessage
		if json.Unmarshal(doc.Statement, &list) != nil {
			list = []json.RawMessage{doc.Statement}
		}
		all = append(all, list...)
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": all})
	if err != nil {
		return "", engines.Internal(err)
	}
	return string(text), nil
}
