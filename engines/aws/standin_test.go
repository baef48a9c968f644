//go:build !realaws

package aws_test

// realAccount is none without the tag realaws.
func realAccount() *target { return nil }
