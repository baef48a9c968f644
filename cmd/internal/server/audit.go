package server

import (
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/coffer-secrets/coffer/cmd/internal/config"
	"github.com/coffer-secrets/coffer/core"
	"github.com/coffer-secrets/coffer/core/audit"
)

// auditFolder is where audit files are if the configuration does not say.
const auditFolder = "audit"

func auditConfig(c *config.Config) audit.Config {
	out := audit.Config{Folder: c.Audit.Path, Stdout: os.Stdout}
	if out.Folder == "" {
		out.Folder = filepath.Join(c.Storage.Path, auditFolder)
	}
	if folder, err := filepath.Abs(out.Folder); err == nil {
		out.Folder = folder
	}
	for _, d := range c.Audit.Devices {
		out.Devices = append(out.Devices, audit.Entry{
			Path: d.Name, Type: d.Type, Description: d.Description, Options: d.Options, Local: true,
		})
	}
	return out
}

// auditMetrics tells how the audit devices do. Their names are the operator's.
type auditMetrics struct{ core *core.Core }

// Describe implements prometheus.Collector.
func (m *auditMetrics) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(m, out) }

// Collect implements prometheus.Collector.
func (m *auditMetrics) Collect(out chan<- prometheus.Metric) {
	tell := func(kind prometheus.ValueType, value float64, name, help string, label ...string) {
		var names []string
		if len(label) > 0 {
			names = []string{"device"}
		}
		out <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, label...)
	}
	devices, refused := m.core.AuditStatus()
	for _, d := range devices {
		tell(prometheus.GaugeValue, truth(d.Works), "coffer_audit_device_up", "1 while the audit device takes records.", d.Path)
		tell(prometheus.CounterValue, float64(d.Written), "coffer_audit_records_total", "Records that the audit device has written.", d.Path)
		tell(prometheus.CounterValue, float64(d.Missed), "coffer_audit_missed_total", "Records that the audit device has not written.", d.Path)
	}
	tell(prometheus.CounterValue, float64(refused), "coffer_audit_refused_total", "Requests and answers that no audit device took.")
}
