package joining

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

const (
	nonceBytes = 32
	// challengeTTL is how long a challenge may be answered.
	challengeTTL = 5 * time.Minute

	// Whoever asks without a token costs little, but not nothing.
	burst     = 32
	perSecond = 8
)

// Deps are what the host works on.
type Deps struct {
	// Key is derived from the keyring by Label.
	Key   []byte
	Store *state.Store
	// Rows are the rows that a sealed node needs.
	Rows func() (map[string][]byte, error)
	// Leads reports whether this node leads, and Members where the members are
	// reached, by id.
	Leads   func() bool
	Members func() map[string]string
	// Add makes a node a member that does not vote, or tells of its new address.
	// Move only does the latter.
	Add, Move func(ctx context.Context, id, address string) error
	// Issue makes a node's certificate.
	Issue func(ctx context.Context, id string, public []byte) (certificate, root []byte, err error)
	// Index is one that the boot rows are below.
	Index func() uint64
	// Log is told of a node that has become a member, or has come back.
	Log func(id, address string)
}

// Host is the side of a cluster's unsealed node. It is safe for concurrent use.
type Host struct {
	deps Deps
	box  box

	mu    sync.Mutex
	left  float64
	since time.Time
}

// NewHost returns the host of an unsealed node.
func NewHost(deps Deps) (*Host, error) {
	b, err := newBox(deps.Key)
	if err != nil {
		return nil, err
	}
	return &Host{deps: deps, box: b, left: burst}, nil
}

// take bounds how often strangers are answered.
func (h *Host) take() error {
	now := h.deps.Store.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if passed := now.Sub(h.since); passed > 0 {
		h.left = min(burst, h.left+passed.Seconds()*perSecond)
		h.since = now
	}
	if h.left < 1 {
		return engines.Errorf(engines.KindRateLimited, "too many ask to join: try again in a second")
	}
	h.left--
	return nil
}

// Invite answers a node that wants to join.
func (h *Host) Invite(node string) (*Invitation, error) {
	if err := h.take(); err != nil {
		return nil, err
	}
	if err := checkID(node); err != nil {
		return nil, engines.Invalidf("server_id: %w", err)
	}
	rows, err := h.deps.Rows()
	if err != nil {
		return nil, engines.Internal(err)
	}
	c := challenge{Nonce: make([]byte, nonceBytes), Node: node, Until: h.deps.Store.Now().Add(challengeTTL)}
	_, _ = rand.Read(c.Nonce)
	sealed, err := h.box.seal(aboutChallenge, c)
	if err != nil {
		return nil, engines.Internal(err)
	}
	return &Invitation{Rows: rows, Challenge: sealed}, nil
}

// Admit makes the node a member that proves to be able to unseal. Only the
// leader can.
func (h *Host) Admit(ctx context.Context, sealed []byte) ([]byte, error) {
	if err := h.take(); err != nil {
		return nil, err
	}
	p, c, err := h.read(sealed)
	if err != nil {
		return nil, err
	}
	if !h.deps.Leads() {
		return nil, engines.Errorf(engines.KindUnavailable, "this node does not lead: join through the one that does")
	}
	certificate, root, err := h.deps.Issue(ctx, p.Node, p.Public)
	if err != nil {
		return nil, err
	}
	if err := h.record(ctx, p, c); err != nil {
		return nil, err
	}
	if h.deps.Members()[p.Node] != p.Address {
		if err := h.deps.Add(ctx, p.Node, p.Address); err != nil {
			return nil, &engines.Error{Kind: engines.KindUnavailable, Message: "the node could not be made a member: try again", Cause: err}
		}
	}
	h.deps.Log(p.Node, p.Address)
	answer, err := h.box.seal(aboutAdmission, Admission{
		Nonce: c.Nonce, Certificate: certificate, Root: root, Members: h.deps.Members(), Index: h.deps.Index(),
	})
	if err != nil {
		return nil, engines.Internal(err)
	}
	return answer, nil
}

// Renew makes a member another certificate for its key, and notes where it is
// reached by now. Whoever calls knows that the member asks. Only the leader can.
func (h *Host) Renew(ctx context.Context, node, address string, public []byte) (certificate, root []byte, err error) {
	if !h.deps.Leads() {
		return nil, nil, engines.Errorf(engines.KindUnavailable, "this node does not lead")
	}
	members := h.deps.Members()
	present, ok := members[node]
	if !ok {
		return nil, nil, engines.Errorf(engines.KindDenied, "the node is no member")
	}
	if err := checkAddress(address); err != nil {
		return nil, nil, engines.Invalidf("%w", err)
	}
	for id, taken := range members {
		if id != node && taken == address {
			return nil, nil, engines.Errorf(engines.KindConflict, "another member has this node's cluster address")
		}
	}
	if present != address {
		if err := h.deps.Move(ctx, node, address); err != nil {
			return nil, nil, &engines.Error{Kind: engines.KindUnavailable, Message: "the node's address could not be changed: try again", Cause: err}
		}
	}
	return h.deps.Issue(ctx, node, public)
}

