package rpc

import (
	"context"
	"errors"

	"parsec/internal/api/parsecv1"
	"parsec/internal/api/parsecv1/parsecv1connect"
	"parsec/internal/base/id"
	"parsec/internal/server/call"
	"parsec/internal/server/events"
	"parsec/internal/server/meta"
	"parsec/internal/server/organization"
)

// Subscribe streams hints until the client leaves, loses its rights, or the
// server stops.
func (a organizationAPI) Subscribe(ctx context.Context, _ *parsecv1.SubscribeRequest, stream parsecv1connect.OrganizationServiceSubscribeServerStream) error {
	c := callerOf(ctx)
	live, end, err := a.streams.start(ctx, c.Device)
	if err != nil {
		return err
	}
	defer end()
	s := subscription{
		caller: c, organizations: a.organizations, sub: a.events.Subscribe(),
		watched: make(map[id.Workspace]bool),
		send: func(w []byte, index uint64) error {
			return stream.Send(&parsecv1.SubscribeResponse{Workspace: w, Index: index})
		},
	}
	defer s.sub.Close()
	err = s.run(live, a.cfg)
	if a.streams.stopping() && ctx.Err() == nil {
		return errStopping()
	}
	return err
}

// subscription is one device's stream of hints.
type subscription struct {
	caller        call.Caller
	organizations *organization.Service
	sub           *events.Subscription
	// watched holds the workspaces whose hints are passed on.
	watched map[id.Workspace]bool
	send    func(workspace []byte, index uint64) error
}

func (s *subscription) topic(k events.Kind, of [id.Size]byte) events.Topic {
	return events.Topic{Organization: s.caller.Organization, Kind: k, ID: of}
}

func (s *subscription) run(ctx context.Context, cfg Config) error {
	s.sub.Watch(
		s.topic(events.Organization, [id.Size]byte{}), s.topic(events.Memberships, s.caller.User),
		s.topic(events.Access, [id.Size]byte{}), s.topic(events.Access, s.caller.User),
	)
	index, err := s.refresh(ctx)
	if err != nil {
		return err
	}
	if err := s.send(nil, index); err != nil {
		return err
	}
	for {
		if err := s.turn(ctx, cfg); err != nil {
			return err
		}
	}
}

// turn waits for hints and passes them on, or sends a beat.
func (s *subscription) turn(ctx context.Context, cfg Config) error {
	waiting, cancel := context.WithTimeout(ctx, cfg.Beat)
	defer cancel()
	hints, err := s.sub.Next(waiting)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		// A beat also finds out what another process changed.
		if _, err := s.refresh(ctx); err != nil {
			return err
		}
		return s.send(nil, 0)
	}
	if err != nil {
		return err
	}
	for _, h := range hints {
		if err := s.pass(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

func (s *subscription) pass(ctx context.Context, h events.Hint) error {
	switch h.Topic.Kind {
	case events.Workspace:
		if !s.watched[h.Topic.ID] { // lost since
			return nil
		}
		return s.send(h.Topic.ID[:], h.Index)
	case events.Organization:
		index, err := s.refresh(ctx)
		if err != nil {
			return err
		}
		return s.send(nil, index)
	case events.Memberships, events.Access:
		_, err := s.refresh(ctx)
		return err
	}
	return nil
}

// refresh fails for a caller who lost access, watches exactly the caller's
// workspaces, and tells where those stand that are new. It returns where the
// organization stands.
func (s *subscription) refresh(ctx context.Context) (uint64, error) {
	for {
		index, now, err := s.organizations.Workspaces(ctx, s.caller)
		if err != nil {
			return 0, err
		}
		if !s.follow(now) {
			return index, nil
		}
		// What was not watched may have moved since it was read: read it again.
		index, now, err = s.organizations.Workspaces(ctx, s.caller)
		if err != nil {
			return 0, err
		}
		for _, w := range now {
			if s.watched[w.ID] {
				if err := s.send(w.ID[:], w.Index); err != nil {
					return 0, err
				}
			}
		}
		if !s.follow(now) {
			return index, nil
		}
	}
}

// follow watches what is new and ignores what was lost. It reports whether
// there was anything new.
func (s *subscription) follow(now []meta.Membership) (more bool) {
	member := make(map[id.Workspace]bool, len(now))
	for _, w := range now {
		member[w.ID] = true
		if !s.watched[w.ID] {
			more = true
			s.watched[w.ID] = true
			s.sub.Watch(s.topic(events.Workspace, w.ID))
		}
	}
	for w := range s.watched {
		if !member[w] {
			delete(s.watched, w)
			s.sub.Ignore(s.topic(events.Workspace, w))
		}
	}
	return more
}
