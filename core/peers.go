package core

import (
	"context"
	"io"

	"github.com/coffer-secrets/coffer/core/state"
	"github.com/coffer-secrets/coffer/engines"
)

// Peers is the node's end of the connections with other nodes, as the core
// needs it: it keeps the authority that their certificates are of.
type Peers interface {
	// NewAuthority makes the authority of a cluster, in a form to be stored. It
	// is secret.
	NewAuthority(cluster string) ([]byte, error)
	// Certified reports whether the node has a certificate of the cluster's that
	// is not due to be renewed.
	Certified(cluster string) bool
	// Certify gives the node a certificate of the cluster's authority.
	Certify(cluster string, authority []byte) error
	// Issue makes the certificate of another node for its public key, and
	// returns it with the authority's own.
	Issue(cluster string, authority []byte, node string, public []byte) (certificate, root []byte, err error)
	// Admit has the leader admit a node that proves it can unseal.
	Admit(ctx context.Context, leader string, proof []byte) ([]byte, error)
	// RootKey asks another node for the root key, as package handover says.
	RootKey(ctx context.Context, node string, question []byte) ([]byte, error)
	// Restore has the leader restore a snapshot.
	Restore(ctx context.Context, leader string, r io.Reader, force bool) error
}

func authorityKey() []byte {
	return state.Key(state.Config, state.RootNamespace, []byte("authority"))
}

// Authority returns the cluster's id and the authority of its nodes'
// certificates, which is made when it is first needed.
func (u *Unsealed) Authority(ctx context.Context) (cluster string, authority []byte, err error) {
	var row clusterRow
	if _, err := u.core.boot(bootCluster, &row); err != nil {
		return "", nil, err
	}
	_, err = u.store.Update(ctx, func(tx *state.Tx) error {
		stored, err := tx.Get(authorityKey())
		if err != nil {
			return err
		}
		if stored != nil {
			authority = stored.Value
			return nil
		}
		if authority, err = u.core.cfg.Peers.NewAuthority(row.ID); err != nil {
			return engines.Internal(err)
		}
		return tx.Put(authorityKey(), authority, state.PutOptions{})
	})
	return row.ID, authority, err
}

// certify gives the node that leads a certificate: the first one when a cluster
// is founded, and others in time. Other nodes ask it for theirs.
func (u *Unsealed) certify(ctx context.Context) error {
	peers := u.core.cfg.Peers
	if peers == nil || peers.Certified(u.belongs.cluster) {
		return nil
	}
	cluster, authority, err := u.Authority(ctx)
	if err != nil {
		return err
	}
	defer clear(authority)
	return peers.Certify(cluster, authority)
}
