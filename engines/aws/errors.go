package aws

import (
	"context"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/coffer-secrets/coffer/engines"
)

// maxMessage bounds what of AWS's own text is passed on.
const maxMessage = 1024

// Codes of IAM.
const (
	noSuchEntity   = "NoSuchEntity"
	alreadyExists  = "EntityAlreadyExists"
	deleteConflict = "DeleteConflict"
	accessDenied   = "AccessDenied"
	limitExceeded  = "LimitExceeded"
)

// notOurs are the codes that say that the key itself is not taken.
var notOurs = []string{"InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken", "UnrecognizedClientException"} //nolint:gochecknoglobals // a constant

// keyIDs finds ids of keys in AWS's texts.
var keyIDs = regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z0-9]{12,124}\b`) //nolint:gochecknoglobals // a constant

// refusal is what AWS said no with; nil for any other error, and for a no that
// may be a yes when it is asked again.
func refusal(err error) smithy.APIError {
	var refused smithy.APIError
	if !errors.As(err, &refused) || retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool() {
		return nil
	}
	var answer *awshttp.ResponseError
	if errors.As(err, &answer) && answer.HTTPStatusCode() >= 500 {
		return nil
	}
	return refused
}

// is reports whether AWS said no with one of some codes.
func is(err error, codes ...string) bool {
	refused := refusal(err)
	return refused != nil && slices.Contains(codes, refused.ErrorCode())
}

// gone takes it for success that something is not there.
func gone(err error) error {
	if is(err, noSuchEntity) {
		return nil
	}
	return err
}

// failure makes an error for callers of one of the SDK's: what names the field
// or the thing that it is about. The SDK's own texts and errors go nowhere.
func failure(what string, err error) error {
	var known *engines.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	}
	if refused := refusal(err); refused != nil {
		if slices.Contains(notOurs, refused.ErrorCode()) {
			what = "access_key and secret_key of config/root"
		}
		return engines.Invalidf("%s: AWS refused: %s", what, said(refused))
	}
	return engines.Errorf(engines.KindUpstream, "%s: AWS cannot be asked: %s", what, reason(err))
}

// said is AWS's code and message, without keys.
func said(refused smithy.APIError) string {
	text := refused.ErrorCode()
	if message := refused.ErrorMessage(); message != "" {
		text += ": " + message
	}
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return keyIDs.ReplaceAllString(text, "(a key)")
}

// reason tells why AWS did not answer.
func reason(err error) string {
	var refused smithy.APIError
	var way *url.Error
	switch {
	case errors.As(err, &refused):
		return said(refused)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "it did not answer in time"
	case errors.As(err, &way):
		return keyIDs.ReplaceAllString(way.Err.Error(), "(a key)")
	}
	return "there is no connection, or its answer is not understood"
}

// notMade adds to an error that nothing was made.
func notMade(err error) error {
	var known *engines.Error
	if !errors.As(err, &known) {
		return err
	}
	out := *known
	out.Cause = engines.ErrNotMade
	return &out
}
