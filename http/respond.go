package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// response is an answer: an envelope, any other JSON, or bytes.
type response struct {
	status   int
	envelope *answer.Envelope
	json     any
	raw      *engines.Raw
	// stream, if set, writes the body itself, of type contentType if that is set.
	stream      stream
	contentType string
	headers     map[string]string
	index       uint64
	// headOnly answers without a body.
	headOnly bool
}

// statuses maps kinds of errors to statuses; a kind that is missing is a 500.
func statusOf(kind engines.Kind) int {
	switch kind {
	case engines.KindInvalid:
		return http.StatusBadRequest
	case engines.KindUnauthorized, engines.KindDenied:
		return http.StatusForbidden
	case engines.KindNotFound:
		return http.StatusNotFound
	case engines.KindMethod:
		return http.StatusMethodNotAllowed
	case engines.KindConflict:
		return http.StatusConflict
	case engines.KindPrecondition:
		return http.StatusPreconditionFailed
	case engines.KindTooLarge:
		return http.StatusRequestEntityTooLarge
	case engines.KindRateLimited:
		return http.StatusTooManyRequests
	case engines.KindUpstream:
		return http.StatusBadGateway
	case engines.KindUnavailable:
		return http.StatusServiceUnavailable
	case engines.KindNotInitialized:
		return http.StatusNotImplemented
	case engines.KindUnknownOutcome:
		return http.StatusGatewayTimeout
	}
	return http.StatusInternalServerError
}

// fail answers an error. Causes are logged with the request's id, never sent.
func (s *server) fail(w http.ResponseWriter, r *request, err error) int {
	var e *engines.Error
	if errors.Is(err, seal.ErrSealed) {
		err = engines.Errorf(engines.KindUnavailable, "Vault is sealed")
	}
	if !errors.As(err, &e) {
		e = engines.Internal(err)
	}
	status := statusOf(e.Kind)
	if status >= http.StatusInternalServerError && e.Cause != nil {
		s.Logger.Error("a request failed", "request_id", r.id, "status", status, "cause", e.Cause)
	}
	list := messages(e)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	for name, value := range e.Headers {
		w.Header().Set(name, value)
	}
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	body, err := json.Marshal(struct {
		Errors   []string `json:"errors"`
		Warnings []string `json:"warnings,omitempty"`
	}{list, e.Warnings})
	if err != nil {
		body = []byte(`{"errors":["internal error"]}`)
	}
	w.WriteHeader(status)
	s.write(w, r, append(body, '\n'))
	return status
}

// messages gives an error the form that clients know: several messages, and
// every denial, are one text with a line for each.
func messages(e *engines.Error) []string {
	if e.Message == "" {
		return []string{}
	}
	all := append([]string{e.Message}, e.Details...)
	if len(all) == 1 && e.Kind != engines.KindDenied {
		return all
	}
	var b strings.Builder
	noun := "errors"
	if len(all) == 1 {
		noun = "error"
	}
	fmt.Fprintf(&b, "%d %s occurred:\n", len(all), noun)
	for _, m := range all {
		b.WriteString("\t* " + m + "\n")
	}
	b.WriteString("\n")
	return []string{b.String()}
}

// typeJSON is the type of all answers but raw ones.
const typeJSON = "application/json"

// answerBytes is what most answers fit into.
const answerBytes = 1 << 10

// The values of headers that every answer has. They are shared: nothing may
// change them.
var (
	noStore    = []string{"no-store"}
	jsonHeader = []string{typeJSON}
)

// respond writes an answer.
func (s *server) respond(ctx context.Context, w http.ResponseWriter, r *request, resp *response) int {
	h := w.Header()
	h["Cache-Control"] = noStore
	for name, value := range resp.headers {
		h.Set(name, value)
	}
	if resp.index > 0 {
		h["X-Coffer-Index"] = []string{strconv.FormatUint(resp.index, 10)}
	}
	if resp.stream != nil {
		if resp.contentType != "" {
			h.Set("Content-Type", resp.contentType)
		}
		resp.stream(ctx, w)
		return http.StatusOK
	}
	status, contentType, body, err := encode(resp)
	if err != nil {
		return s.fail(w, r, err)
	}
	if body == nil {
		w.WriteHeader(status)
		return status
	}
	if contentType == typeJSON {
		h["Content-Type"] = jsonHeader
	} else {
		h.Set("Content-Type", contentType)
		if err := s.dressPage(h, contentType); err != nil {
			return s.fail(w, r, err)
		}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if !resp.headOnly {
		s.write(w, r, body)
	}
	return status
}

// dressPage gives a page the headers that operators want on pages. What the page
// says itself stands: nothing that is set for others makes it less safe.
func (s *server) dressPage(h http.Header, contentType string) error {
	u := s.Core.Unsealed()
	if u == nil || !strings.HasPrefix(contentType, "text/html") {
		return nil
	}
	headers, err := u.PageHeaders()
	if err != nil {
		return err
	}
	for name, values := range headers {
		if name = http.CanonicalHeaderKey(name); h[name] == nil {
			h[name] = values
		}
	}
	return nil
}

func encode(resp *response) (status int, contentType string, body []byte, err error) {
	status = resp.status
	switch {
	case resp.raw != nil:
		if status = resp.raw.Status; status == 0 {
			status = http.StatusOK
		}
		return status, resp.raw.ContentType, resp.raw.Body, nil
	case resp.envelope != nil:
		body, err = resp.envelope.AppendJSON(make([]byte, 0, answerBytes))
	case resp.json != nil:
		body, err = json.Marshal(resp.json)
	default:
		if status == 0 {
			status = http.StatusNoContent
		}
		return status, "", nil, nil
	}
	if err != nil {
		return 0, "", nil, engines.Internal(err)
	}
	if status == 0 {
		status = http.StatusOK
	}
	return status, typeJSON, append(body, '\n'), nil
}

// write sends a body. That the client has gone away is nobody's error.
func (s *server) write(w http.ResponseWriter, r *request, body []byte) {
	if _, err := w.Write(body); err != nil {
		s.Logger.Debug("a client went away", "request_id", r.id)
	}
}

func typeName(v any) string { return fmt.Sprintf("%T", v) }

func stack() string { return string(debug.Stack()) }
