package core

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

const (
	// togetherPath is where several operations are asked for at once.
	togetherPath = "sys/transaction"
	// maxParts is how many there may be, and maxAnswers how many bytes they may be
	// answered with together.
	maxParts   = 128
	maxAnswers = 8 << 20
)

// part is one of several operations that one request asks for.
type part struct {
	*decoded
	out *Outbound
}

// partOps are what a part may do, by the names that policies have for them.
var partOps = map[string]engines.Operation{
	"create": engines.Update, "update": engines.Update, "patch": engines.Patch, "delete": engines.Delete,
	"read": engines.Read, "list": engines.List,
}

// parts reads the operations of a request that asks for several. What is not
// there is the route's to miss.
func parts(in *Inbound, body map[string]json.RawMessage) ([]*part, error) {
	text, ok := body["operations"]
	if !ok {
		return nil, nil
	}
	var asked []struct {
		Operation string          `json:"operation"`
		Path      string          `json:"path"`
		Data      json.RawMessage `json:"data"`
	}
	var quoted string // as command lines send it
	if json.Unmarshal(text, &quoted) == nil {
		text = json.RawMessage(quoted)
	}
	read := json.NewDecoder(bytes.NewReader(text))
	read.DisallowUnknownFields()
	if err := read.Decode(&asked); err != nil || read.More() {
		return nil, engines.Invalidf("operations: expected an array of objects with operation, path and data")
	}
	if len(asked) == 0 || len(asked) > maxParts {
		return nil, engines.Invalidf("operations: expected 1 to %d", maxParts)
	}
	list := make([]*part, 0, len(asked))
	for i, a := range asked {
		one := *in
		one.ID, one.Path, one.Query, one.Body, one.WrapTTL = in.ID+"."+strconv.Itoa(i+1), a.Path, nil, a.Data, 0
		if one.Op, ok = partOps[a.Operation]; !ok {
			return nil, engines.Invalidf("operation %d: expected create, update, patch, delete, read or list", i+1)
		}
		if one.Op != engines.Update && one.Op != engines.Patch {
			one.Body = nil
			if one.Query, ok = query(a.Data); !ok {
				return nil, engines.Invalidf("operation %d: data: expected an object of texts, numbers and booleans", i+1)
			}
		}
		d, err := decodeOne(&one)
		if err != nil {
			return nil, inPart(i, err)
		}
		list = append(list, &part{decoded: d})
	}
	return list, nil
}

// query gives what a read is told the form that it has in a URL.
func query(data json.RawMessage) (url.Values, bool) {
	if len(data) == 0 {
		return nil, true
	}
	var members map[string]any
	read := json.NewDecoder(bytes.NewReader(data))
	read.UseNumber()
	if read.Decode(&members) != nil {
		return nil, false
	}
	out := make(url.Values, len(members))
	for name, value := range members {
		switch value.(type) {
		case string, json.Number, bool:
			out.Set(name, fmt.Sprint(value))
		default:
			return nil, false
		}
	}
	return out, true
}

// togetherRoutes are those below sys/.
func (u *Unsealed) togetherRoutes() []engines.Route {
	return []engines.Route{{
		Pattern: "transaction", Help: "Do several operations on secrets, all or none of them.",
		Description: "Each operation is allowed or denied as if it were a request of its own, sees what those before it wrote, and has its own " +
			"records on audit devices. If one fails, nothing is changed, and the error says which. Operations that make credentials, or do " +
			"anything beyond the store, cannot take part.",
		Fields: []engines.Field{{
			Name: "operations", Type: engines.JSON, Required: true, Secret: true,
			Help: "What to do, in order: objects with operation (create, update, patch, delete, read or list), path, and data.",
		}},
		Ops: []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: func(ctx context.Context, _ *engines.Request, tx engines.Tx) (*engines.Response, error) {
			return u.together(ctx, tx.(*state.Region).Tx()) //nolint:forcetypeassert // the core's own engine runs on the core's own transactions
		}}},
	}}
}

