// Package metrics counts what the server does, for Prometheus. It implements
// the small interfaces through which others tell of it, so that they need not
// know of it; it decides nothing.
//
// The number of series is bounded by the program: labels are the paths of the
// server, kinds of errors, and the operator's stores. No organization, user,
// device or address is ever a label, so that the figures tell nothing about
// anybody.
package metrics

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"parsec/internal/server/meta"
)

// Metrics are the figures of one server. It is safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry

	requests     *prometheus.CounterVec
	requestTimes *prometheus.HistogramVec
	received     *prometheus.CounterVec
	sent         *prometheus.CounterVec

	operations     *prometheus.CounterVec
	operationTimes *prometheus.HistogramVec

	jobs     *prometheus.CounterVec
	jobTimes *prometheus.HistogramVec
}

// Load is what is under way in a server.
type Load interface {
	// Waiting is how many requests wait for memory.
	Waiting() int64
	// Streams is how many event streams and waits of enrollments are open.
	Streams() int
	// Subscribers is how many devices and enrollments are told what happens.
	Subscribers() int
}

// times are the bounds of the histograms, in seconds: from a read out of the
// cache to the longest transfer.
func times() []float64 {
	return []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
}

// New returns figures that are all 0, for a program of a version.
func New(version string) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: times()}, labels)
	}
	m := &Metrics{
		registry:       prometheus.NewRegistry(),
		requests:       counter("parsec_requests_total", "Requests that ended, by path and by kind of failure.", "path", "outcome"),
		requestTimes:   histogram("parsec_request_duration_seconds", "Time from a request to the end of its answer.", "path"),
		received:       counter("parsec_received_bytes_total", "Bytes of the bodies of requests.", "path"),
		sent:           counter("parsec_sent_bytes_total", "Bytes of the bodies of answers.", "path"),
		operations:     counter("parsec_store_operations_total", "Operations of an object store, by kind of failure.", "store", "operation", "outcome"),
		operationTimes: histogram("parsec_store_duration_seconds", "Time of an operation of an object store.", "store", "operation"),
		jobs:           counter("parsec_jobs_total", "Jobs that this process has done, by kind of failure.", "job", "outcome"),
		jobTimes:       histogram("parsec_job_duration_seconds", "Time that a job took.", "job"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "parsec_build_info", Help: "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	build.Set(1)
	m.registry.MustRegister(
		m.requests, m.requestTimes, m.received, m.sent, m.operations, m.operationTimes, m.jobs, m.jobTimes, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Handler answers Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Request counts a request that ended; "ok" is the outcome of one that did not fail.
func (m *Metrics) Request(path, outcome string, took time.Duration, in, out int64) {
	m.requests.WithLabelValues(path, outcome).Inc()
	m.requestTimes.WithLabelValues(path).Observe(took.Seconds())
	m.received.WithLabelValues(path).Add(float64(in))
	m.sent.WithLabelValues(path).Add(float64(out))
}

// Job counts a job that ended; "ok" is the outcome of one that did not fail.
func (m *Metrics) Job(name, outcome string, took time.Duration) {
	m.jobs.WithLabelValues(name, outcome).Inc()
	m.jobTimes.WithLabelValues(name).Observe(took.Seconds())
}

// Watch shows what is under way in a server, whenever somebody asks. It is
// called once.
func (m *Metrics) Watch(l Load) {
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
	}
	m.registry.MustRegister(
		gauge("parsec_memory_waiters", "Requests that wait for memory.", func() float64 { return float64(l.Waiting()) }),
		gauge("parsec_streams", "Event streams, and waits of enrollments, that are open.", func() float64 { return float64(l.Streams()) }),
		gauge("parsec_subscribers", "Devices and enrollments that are told what happens.", func() float64 { return float64(l.Subscribers()) }),
	)
}

// WatchPool shows how the connections to the database are used, whenever
// somebody asks. It is called once, and not for a database without any.
func (m *Metrics) WatchPool(read func() meta.Pool) {
	gauge := func(name, help string, of func(meta.Pool) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return of(read()) })
	}
	counter := func(name, help string, of func(meta.Pool) float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return of(read()) })
	}
	m.registry.MustRegister(
		gauge("parsec_database_connections_in_use", "Connections to the database that transactions use.", func(p meta.Pool) float64 { return float64(p.InUse) }),
		gauge("parsec_database_connections_idle", "Connections to the database that nothing uses.", func(p meta.Pool) float64 { return float64(p.Idle) }),
		gauge("parsec_database_connections_max", "Connections to the database that there may be.", func(p meta.Pool) float64 { return float64(p.Most) }),
		counter("parsec_database_waits_total", "Transactions that had to wait for a connection.", func(p meta.Pool) float64 { return float64(p.Waits) }),
		counter("parsec_database_wait_seconds_total", "Time for which transactions waited for a connection.", func(p meta.Pool) float64 { return p.Waited.Seconds() }),
	)
}

// Repairs shows how many repairs of each object store are queued, as read says
// whenever somebody asks. It is called once.
func (m *Metrics) Repairs(read func(context.Context) (map[string]int64, error)) {
	m.registry.MustRegister(&repairs{
		desc: prometheus.NewDesc("parsec_store_repairs", "Parts of packs that are to be repaired in an object store, or removed from it.", []string{"store"}, nil),
		read: read,
	})
}

// readTime is how long a database has to say how many repairs there are.
const readTime = 5 * time.Second

// repairs asks for the queue of repairs.
type repairs struct {
	desc *prometheus.Desc
	read func(context.Context) (map[string]int64, error)
}

// Describe implements [prometheus.Collector].
func (r *repairs) Describe(all chan<- *prometheus.Desc) { all <- r.desc }

// Collect implements [prometheus.Collector]. Where the database does not answer,
// there are no figures, and those of everything else are there.
func (r *repairs) Collect(all chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	found, err := r.read(ctx)
	if err != nil {
		return
	}
	for store, n := range found {
		all <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, float64(n), store)
	}
}
