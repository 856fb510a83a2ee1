// Package redundant is a store made of several stores, so that what it holds
// survives the loss of some. It implements package blob over stores of any
// kind.
//
// A pack is cut into parts, one for each store that holds it: as many data
// parts as the layout says, one behind the other, and as many parity parts,
// of which each stands in for any data part that is lost. With one data part
// they are all copies of the pack: a mirror. With no parity part there is no
// redundancy, and packs are spread over the stores: a stripe.
//
// Where a pack lies is a row in the metadata store, with a checksum for each
// chunk of each part. The row is written before the parts, so a part without
// a row does not come about, and a row whose parts were never all stored is
// a pack that is not there. Every byte that is read is checked; a store that
// is dead, slow or lying is read around, and what it lacks is queued, durably,
// and mended by [Store.Mend].
//
// A pack is stored once all its parts are, or, with a write quorum, as many
// as the operator allows, and then what is missing is in the queue before the
// pack is acknowledged.
package redundant

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/klauspost/reedsolomon"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/blob"
	"parsec/internal/server/meta"
)

var _ blob.Store = (*Store)(nil)

// Member is one of the stores.
type Member struct {
	// ID is the number under which it is registered.
	ID meta.StoreID
	// Name is what people are told; it holds no credentials.
	Name  string
	Store blob.Store
}

