//go:build realaws

package aws_test

import "os"

// realAccount is the account whose key is in the environment.
func realAccount() *target {
	return &target{
		id: os.Getenv("AWS_ACCESS_KEY_ID"), secret: os.Getenv("AWS_SECRET_ACCESS_KEY"), role: os.Getenv("COFFER_TEST_AWS_ROLE"),
	}
}
