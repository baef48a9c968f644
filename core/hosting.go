package core

import (
	"context"
	"errors"
	"strings"

	"github.com/coffer-secrets/coffer/core/backup"
	"github.com/coffer-secrets/coffer/core/joining"
	"github.com/coffer-secrets/coffer/core/members"
	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
	"github.com/coffer-secrets/coffer/seal"
)

// membership is who is part of the cluster, and who may be.
type membership struct {
	host  *joining.Host
	pilot *members.Pilot
	// backupKey marks this cluster's snapshots, cluster is its id.
	backupKey []byte
	cluster   string
}

func (u *Unsealed) newMembership(keyring *seal.Keyring) (membership, error) {
	host, err := u.newHost(keyring)
	c := u.core
	deps := members.Deps{
		Store: u.store, Cluster: c.cfg.Members, Status: c.memberStatus, Version: c.cfg.Info.Version,
		Log: func(what, id string) { u.log.Info(what, "member", id) },
	}
	out := membership{host: host, pilot: members.NewPilot(deps), backupKey: keyring.Derive(backup.Label, backup.KeyBytes)}
	if err != nil {
		return out, err
	}
	var row clusterRow
	_, err = c.boot(bootCluster, &row) // while the cluster is made there is none
	out.cluster = row.ID
	return out, err
}

// memberStatus is the node's status in the words of package members.
func (c *Core) memberStatus() members.Status {
	s := c.cfg.Node.Status()
	out := members.Status{Leads: s.Leader, Term: s.Term, Index: s.Committed}
	for _, m := range s.Members {
		out.Members = append(out.Members, members.Member{
			ID: m.ID, Address: hostPort(m.Address), Leader: m.Leader, Voter: m.Voter, Self: m.ID == s.ID, Version: m.Version,
		})
	}
	return out
}

// hostPort is a member's address without the scheme that clients are told.
func hostPort(address string) string { return strings.TrimPrefix(address, "https://") }

// newHost makes the part that lets other nodes join.
func (u *Unsealed) newHost(keyring *seal.Keyring) (*joining.Host, error) {
	node := u.core.cfg.Node
	return joining.NewHost(joining.Deps{
		Key: keyring.Derive(joining.Label, joining.KeyBytes), Store: u.store, Rows: u.core.bootRows,
		Leads: func() bool { return node.Status().Leader }, Members: u.core.memberAddresses,
		Add: func(ctx context.Context, id, address string) error {
			if u.core.cfg.Members == nil {
				return state.ErrNotLeader
			}
			return u.core.cfg.Members.AddNonvoter(ctx, id, address)
		},
		Move: u.core.moveMember, Issue: u.certificate, Index: func() uint64 { return node.Status().Applied },
		Log: func(id, address string) { u.log.Info("a node was admitted", "member", id, "address", address) },
	})
}

// bootRows are what a node needs to unseal.
func (c *Core) bootRows() (map[string][]byte, error) {
	rows := make(map[string][]byte)
	for _, name := range []string{bootSeal, bootKeyring, bootRoot, bootRecovery, bootCluster} {
		row, err := state.ReadBoot(c.cfg.Node, name)
		if err != nil {
			return nil, err
		}
		if row != nil {
			rows[name] = row
		}
	}
	return rows, nil
}

// memberAddresses are where the members are reached, host and port by id.
func (c *Core) memberAddresses() map[string]string {
	out := make(map[string]string)
	for _, m := range c.cfg.Node.Status().Members {
		out[m.ID] = hostPort(m.Address)
	}
	return out
}

// moveMember changes where a member is reached, and nothing else about it.
func (c *Core) moveMember(ctx context.Context, id, address string) error {
	if c.cfg.Members == nil {
		return state.ErrNotLeader
	}
	for _, m := range c.cfg.Node.Status().Members {
		if m.ID == id && m.Voter {
			return c.cfg.Members.AddVoter(ctx, id, address)
		}
	}
	return c.cfg.Members.AddNonvoter(ctx, id, address)
}

// Renew makes a member that asks another certificate, and notes its address.
func (c *Core) Renew(ctx context.Context, node, address string, public []byte) (certificate, root []byte, err error) {
	u := c.current.Load()
	if u == nil {
		return nil, nil, c.notServing()
	}
	return u.belongs.host.Renew(ctx, node, address, public)
}

// certificate makes the certificate of another node.
func (u *Unsealed) certificate(ctx context.Context, node string, public []byte) (certificate, root []byte, err error) {
	if u.core.cfg.Peers == nil {
		return nil, nil, engines.Errorf(engines.KindUnavailable, "this node has no connections to others")
	}
	cluster, authority, err := u.Authority(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer clear(authority)
	certificate, root, err = u.core.cfg.Peers.Issue(cluster, authority, node, public)
	if err != nil {
		return nil, nil, &engines.Error{Kind: engines.KindInvalid, Message: "no certificate can be made for the node's key", Cause: err}
	}
	return certificate, root, nil
}

// Invite answers a node that wants to join this one's cluster.
func (c *Core) Invite(node string) (*joining.Invitation, error) {
	u := c.current.Load()
	if u == nil {
		return nil, c.notServing()
	}
	return u.belongs.host.Invite(node)
}

// Admit makes a node a member that shows it can unseal, by way of the leader.
func (c *Core) Admit(ctx context.Context, proof []byte) ([]byte, error) {
	status := c.cfg.Node.Status()
	if c.current.Load() == nil || status.Leader || status.LeaderID == "" || c.cfg.Peers == nil {
		return c.AdmitHere(ctx, proof)
	}
	admission, err := c.cfg.Peers.Admit(ctx, status.LeaderID, proof)
	var e *engines.Error
	if err != nil && !errors.As(err, &e) {
		err = &engines.Error{Kind: engines.KindUnavailable, Message: "the leader could not be asked: try again", Cause: err}
	}
	return admission, err
}

// AdmitHere is Admit on the leader.
func (c *Core) AdmitHere(ctx context.Context, proof []byte) ([]byte, error) {
	u := c.current.Load()
	if u == nil {
		return nil, c.notServing()
	}
	return u.belongs.host.Admit(ctx, proof)
}