// Config is how packs are kept. A zero field means the default beside it.
type Config struct {
	Layout Layout
	// Mirror says that the layout is a copy in each of the stores, however
	// many there are.
	Mirror bool
	// Quorum is how many parts must be stored before a pack is acknowledged;
	// default all of them.
	Quorum int
	// Hedge is how long a read waits for a store before it asks another one
	// too; default 300 ms, longer than a store at work takes for a window.
	Hedge time.Duration
	// Grace is how long a write with a quorum waits for the stores that are
	// missing from it; default 2 s.
	Grace time.Duration
	// Rest is how long a store that failed is asked last, and is not written
	// to where the quorum does without; default 10 s.
	Rest time.Duration
	// Poll is how often the stores and the work on them are looked up, which
	// other processes may have changed; default 1 s.
	Poll time.Duration
	// Name returns the name of the store with a URL, and Open opens it. They
	// are for stores that are added later, which nil for both rules out.
	Name func(url string) (string, error)
	Open func(ctx context.Context, url string) (blob.Store, error)
	// Now is the clock; default [time.Now].
	Now func() time.Time
	// Log is told of repairs.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&c.Hedge, 300 * time.Millisecond}, {&c.Grace, 2 * time.Second}, {&c.Rest, 10 * time.Second}, {&c.Poll, time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Store is a store over others. It is safe for concurrent use.
type Store struct {
	mu      sync.RWMutex // guards members, in the order of their numbers, and retired
	members []*member
	retired map[meta.StoreID]bool
	rows    meta.Store
	c       Config
	codec   reedsolomon.Encoder // that of the layout; nil where parts are copies
	// noticed has what reads found missing or wrong. What does not fit is
	// found again by the next read.
	noticed chan meta.Repair
	running sync.WaitGroup // reads ahead, and those that were overtaken
	windows sync.Pool      // of *[windowSize]byte
	wake    chan struct{}  // there is a job
	owner   string         // under which this process works on jobs
}

// New returns a store over others, which it closes, and a metadata store,
// which stays the caller's. Without [Store.Run] and [Store.Mend] nothing is
// repaired.
func New(rows meta.Store, members []Member, c Config) (*Store, error) {
	if err := c.Validate(len(members)); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	s := &Store{rows: rows, c: c, noticed: make(chan meta.Repair, 1000), wake: make(chan struct{}, 1), owner: rand.Text()}
	for _, m := range members {
		s.members = append(s.members, s.newMember(m))
	}
	var err error
	s.codec, err = codec(c.Layout)
	return s, err
}

// Validate refuses what so many stores cannot do.
func (c Config) Validate(stores int) error {
	if err := c.Layout.Validate(stores); err != nil {
		return err
	}
	if c.Quorum != 0 && c.Quorum < c.Layout.Data || c.Quorum > c.Layout.Parts() {
		return fault.Errorf(fault.Usage, "write quorum %d: want %d to %d", c.Quorum, c.Layout.Data, c.Layout.Parts())
	}
	return nil
}

// member returns the store with a number. One that is gone fails every call;
// in one that was given up nothing is found.
func (s *Store) member(number meta.StoreID) (*member, error) {
	s.mu.RLock()
	retired := s.retired[number]
	s.mu.RUnlock()
	if retired {
		return nil, fault.Errorf(fault.NotFound, "store %d was emptied and given up", number)
	}
	if m := s.one(number); m != nil {
		return m, nil
	}
	return nil, fault.Errorf(fault.Unreachable, "store %d is not among the stores", number)
}

// one returns the store with a number, whatever its state; nil for none.
func (s *Store) one(number meta.StoreID) *member {
	for _, m := range s.everyone() {
		if m.ID == number {
			return m
		}
	}
	return nil
}

// everyone returns all stores. The slice is never changed.
func (s *Store) everyone() []*member {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.members
}

// active returns the stores that new packs are placed in.
func (s *Store) active() (all []*member) {
	for _, m := range s.everyone() {
		if m.state() == meta.StoreActive {
			all = append(all, m)
		}
	}
	return all
}

// layout returns how new packs are placed.
func (s *Store) layout() Layout {
	if s.c.Mirror {
		return Layout{Data: 1, Parity: max(1, len(s.active())) - 1}
	}
	return s.c.Layout
}

func packKey(key blob.Key) meta.PackKey {
	return meta.PackKey{Organization: key.Organization, Workspace: key.Workspace, Pack: key.Pack}
}

func blobKey(key meta.PackKey) blob.Key {
	return blob.Key{Scope: blob.Scope{Organization: key.Organization, Workspace: key.Workspace}, Pack: key.Pack}
}

// place returns a pack's row.
func (s *Store) place(ctx context.Context, key blob.Key) (row meta.Placement, err error) {
	err = s.rows.Read(ctx, func(tx meta.Tx) error {
		row, err = tx.Placements().Get(packKey(key))
		return err
	})
	for _, number := range row.Stores {
		if _, unknown := s.member(number); err == nil && fault.Is(unknown, fault.Unreachable) && s.c.Open != nil {
			// Another process may have added it a moment ago.
			if err := s.Refresh(ctx); err != nil {
				s.c.Log.WarnContext(ctx, "the stores are not known anew", "error", err)
			}
			break
		}
	}
	return row, err
}

// Size implements [blob.Store]. Where there is no such pack it still asks
// whether enough stores answer.
func (s *Store) Size(ctx context.Context, key blob.Key) (int64, error) {
	const what = "find pack"
	row, err := s.place(ctx, key)
	placed := !fault.Is(err, fault.NotFound)
	if !placed {
		row, err = meta.Placement{Data: s.c.Layout.Data, Stores: s.chosen(s.layout(), key.Pack)}, nil
	}
	if err != nil {
		return 0, fault.Errorf(fault.KindOf(err), "%s: %w", what, err)
	}
	errs := s.each(row.Stores, func(m *member) error { _, err := m.Store.Size(ctx, key); return err })
	here, absent := 0, 0
	for _, err := range errs {
		if err == nil && placed {
			here++
		} else if err == nil {
			absent++ // what lies there without a row is a leftover
		} else if fault.Is(err, fault.NotFound) {
			absent++
		}
	}
	switch {
	case here >= row.Data:
		return row.Size, nil
	case len(errs)-absent < row.Data:
		return 0, fault.Errorf(fault.NotFound, "%s: there is none", what)
	}
	err = verdict(ctx, errs)
	return 0, fault.Errorf(fault.KindOf(err), "%s: %w", what, err)
}

// each calls every store at once, and returns how each call went.
func (s *Store) each(stores []meta.StoreID, call func(*member) error) []error {
	errs := make([]error, len(stores))
	var all sync.WaitGroup
	for i, number := range stores {
		m, err := s.member(number)
		if err != nil {
			errs[i] = err
			continue
		}
		all.Go(func() { errs[i] = m.named(call(m)) })
	}
	all.Wait()
	return errs
}

// Delete implements [blob.Store]. The row goes first, and its parts into the
// queue: what cannot be removed now is removed by [Store.Mend], and no repair
// brings back what has no row.
func (s *Store) Delete(ctx context.Context, key blob.Key) error {
	const what = "remove pack"
	row, err := s.place(ctx, key)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	var parts []meta.Repair
	if err == nil {
		for _, number := range row.Stores {
			parts = append(parts, meta.Repair{Key: row.Key, Store: number})
		}
		err = s.rows.Write(ctx, func(tx meta.Tx) error {
			if err := tx.Placements().Remove(row.Key); err != nil {
				return err
			}
			return tx.Placements().Queue(parts)
		})
	}
	if err != nil {
		return fault.Errorf(kindOf(ctx, err), "%s: %w", what, err)
	}
	errs := s.each(row.Stores, func(m *member) error {
		if m.rests() {
			return fault.Errorf(fault.Unreachable, "it fails again and again")
		}
		err := m.Store.Delete(ctx, key)
		m.note(err)
		return err
	})
	if err := s.rows.Write(ctx, func(tx meta.Tx) error {
		for i, part := range parts {
			if errs[i] != nil {
				continue
			}
			if err := tx.Placements().Done(part); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		s.c.Log.DebugContext(ctx, "the parts of a removed pack stay queued", "pack", key.Pack, "error", err)
	}
	return nil
}

// Close implements [blob.Store].
func (s *Store) Close() error {
	s.running.Wait()
	var errs []error
	for _, m := range s.everyone() {
		errs = append(errs, m.named(m.Store.Close()))
	}
	return errors.Join(errs...)
}

// kindOf returns the kind of an error, which is canceled once ctx has ended.
func kindOf(ctx context.Context, err error) fault.Kind {
	if ctx.Err() != nil {
		return fault.Canceled
	}
	return fault.KindOf(err)
}

// verdict says what several failures come to: what was not there for a store
// that answered may be there with one that did not. It never returns nil.
func verdict(ctx context.Context, errs []error) error {
	if ctx.Err() != nil {
		return fault.Errorf(fault.Canceled, "%w", context.Cause(ctx))
	}
	missing := fault.Errorf(fault.NotFound, "too few stores hold it")
	for _, err := range errs {
		switch {
		case err == nil:
		case fault.Is(err, fault.NotFound):
			missing = err
		default:
			return err
		}
	}
	return missing
}

// chosen returns the stores for the parts of a new pack: a run of them that
// begins anywhere, so that load spreads. Those that fail are passed over where
// there are others.
func (s *Store) chosen(l Layout, p id.Pack) (numbers []meta.StoreID) {
	all := s.active()
	if len(all) == 0 {
		return nil
	}
	begin := int(p[0])<<8 | int(p[1])
	var last []meta.StoreID
	for i := range all {
		if m := all[(begin+i)%len(all)]; m.rests() {
			last = append(last, m.ID)
		} else {
			numbers = append(numbers, m.ID)
		}
	}
	numbers = append(numbers, last...)
	return numbers[:min(len(numbers), l.Parts())]
}
