package issued

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// bootRestored is the row that comes with a state that was restored from a
// snapshot; see cluster.RestoredKey.
const bootRestored = "restored"

// hold is that a state was restored. What leases were renewed, given or revoked
// after the snapshot is not known, so what is in it stays alive until an operator
// has looked.
type hold struct {
	Index uint64 `json:"index"`
	Time  int64  `json:"time"`
}

// heldOf returns how leases are held, or nil if they are not. An unreadable row
// holds all: that ends nothing by mistake.
func heldOf(tx *state.Tx) (*hold, error) {
	value, err := tx.GetBoot(bootRestored)
	if err != nil || value == nil {
		return nil, err
	}
	h := new(hold)
	if json.Unmarshal(value, h) != nil {
		h.Time = tx.Now().UnixNano()
	}
	return h, nil
}

func (h *hold) at() time.Time { return time.Unix(0, h.Time).UTC() }

// holds reports whether a lease came with the snapshot, and nobody has asked
// since for its end.
func (h *hold) holds(r *row) bool { return h != nil && !r.Asked && !r.Issued.After(h.at()) }

// Held reports whether leases are held since a snapshot was restored.
func (s *Issued) Held(tx *state.Tx) (bool, error) {
	h, err := heldOf(tx)
	return h != nil, err
}

// heldRoutes tell of what is held, and release it.
func (s *Issued) heldRoutes() []engines.Route {
	fields := func(query bool) []engines.Field {
		return []engines.Field{
			{Name: "after", Type: engines.String, Query: query, Help: "Go on behind this lease."},
			{Name: "limit", Type: engines.Int, Query: query, Help: "Tell of so many at most."},
		}
	}
	return []engines.Route{
		{
			Pattern: "leases/held", Help: "Tell whether leases are held since a snapshot was restored, and which would end if they were not.", Sudo: true, Fields: fields(true),
			Ops: []engines.Op{{Do: engines.Read, Handler: whole(s.showHeld)}},
		},
		{
			Pattern: "leases/release", Help: "Let the leases that a restored snapshot brought end when their time is over.", Sudo: true,
			Fields: append(fields(false), engines.Field{Name: "dry_run", Type: engines.Bool, Help: "Only tell what would end."}),
			Ops:    []engines.Op{{Do: engines.Update, Trait: engines.Writes, Handler: whole(s.release)}},
		},
	}
}

// Why a held lease would end.
const (
	whyExpired  = "expired"
	whyRevoked  = "revoked"
	whyUnmade   = "unconfirmed"
	whyOwner    = "owner gone"
	whyNoMount  = "mount gone"
	heldPerPage = mostFound
)

// verdicts says why leases would end.
type verdicts struct {
	issued *Issued
	tx     *state.Tx
	owners map[string]bool
	mounts map[string]bool
}

func (v *verdicts) of(r *row) (string, error) {
	switch {
	case r.Phase == revoking:
		return whyRevoked, nil
	case r.Phase == pending:
		return whyUnmade, nil
	case r.due(v.tx.Now()):
		return whyExpired, nil
	}
	there, known := v.mounts[r.Mount]
	if !known {
		router, err := v.issued.deps.Mounts().Router(v.tx)
		if err != nil {
			return "", err
		}
		_, there = router.ByAccessor(r.Mount)
		v.mounts[r.Mount] = there
	}
	if !there {
		return whyNoMount, nil
	}
	alive, known := v.owners[string(r.Owner)]
	if !known {
		var err error
		if alive, err = v.issued.alive(v.tx, r.Owner); err != nil {
			return "", err
		}
		if len(v.owners) > 10*mostFound {
			clear(v.owners)
		}
		v.owners[string(r.Owner)] = alive
	}
	if !alive {
		return whyOwner, nil
	}
	return "", nil
}

func (s *Issued) showHeld(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	h, err := heldOf(tx)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return &engines.Response{Data: map[string]any{"held": false, "leases": []any{}, "next": ""}}, nil
	}
	list, next, err := s.ending(req, tx, h)
	if err != nil {
		return nil, err
	}
	return &engines.Response{Data: map[string]any{
		"held": true, "snapshot_index": h.Index, "snapshot_time": h.at().Format(time.RFC3339Nano), "leases": list, "next": next,
	}}, nil
}

// ending lists a page of the leases that would end if they were not held.
func (s *Issued) ending(req *engines.Request, tx *state.Tx, h *hold) (list []map[string]any, next string, err error) {
	limit := int(req.Fields.Int("limit"))
	if limit <= 0 || limit > heldPerPage {
		limit = heldPerPage
	}
	var behind []byte
	if after := req.Fields.String("after"); after != "" {
		if behind, err = region(tx).Key(after); err != nil {
			return nil, "", err
		}
	}
	list = []map[string]any{}
	v := &verdicts{s, tx, make(map[string]bool), make(map[string]bool)}
	errFull := engines.Errorf(engines.KindInternal, "full")
	last := ""
	err = walk(tx, "", func(id string) error {
		if behind != nil {
			if key, err := region(tx).Key(id); err != nil || bytes.Compare(key, behind) <= 0 {
				return err
			}
		}
		r, err := load(tx, id)
		if err != nil || r == nil || !h.holds(r) {
			return err
		}
		why, err := v.of(r)
		if err != nil || why == "" {
			return err
		}
		if len(list) == limit {
			next = last
			return errFull
		}
		last = id
		list = append(list, map[string]any{
			"lease_id": id, "why": why, "created": r.What, "issue_time": r.Issued.Format(time.RFC3339Nano), "expire_time": r.Expires.Format(time.RFC3339Nano),
		})
		return nil
	})
	if next != "" {
		err = nil
	}
	return list, next, err
}

func (s *Issued) release(req *engines.Request, tx *state.Tx) (*engines.Response, error) {
	dry := req.Fields.Bool("dry_run")
	if dry {
		out, err := s.showHeld(req, tx)
		if err != nil {
			return nil, err
		}
		if told, ok := out.Data.(map[string]any); ok {
			told["dry_run"], told["released"] = true, false
		}
		return out, nil
	}
	h, err := heldOf(tx)
	if err != nil {
		return nil, err
	}
	out := &engines.Response{Data: map[string]any{"held": false, "dry_run": false, "released": h != nil}}
	if h == nil {
		return out, nil
	}
	out.Then = func(context.Context) error {
		s.kick()
		return nil
	}
	return out, tx.Delete(state.BootKey(bootRestored))
}
