package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/server/metrics"
)

// inside reports whether an address is one that strangers do not reach:
// metrics need no proof of who asks.
func inside(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return loopback(listen) || err == nil && (ip.Unmap().IsPrivate() || ip.IsLoopback())
}

// listenForMetrics returns the listener on which Prometheus asks; nil for none.
func (o options) listenForMetrics(ctx context.Context, log *slog.Logger) (net.Listener, error) {
	if o.metricsListen == "" {
		return nil, nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.metricsListen)
	if err != nil {
		return nil, fault.WithHint(fault.Errorf(fault.Conflict, "listen on %s for metrics: %w", o.metricsListen, err), "choose another address with --metrics-listen")
	}
	log.InfoContext(ctx, "metrics", "address", "http://"+l.Addr().String()+"/metrics")
	return l, nil
}

// serveMetrics answers Prometheus on a listener of its own until ctx ends.
func serveMetrics(ctx context.Context, l net.Listener, figures *metrics.Metrics, log *slog.Logger) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", figures.Handler())
	web := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
	defer context.AfterFunc(ctx, func() { _ = web.Close() })() // nobody's work is lost by that
	if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
