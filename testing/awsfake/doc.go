// Package awsfake stands in for AWS in tests: IAM and STS by their query
// protocols, and the metadata service of an instance, over HTTP. It verifies the
// Signature Version 4 of every request against the keys that it has handed out,
// keeps IAM's limits and answers with IAM's error codes. It can be slow, refuse
// keys for a while after it made them, and fail at a chosen step; and it tells
// what it still holds, so that what was left behind can be counted.
package awsfake
