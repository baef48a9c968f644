package conformance_test

import (
	"bufio"
	"fmt"
	"os/exec"
	"testing"

	"github.com/coffer-secrets/coffer/testing/conformance/api"
)

const reader = "arn:aws:iam::123456789012:role/s3-reader"

// startAWS starts the stand-in for AWS, which ends with its standard input.
func startAWS(t *testing.T) (address, id, secret string) {
	t.Helper()
	cmd := exec.Command(awsStandIn)
	in, out := must(cmd.StdinPipe())(t), must(cmd.StdoutPipe())(t)
	check(t, cmd.Start())
	t.Cleanup(func() {
		check(t, in.Close())
		check(t, cmd.Wait())
	})
	must(fmt.Sscan(must(bufio.NewReader(out).ReadString('\n'))(t), &address, &id, &secret))(t)
	return address, id, secret
}

func TestAWS(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	l := c.Logical()
	address, id, secret := startAWS(t)
	check(t, c.Sys().Mount("aws-test", &api.MountInput{Type: "aws"}))
	t.Cleanup(func() { check(t, c.Sys().Unmount("aws-test")) })
	must(l.Write("aws-test/config/root", object{"access_key": id, "secret_key": secret, "iam_endpoint": address, "sts_endpoint": address}))(t)
	root := must(l.Read("aws-test/config/root"))(t)
	equal(t, "access_key", text(t, root, "access_key"), id)
	holds(t, "the secret is not shown", root.Data["secret_key"] == nil)
	must(l.Write("aws-test/config/lease", object{"lease": "30m", "lease_max": "12h"}))(t)
	equal(t, "lease", text(t, must(l.Read("aws-test/config/lease"))(t), "lease"), "30m0s")

	for name, role := range map[string]object{
		"assumed": {"credential_type": "assumed_role", "role_arns": []string{reader}},
		"session": {"credential_type": "session_token"},
		"user": {
			"credential_type": "iam_user", "policy_arns": []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"}, "iam_groups": []string{"devs"}, "iam_tags": object{"made": "by-coffer"},
			"policy_document": `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}`,
		},
	} {
		must(l.Write("aws-test/roles/"+name, role))(t)
		equal(t, "credential_type", text(t, must(l.Read("aws-test/roles/"+name))(t), "credential_type"), role["credential_type"])
	}
	equal(t, "roles", list(t, must(l.List("aws-test/roles"))(t), "keys"), []string{"assumed", "session", "user"})
	user := must(l.Read("aws-test/creds/user"))(t)
	holds(t, "a key, a lease that can be renewed, and no token", text(t, user, "access_key") != "" && user.LeaseID != "" && user.Renewable && user.Data["security_token"] == nil)
	must(c.Sys().Renew(user.LeaseID, 600))(t)
	check(t, c.Sys().Revoke(user.LeaseID))
	for _, name := range []string{"assumed", "session"} {
		session := must(l.ReadWithData("aws-test/sts/"+name, map[string][]string{"ttl": {"15m"}}))(t)
		equal(t, "both names of the token", text(t, session, "security_token"), text(t, session, "session_token"))
		equal(t, "duration", session.LeaseDuration, 900)
		holds(t, "a lease that cannot be renewed", session.LeaseID != "" && !session.Renewable)
	}
	_, err := l.Write("aws-test/sts/assumed", object{"role_arn": reader + "-other"})
	refused(t, err, 400, "role_arn")
	static := must(l.Write("aws-test/static-roles/app", object{"username": "app", "rotation_schedule": "0 3 * * SUN", "rotation_window": "2h"}))(t)
	equal(t, "rotation_schedule", text(t, static, "rotation_schedule"), "0 3 * * SUN")
	equal(t, "static-roles", list(t, must(l.List("aws-test/static-roles"))(t), "keys"), []string{"app"})
	holds(t, "a key", text(t, must(l.Read("aws-test/static-creds/app"))(t), "secret_key") != "")
	rotated := must(l.Write("aws-test/config/rotate-root", nil))(t)
	equal(t, "the new key", text(t, must(l.Read("aws-test/config/root"))(t), "access_key"), text(t, rotated, "access_key"))
	must(l.Delete("aws-test/static-roles/app"))(t)
	must(l.Delete("aws-test/roles/session"))(t)
	equal(t, "roles", list(t, must(l.List("aws-test/roles"))(t), "keys"), []string{"assumed", "user"})
}
