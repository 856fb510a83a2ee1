package notify_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/events"
	"parsec/internal/server/events/notify"
	"parsec/internal/services"
)

// member is a process's end of the bus, with all that it heard.
type member struct {
	*notify.Bus
	t     *testing.T
	log   *logged
	mu    sync.Mutex // guards heard
	heard map[events.Topic]uint64
	more  chan struct{} // has a token when something was heard
	count int
}

// logged is a log that may be read while it is written.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// join runs a member of a bus until the test's end.
func join(t *testing.T, url string) *member {
	t.Helper()
	m := &member{t: t, log: new(logged), heard: make(map[events.Topic]uint64), more: make(chan struct{}, 1)}
	var err error
	if m.Bus, err = notify.New(notify.Config{URL: url, Log: slog.New(slog.NewTextHandler(m.log, nil))}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := m.Run(ctx, m.receive); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return m
}

func (m *member) receive(h events.Hint) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard[h.Topic] = max(m.heard[h.Topic], h.Index)
	m.count++
	select {
	case m.more <- struct{}{}:
	default:
	}
}

// wants waits until a topic was heard with an index.
func (m *member) wants(t events.Topic, index uint64) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	for {
		m.mu.Lock()
		got, ok := m.heard[t]
		m.mu.Unlock()
		if ok && got >= index {
			return
		}
		select {
		case <-m.more:
		case <-ctx.Done():
			m.t.Fatalf("heard %d, %t of a topic, want %d\n%s", got, ok, index, m.log)
		}
	}
}

// meets waits until two members hear each other.
func meets(a, b *member) {
	for _, m := range [][2]*member{{a, b}, {b, a}} {
		mark := events.Topic{Kind: events.Mailbox, ID: id.New[id.Workspace]()}
		for {
			m[0].Send(events.Hint{Topic: mark})
			select {
			case <-m[1].more:
			case <-time.After(20 * time.Millisecond):
				continue
			}
			m[1].mu.Lock()
			_, ok := m[1].heard[mark]
			m[1].mu.Unlock()
			if ok {
				break
			}
		}
	}
}

func topic(kind events.Kind, n int) events.Topic {
	return events.Topic{Organization: id.Fingerprint{byte(kind), 1}, Kind: kind, ID: [id.Size]byte{byte(n), byte(n >> 8)}}
}

func TestProcessesHearEachOtherAndNotThemselves(t *testing.T) {
	url := services.Postgres(t)
	a, b := join(t, url), join(t, url)
	meets(a, b)
	for kind := events.Organization; kind <= events.Access; kind++ {
		a.Send(events.Hint{Topic: topic(kind, 1), Index: 1<<63 + 5})
		b.wants(topic(kind, 1), 1<<63+5)
	}
	b.Send(events.Hint{Topic: topic(events.Workspace, 2), Index: 7})
	a.wants(topic(events.Workspace, 2), 7)
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.heard[topic(events.Workspace, 1)]; ok {
		t.Error("a process heard what it sent itself")
	}
}

func TestWhatIsSentAtOnceIsSentTogetherWithTheLargestIndex(t *testing.T) {
	url := services.Postgres(t)
	a, b := join(t, url), join(t, url)
	meets(a, b)
	b.mu.Lock()
	before := b.count
	b.mu.Unlock()
	const topics, each = 250, 40
	for index := range each {
		for n := range topics {
			a.Send(events.Hint{Topic: topic(events.Workspace, n), Index: uint64(index + 1)})
		}
	}
	for n := range topics {
		b.wants(topic(events.Workspace, n), each)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if got := b.count - before; got >= topics*each {
		t.Errorf("%d hints were received of %d: none was left out", got, topics*each)
	}
}

func TestTheBusComesBackWithTheDatabase(t *testing.T) {
	cluster := services.StartPostgres(t)
	url := strings.Replace(cluster.URL, "parsec@", "parsec:correct-horse@", 1)
	a, b := join(t, url), join(t, url)
	meets(a, b)
	cluster.Crash()
	a.Send(events.Hint{Topic: topic(events.Workspace, 1), Index: 1})
	cluster.Resume()
	meets(a, b)
	b.Send(events.Hint{Topic: topic(events.Workspace, 2), Index: 2})
	a.wants(topic(events.Workspace, 2), 2)
	for _, m := range []*member{a, b} {
		if text := m.log.String(); !strings.Contains(text, "interrupted") || !strings.Contains(text, "go on") || strings.Contains(text, "correct-horse") {
			t.Errorf("the log says %s", text)
		}
	}
}

func TestAPayloadThatIsNoneIsPassedOver(t *testing.T) {
	url := services.Postgres(t)
	a, b := join(t, url), join(t, url)
	meets(a, b)
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, payload := range []string{"", "hello", "AAAA", "AAAAAAAAAAAAAAAA"} {
		if _, err := c.Exec(t.Context(), "SELECT pg_notify('parsec_events', $1)", payload); err != nil {
			t.Fatal(err)
		}
	}
	a.Send(events.Hint{Topic: topic(events.Access, 1)})
	b.wants(topic(events.Access, 1), 0)
}

func TestAURLOfAnotherDatabaseIsRefusedAndNotShown(t *testing.T) {
	for _, url := range []string{"", "mysql://u:secret@h/d", "postgres://u:secret@%zz/d"} {
		if b, err := notify.New(notify.Config{URL: url}); !fault.Is(err, fault.Invalid) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, %v", url, b, err)
		}
	}
}
