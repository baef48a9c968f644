package awsfake

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// skew is how far the time of a request may be from ours.
const skew = 5 * time.Minute

// key is one that was handed out: of a user, or of a session.
type key struct {
	id, secret, token string

	user    string
	arn     string
	account string
	userID  string
	admin   bool
	made    time.Time
	lag     int
	expires time.Time
	chained bool
	serial  int
	idle    bool
}

func itoa(n int) string { return strconv.Itoa(n) }

func (f *Fake) nowLocked() time.Time { return time.Now().Add(f.passed) }

// verify finds who signed a request, by signing it once more.
func (f *Fake) verify(r *http.Request, body []byte) (*key, *Error) {
	auth, ok := strings.CutPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 ")
	parts := make(map[string]string)
	for part := range strings.SplitSeq(auth, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		parts[name] = value
	}
	scope := strings.Split(parts["Credential"], "/")
	if !ok || len(scope) != 5 || scope[4] != "aws4_request" {
		return nil, refuse("IncompleteSignature", "the request is not signed")
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Until(at).Abs() > skew || !strings.HasPrefix(r.Header.Get("X-Amz-Date"), scope[1]) {
		return nil, refuse("SignatureDoesNotMatch", "Signature expired")
	}
	k, refused := f.known(scope[0], r.Header.Get("X-Amz-Security-Token"))
	if refused != nil {
		return nil, refused
	}
	again, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+r.Host+r.URL.RequestURI(), nil) // #nosec G704 -- it is signed, not sent
	if err != nil {
		return nil, refuse("MalformedInput", "the request is malformed")
	}
	signed := strings.Split(parts["SignedHeaders"], ";")
	for _, name := range []string{"host", "x-amz-date"} {
		if !slices.Contains(signed, name) {
			return nil, refuse("IncompleteSignature", name+" has to be signed")
		}
	}
	for _, name := range signed {
		again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
	}
	again.Header.Del("Host")
	if slices.Contains(signed, "content-length") {
		again.Header.Del("Content-Length")
		again.ContentLength = int64(len(body))
	}
	sum := sha256.Sum256(body)
	creds := aws.Credentials{AccessKeyID: k.id, SecretAccessKey: k.secret, SessionToken: k.token}
	if err := v4.NewSigner().SignHTTP(r.Context(), creds, again, hex.EncodeToString(sum[:]), scope[3], scope[2], at); err != nil {
		return nil, refuse("IncompleteSignature", "the request cannot be signed")
	}
	if subtle.ConstantTimeCompare([]byte(again.Header.Get("Authorization")), []byte(r.Header.Get("Authorization"))) != 1 {
		return nil, refuse("SignatureDoesNotMatch", "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.")
	}
	return k, nil
}

// known is a key that was handed out, if it is good.
func (f *Fake) known(id, token string) (*key, *Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.keys[id]
	switch {
	case k == nil || k.idle:
		return nil, refuse("InvalidClientTokenId", "The security token included in the request is invalid.")
	case k.lag > 0:
		k.lag--
		return nil, refuse("InvalidClientTokenId", "The security token included in the request is invalid.")
	case k.token != token:
		return nil, refuse("InvalidClientTokenId", "The security token included in the request is invalid")
	case !k.expires.IsZero() && !f.nowLocked().Before(k.expires):
		return nil, refuse("ExpiredToken", "The security token included in the request is expired")
	}
	return k, nil
}
