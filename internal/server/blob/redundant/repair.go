package redundant

import (
	"context"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

// tend queues what reads have noticed, until ctx ends.
func (s *Store) tend(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.noticed:
			if m, err := s.member(r.Store); err == nil {
				s.c.Log.WarnContext(ctx, "a store lost or spoilt a part", "store", m.Name, "pack", r.Key.Pack)
			}
			if err := s.queue(ctx, []meta.Repair{r}); err != nil {
				s.c.Log.WarnContext(ctx, "a repair is not queued", "pack", r.Key.Pack, "error", err)
			}
		}
	}
}

// Mend goes once through the queue of repairs. It returns the last failure
// after it has tried all of them. Several processes may do so at once: a part
// is mended the same way whoever does it.
func (s *Store) Mend(ctx context.Context) error {
	return s.mendFrom(ctx, meta.Repair{}, func(meta.PackKey) bool { return true })
}

// Clear removes what stores still hold of those packs of an organization that
// were removed, and fails unless nothing is left.
func (s *Store) Clear(ctx context.Context, o id.Fingerprint) error {
	return s.mendFrom(ctx, meta.Repair{Key: meta.PackKey{Organization: o}}, func(key meta.PackKey) bool { return key.Organization == o })
}

// mendFrom goes through the queue behind a repair, as far as it is wanted.
func (s *Store) mendFrom(ctx context.Context, after meta.Repair, wanted func(meta.PackKey) bool) (last error) {
	away := make(map[meta.StoreID]error)
	for {
		var page []meta.Repair
		err := s.rows.Read(ctx, func(tx meta.Tx) (err error) {
			page, err = tx.Placements().Queued(after, 100)
			return err
		})
		if err != nil || len(page) == 0 {
			return later(last, err)
		}
		for _, r := range page {
			if !wanted(r.Key) {
				return last
			}
			last = later(last, s.mend(ctx, r, away))
		}
		after = page[len(page)-1]
	}
}

func later(was, is error) error {
	if is != nil {
		return is
	}
	return was
}

// mend makes a store hold what the row of a pack says, and takes the repair out
// of the queue: its part, or, of a pack that was removed or lies elsewhere,
// nothing. Stores that turned out to be away are asked to remove something once.
func (s *Store) mend(ctx context.Context, r meta.Repair, away map[meta.StoreID]error) error {
	row, err := s.place(ctx, blobKey(r.Key))
	store, unknown := s.rowOf(ctx, r.Store)
	switch {
	case unknown != nil:
		return unknown
	case store.State == meta.StoreRetired: // what it holds is nobody's business any more
		err = nil
	case err == nil:
		err = s.mendRow(ctx, row, r.Store)
	case fault.Is(err, fault.NotFound) && away[r.Store] != nil:
		err = away[r.Store]
	case fault.Is(err, fault.NotFound):
		if err = s.clear(ctx, r); fault.Is(err, fault.Unreachable) {
			away[r.Store] = err
		}
	}
	if err != nil {
		return err
	}
	return s.rows.Write(ctx, func(tx meta.Tx) error { return tx.Placements().Done(r) })
}

// clear removes what a store holds of a pack that is not to be there.
func (s *Store) clear(ctx context.Context, r meta.Repair) error {
	m, err := s.member(r.Store)
	if err != nil {
		return err
	}
	if err := m.named(m.Store.Delete(ctx, blobKey(r.Key))); err != nil {
		return err
	}
	row, err := s.place(ctx, blobKey(r.Key))
	if err == nil && slices.Contains(row.Stores, r.Store) {
		return fault.Errorf(fault.Busy, "store %s: pack %s was placed there meanwhile", m.Name, r.Key.Pack)
	}
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	return err
}

func (s *Store) mendRow(ctx context.Context, row meta.Placement, number meta.StoreID) error {
	if !slices.Contains(row.Stores, number) {
		return s.clear(ctx, meta.Repair{Key: row.Key, Store: number})
	}
	for i, holder := range row.Stores {
		if holder != number {
			continue
		}
		m, err := s.member(number)
		if err != nil {
			return err
		}
		// Only what is proven to be missing or wrong gives way: a part that
		// cannot be read just now may be as good as ever.
		if err := s.checkPart(ctx, m, row, i); err == nil {
			return nil
		} else if !fault.Is(err, fault.NotFound) && !fault.Is(err, fault.Integrity) {
			return m.named(err)
		}
		content, err := s.rebuildPart(ctx, row, i)
		if err != nil {
			return err
		}
		if err := s.replace(ctx, m, row, i, content); err != nil {
			return m.named(err)
		}
		s.c.Log.InfoContext(ctx, "repaired", "pack", row.Key.Pack, "store", m.Name)
	}
	return nil
}

// replace stores a part over what is there, once it is known to be wrong. A
// pack that was removed meanwhile does not come back by it.
func (s *Store) replace(ctx context.Context, m *member, row meta.Placement, part int, content []byte) error {
	key := blobKey(row.Key)
	if err := m.Store.Delete(ctx, key); err != nil {
		return err
	}
	if err := m.Store.Put(ctx, key, [][]byte{content}); err != nil {
		return err
	}
	if _, err := s.place(ctx, key); fault.Is(err, fault.NotFound) {
		return m.Store.Delete(ctx, key)
	}
	return s.checkPart(ctx, m, row, part)
}

// checkPart reads a whole part from its store, which is to have no more of it.
func (s *Store) checkPart(ctx context.Context, m *member, row meta.Placement, part int) error {
	size, err := m.Store.Size(ctx, blobKey(row.Key))
	if err != nil {
		return err
	}
	if want := partSize(row.Size, row.Data); size != want {
		return fault.Errorf(fault.Integrity, "part %d of pack %s has %d bytes, not %d", part, row.Key.Pack, size, want)
	}
	r := s.reading(ctx, row)
	defer r.close()
	return windows(row, func(first, last, until int64) error {
		b, err := r.ask(ctx, m, part, first, last, until)
		s.spare(b)
		return err
	})
}

// rebuildPart computes a whole part from the others.
func (s *Store) rebuildPart(ctx context.Context, row meta.Placement, part int) (content []byte, err error) {
	r := s.reading(ctx, row)
	defer r.close()
	err = windows(row, func(first, last, until int64) error {
		b, err := piecemeal(first, last, func(first, last int64) ([]byte, error) { return r.rebuild(ctx, part, first, last, until) })
		content = append(content, b...)
		s.spare(b)
		return err
	})
	return content, err
}

// windows calls fn for the chunks of a part, a window at a time, and with the
// number of all.
func windows(row meta.Placement, fn func(first, last, until int64) error) error {
	all := chunks(partSize(row.Size, row.Data))
	for first := int64(0); first < all; first += windowChunks {
		if err := fn(first, min(all, first+windowChunks), all); err != nil {
			return err
		}
	}
	return nil
}
