package overlay

import (
	"context"
	"errors"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/basecache"
	"parsec/internal/client/journal"
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
		inodes: map[id.Entry]*inode{}, orphans: map[*inode]bool{}, kids: map[id.Entry]map[string]kid{}, gone: map[id.Entry]*op{},
		times: map[id.Entry]int64{}, uses: map[id.Entry]int{}, numbers: map[id.Entry]uint64{}, problems: map[id.Entry]*Problem{},
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
	snapshot, rest, err := newestSnapshot(records)
	if err != nil {
		o.lose(o.Root, err)
	}
	if snapshot != nil {
		if err := o.restore(snapshot); err != nil {
			o.lose(o.Root, err)
		}
	}
	for i, r := range rest {
		if len(damage) > 0 && i > 0 && r.Number != rest[i-1].Number+1 {
			o.missing()
		}
		e, err := decodeEvent(r.Body)
		if err != nil {
			o.lose(o.Root, err)
			continue
		}
		if e.kind == evState {
			continue
		}
		e.record, e.payload = r.Number, r.Payload
		if err := o.apply(e); err != nil {
			o.giveUp(e.entry, err)
		}
	}
	if n := len(rest); len(damage) > 0 && n > 0 && o.journal.Next() > rest[n-1].Number+1 {
		o.missing()
	}
	if o.batch != nil && o.batch.intent == nil {
		o.applyRelease()
	}
	o.held, o.since = nil, o.journal.Next()
	for _, r := range records {
		o.held = append(o.held, r.Number)
	}
}

// lose notes damage that is not known to be of one entry.
func (o *Overlay) lose(e id.Entry, err error) {
	o.problems[e] = &Problem{Entry: e, Err: err, Since: o.Now()}
}

// missing gives up the files that were being written when records were made
// that are damaged now: theirs may be among them.
func (o *Overlay) missing() {
	for e, n := range o.inodes {
		if n.state.content != nil && n.state.content.open && n.changed() && !n.state.frozen {
			o.giveUp(e, lost())
		}
	}
}

// giveUp gives up an entry of which local data is damaged.
func (o *Overlay) giveUp(e id.Entry, err error) {
	if n := o.inodes[e]; n != nil && n.changed() {
		o.applyLost(n, event{entry: e, at: o.Now(), text: err.Error()})
		return
	}
	if _, ok := o.problems[e]; !ok && !e.IsZero() {
		o.lose(e, err)
	}
}

// Damaged gives up an entry of which content cannot be read, and notes it.
func (o *Overlay) damaged(n *inode, err error) error {
	if !fault.Is(err, fault.Integrity) || n == nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.inodes[n.id] != n || !n.changed() {
		return err
	}
	if failed := o.do(event{kind: evLost, entry: n.id, at: o.Now(), text: err.Error()}); failed != nil {
		return failed
	}
	return err
}

// Compact frees what the journal holds in vain, if that is much.
func (o *Overlay) Compact(ctx context.Context) error {
	o.mu.Lock()
	size, live := o.journal.Held()
	quiet := len(o.ops) == o.dead && o.batch == nil
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