// wholeKey is where a context has the request that asks for several operations.
type wholeKey struct{}

// together does all operations of a request in its transaction.
func (u *Unsealed) together(ctx context.Context, tx *state.Tx) (*engines.Response, error) {
	whole, ok := ctx.Value(wholeKey{}).(*authorised)
	if !ok || len(whole.parts) == 0 {
		return nil, engines.Invalidf("operations: expected an array of objects")
	}
	all, size := make(answer.Several, 0, len(whole.parts)), 0
	for i, p := range whole.parts {
		var err error
		if p.out, err = u.part(ctx, tx, whole, p.decoded); err != nil {
			if !reads(p.in) || !nothing(err) {
				return nil, inPart(i, err)
			}
			p.out = &Outbound{Missing: true}
		}
		one := answer.Part{Missing: p.out.Missing}
		if env := p.out.Envelope; env != nil {
			if one.Warnings = env.Warnings; env.Data != nil {
				if one.Data, err = answer.AppendValue(nil, env.Data); err != nil {
					return nil, err
				}
			}
		}
		if size += len(one.Data); size > maxAnswers {
			return nil, engines.Errorf(engines.KindTooLarge, "the answers are larger than the limit of %d bytes: ask for fewer at once", maxAnswers)
		}
		all = append(all, one)
	}
	return &engines.Response{Data: all}, nil
}

// nothing reports whether err only says that nothing is stored where it was
// looked for.
func nothing(err error) bool {
	var e *engines.Error
	return errors.As(err, &e) && e.Kind == engines.KindNotFound && e.Message == ""
}

// part does one operation, for the caller of the whole.
func (u *Unsealed) part(ctx context.Context, tx *state.Tx, whole *authorised, d *decoded) (*Outbound, error) {
	d.trail.set = whole.trail.set
	r, err := u.route(tx, d)
	if err != nil {
		return nil, err
	}
	if !r.joins() {
		r.invalid = engines.Invalidf("what this path does cannot be part of a transaction")
	}
	a := &authenticated{routed: r, token: whole.token, acl: whole.acl, policies: whole.policies}
	d.trail.routed, d.trail.known = r, a
	out, err := u.answer(ctx, tx, a)
	if err != nil {
		return nil, err
	}
	if out.then != nil || out.making != nil || out.Raw != nil || out.Envelope != nil && out.Envelope.Auth != nil {
		return nil, engines.Invalidf("what this path does cannot be part of a transaction")
	}
	return out, nil
}

// joins reports whether an operation does nothing but read and write the store.
// One that is not there fails by itself.
func (r *routed) joins() bool {
	return r.op == nil || r.mount.Class == engines.ClassSecret && r.op.Ahead == nil && r.op.Trait != engines.Issues
}

// inPart says which operation failed. A denial's text is one that clients know.
func inPart(i int, err error) error {
	var e *engines.Error
	if !errors.As(err, &e) || e.Kind == engines.KindInternal {
		return err
	}
	told := &engines.Error{Kind: e.Kind, Message: e.Message, Details: e.Details, Headers: e.Headers, Cause: err}
	which := fmt.Sprintf("operation %d", i+1)
	switch {
	case e.Kind == engines.KindDenied || e.Kind == engines.KindUnauthorized:
		told.Warnings = []string{which + " was refused, and so nothing was done"}
	case e.Message == "":
		told.Message = which + ": nothing is stored there"
	default:
		told.Message = which + ": " + e.Message
	}
	told.Warnings = slices.Concat(told.Warnings, e.Warnings)
	return told
}

// auditParts records what became of each operation that was begun; failed is
// why none of them counts. The error is that of a record.
func (u *Unsealed) auditParts(d *decoded, failed error) error {
	for _, p := range d.parts {
		out := p.out
		if failed != nil {
			out = nil
		} else if out == nil {
			continue // it was committed by an earlier run of the request, and is on record there
		}
		if err := u.auditAnswer(p.decoded, out, failed); err != nil && failed == nil {
			return err
		}
	}
	return nil
}
