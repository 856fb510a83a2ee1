// Package follow finds out what other processes of the server did, by reading
// which rows moved. The bus between processes tells sooner; this makes up for
// what it lost when a process ended between its commit and its notification,
// or the connection of one was away. So a lost notification costs seconds.
//
// It tells of logs, of users to whom a role was given, and of organizations of
// which the operator changed what is allowed, such as that a user was frozen.
// Who lost a role is refused at the next request anyway, and an event stream
// asks at each beat.
//
// Rows carry the time of the process that wrote them, before the commit. Each
// reading overlaps the one before by a minute: so much may the clocks of
// processes differ, and so long may a commit take.
package follow

import (
	"context"
	"log/slog"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/server/events"
	"parsec/internal/server/meta"
)

const (
	// overlap is how far a reading goes back behind the one before.
	overlap = time.Minute
	// pageSize is how many rows are read at once.
	pageSize = 1000
)

// Config is how a follower works.
type Config struct {
	// Every is the time between two readings; default 5 s.
	Every time.Duration
	// Now is the server's clock; default time.Now.
	Now func() time.Time
}

// Receiver is told what moved.
type Receiver interface {
	Receive(h events.Hint)
}

// Follower reads what moved. One goroutine runs it.
type Follower struct {
	store meta.Store
	hub   Receiver
	log   *slog.Logger
	cfg   Config
	// since is from when on the next reading reads.
	since time.Time
	// told are the memberships and changes of access that were told of, by when
	// they came to be: a hub cannot see that it was told of one before.
	told map[events.Topic]int64
	// failing says that the last reading failed.
	failing bool
}

// New returns a follower of what happens from now on.
func New(store meta.Store, hub Receiver, log *slog.Logger, c Config) *Follower {
	if c.Every == 0 {
		c.Every = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Follower{store: store, hub: hub, log: log, cfg: c, since: c.Now().Add(-overlap), told: make(map[events.Topic]int64)}
}

// Run reads until the context ends. It fails in no way; a reading that fails
// is logged, and the next one reads what it did not.
func (f *Follower) Run(ctx context.Context) error {
	tick := time.NewTicker(f.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := f.read(ctx)
		if err != nil && !f.failing && ctx.Err() == nil {
			f.log.WarnContext(ctx, "cannot read what other servers did", "error", err)
		}
		f.failing = err != nil
	}
}

// read tells what moved since the reading before, and remembers when it began.
func (f *Follower) read(ctx context.Context) error {
	began := f.cfg.Now()
	if err := f.logs(ctx, f.since.UnixNano()); err != nil {
		return err
	}
	if err := f.memberships(ctx, f.since.UnixNano()); err != nil {
		return err
	}
	f.since = began.Add(-overlap)
	for t, when := range f.told {
		if when < f.since.UnixNano() {
			delete(f.told, t)
		}
	}
	return nil
}

func (f *Follower) logs(ctx context.Context, since int64) error {
	for {
		var page []meta.Movement
		if err := f.store.Read(ctx, func(tx meta.Tx) (err error) {
			page, err = tx.Logs().Moved(since, pageSize)
			return err
		}); err != nil {
			return err
		}
		for _, m := range page {
			kind := events.Workspace
			if m.Workspace == (id.Workspace{}) {
				kind = events.Organization
				// The row does not say what moved.
				f.tell(events.Topic{Organization: m.Organization, Kind: events.Access}, m.Updated)
			}
			f.hub.Receive(events.Hint{Topic: events.Topic{Organization: m.Organization, Kind: kind, ID: m.Workspace}, Index: m.Index})
		}
		if len(page) < pageSize {
			return nil
		}
		since = max(since+1, page[len(page)-1].Updated)
	}
}

func (f *Follower) memberships(ctx context.Context, since int64) error {
	for {
		var page []meta.Joining
		if err := f.store.Read(ctx, func(tx meta.Tx) (err error) {
			page, err = tx.Workspaces().Joined(since, pageSize)
			return err
		}); err != nil {
			return err
		}
		for _, j := range page {
			f.tell(events.Topic{Organization: j.Organization, Kind: events.Memberships, ID: j.User}, j.Updated)
		}
		if len(page) < pageSize {
			return nil
		}
		since = max(since+1, page[len(page)-1].Updated)
	}
}

// tell tells of a topic without an index, unless it did since that moved.
func (f *Follower) tell(t events.Topic, moved int64) {
	if f.told[t] < moved {
		f.told[t] = moved
		f.hub.Receive(events.Hint{Topic: t})
	}
}
