package servertest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/format/invitation"
	"parsec/internal/server"
	"parsec/internal/server/access"
	"parsec/internal/server/admin"
	"parsec/internal/server/blob/file"
	"parsec/internal/server/blocks"
	"parsec/internal/server/events"
	"parsec/internal/server/events/notify"
	"parsec/internal/server/jobs"
	"parsec/internal/server/meta"
	"parsec/internal/server/meta/postgres"
	"parsec/internal/server/meta/sqlite"
	"parsec/internal/server/organization"
	"parsec/internal/server/rpc"
)

// Config is how a test's server differs from the usual one.
type Config struct {
	// Dir is the data folder; default a temporary one.
	Dir string
	// Database is the URL of a PostgreSQL database, which other servers of the
	// same data folder may use at the same time; default SQLite in the folder.
	Database string
	// Follow is how often such a server reads what the others did.
	Follow time.Duration
	// Deaf cuts such a server off from what the others send, and the others
	// from what it would.
	Deaf bool
	// Listen is the address; default a free port of loopback.
	Listen string
	// Listener takes the connections in place of the network.
	Listener net.Listener
	// Network and Transfer bound what callers get.
	Network  rpc.Config
	Transfer blocks.Config
	// Jobs is how often the server does what no request asks for.
	Jobs jobs.Config
	// Log is where the server's log goes; default nowhere.
	Log io.Writer
}

// AdminToken is the operator's token of all test servers.
const AdminToken = "a token of the operator, for tests only"

// Server is a running server.
type Server struct {
	// URL is its address, without a trailing slash.
	URL string
	// Dir is its data folder, which may be copied or put back while it is stopped.
	Dir string
	// Handler answers requests, for whoever brings them in another way.
	Handler http.Handler

	t    testing.TB
	meta meta.Store
	stop func() error
}

// Start starts a server in this process, which the test's end stops. With a
// folder that an earlier server used, it has what that one had; with its
// address too, nobody sees a difference.
func Start(t testing.TB, c Config) *Server {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Log == nil {
		c.Log = io.Discard
	}
	l := c.Listener
	var err error
	if l == nil {
		if l, err = net.Listen("tcp", c.Listen); err != nil {
			t.Fatal(err)
		}
	}
	s := &Server{t: t, Dir: c.Dir, URL: "http://" + l.Addr().String()}
	log := slog.New(slog.NewJSONHandler(c.Log, nil))
	var bus events.Bus
	if s.meta, bus, err = c.open(t.Context(), log); err != nil {
		t.Fatal(errors.Join(err, l.Close()))
	}
	blobs, err := file.Open(t.Context(), file.Config{Path: filepath.Join(c.Dir, "blocks")})
	if err != nil {
		t.Fatal(errors.Join(err, l.Close(), s.meta.Close()))
	}
	if _, err := admin.NewTokens(s.meta, time.Now).Adopt(t.Context(), AdminToken); err != nil {
		t.Fatal(errors.Join(err, l.Close(), s.meta.Close(), blobs.Close()))
	}
	handler := server.New(s.meta, blobs, log, server.Config{
		PublicURL: s.URL, Network: c.Network, Transfer: c.Transfer, Bus: bus, Follow: c.Follow, Jobs: c.Jobs,
	})
	s.Handler = handler
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	var served error
	running.Go(func() { served = handler.Serve(ctx, l, nil) })
	s.stop = sync.OnceValue(func() error {
		cancel()
		running.Wait()
		return errors.Join(served, s.meta.Close(), blobs.Close())
	})
	t.Cleanup(s.Stop)
	return s
}

// open opens the metadata, and the bus of what several servers may share.
func (c Config) open(ctx context.Context, log *slog.Logger) (meta.Store, events.Bus, error) {
	if c.Database == "" {
		store, err := sqlite.Open(ctx, sqlite.Config{Path: filepath.Join(c.Dir, "metadata.sqlite")})
		return store, nil, err
	}
	store, err := postgres.Open(ctx, postgres.Config{URL: c.Database})
	if err != nil {
		return nil, nil, err
	}
	if c.Deaf {
		return store, deaf{}, nil
	}
	bus, err := notify.New(notify.Config{URL: c.Database, Log: log})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, bus, nil
}

// deaf is a bus that loses everything.
type deaf struct{}

// Send implements [events.Bus].
func (deaf) Send(events.Hint) {}

// Run implements [events.Bus].
func (deaf) Run(ctx context.Context, _ func(events.Hint)) error {
	<-ctx.Done()
	return nil
}

// Stop stops the server as SIGTERM does, and releases its folder and address.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.stop(); err != nil {
		s.t.Errorf("stop the server: %v", err)
	}
}

// CreateOrganization makes room for an organization, as the operator does,
// and returns its bootstrap link.
func (s *Server) CreateOrganization(name string) string {
	s.t.Helper()
	token, err := organization.New(s.meta, access.New(), events.NewHub(), time.Now).Create(s.t.Context(), name)
	if err != nil {
		s.t.Fatal(err)
	}
	return invitation.Link{Server: s.URL, Token: token, Name: name}.String()
}

// Kind fails the test unless err is of a kind.
func Kind(t testing.TB, what string, err error, want fault.Kind) {
	t.Helper()
	if !fault.Is(err, want) {
		t.Errorf("%s: got %v (%v), want %v", what, err, fault.KindOf(err), want)
	}
}
