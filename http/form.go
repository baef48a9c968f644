package httpapi

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/coffer-secrets/coffer/engines"
)

const formType = "application/x-www-form-urlencoded"

// maxForm bounds a form in bytes: one holds a token at most.
const maxForm = 256 << 10

// unform makes a form that was posted, as OpenID Connect providers have browsers
// do, the object that it stands for. What curl sends is called a form unless it
// is told otherwise, so that an object stays one, whatever it is called.
func unform(contentType string, body []byte) ([]byte, error) {
	if strings.EqualFold(contentType, ocspType) {
		return unocsp(body)
	}
	if n := len(formType); len(contentType) < n || !strings.EqualFold(contentType[:n], formType) {
		return body, nil
	}
	switch start := bytes.TrimLeft(body, " \t\r\n"); {
	case len(start) == 0 || bytes.ContainsAny(start[:1], `{["`) || bytes.Equal(bytes.TrimSpace(body), []byte("null")):
		return body, nil
	case len(body) > maxForm:
		return nil, engines.Errorf(engines.KindTooLarge, "a form is larger than the limit of %d bytes", maxForm)
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, engines.Invalidf("the request body is neither a JSON object nor a form")
	}
	members := make(map[string]string, len(values))
	for name, list := range values {
		if len(list) != 1 {
			return nil, engines.Invalidf("a form has a field twice")
		}
		members[name] = list[0]
	}
	text, err := json.Marshal(members)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return text, nil
}
