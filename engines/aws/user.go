package aws

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/iam/types"

	"github.com/coffer-secrets/coffer/engines"
)

// unknowns is how often a new user may be unknown to a part of AWS.
const unknowns = 4

// makeUser makes a user of a role and its key.
func (a *api) makeUser(ctx context.Context, name string, r *role) (*answer, error) {
	if err := a.newUser(ctx, name, r); err != nil {
		return nil, err
	}
	steps := []func() error{}
	step := func(field string, fn func() error) {
		steps = append(steps, func() error { return failure(field, known(ctx, fn)) })
	}
	for _, group := range r.Groups {
		step("iam_groups", func() error {
			_, err := a.iam.AddUserToGroup(ctx, &iam.AddUserToGroupInput{UserName: &name, GroupName: &group})
			return err
		})
	}
	for _, arn := range r.PolicyARNs {
		step("policy_arns", func() error {
			_, err := a.iam.AttachUserPolicy(ctx, &iam.AttachUserPolicyInput{UserName: &name, PolicyArn: &arn})
			return err
		})
	}
	if r.Document != "" {
		step("policy_document", func() error {
			_, err := a.iam.PutUserPolicy(ctx, &iam.PutUserPolicyInput{UserName: &name, PolicyName: &name, PolicyDocument: &r.Document})
			return err
		})
	}
	made := new(answer)
	step("the key of the user", func() error {
		got, err := a.iam.CreateAccessKey(ctx, &iam.CreateAccessKeyInput{UserName: &name})
		if err == nil {
			made.AccessKey, made.SecretKey = aws.ToString(got.AccessKey.AccessKeyId), aws.ToString(got.AccessKey.SecretAccessKey)
		}
		return err
	})
	for _, do := range steps {
		if err := do(); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// known does a step once more if the user, which is new, is not known yet. What
// else is not there is asked for in vain.
func known(ctx context.Context, fn func() error) error {
	for attempt := 0; ; attempt++ {
		err := fn()
		if !is(err, noSuchEntity) || attempt >= unknowns || wait(ctx, pause(attempt)) != nil {
			return err
		}
	}
}

// newUser makes a user without anything. One that is there at first is somebody
// else's, and must not be removed as ours; one that is there when AWS is asked
// again is ours, whose answer was lost.
func (a *api) newUser(ctx context.Context, name string, r *role) error {
	in := &iam.CreateUserInput{UserName: &name}
	if r.Path != "" {
		in.Path = &r.Path
	}
	if r.Boundary != "" {
		in.PermissionsBoundary = &r.Boundary
	}
	for _, tag := range slices.Sorted(maps.Keys(r.Tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(tag), Value: aws.String(r.Tags[tag])})
	}
	again := a.iam.Options().Retryer
	for attempt := 1; ; attempt++ {
		_, err := a.iam.CreateUser(ctx, in, func(o *iam.Options) { o.Retryer = aws.NopRetryer{} })
		switch {
		case err == nil, attempt > 1 && is(err, alreadyExists):
			return nil
		case is(err, alreadyExists):
			return notMade(engines.Errorf(engines.KindConflict, "username_template gave the name of a user who is there already: try again"))
		case !again.IsErrorRetryable(err) || attempt >= again.MaxAttempts():
			return a.unmade(attempt, err)
		}
		delay, failed := again.RetryDelay(attempt, err)
		if failed != nil || wait(ctx, delay) != nil {
			return a.unmade(attempt, err)
		}
	}
}

// unmade is the error of a user who could not be made. If AWS said no at first,
// there is nothing to undo.
func (a *api) unmade(attempt int, err error) error {
	failed := failure("username_template, user_path, iam_tags or permissions_boundary_arn", err)
	if attempt == 1 && refusal(err) != nil {
		return notMade(failed)
	}
	return failed
}
