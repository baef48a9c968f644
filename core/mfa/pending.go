package mfa

import (
	"net/netip"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// patience is for how long a login waits for its passcodes.
const patience = 5 * time.Minute

// Pending is a login that waits for its second factor.
type Pending struct {
	Auth     *engines.Auth `json:"auth"`
	Accessor string        `json:"accessor"`
	Path     string        `json:"path"`
	Addr     netip.Addr    `json:"addr"`
	EntityID string        `json:"entity_id"`
}

// Hold keeps a login until it is validated, and returns what to tell its client.
func (m *MFA) Hold(tx *state.Tx, p *Pending, need *Need) (*Requirement, error) {
	id := newID()
	err := save(passing(tx), pendingDir+id, p, state.PutOptions{Expiry: tx.Now().Add(patience)})
	return need.requirement(id), err
}

// Held returns a login that waits. It is let go with Release.
func (m *MFA) Held(tx *state.Tx, id string) (*Pending, error) {
	unknown := engines.Invalidf("no login waits for this mfa_request_id: it may have waited for more than %v, so log in again", patience)
	if !isID(id) {
		return nil, unknown
	}
	row, err := passing(tx).GetRow(pendingDir + id)
	if err != nil {
		return nil, err
	}
	if row == nil || !tx.Now().Before(row.Expiry) {
		return nil, unknown
	}
	p := new(Pending)
	if _, err := load(passing(tx), pendingDir+id, p); err != nil {
		return nil, err
	}
	return p, nil
}

// Release ends the wait of a login, whose token is made in the same transaction.
func (m *MFA) Release(tx *state.Tx, id string) error { return passing(tx).Delete(pendingDir + id) }
