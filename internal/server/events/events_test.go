package events_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/id"
	"parsec/internal/server/events"
)

func topic(b byte) events.Topic {
	return events.Topic{Organization: id.Fingerprint{1}, Kind: events.Workspace, ID: [id.Size]byte{b}}
}

func TestAReaderWhoNeverReadsHoldsOneHintForEachTopic(t *testing.T) {
	hub := events.NewHub()
	slow, quick := hub.Subscribe(), hub.Subscribe()
	slow.Watch(topic(1))
	quick.Watch(topic(1))
	for i := uint64(1); i <= 10000; i++ {
		hub.Publish(topic(1), i)
		got, err := quick.Next(t.Context())
		if want := []events.Hint{{Topic: topic(1), Index: i}}; err != nil || !cmp.Equal(got, want) {
			t.Fatalf("got %v, %v; want %v", got, err, want)
		}
	}
	hub.Publish(topic(1), 5)
	got, err := slow.Next(t.Context())
	if want := []events.Hint{{Topic: topic(1), Index: 10000}}; err != nil || !cmp.Equal(got, want) {
		t.Fatalf("got %v, %v; want %v", got, err, want)
	}
}

func TestAReaderHearsOnlyWhatItWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub := events.NewHub()
		s := hub.Subscribe()
		s.Watch(topic(1), topic(2))
		hub.Publish(topic(1), 1)
		s.Ignore(topic(1))
		hub.Publish(topic(1), 2)
		hub.Publish(topic(3), 3)
		ctx, cancel := context.WithCancel(t.Context())
		var err error
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, err = s.Next(ctx)
		}()
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("a hint of an ignored topic was delivered")
		default:
		}
		cancel()
		<-done
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v, want %v", err, context.Canceled)
		}
	})
}

func TestAClosedSubscriptionLeavesNothingBehind(t *testing.T) {
	hub := events.NewHub()
	a, b := hub.Subscribe(), hub.Subscribe()
	a.Watch(topic(1), topic(2))
	b.Watch(topic(2))
	a.Close()
	if got := hub.Topics(); got != 1 {
		t.Errorf("%d topics are watched, want 1", got)
	}
	if got := hub.Subscribers(); got != 1 {
		t.Errorf("%d subscribers, want 1", got)
	}
	b.Close()
	if got := hub.Topics(); got != 0 {
		t.Errorf("%d topics are watched, want 0", got)
	}
	hub.Publish(topic(2), 1)
}

func TestALogIsToldOfOnceAndOtherTopicsEachTime(t *testing.T) {
	for kind, want := range map[events.Kind]int{
		events.Organization: 2, events.Workspace: 2, events.Memberships: 5, events.Mailbox: 5, events.Access: 5,
	} {
		hub := events.NewHub()
		s := hub.Subscribe()
		topic := events.Topic{Organization: id.Fingerprint{1}, Kind: kind}
		mark := events.Topic{Organization: id.Fingerprint{2}, Kind: events.Mailbox}
		s.Watch(topic, mark)
		told := 0
		for _, index := range []uint64{3, 3, 2, 4, 3} {
			hub.Receive(events.Hint{Topic: topic, Index: index})
			hub.Receive(events.Hint{Topic: mark})
			hints, err := s.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			told += len(hints) - 1
		}
		if told != want {
			t.Errorf("topics of kind %d: told %d times, want %d", kind, told, want)
		}
	}
}

// wire is a bus that keeps what it is sent.
type wire struct{ sent []events.Hint }

func (w *wire) Send(h events.Hint) { w.sent = append(w.sent, h) }

func (w *wire) Run(ctx context.Context, _ func(events.Hint)) error {
	<-ctx.Done()
	return nil
}

func TestWhatIsPublishedHereGoesOverTheBusAndWhatIsReceivedDoesNot(t *testing.T) {
	bus := new(wire)
	hub := events.NewSharedHub(bus)
	s := hub.Subscribe()
	s.Watch(topic(1))
	hub.Receive(events.Hint{Topic: topic(1), Index: 1})
	hub.Publish(topic(1), 2)
	hub.Publish(topic(2), 3)
	if want := []events.Hint{{Topic: topic(1), Index: 2}, {Topic: topic(2), Index: 3}}; !cmp.Equal(bus.sent, want) {
		t.Errorf("sent %v, want %v", bus.sent, want)
	}
	got, err := s.Next(t.Context())
	if want := []events.Hint{{Topic: topic(1), Index: 2}}; err != nil || !cmp.Equal(got, want) {
		t.Errorf("heard %v, %v; want %v", got, err, want)
	}
}
