package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/several"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

const (
	// togetherPath is where several operations are asked for at once.
	togetherPath = "sys/transaction"
	// maxAnswers is how many bytes they may be answered with together.
	maxAnswers = 8 << 20
)

// part is one of several operations that one request asks for.
type part struct {
	*decoded
	out *Outbound
}

// parts are the operations of a request that asks for several.
func parts(in *Inbound, body map[string]json.RawMessage) ([]*part, error) {
	asked, err := several.Parse(body)
	if err != nil {
		return nil, err
	}
	var list []*part
	for i, a := range asked {
		one := *in
		one.ID, one.WrapTTL = in.ID+"."+strconv.Itoa(i+1), 0
		one.Op, one.Path, one.Query, one.Body = a.Op, a.Path, a.Query, a.Body
		d, err := decodeOne(&one)
		if err != nil {
			return nil, inPart(i, err)
		}
		list = append(list, &part{decoded: d})
	}
	return list, nil
}

// togetherRoutes are those below sys/.
func (u *Unsealed) togetherRoutes() []engines.Route {
	return []engines.Route{{
		Pattern: "transaction", Help: "Do several operations on secrets, all or none of them.",
		Description: "Each operation is allowed or denied as if it were a request of its own, sees what those before it wrote, and has its own " +
			"records on audit devices. If one fails, nothing is changed, and the error says which. Operations that make credentials, or do " +
			"anything beyond the store, cannot take part.",
		Fields: []engines.Field{{
			Name: several.Field, Type: engines.JSON, Required: true, Secret: true,
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
	all, size := make(several.Answers, 0, len(whole.parts)), 0
	for i, p := range whole.parts {
		var err error
		if p.out, err = u.part(ctx, tx, whole, p.decoded); err != nil {
			if !reads(p.in) || !nothing(err) {
				return nil, inPart(i, err)
			}
			p.out = &Outbound{Missing: true}
		}
		one := several.Answer{Missing: p.out.Missing}
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
