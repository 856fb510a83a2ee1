package redundant

import (
	"context"
	"time"

	"parsec/internal/base/fault"
	"parsec/internal/server/meta"
)

// Run queues what reads have noticed, and mends what is queued, until ctx
// ends. Several processes may do so at once: a part is mended the same way
// whoever does it.
func (s *Store) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.c.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case r := <-s.noticed:
			if err := s.queue(ctx, []meta.Repair{r}); err != nil {
				s.c.Log.WarnContext(ctx, "a repair is not queued", "pack", r.Key.Pack, "error", err)
			}
		case <-ticker.C:
			if err := s.Mend(ctx); err != nil && ctx.Err() == nil {
				s.c.Log.WarnContext(ctx, "repairs wait", "error", err)
			}
		}
	}
}

// Mend goes once through the queue of repairs. It returns the last failure
// after it has tried all of them.
func (s *Store) Mend(ctx context.Context) (last error) {
	var after meta.Repair
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
			last = later(last, s.mend(ctx, r))
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

// mend stores the part that a repair names, and takes the repair out of the
// queue. A pack that was removed meanwhile needs none.
func (s *Store) mend(ctx context.Context, r meta.Repair) error {
	row, err := s.place(ctx, blobKey(r.Key))
	if err == nil {
		err = s.mendRow(ctx, row, r.Store)
	}
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if err != nil && row.Stores != nil {
		return err // its parts are not found, which is no reason to forget it
	}
	return s.rows.Write(ctx, func(tx meta.Tx) error { return tx.Placements().Done(r) })
}

func (s *Store) mendRow(ctx context.Context, row meta.Placement, number meta.StoreID) error {
	for i, holder := range row.Stores {
		if holder != number {
			continue
		}
		m, err := s.member(number)
		if err != nil {
			return err
		}
		if s.checkPart(ctx, m, row, i) == nil {
			return nil
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

// replace stores a part over what is there, once it is known to be wrong.
func (s *Store) replace(ctx context.Context, m *member, row meta.Placement, part int, content []byte) error {
	key := blobKey(row.Key)
	if err := m.Store.Delete(ctx, key); err != nil {
		return err
	}
	if err := m.Store.Put(ctx, key, [][]byte{content}); err != nil {
		return err
	}
	return s.checkPart(ctx, m, row, part)
}

// checkPart reads a whole part from its store. What has no chunks is asked for.
func (s *Store) checkPart(ctx context.Context, m *member, row meta.Placement, part int) error {
	if row.Size == 0 {
		_, err := m.Store.Size(ctx, blobKey(row.Key))
		return err
	}
	return windows(row, func(first, last int64) error {
		_, err := s.ask(ctx, m, row, part, first, last)
		return err
	})
}

// rebuildPart computes a whole part from the others.
func (s *Store) rebuildPart(ctx context.Context, row meta.Placement, part int) (content []byte, err error) {
	err = windows(row, func(first, last int64) error {
		b, err := s.rebuild(ctx, row, part, first, last)
		content = append(content, b...)
		return err
	})
	return content, err
}

// windows calls fn for the chunks of a part, a window at a time.
func windows(row meta.Placement, fn func(first, last int64) error) error {
	all := chunks(partSize(row.Size, row.Data))
	for first := int64(0); first < all; first += windowChunks {
		if err := fn(first, min(all, first+windowChunks)); err != nil {
			return err
		}
	}
	return nil
}
