package core

import (
	"context"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

// DefaultIndexWait is how long a request may wait for the index that it
// requires: a few rounds of replication.
const DefaultIndexWait = 2 * time.Second

// Await returns once this node has applied an index. One that does not come in
// time, or never will, is an error that clients take for a reason to try again.
func (c *Core) Await(ctx context.Context, index uint64) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.IndexWait)
	defer cancel()
	if err := c.cfg.Node.WaitApplied(ctx, index); err != nil {
		return &engines.Error{Kind: engines.KindPrecondition, Message: "required index state not present", Cause: err}
	}
	return nil
}

// ClusterID identifies the cluster; empty if it has not been initialised.
func (c *Core) ClusterID() (string, error) {
	if id := c.clusterID.Load(); id != nil {
		return *id, nil
	}
	var row clusterRow
	found, err := c.boot(bootCluster, &row)
	if err != nil || !found {
		return "", err
	}
	c.clusterID.Store(&row.ID)
	return row.ID, nil
}
