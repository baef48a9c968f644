package httpapi

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

const ocspType = "application/ocsp-request"

// maxOCSP bounds a request for the status of a certificate, in bytes.
const maxOCSP = 16 << 10

// unocsp makes a request for the status of a certificate, which is DER, the object
// that a route reads.
func unocsp(body []byte) ([]byte, error) {
	if len(body) > maxOCSP {
		return nil, engines.Errorf(engines.KindTooLarge, "an OCSP request is larger than the limit of %d bytes", maxOCSP)
	}
	text, err := json.Marshal(map[string][]byte{"req": body})
	if err != nil {
		return nil, engines.Internal(err)
	}
	return text, nil
}

// ocspPath rewrites the path of such a request by GET: RFC 6960 has base64 in it,
// with slashes encoded, which no other path may have. They become the alphabet for
// URLs, never slashes, and only for who has no token: such a path is of use to
// nobody but those who check certificates.
func ocspPath(r *request) (string, bool) {
	path := r.URL.EscapedPath()
	at := strings.LastIndex(path, "/ocsp/")
	if at < 0 || r.Method != http.MethodGet || strings.Contains(path[:at], "%") || len(path) > 3*maxOCSP {
		return "", false
	}
	if held, err := token(r.Header); err != nil || held != "" {
		return "", false
	}
	text, err := url.PathUnescape(path[at+len("/ocsp/"):])
	if err != nil {
		return "", false
	}
	der, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", false
	}
	return path[:at] + "/ocsp/" + base64.URLEncoding.EncodeToString(der), true
}
