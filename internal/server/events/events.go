// Package events tells subscribers which logs moved. What it carries are
// hints, the newest index of a log, so that duplicates, order and loss do not
// matter: a lost hint costs latency, never data.
//
// A subscription keeps the largest index for each topic and nothing else, so
// that a reader who is slow, or never reads, neither blocks the others nor
// grows memory. Whoever subscribes does so before reading where a log stands;
// then nothing falls in between.
//
// A [Hub] serves the subscribers of one process. Where there are several, what
// one of them publishes goes over a [Bus] to the hubs of the others.
package events

import (
	"context"
	"sync"

	"parsec/internal/base/id"
)

// Kind is what a topic is about. Processes of different versions tell each
// other of kinds by these numbers.
type Kind uint8

// The kinds of topics.
const (
	// Organization is an organization's log.
	Organization Kind = 0
	// Workspace is a workspace's log.
	Workspace Kind = 1
	// Memberships is the set of workspaces of one user. Its index means nothing.
	Memberships Kind = 2
	// Mailbox is that of an invitation. Its index means nothing.
	Mailbox Kind = 3
	// Access is what the operator allows, apart from the logs: that a user or
	// an organization was frozen, suspended, deleted, or let in again. Its
	// index means nothing.
	Access Kind = 4
)

// indexed reports whether the index of a hint means something.
func (k Kind) indexed() bool { return k == Organization || k == Workspace }

// Topic names something that moves.
type Topic struct {
	Organization id.Fingerprint
	Kind         Kind
	// ID is that of the workspace, user or invitation. It is zero for an
	// organization's log, and for what concerns all of an organization's users.
	ID [id.Size]byte
}

// Hint says how far a topic moved, at least.
type Hint struct {
	Topic Topic
	Index uint64
}

// Bus carries hints between the processes of a server.
type Bus interface {
	// Send passes a hint on to the other processes, some time soon. It never
	// blocks, and fails in no way that anybody could act on: a hint that is
	// lost is made up for by whoever reads what moved.
	Send(h Hint)
	// Run carries hints until the context ends, and hands what others sent to
	// receive. It connects again by itself.
	Run(ctx context.Context, receive func(Hint)) error
}

// Hub passes hints on within one process. It is safe for concurrent use.
type Hub struct {
	// bus reaches the other processes; nil where there are none.
	bus Bus
	mu  sync.Mutex
	// topics holds the readers of each topic that has any; guarded by mu.
	topics map[Topic]*readers
	// open holds the subscriptions that are not closed; guarded by mu.
	open map[*Subscription]struct{}
}

// readers are the subscriptions of one topic.
type readers struct {
	subscriptions map[*Subscription]struct{}
	// newest is the largest index that they were told. Whoever came later read
	// a state that is at least as new.
	newest uint64
}

// NewHub returns a hub without subscriptions, of a process that is alone.
func NewHub() *Hub { return NewSharedHub(nil) }

// NewSharedHub returns a hub without subscriptions, which sends over a bus
// what is published. Whoever runs the bus has it hand to [Hub.Receive] what
// comes the other way.
func NewSharedHub(bus Bus) *Hub {
	return &Hub{bus: bus, topics: make(map[Topic]*readers), open: make(map[*Subscription]struct{})}
}

// Publish tells all who watch the topic, in all processes. It never blocks on
// a reader.
func (h *Hub) Publish(t Topic, index uint64) {
	hint := Hint{Topic: t, Index: index}
	h.Receive(hint)
	if h.bus != nil {
		h.bus.Send(hint)
	}
}

// Receive tells all in this process who watch the hint's topic. What they were
// told already is not told again, as it comes twice or in another order where
// there are several processes.
func (h *Hub) Receive(hint Hint) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.topics[hint.Topic]
	if r == nil || hint.Topic.Kind.indexed() && hint.Index <= r.newest {
		return
	}
	r.newest = hint.Index
	for s := range r.subscriptions {
		s.add(hint.Topic, hint.Index)
	}
}

// Subscribe returns a subscription that watches nothing yet. Its owner closes it.
func (h *Hub) Subscribe() *Subscription {
	s := &Subscription{
		hub:     h,
		watched: make(map[Topic]struct{}),
		pending: make(map[Topic]uint64),
		moved:   make(chan struct{}, 1),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open[s] = struct{}{}
	return s
}

// Subscribers returns the number of subscriptions that are not closed.
func (h *Hub) Subscribers() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// Topics returns the number of topics that somebody watches.
func (h *Hub) Topics() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.topics)
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
		r := s.hub.topics[t]
		if r == nil {
			r = &readers{subscriptions: make(map[*Subscription]struct{})}
			s.hub.topics[t] = r
		}
		r.subscriptions[s] = struct{}{}
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
	r := s.hub.topics[t]
	if r == nil {
		return
	}
	delete(r.subscriptions, s)
	if len(r.subscriptions) == 0 {
		delete(s.hub.topics, t)
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
	delete(s.hub.open, s)
}
