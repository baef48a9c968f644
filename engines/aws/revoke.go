package aws

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	// revokeTimeout bounds a batch, and abreast is how many users are removed at
	// once: IAM allows few calls a second.
	revokeTimeout = 5 * time.Minute
	abreast       = 4
)

// revoke removes the users of leases. For sessions there is nothing to do: they
// are good until they expire, as their leases say.
func (e *engine) revoke(ctx context.Context, r *engines.Reach, batch []engines.Revocation) []error {
	out := make([]error, len(batch))
	users := make([]string, len(batch))
	left := 0
	for i := range batch {
		var kept undo
		if err := json.Unmarshal(batch[i].Undo, &kept); err != nil || kept.Type == iamUser && kept.User == "" {
			out[i] = engines.Internal(errors.New("a lease does not say what was made for it"))
			continue
		}
		if users[i] = kept.User; kept.User != "" {
			left++
		}
	}
	if left == 0 {
		return out
	}
	ctx, cancel := context.WithTimeout(ctx, revokeTimeout)
	defer cancel()
	a, err := e.current(ctx, r)
	var work sync.WaitGroup
	turns := make(chan struct{}, abreast)
	for i, user := range users {
		switch {
		case user == "":
		case err != nil:
			out[i] = err
		default:
			turns <- struct{}{}
			work.Go(func() {
				defer func() { <-turns }()
				out[i] = failure("the user of the lease", a.removeUser(ctx, user))
			})
		}
	}
	work.Wait()
	return out
}

