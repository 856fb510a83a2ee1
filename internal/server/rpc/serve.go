package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// The bounds of connections, before there is a request.
const (
	headerTime  = 10 * time.Second
	idleTime    = 2 * time.Minute
	headerBytes = 16 << 10
)

// Serve answers on a listener, which it closes, until the context ends; then
// it ends the streams, finishes what is in flight within [Config.StopTime],
// and cuts off the rest. With a TLS configuration it speaks TLS only.
func (s *Server) Serve(ctx context.Context, l net.Listener, secure *tls.Config) error {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	web := &http.Server{
		Handler: s, Protocols: protocols, TLSConfig: secure,
		ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 100,
			// Two full uploads side by side are not held up by the window.
			MaxReceiveBufferPerStream:     1 << 20,
			MaxReceiveBufferPerConnection: 2 << 20,
			SendPingTimeout:               s.cfg.StallTime,
		},
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return served(web, newBounded(l, s.cfg.Connections), secure != nil) })
	group.Go(func() error {
		<-ctx.Done()
		s.Drain()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.StopTime)
		defer cancel()
		if web.Shutdown(stop) != nil {
			return web.Close()
		}
		return nil
	})
	return group.Wait()
}

func served(web *http.Server, l net.Listener, secure bool) error {
	serve := web.Serve
	if secure {
		serve = func(l net.Listener) error { return web.ServeTLS(l, "", "") }
	}
	if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
