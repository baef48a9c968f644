package cluster

// NewClusterClock and its methods are for the tests of cluster time, whose
// cases a running node meets only by chance.
func NewClusterClock(c Clock, stamp int64) *ClusterClock { return newClusterClock(c, stamp) }

type ClusterClock = clusterClock

func (c *clusterClock) Now() int64                    { return c.now() }
func (c *clusterClock) Applied(stamp int64, own bool) { c.applied(stamp, own) }
func (c *clusterClock) Replayed(stamp int64)          { c.replayed(stamp) }
