package overlay

import (
	"context"
	"errors"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/basecache"
	"parsec/internal/client/journal"
	"parsec/internal/client/work"
)

// Open opens the overlay of a workspace with what its journal holds. Damaged
// parts are among its problems.
func Open(c Config) (*Overlay, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Ignore == nil {
		c.Ignore = func(string) bool { return false }
	}
	o := &Overlay{
		Config: c, base: basecache.New(c.Base), changed: make(chan struct{}, 1),
		work: work.NewTree(c.Root),
	}
	var records []journal.Record
	j, damage, err := journal.Open(c.Journal, func(r journal.Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		return nil, err
	}
	o.journal = j
	o.replay(records, damage)
	if len(records) > 0 {
		if err := o.checkpoint(); err != nil {
			return nil, errors.Join(err, j.Close())
		}
	}
	return o, nil
}

// replay does again what the journal holds.
func (o *Overlay) replay(records []journal.Record, damage []journal.Damage) {
	for _, d := range damage {
		o.lose(o.Root, d)
	}
	snapshot, rest, err := work.NewestSnapshot(records)
	switch {
	case snapshot == nil && len(damage) > 0 && (err != nil || len(rest) == 0 || rest[0].Number > 1):
		o.salvage(records, damage[0])
		rest = nil
	case err != nil:
		o.lose(o.Root, err)
	}
	if snapshot != nil {
		if err := o.work.Restore(snapshot); err != nil {
			o.lose(o.Root, err)
		}
	}
	for i, r := range rest {
		if len(damage) > 0 && i > 0 && r.Number != rest[i-1].Number+1 {
			o.missing()
		}
		e, err := work.DecodeEvent(r.Body)
		if err != nil {
			o.lose(o.Root, err)
			continue
		}
		if e.Kind == work.EvState {
			continue
		}
		e.Record, e.Payload = r.Number, r.Payload
		if err := o.work.Apply(e); err != nil {
			o.giveUp(e.Entry, err)
		}
	}
	if n := len(rest); len(damage) > 0 && n > 0 && o.journal.Next() > rest[n-1].Number+1 {
		o.missing()
	}
	if o.work.Batch != nil && o.work.Batch.Intent == nil {
		o.work.ApplyRelease()
	}
	o.held, o.since = nil, o.journal.Next()
	for _, r := range records {
		o.held = append(o.held, r.Number)
	}
}

// lose notes damage that is not known to be of one entry.
func (o *Overlay) lose(e id.Entry, err error) {
	o.work.Lose(Problem{Entry: e, Err: err, Since: o.Now()})
}

// missing gives up the files that were being written when records were made
// that are damaged now: theirs may be among them.
func (o *Overlay) missing() {
	for e, n := range o.work.Inodes {
		if n.State.Content != nil && n.State.Content.Open && n.Changed() && !n.State.Frozen {
			o.giveUp(e, work.Lost())
		}
	}
}

// giveUp gives up an entry of which local data is damaged.
func (o *Overlay) giveUp(e id.Entry, err error) {
	if n := o.work.Inodes[e]; n != nil && n.Changed() {
		o.work.ApplyLost(n, work.Event{Entry: e, At: o.Now(), Text: err.Error()})
		return
	}
	if !e.IsZero() && !o.work.Troubled(e) {
		o.lose(e, err)
	}
}

// Damaged gives up an entry of which content cannot be read, and notes it.
func (o *Overlay) damaged(n *work.Inode, err error) error {
	if !fault.Is(err, fault.Integrity) || n == nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.work.Inodes[n.ID] != n || !n.Changed() {
		return err
	}
	if failed := o.do(work.Event{Kind: work.EvLost, Entry: n.ID, At: o.Now(), Text: err.Error()}); failed != nil {
		return failed
	}
	return err
}

// Compact frees what the journal holds in vain, if that is much.
func (o *Overlay) Compact(ctx context.Context) error {
	o.mu.Lock()
	size, live := o.journal.Held()
	quiet := o.work.Pending() == 0 && o.work.Batch == nil
	var err error
	if o.journal.Next() > o.since && (quiet || size-o.sizeThen > max(32<<20, live/2)) {
		err = o.checkpoint()
	}
	o.mu.Unlock()
	if err != nil || !o.journal.Due() {
		return err
	}
	return o.journal.Compact(ctx)
}

// Close makes everything durable and closes the overlay. Contents that are
// open are flushed.
func (o *Overlay) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	o.closed = true
	if err := o.flushOthers(nil); err != nil {
		return err
	}
	return o.journal.Close()
}

// Abandon closes the files as a kill of the process would.
func (o *Overlay) Abandon() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	return o.journal.Abandon()
}

// Synced returns how long the journal's files were at the last Sync; see
// [journal.Journal.Synced].
func (o *Overlay) Synced() map[string]int64 { return o.journal.Synced() }

// Held returns how many bytes the journal takes, and how many of them are needed.
func (o *Overlay) Held() (size, live int64) { return o.journal.Held() }
