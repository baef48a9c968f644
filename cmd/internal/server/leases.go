package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/leases/issued"
)

// leaseMetrics tells how leases of secrets do. Mounts are called by their
// accessors: a path is a name.
type leaseMetrics struct{ core *core.Core }

// Describe implements prometheus.Collector.
func (m *leaseMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m *leaseMetrics) Collect(out chan<- prometheus.Metric) {
	stats, ok := m.core.LeaseStats()
	if !ok {
		return
	}
	labels := []string{"mount"}
	tell := func(kind prometheus.ValueType, value float64, name, help string, mount ...string) {
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, labels[:len(mount)], nil), kind, value, mount...)
	}
	tell(prometheus.GaugeValue, truth(stats.Held), "coffer_leases_held", "1 while leases are held since a snapshot was restored.")
	for mount, n := range stats.Standing {
		tell(prometheus.GaugeValue, float64(n.Live), "coffer_leases_live", "Leases of a mount, counted now and then.", mount)
		tell(prometheus.GaugeValue, float64(n.Revoking), "coffer_leases_revoking", "Leases of a mount that are being undone.", mount)
		tell(prometheus.GaugeValue, float64(n.Stuck), "coffer_leases_stuck", "Leases of a mount that have failed to be undone six times or more.", mount)
	}
	for mount, d := range stats.Done {
		tell(prometheus.GaugeValue, float64(d.Making), "coffer_leases_pending", "What this node is making for leases of a mount.", mount)
		tell(prometheus.CounterValue, float64(d.Undone), "coffer_leases_undone_total", "Leases of a mount that this node has undone.", mount)
		tell(prometheus.CounterValue, float64(d.Refused), "coffer_leases_undone_failures_total", "How often this node could not undo a lease of a mount.", mount)
		tell(prometheus.CounterValue, float64(d.Failed), "coffer_leases_made_failures_total", "How often this node could not make what a lease of a mount was for.", mount)
		within := make(map[float64]uint64, len(d.Within))
		for i, n := range d.Within {
			within[issued.Buckets[i]] = n
		}
		out <- prometheus.MustNewConstHistogram(
			prometheus.NewDesc("coffer_leases_made_seconds", "How long it took this node to make what leases of a mount are for.", labels, nil),
			d.Made, d.Took.Seconds(), within, mount)
	}
}
