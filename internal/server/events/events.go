// Package events tells subscribers which logs moved. What it carries are
// hints, the newest index of a log, so that duplicates, order and loss do not
// matter: a lost hint costs latency, never data.
//
// A subscription keeps the largest index for each topic and nothing else, so
// that a reader who is slow, or never reads, neither blocks the others nor
// grows memory. Whoever subscribes does so before reading where a log stands;
// then nothing falls in between.
package events

import (
	"context"
	"sync"

	"parsec/internal/base/id"
)

// Kind is what a topic is about.
type Kind uint8

// The kinds of topics.
const (
	// Organization is an organization's log.
	Organization Kind = iota
	// Workspace is a workspace's log.
	Workspace
	// Memberships is the set of workspaces of one user. Its index means nothing.
	Memberships
	// Mailbox is that of an invitation. Its index means nothing.
	Mailbox
)

// Topic names something that moves.
type Topic struct {
	Organization id.Fingerprint
	Kind         Kind
	// ID is that of the workspace, user or invitation; zero for an organization's log.
	ID [id.Size]byte
}

// Hint says how far a topic moved, at least.
type Hint struct {
	Topic Topic
	Index uint64
}

// Hub passes hints on within one process. It is safe for concurrent use.
type Hub struct {
	mu sync.Mutex
	// readers holds the subscriptions of each topic that has any; guarded by mu.
	readers map[Topic]map[*Subscription]struct{}
}

// NewHub returns a hub without subscriptions.
func NewHub() *Hub {
	return &Hub{readers: make(map[Topic]map[*Subscription]struct{})}
}

// Publish tells all who watch the topic. It never blocks on a reader.
func (h *Hub) Publish(t Topic, index uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.readers[t] {
		s.add(t, index)
	}
}

// Subscribe returns a subscription that watches nothing yet. Its owner closes it.
func (h *Hub) Subscribe() *Subscription {
	return &Subscription{
		hub:     h,
		watched: make(map[Topic]struct{}),
		pending: make(map[Topic]uint64),
		moved:   make(chan struct{}, 1),
	}
}

// Topics returns the number of topics that somebody watches.
func (h *Hub) Topics() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.readers)
}

// Subscription is one reader's view of some topics. Its methods are for one
// goroutine at a time.
type Subscription struct {
	hub *Hub
	// watched is what the subscription hears of; guarded by hub.mu.
	watched map[Topic]struct{}
	// moved holds a token while pending is not empty.
	moved chan struct{}
	// pending holds the largest index of each topic not read yet; guarded by hub.mu.
	pending map[Topic]uint64
}

// add notes a hint; the caller holds hub.mu.
func (s *Subscription) add(t Topic, index uint64) {
	s.pending[t] = max(s.pending[t], index)
	select {
	case s.moved <- struct{}{}:
	default:
	}
}

// Watch adds topics to the subscription.
func (s *Subscription) Watch(topics ...Topic) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	for _, t := range topics {
		s.watched[t] = struct{}{}
		if s.hub.readers[t] == nil {
			s.hub.readers[t] = make(map[*Subscription]struct{})
		}
		s.hub.readers[t][s] = struct{}{}
	}
}

// Ignore takes topics out of the subscription, and what it heard of them.
func (s *Subscription) Ignore(topics ...Topic) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	for _, t := range topics {
		s.drop(t)
	}
}

// drop forgets one topic; the caller holds hub.mu.
func (s *Subscription) drop(t Topic) {
	delete(s.watched, t)
	delete(s.pending, t)
	delete(s.hub.readers[t], s)
	if len(s.hub.readers[t]) == 0 {
		delete(s.hub.readers, t)
	}
}

// Next waits until something moved and returns what did since the last call,
// each topic once with its largest index, in no particular order.
func (s *Subscription) Next(ctx context.Context) ([]Hint, error) {
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.moved:
		}
		if hints := s.take(); len(hints) > 0 {
			return hints, nil
		}
	}
}

func (s *Subscription) take() []Hint {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	hints := make([]Hint, 0, len(s.pending))
	for t, index := range s.pending {
		hints = append(hints, Hint{Topic: t, Index: index})
	}
	clear(s.pending)
	return hints
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	for t := range s.watched {
		s.drop(t)
	}
}
