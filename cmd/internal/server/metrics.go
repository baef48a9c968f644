package server

import (
	"bytes"
	"io/fs"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/coffer-secrets/coffer/core"
)

// metrics are what the node tells of itself. Nothing in them names a secret, a
// mount, or a token.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	reloads  *prometheus.CounterVec
	answers  sync.Map // of answerKey to answerMetrics
}

func newMetrics(version string) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "coffer_http_requests_total", Help: "Requests that were answered, by method and class of status.",
		}, []string{"method", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "coffer_http_request_seconds", Help: "How long requests took to answer, by method.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"method"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "coffer_reloads_total", Help: "Reloads of the configuration, by outcome.",
		}, []string{"outcome"}),
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "coffer_build_info", Help: "Always 1; the label tells the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	m.registry.MustRegister(m.requests, m.took, m.reloads, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// watch adds what the node, the core and the folder of the store tell when
// they are asked.
func (m *metrics) watch(n *node, c *core.Core, dir string) {
	gauge := func(name, help string, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("coffer_unsealed", "1 while the node is unsealed.", func() float64 { return truth(c.Unsealed() != nil) })
	gauge("coffer_raft_leader", "1 while the node leads.", func() float64 { return truth(n.Status().Leader) })
	gauge("coffer_raft_term", "The node's term.", func() float64 { return float64(n.Status().Term) })
	gauge("coffer_raft_applied_index", "Index of the last entry that the state holds.", func() float64 { return float64(n.Status().Applied) })
	gauge("coffer_raft_commit_index", "Index of the last entry known to be committed.", func() float64 { return float64(n.Status().Committed) })
	gauge("coffer_raft_peers", "Members of the cluster.", func() float64 { return float64(len(n.Status().Members)) })
	m.registry.MustRegister(&auditMetrics{c}, &leaseMetrics{c})
	gauge("coffer_store_bytes", "Size of the node's folder.", func() float64 { return float64(folderBytes(dir)) })
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// folderBytes adds up the files of a folder. Files come and go meanwhile.
func folderBytes(dir string) int64 {
	total := int64(0)
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // gone since it was listed
		}
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return nil
	})
	return total
}

// observe counts an answer.
func (m *metrics) observe(method string, status int, took time.Duration) {
	key := answerKey{knownMethod(method), status / 100}
	found, ok := m.answers.Load(key)
	if !ok {
		found, _ = m.answers.LoadOrStore(key, answerMetrics{
			count: m.requests.WithLabelValues(key.method, strconv.Itoa(key.class)+"xx"), took: m.took.WithLabelValues(key.method),
		})
	}
	if a, ok := found.(answerMetrics); ok {
		a.count.Inc()
		a.took.Observe(took.Seconds())
	}
}

// answerKey is a kind of answer, answerMetrics what counts it: looking labels up
// for each answer costs more than counting.
type answerKey struct {
	method string
	class  int
}

type answerMetrics struct {
	count prometheus.Counter
	took  prometheus.Observer
}

// knownMethod keeps callers from making labels up.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
		"LIST", "SCAN":
		return method
	}
	return "other"
}

// text is the metrics in the text form of Prometheus.
func (m *metrics) text() (body []byte, contentType string, err error) {
	families, err := m.registry.Gather()
	if err != nil {
		return nil, "", err
	}
	format := expfmt.NewFormat(expfmt.TypeTextPlain)
	var out bytes.Buffer
	encoder := expfmt.NewEncoder(&out, format)
	for _, family := range families {
		if err := encoder.Encode(family); err != nil {
			return nil, "", err
		}
	}
	return out.Bytes(), string(format), nil
}
