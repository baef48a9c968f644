package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// maxRawMessage bounds what is told of a body that is not the API's.
const maxRawMessage = 4096

// Error is the server's refusal. Its text has the form that users of Vault's
// command line know, and holds no header of the request.
type Error struct {
	Method    string
	URL       string
	Namespace string
	Status    int
	// Messages are the server's own.
	Messages []string
	// Raw is the start of a body that is not the API's.
	Raw string
}

func newError(req *http.Request, resp *Response, namespace string) *Error {
	e := &Error{Method: req.Method, URL: req.URL.Redacted(), Namespace: namespace, Status: resp.Status}
	var body struct {
		Errors []string `json:"errors"`
	}
	if json.Unmarshal(resp.Body, &body) == nil && body.Errors != nil {
		e.Messages = body.Errors
		return e
	}
	e.Raw = string(resp.Body[:min(len(resp.Body), maxRawMessage)])
	return e
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("Error making API request.\n\n")
	if e.Namespace != "" {
		fmt.Fprintf(&b, "Namespace: %s\n", e.Namespace)
	}
	fmt.Fprintf(&b, "URL: %s %s\n", e.Method, e.URL)
	if e.Raw != "" {
		fmt.Fprintf(&b, "Code: %d. Raw Message:\n\n%s", e.Status, e.Raw)
		return b.String()
	}
	fmt.Fprintf(&b, "Code: %d. Errors:\n", e.Status)
	for _, message := range e.Messages {
		b.WriteString("\n* " + strings.TrimRight(message, "\n"))
	}
	return b.String()
}

// StatusOf returns the status of a refusal, or 0 if err is none.
func StatusOf(err error) int {
	var e *Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}
