package core

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/coffer-secrets/coffer/core/answer"
	"github.com/coffer-secrets/coffer/core/mfa"
	"github.com/coffer-secrets/coffer/core/quotas"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// metered counts a request against the rate limits, before anything is read for
// it, on the node that was asked and only once. The headers are for the answer.
func (u *Unsealed) metered(d *decoded) (map[string]string, error) {
	place := &d.in.Place
	if place.Forwarded || place.counted {
		return place.limits, nil
	}
	headers, audited, err := u.quotas.Check(&quotas.Asked{
		Path: d.path, Addr: d.in.Addr, Role: func() string { return u.loginRole(d) },
	})
	for _, p := range d.parts { // each counts as it would by itself
		if err == nil {
			_, audited, err = u.quotas.Check(&quotas.Asked{Path: p.path, Addr: d.in.Addr, Role: func() string { return "" }})
		}
	}
	if err != nil && audited {
		err = u.auditRefused(d, err)
	}
	place.limits, place.counted = headers, err == nil
	return headers, err
}

// loginRole is the role that a login names, as its engine knows it; empty for
// none.
func (u *Unsealed) loginRole(d *decoded) string {
	if d.in.Op != engines.Update || !strings.HasPrefix(d.path, "auth/") || len(d.body) == 0 {
		return ""
	}
	var role string
	_ = json.Unmarshal(d.body["role"], &role) // what is no role is nobody's
	err := u.store.Local(func(tx *state.Tx) error {
		router, err := u.mounts.Router(tx)
		if err != nil {
			return err
		}
		m, _, ok := router.Find(d.path)
		if !ok || m.Engine.Role == nil {
			return nil
		}
		role, err = m.Engine.Role(d.body, m.Storage(tx))
		return err
	})
	if err != nil {
		return "" // the mount's own limit counts then
	}
	return role
}

// warnOfLoop tells a caller who logs in for each thing that it does that its
// earlier tokens would have done.
func (u *Unsealed) warnOfLoop(tx *state.Tx, a *authorised, p *mfa.Pending, out *answer.Auth) []string {
	if out == nil || out.ClientToken == "" || p.EntityID == "" {
		return nil
	}
	until := tx.Now().Add(time.Duration(out.LeaseDuration) * time.Second)
	n := u.quotas.Loops.Login(a.mount.Accessor+"\x00"+p.EntityID, a.in.ID, tx.Now(), until)
	if n == 0 {
		return nil
	}
	return []string{fmt.Sprintf("This identity has logged in %d times or more within a minute, and its earlier tokens are still valid: "+
		"keep a token, renew it, and log in again only when it has ended.", n)}
}

func (out *Outbound) addHeaders(headers map[string]string) {
	if len(headers) == 0 {
		return
	}
	all := maps.Clone(out.Headers)
	if all == nil {
		all = make(map[string]string, len(headers))
	}
	maps.Copy(all, headers)
	out.Headers = all
}

// shareRates tells among how many nodes rates are shared.
func (u *Unsealed) shareRates() {
	status := u.core.cfg.Node.Status()
	nodes := make([]quotas.Node, 0, len(status.Members))
	for _, m := range status.Members {
		nodes = append(nodes, quotas.Node{Self: m.ID == status.ID, Voter: m.Voter, Seen: m.Seen})
	}
	u.quotas.SetNodes(quotas.Serving(nodes, time.Now()))
}
