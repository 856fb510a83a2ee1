// Package server makes a server of its parts: the services over two stores,
// and the network in front of them. It opens and listens to nothing.
//
// A server may be one of several processes over the same stores, which share
// nothing else. Then a bus brings the events of the others, and what the bus
// lost is found by reading.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"parsec/internal/server/access"
	"parsec/internal/server/admin"
	"parsec/internal/server/blob"
	"parsec/internal/server/blob/redundant"
	"parsec/internal/server/blocks"
	"parsec/internal/server/events"
	"parsec/internal/server/follow"
	"parsec/internal/server/invitation"
	"parsec/internal/server/jobs"
	"parsec/internal/server/meta"
	"parsec/internal/server/organization"
	"parsec/internal/server/rpc"
	"parsec/internal/server/workspace"
)

// Config is how a server differs from the usual one.
type Config struct {
	// PublicURL is where clients find the server, without a trailing slash.
	PublicURL string
	// Network bounds what callers get, and holds the clock.
	Network rpc.Config
	// Transfer bounds the transfer of blocks.
	Transfer blocks.Config
	// Stores are the object stores that blobs is made of, which are repaired
	// and worked on while the server serves; nil where it is one as it is.
	Stores *redundant.Store
	// Mailer sends invitations; nil where none are sent.
	Mailer invitation.Mailer
	// Bus reaches the other processes that serve the same stores; nil where
	// there are none.
	Bus events.Bus
	// Follow is how often such a server reads what the others did; default 5 s.
	Follow time.Duration
	// Observer is told of every request; it may be nil.
	Observer rpc.Observer
	// Jobs is how often what no request asks for is done, and who is told. Its
	// clock is that of Network.
	Jobs jobs.Config
}

// Server is a server that listens to nothing yet.
type Server struct {
	*rpc.Server
	hub *events.Hub
	// jobs run beside it.
	jobs []func(context.Context) error
}

// New returns a server over two stores, which stay the caller's.
func New(store meta.Store, blobs blob.Store, log *slog.Logger, c Config) *Server {
	if c.Network.Now == nil {
		c.Network.Now = time.Now
	}
	now, keep, hub := c.Network.Now, access.New(), events.NewSharedHub(c.Bus)
	organizations, tokens := organization.New(store, keep, hub, now), admin.NewTokens(store, now)
	c.Jobs.Now = now
	work := []jobs.Job{jobs.Blocks(store, blobs, now), jobs.Invitations(store, now), jobs.Organizations(store, blobs, uploadTime(c.Network), now)}
	if c.Stores != nil {
		work = append(work, jobs.Repairs(c.Stores))
	}
	runner := jobs.New(store, log, c.Jobs, work...)
	invitations := invitation.New(store, keep, hub, now)
	if c.Mailer != nil {
		invitations.SendWith(c.Mailer, c.PublicURL)
	}
	s := &Server{hub: hub, Server: rpc.New(rpc.Services{
		Organizations: organizations,
		Workspaces:    workspace.New(store, keep, hub, now),
		Blocks:        blocks.New(store, blobs, keep, now, c.Transfer),
		Invitations:   invitations,
		Events:        hub,
		Admin:         admin.NewAudited(admin.New(organizations, tokens, c.Stores, func() { runner.Wake(jobs.Deletion) }, c.PublicURL), store, now),
		Operator:      tokens,
		Ready:         stores{store, blobs},
		Observer:      c.Observer,
	}, log, c.Network)}
	if c.Stores != nil {
		s.jobs = append(s.jobs, c.Stores.Run)
	}
	s.jobs = append(s.jobs, runner.Run)
	if c.Bus != nil {
		s.jobs = append(s.jobs,
			func(ctx context.Context) error { return c.Bus.Run(ctx, hub.Receive) },
			follow.New(store, hub, log, follow.Config{Every: c.Follow, Now: now}).Run)
	}
	return s
}

// uploadTime is longer than an upload takes from its beginning to its rows.
func uploadTime(c rpc.Config) time.Duration {
	most := c.TransferTime
	if most == 0 {
		most = 10 * time.Minute
	}
	return most + time.Minute
}

// Subscribers is how many devices and enrollments are told what happens.
func (s *Server) Subscribers() int { return s.hub.Subscribers() }

// Serve is [rpc.Server.Serve] with what runs beside it, which ends once the
// last request has ended, or ends it all where it fails.
func (s *Server) Serve(ctx context.Context, l net.Listener, secure *tls.Config) error {
	jobs, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, jobs := errgroup.WithContext(jobs)
	for _, run := range s.jobs {
		group.Go(func() error { return run(jobs) })
	}
	ctx, end := context.WithCancel(ctx)
	defer end()
	defer context.AfterFunc(jobs, end)()
	err := s.Server.Serve(ctx, l, secure)
	stop()
	return errors.Join(err, group.Wait())
}
