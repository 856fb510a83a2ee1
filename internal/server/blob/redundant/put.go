package redundant

import (
	"bytes"
	"context"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/server/blob"
	"parsec/internal/server/meta"
)

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, key blob.Key, content [][]byte) error {
	const what = "store pack"
	p, row, err := s.begin(ctx, key, content)
	if err != nil {
		return fault.Errorf(kindOf(ctx, err), "%s: %w", what, err)
	}
	errs := s.putParts(ctx, row, p)
	var missing []meta.Repair
	for i, err := range errs {
		if err != nil {
			missing = append(missing, meta.Repair{Key: row.Key, Store: row.Stores[i]})
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if stored := len(errs) - len(missing); stored < s.needed(row) {
		err := verdict(ctx, errs)
		return fault.Errorf(fault.KindOf(err), "%s: %d of %d parts stored, %d needed: %w", what, stored, len(errs), s.needed(row), err)
	}
	if err := s.queue(ctx, missing); err != nil {
		return fault.Errorf(fault.KindOf(err), "%s: queue repair: %w", what, err)
	}
	return nil
}

// needed returns how many parts of a pack must be stored.
func (s *Store) needed(row meta.Placement) int {
	l := s.layout()
	if s.c.Quorum == 0 || row.Data != l.Data || len(row.Stores) != l.Parts() {
		return len(row.Stores) // all of them, also where it was placed under another layout
	}
	return min(s.c.Quorum, len(row.Stores))
}

func (s *Store) queue(ctx context.Context, repairs []meta.Repair) error {
	return s.rows.Write(ctx, func(tx meta.Tx) error { return tx.Placements().Queue(repairs) })
}

// begin cuts a pack and writes its row. Where there is a row already, it has
// to be of the same content.
func (s *Store) begin(ctx context.Context, key blob.Key, content [][]byte) (p parts, row meta.Placement, err error) {
	if err := ctx.Err(); err != nil {
		return p, row, err
	}
	l := s.layout()
	stores := s.chosen(l, key.Pack)
	if len(stores) < l.Parts() {
		return p, row, fault.Errorf(fault.Unreachable, "%d stores to place %d parts in", len(stores), l.Parts())
	}
	if p, err = s.cut(l, content); err != nil {
		return p, row, err
	}
	want := meta.Placement{Key: packKey(key), Size: p.size, Data: l.Data, Parity: l.Parity, Stores: stores, Sums: p.sums}
	err = s.rows.Write(ctx, func(tx meta.Tx) (err error) {
		row, err = tx.Placements().Add(want)
		return err
	})
	if err != nil {
		return p, row, err
	}
	if was := (Layout{Data: row.Data, Parity: row.Parity}); was != l {
		if p, err = s.cut(was, content); err != nil {
			return p, row, err
		}
	}
	if row.Size != p.size || len(row.Sums) > 0 && !bytes.Equal(row.Sums, p.sums) {
		return p, row, fault.Errorf(fault.Conflict, "another content is stored under this name")
	}
	return p, row, nil
}

// putParts stores all parts at once, and returns how each went. Once there
// are enough of them the others have a moment left.
func (s *Store) putParts(ctx context.Context, row meta.Placement, p parts) []error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		part int
		err  error
	}
	results, spared := make(chan result, len(row.Stores)), s.spared(row)
	for i, number := range row.Stores {
		if spared[number] {
			results <- result{i, fault.Errorf(fault.Unreachable, "store %d: it failed a moment ago", number)}
			continue
		}
		s.running.Go(func() { results <- result{i, s.putPart(ctx, row, number, p.pieces[i])} })
	}
	errs, stored := make([]error, len(row.Stores)), 0
	var grace <-chan time.Time
	// All are waited for, since they read what is the caller's.
	for left := len(errs); left > 0; {
		select {
		case r := <-results:
			left--
			if errs[r.part] = r.err; r.err == nil {
				stored++
			}
		case <-grace:
			cancel()
		}
		if grace == nil && stored >= s.needed(row) {
			timer := time.NewTimer(s.c.Grace)
			defer timer.Stop()
			grace = timer.C
		}
	}
	return errs
}

// spared returns the stores that are not written to because they failed a
// moment ago, as long as there are enough others.
func (s *Store) spared(row meta.Placement) map[meta.StoreID]bool {
	spared := map[meta.StoreID]bool{}
	for _, number := range row.Stores {
		if m, err := s.member(number); err == nil && m.rests() {
			spared[number] = true
		}
	}
	if len(row.Stores)-len(spared) < s.needed(row) {
		return nil
	}
	return spared
}

// putPart stores one part. What else is there under its name is not what the
// row says, and gives way.
func (s *Store) putPart(ctx context.Context, row meta.Placement, number meta.StoreID, pieces [][]byte) error {
	m, err := s.member(number)
	if err != nil {
		return err
	}
	key := blobKey(row.Key)
	err = m.Store.Put(ctx, key, pieces)
	if fault.Is(err, fault.Conflict) && len(row.Sums) > 0 {
		if err = m.Store.Delete(ctx, key); err == nil {
			err = m.Store.Put(ctx, key, pieces)
		}
	}
	m.note(err)
	return m.named(err)
}