// current is AWS as config/root has it now.
func (e *engine) current(ctx context.Context, r *engines.Reach) (*api, error) {
	var c *root
	err := r.Look(func(tx engines.Tx) (err error) {
		c, err = loadRoot(tx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return e.clients.of(ctx, r.Mount, c)
}

// removeUser removes a user: the keys first, so that nobody is served any more;
// then what roles give; and if there is more, that too.
func (a *api) removeUser(ctx context.Context, name string) error {
	for _, step := range []func(context.Context, string) error{a.dropKeys, a.dropPolicies, a.detachPolicies, a.leaveGroups} {
		if err := gone(step(ctx, name)); err != nil {
			return err
		}
	}
	_, err := a.iam.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &name})
	if !is(err, deleteConflict) {
		return gone(err)
	}
	// Somebody gave it more, which takes more permissions to remove.
	var stuck error
	for _, step := range []func(context.Context, string) error{a.dropLogin, a.dropDevices, a.dropCertificates, a.dropSSH, a.dropServices} {
		if err := gone(step(ctx, name)); err != nil && stuck == nil {
			stuck = err
		}
	}
	_, err = a.iam.DeleteUser(ctx, &iam.DeleteUserInput{UserName: &name})
	if is(err, deleteConflict) && stuck != nil {
		return stuck
	}
	return gone(err)
}

// pages calls each with every page of a list.
func pages[T any](ctx context.Context, more func() bool, next func(ctx context.Context, opts ...func(*iam.Options)) (T, error), each func(page T) error) error {
	for more() {
		page, err := next(ctx)
		if err != nil {
			return err
		}
		if err := each(page); err != nil {
			return err
		}
	}
	return nil
}

// every does something with each of a list, and takes it for done if it is gone.
func every[T any](list []T, do func(item T) error) error {
	for i := range list {
		if err := gone(do(list[i])); err != nil {
			return err
		}
	}
	return nil
}

func (a *api) dropKeys(ctx context.Context, name string) error {
	have, err := a.held(ctx, &name)
	if err != nil {
		return err
	}
	return every(have.ids, func(id string) error { return a.dropKey(ctx, &name, id) })
}

func (a *api) dropPolicies(ctx context.Context, name string) error {
	p := iam.NewListUserPoliciesPaginator(a.iam, &iam.ListUserPoliciesInput{UserName: &name})
	var found []string
	err := pages(ctx, p.HasMorePages, p.NextPage, func(page *iam.ListUserPoliciesOutput) error {
		found = append(found, page.PolicyNames...)
		return nil
	})
	if err != nil {
		return err
	}
	return every(found, func(policy string) error {
		_, err := a.iam.DeleteUserPolicy(ctx, &iam.DeleteUserPolicyInput{UserName: &name, PolicyName: &policy})
		return err
	})
}

func (a *api) detachPolicies(ctx context.Context, name string) error {
	p := iam.NewListAttachedUserPoliciesPaginator(a.iam, &iam.ListAttachedUserPoliciesInput{UserName: &name})
	var found []string
	err := pages(ctx, p.HasMorePages, p.NextPage, func(page *iam.ListAttachedUserPoliciesOutput) error {
		for i := range page.AttachedPolicies {
			found = append(found, aws.ToString(page.AttachedPolicies[i].PolicyArn))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return every(found, func(arn string) error {
		_, err := a.iam.DetachUserPolicy(ctx, &iam.DetachUserPolicyInput{UserName: &name, PolicyArn: &arn})
		return err
	})
}

func (a *api) leaveGroups(ctx context.Context, name string) error {
	p := iam.NewListGroupsForUserPaginator(a.iam, &iam.ListGroupsForUserInput{UserName: &name})
	var found []string
	err := pages(ctx, p.HasMorePages, p.NextPage, func(page *iam.ListGroupsForUserOutput) error {
		for i := range page.Groups {
			found = append(found, aws.ToString(page.Groups[i].GroupName))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return every(found, func(group string) error {
		_, err := a.iam.RemoveUserFromGroup(ctx, &iam.RemoveUserFromGroupInput{UserName: &name, GroupName: &group})
		return err
	})
}

func (a *api) dropLogin(ctx context.Context, name string) error {
	_, err := a.iam.DeleteLoginProfile(ctx, &iam.DeleteLoginProfileInput{UserName: &name})
	return err
}

// dropDevices takes MFA devices away; those that are not of hardware are removed.
func (a *api) dropDevices(ctx context.Context, name string) error {
	p := iam.NewListMFADevicesPaginator(a.iam, &iam.ListMFADevicesInput{UserName: &name})
	var found []string
	err := pages(ctx, p.HasMorePages, p.NextPage, func(page *iam.ListMFADevicesOutput) error {
		for i := range page.MFADevices {
			found = append(found, aws.ToString(page.MFADevices[i].SerialNumber))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return every(found, func(serial string) error {
		_, err := a.iam.DeactivateMFADevice(ctx, &iam.DeactivateMFADeviceInput{UserName: &name, SerialNumber: &serial})
		if err := gone(err); err != nil || !strings.HasPrefix(serial, "arn:") {
			return err
		}
		_, err = a.iam.DeleteVirtualMFADevice(ctx, &iam.DeleteVirtualMFADeviceInput{SerialNumber: &serial})
		return err
	})
}

func (a *api) dropCertificates(ctx context.Context, name string) error {
	p := iam.NewListSigningCertificatesPaginator(a.iam, &iam.ListSigningCertificatesInput{UserName: &name})
	var found []string
	err := pages(ctx, p.HasMorePages, p.NextPage, func(page *iam.ListSigningCertificatesOutput) error {
		for i := range page.Certificates {
			found = append(found, aws.ToString(page.Certificates[i].CertificateId))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return every(found, func(id string) error {
		_, err := a.iam.DeleteSigningCertificate(ctx, &iam.DeleteSigningCertificateInput{UserName: &name, CertificateId: &id})
		return err
	})
}

func (a *api) dropSSH(ctx context.Context, name string) error {
	p := iam.NewListSSHPublicKeysPaginator(a.iam, &iam.ListSSHPublicKeysInput{UserName: &name})
	var found []string
	err := pages(ctx, p.HasMorePages, p.NextPage, func(page *iam.ListSSHPublicKeysOutput) error {
		for i := range page.SSHPublicKeys {
			found = append(found, aws.ToString(page.SSHPublicKeys[i].SSHPublicKeyId))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return every(found, func(id string) error {
		_, err := a.iam.DeleteSSHPublicKey(ctx, &iam.DeleteSSHPublicKeyInput{UserName: &name, SSHPublicKeyId: &id})
		return err
	})
}

func (a *api) dropServices(ctx context.Context, name string) error {
	got, err := a.iam.ListServiceSpecificCredentials(ctx, &iam.ListServiceSpecificCredentialsInput{UserName: &name})
	if err != nil {
		return err
	}
	found := make([]string, len(got.ServiceSpecificCredentials))
	for i := range found {
		found[i] = aws.ToString(got.ServiceSpecificCredentials[i].ServiceSpecificCredentialId)
	}
	return every(found, func(id string) error {
		_, err := a.iam.DeleteServiceSpecificCredential(ctx, &iam.DeleteServiceSpecificCredentialInput{UserName: &name, ServiceSpecificCredentialId: &id})
		return err
	})
}
