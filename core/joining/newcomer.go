package joining

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Bounds of what a newcomer says of itself.
const (
	maxID      = 128
	maxAddress = 256
	maxPublic  = 1024
	maxVersion = 64
)

// Invitation is what anybody gets who asks.
type Invitation struct {
	// Rows are the rows that a sealed node needs, by name.
	Rows      map[string][]byte `json:"rows"`
	Challenge []byte            `json:"challenge"`
}

// challenge is what the newcomer has to be able to read.
type challenge struct {
	Nonce []byte `json:"nonce"`
	Node  string `json:"node"`
	// Until is cluster time.
	Until time.Time `json:"until"`
}

// Proof is what the newcomer sends to show that it can unseal.
type Proof struct {
	Challenge []byte `json:"challenge"`
	Node      string `json:"node"`
	// Address is where its peers reach it, host and port.
	Address string `json:"address"`
	// Public is its public key in PKIX form.
	Public   []byte `json:"public"`
	NonVoter bool   `json:"non_voter,omitempty"`
	Version  string `json:"version,omitempty"`
}

// Admission is what makes the newcomer a member.
type Admission struct {
	Nonce []byte `json:"nonce"`
	// Certificate and Root are in DER.
	Certificate []byte `json:"certificate"`
	Root        []byte `json:"root"`
	// Members are where the others are reached, by id.
	Members map[string]string `json:"members"`
	// Index is one at which the newcomer has all that a sealed node needs.
	Index uint64 `json:"index"`
}

// Newcomer is the side of the node that joins. It is used for one answer.
type Newcomer struct {
	box   box
	nonce []byte
}

// NewNewcomer takes the key that is derived by Label.
func NewNewcomer(key []byte) (*Newcomer, error) {
	b, err := newBox(key)
	return &Newcomer{box: b}, err
}

// Prove seals a proof that answers its challenge.
func (n *Newcomer) Prove(p Proof) ([]byte, error) {
	var c challenge
	if err := n.box.open(aboutChallenge, p.Challenge, &c); err != nil {
		return nil, err
	}
	if c.Node != p.Node {
		return nil, errors.New("joining: the challenge is for another node")
	}
	n.nonce = c.Nonce
	return n.box.seal(aboutProof, p)
}

// Admitted opens the answer to the proof.
func (n *Newcomer) Admitted(sealed []byte) (*Admission, error) {
	var a Admission
	if err := n.box.open(aboutAdmission, sealed, &a); err != nil {
		return nil, err
	}
	if len(n.nonce) == 0 || !bytes.Equal(a.Nonce, n.nonce) {
		return nil, errors.New("joining: the answer is to another proof")
	}
	return &a, nil
}

// checkID refuses ids that no node can have.
func checkID(id string) error {
	if id == "" || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return fmt.Errorf("a node's id has 1 to %d printable ASCII characters without spaces", maxID)
	}
	return nil
}

// check refuses what no node can say of itself.
func (p *Proof) check() error {
	if err := checkID(p.Node); err != nil {
		return err
	}
	if len(p.Public) == 0 || len(p.Public) > maxPublic || len(p.Version) > maxVersion {
		return errors.New("the newcomer's key or version is out of bounds")
	}
	return checkAddress(p.Address)
}

// checkAddress refuses what is not where other nodes can reach one.
func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || len(address) > maxAddress || strings.ContainsAny(host, "/ ") {
		return errors.New("the node's cluster address is not a host and a port")
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		return errors.New("the node's cluster address is that of every interface: set its cluster_addr to where the others reach it")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("the node's cluster address is not a host and a port")
	}
	return nil
}
