// Package notify carries events between the processes of a server by
// PostgreSQL's LISTEN and NOTIFY. It implements the bus of package events over
// one connection, which no other part of the server uses, and knows nothing of
// what the database holds.
//
// A notification inside a transaction would have all commits of the database
// wait for each other. So hints go in transactions of their own, behind the
// commits that they tell of; while one is under way, the next gather, each
// topic once with its largest index. What a process never sent, because it
// ended or the database was away, the others find out by reading.
package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	mathrand "math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"parsec/internal/base/fault"
	"parsec/internal/server/events"
)

var _ events.Bus = (*Bus)(nil)

const (
	// channel is the name under which all processes listen. A database that
	// two servers shared would have one channel, but it cannot be shared.
	channel = "parsec_events"
	// maxPending is how many topics may wait to be sent: those of some seconds
	// of the heaviest load, while the connection is made anew.
	maxPending = 10_000
	// alive is how long the connection is silent before it is tried.
	alive = 30 * time.Second
	// patience bounds each statement.
	patience = 10 * time.Second
	// farewell bounds the last one.
	farewell = time.Second
	// The pauses before another connection double from the first to the last.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
)

// Config says where the database is.
type Config struct {
	// URL is a postgres:// URL. It may hold a password and is shown to nobody.
	URL string
	// Log is told when the connection is lost and when it is there again.
	Log *slog.Logger
}

// Bus is a process's end of the bus.
type Bus struct {
	how    *pgx.ConnConfig
	log    *slog.Logger
	origin origin

	mu sync.Mutex // guards the rest
	// pending is what is to be sent, the largest index of each topic.
	pending map[events.Topic]uint64
	// interrupt ends the waiting for what others send; nil while nobody waits.
	interrupt context.CancelFunc
}

// origin tells a process's own notifications from others'.
type origin [8]byte

// New returns a bus that is not connected yet.
func New(c Config) (*Bus, error) {
	how, err := pgx.ParseConfig(c.URL)
	if err != nil || !strings.HasPrefix(c.URL, "postgres") {
		return nil, fault.Errorf(fault.Invalid, "the URL is not one of PostgreSQL") // which may hold a password
	}
	delete(how.RuntimeParams, "pool_max_conns") // which is for the pool of others
	how.RuntimeParams["application_name"] = "parsec-server events"
	if how.ConnectTimeout == 0 {
		how.ConnectTimeout = patience
	}
	b := &Bus{how: how, log: c.Log, pending: make(map[events.Topic]uint64)}
	rand.Read(b.origin[:])
	return b, nil
}

// Send implements [events.Bus].
func (b *Bus) Send(h events.Hint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	index, known := b.pending[h.Topic]
	if !known && len(b.pending) >= maxPending {
		return
	}
	b.pending[h.Topic] = max(index, h.Index)
	if b.interrupt != nil {
		b.interrupt()
	}
}

// Run implements [events.Bus]. It fails in no way; what fails is logged and
// tried again.
func (b *Bus) Run(ctx context.Context, receive func(events.Hint)) error {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, lastPause) {
		err := b.connected(ctx, receive, func() {
			if pause > firstPause {
				b.log.InfoContext(ctx, "events between servers go on")
			}
			pause = firstPause
		})
		if ctx.Err() != nil {
			break
		}
		b.log.WarnContext(ctx, "events between servers are interrupted", "error", err)
		rest(ctx, pause/2+mathrand.N(pause/2))
	}
	return nil
}

func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// connected serves one connection until it breaks or the context ends.
func (b *Bus) connected(ctx context.Context, receive func(events.Hint), ready func()) error {
	c, err := pgx.ConnectConfig(ctx, b.how)
	if err != nil {
		return errors.New("the database does not answer") // its address is the operator's to know
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		c.Close(end)
	}()
	if _, err := c.Exec(ctx, "LISTEN "+channel); err != nil {
		return err
	}
	ready()
	for {
		if err := b.flush(ctx, c); err != nil {
			return err
		}
		n, err := b.wait(ctx, c)
		if ctx.Err() != nil {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			return b.flush(end, c)
		}
		if err != nil {
			return err
		}
		if n != "" {
			from, hints := decode(n)
			for _, h := range hints {
				if from != b.origin {
					receive(h)
				}
			}
		}
	}
}

// wait returns what another process sent, or "" when there is something to
// send or the connection was found alive.
func (b *Bus) wait(ctx context.Context, c *pgx.Conn) (string, error) {
	waiting, cancel := context.WithTimeout(ctx, alive)
	defer cancel()
	b.mu.Lock()
	if len(b.pending) > 0 {
		b.mu.Unlock()
		return "", nil
	}
	b.interrupt = cancel
	b.mu.Unlock()
	n, err := c.WaitForNotification(waiting)
	b.mu.Lock()
	b.interrupt = nil
	b.mu.Unlock()
	switch {
	case err == nil:
		return n.Payload, nil
	case waiting.Err() == nil || c.IsClosed():
		return "", err
	case errors.Is(waiting.Err(), context.DeadlineExceeded):
		trying, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return "", c.Ping(trying)
	}
	return "", nil
}

// flush sends what is pending in one round trip. What could not be sent stays.
func (b *Bus) flush(ctx context.Context, c *pgx.Conn) error {
	b.mu.Lock()
	now := b.pending
	b.pending = make(map[events.Topic]uint64)
	b.mu.Unlock()
	if len(now) == 0 {
		return nil
	}
	sending, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := c.Exec(sending, "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload", channel, encode(b.origin, now))
	if err != nil {
		for t, index := range now {
			b.Send(events.Hint{Topic: t, Index: index})
		}
	}
	return err
}