// read opens a proof and the challenge inside.
func (h *Host) read(sealed []byte) (*Proof, *challenge, error) {
	p, c := new(Proof), new(challenge)
	if h.box.open(aboutProof, sealed, p) != nil || h.box.open(aboutChallenge, p.Challenge, c) != nil {
		return nil, nil, engines.Errorf(engines.KindDenied, "the answer does not show that the node can unseal this cluster")
	}
	if err := p.check(); err != nil {
		return nil, nil, engines.Invalidf("%w", err)
	}
	if c.Node != p.Node || len(c.Nonce) != nonceBytes {
		return nil, nil, engines.Errorf(engines.KindDenied, "the challenge was for another node")
	}
	return p, c, nil
}

// member is what is kept of a node that has joined.
type member struct {
	Address  string `json:"address"`
	Public   []byte `json:"public"`
	NonVoter bool   `json:"non_voter,omitempty"`
	Version  string `json:"version,omitempty"`
}

// record commits that a challenge is used up, and whose key the member's is.
func (h *Host) record(ctx context.Context, p *Proof, c *challenge) error {
	_, err := h.deps.Store.Update(ctx, func(tx *state.Tx) error {
		if !tx.Now().Before(c.Until) {
			return engines.Errorf(engines.KindDenied, "the challenge has expired: ask for another one")
		}
		mark := state.Key(state.Passing, state.RootNamespace, []byte("join/"), c.Nonce)
		used, err := tx.Get(mark)
		if err != nil {
			return err
		}
		if used != nil {
			return engines.Errorf(engines.KindDenied, "the challenge has been answered already")
		}
		if err := h.distinct(tx, p); err != nil {
			return err
		}
		if err := tx.Put(mark, []byte{}, state.PutOptions{Expiry: c.Until}); err != nil {
			return err
		}
		row, err := json.Marshal(member{Address: p.Address, Public: p.Public, NonVoter: p.NonVoter, Version: p.Version})
		if err != nil {
			return engines.Internal(err)
		}
		return tx.Put(memberKey(p.Node), row, state.PutOptions{})
	})
	return err
}

// distinct refuses a newcomer that would take the place of another member.
func (h *Host) distinct(tx *state.Tx, p *Proof) error {
	known, err := readMember(tx, p.Node)
	if err != nil {
		return err
	}
	members := h.deps.Members()
	if _, there := members[p.Node]; there && (known == nil || !bytes.Equal(known.Public, p.Public)) {
		return engines.Errorf(engines.KindConflict, "there is a member with this node's id and another key: remove that one first if it is to be replaced")
	}
	for id, address := range members {
		if id != p.Node && address == p.Address {
			return engines.Errorf(engines.KindConflict, "another member has this node's cluster address")
		}
	}
	return nil
}

func memberKey(id string) []byte {
	return state.Key(state.Config, state.RootNamespace, []byte("member/"), []byte(id))
}

func readMember(tx *state.Tx, id string) (*member, error) {
	row, err := tx.Get(memberKey(id))
	if err != nil || row == nil {
		return nil, err
	}
	m := new(member)
	if err := json.Unmarshal(row.Value, m); err != nil {
		return nil, engines.Internal(errors.New("joining: a member's row is malformed"))
	}
	return m, nil
}

// Known is what a member said of itself when it joined; false for the founder
// of the cluster and for strangers.
func Known(tx *state.Tx, id string) (version string, nonVoter, ok bool, err error) {
	m, err := readMember(tx, id)
	if err != nil || m == nil {
		return "", false, false, err
	}
	return m.Version, m.NonVoter, true, nil
}

// Choose notes that an operator wants a member to vote, or not to.
func Choose(tx *state.Tx, id string, nonVoter bool) error {
	m, err := readMember(tx, id)
	if err != nil {
		return err
	}
	if m == nil {
		m = new(member)
	}
	m.NonVoter = nonVoter
	row, err := json.Marshal(m)
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(memberKey(id), row, state.PutOptions{})
}

// Forget makes a removed member's id free for another node.
func Forget(tx *state.Tx, id string) error { return tx.Delete(memberKey(id)) }
