package pki

import (
	"context"

	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/engines/pki/roles"
)

func (e *engine) readRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	r, err := e.role(req, tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, engines.NotFound()
	}
	return &engines.Response{Data: r.Show()}, nil
}

// writeRole writes a role whole, as others do: what is not given has its default.
func (e *engine) writeRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	r := new(roles.Role)
	if err := r.Set(req.Fields, true); err != nil {
		return nil, err
	}
	return e.putRole(req, tx, r)
}

func (e *engine) patchRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	old, err := e.role(req, tx, req.Fields.String("name"))
	if err != nil {
		return nil, err
	}
	if old == nil {
		return nil, engines.NotFound()
	}
	r := *old
	if err := r.Set(req.Fields, false); err != nil {
		return nil, err
	}
	return e.putRole(req, tx, &r)
}

func (e *engine) putRole(req *engines.Request, tx engines.Tx, r *roles.Role) (*engines.Response, error) {
	row, err := r.Encode()
	if err != nil {
		return nil, engines.Internal(err)
	}
	resp := &engines.Response{Data: r.Show()}
	if _, err := e.authority(req, tx, r.Ways.Issuer); engines.KindOf(err) == engines.KindInvalid && err != nil {
		resp.Warnings = append(resp.Warnings, "the issuer of the role, "+r.Ways.Issuer+", is not there yet: nothing can be issued before it is")
	} else if err != nil {
		return nil, err
	}
	return resp, tx.Put(roleDir+req.Fields.String("name"), row)
}

func (e *engine) deleteRole(_ context.Context, req *engines.Request, tx engines.Tx) (*engines.Response, error) {
	return nil, tx.Delete(roleDir + req.Fields.String("name"))
}

func roleExists(_ context.Context, req *engines.Request, tx engines.Tx) (bool, error) {
	row, err := tx.Get(roleDir + req.Fields.String("name"))
	return row != nil, err
}
