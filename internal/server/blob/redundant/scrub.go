package redundant

import (
	"context"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/server/meta"
)

// StartScrub begins to verify every part of every pack, in the background. One
// that goes on does so as this one says.
func (s *Store) StartScrub(ctx context.Context, repair bool, rate int64) error {
	err := s.beginJob(ctx, &Job{Kind: jobScrub, Repair: repair, Rate: rate}, func(on *Job) error {
		on.Repair, on.Rate = repair, rate
		return nil
	})
	if err != nil {
		return fault.Errorf(fault.KindOf(err), "begin to scrub: %w", err)
	}
	return nil
}

// scrubPack verifies the parts of a pack, and mends what is wrong if it is to.
// It returns how many bytes it read.
func (w *worker) scrubPack(ctx context.Context, row meta.Placement) (n int64, err error) {
	s := w.s
	errs := s.each(row.Stores, func(m *member) error { return s.checkPart(ctx, m, row, slices.Index(row.Stores, m.ID)) })
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	now, err := s.place(ctx, blobKey(row.Key))
	if fault.Is(err, fault.NotFound) || err == nil && !slices.Equal(now.Stores, row.Stores) {
		return 0, nil // it was removed or moved meanwhile
	} else if err != nil {
		return 0, err
	}
	good := 0
	for _, err := range errs {
		if err == nil {
			good++
		}
	}
	if good < len(errs) {
		used := false
		if err := s.rows.Read(ctx, func(tx meta.Tx) error { used, err = tx.ObjectStores().Uses(row.Key); return err }); err != nil {
			return 0, err
		}
		if !used { // its upload goes on, or failed, and nobody lost anything
			return 0, nil
		}
	}
	if good < row.Data {
		w.j.Failed++
		w.fails(ctx, row.Key.Pack, fault.Errorf(fault.Integrity, "pack %s: %d good parts of %d that are needed", row.Key.Pack, good, row.Data))
	}
	size := partSize(row.Size, row.Data)
	for i, err := range errs {
		w.found(ctx, row, row.Stores[i], size, err, good >= row.Data)
	}
	if w.j.Repair && good >= row.Data {
		return int64(len(errs)) * size, w.spread(ctx, row)
	}
	return int64(len(errs)) * size, nil
}

// found counts what became of a part, and mends it.
func (w *worker) found(ctx context.Context, row meta.Placement, number meta.StoreID, size int64, err error, enough bool) {
	if w.j.Found == nil {
		w.j.Found = map[meta.StoreID]*Found{}
	}
	f := w.j.Found[number]
	if f == nil {
		f = new(Found)
		w.j.Found[number] = f
	}
	switch {
	case err == nil:
		f.Parts++
		f.Bytes += size
		return
	case fault.Is(err, fault.NotFound):
		f.Lost++
	case fault.Is(err, fault.Integrity):
		f.Rotten++
	default:
		f.Unreachable++
		w.fails(ctx, row.Key.Pack, err)
		return
	}
	w.fails(ctx, row.Key.Pack, err)
	if !w.j.Repair || !enough {
		return
	}
	if err := w.s.mendRow(ctx, row, number); err != nil {
		w.fails(ctx, row.Key.Pack, err)
		if err := w.s.queue(ctx, []meta.Repair{{Key: row.Key, Store: number}}); err != nil {
			w.fails(ctx, row.Key.Pack, err)
		}
		return
	}
	f.Repaired++
}

// spread makes further copies of a pack that lies whole in fewer stores than may
// be lost of those of new ones, since there were fewer when it was stored.
func (w *worker) spread(ctx context.Context, row meta.Placement) error {
	want := w.s.layout().Parity + 1
	if row.Data != 1 || len(row.Stores) >= want {
		return nil
	}
	content, err := w.s.rebuildPart(ctx, row, -1)
	if err != nil {
		w.fails(ctx, row.Key.Pack, err)
		return ctx.Err()
	}
	for _, m := range w.s.active() {
		if len(row.Stores) >= want || slices.Contains(row.Stores, m.ID) {
			continue
		}
		if row, err = w.copyTo(ctx, row, m, len(row.Stores), content); err != nil {
			w.fails(ctx, row.Key.Pack, err)
		}
	}
	return ctx.Err()
}

// copyTo stores a part in another store, and then says in the row that it is
// there: in the place of another, or behind the last. It returns the row.
func (w *worker) copyTo(ctx context.Context, row meta.Placement, m *member, part int, content []byte) (meta.Placement, error) {
	next := row
	next.Stores = slices.Clone(row.Stores)
	if part == len(next.Stores) {
		next.Stores = append(next.Stores, m.ID)
	} else {
		next.Stores[part] = m.ID
	}
	next.Parity = len(next.Stores) - next.Data
	if len(next.Sums) == 0 && next.Data == 1 { // from now on it is known what it was
		next.Sums = sums([][]byte{content})
	}
	if err := w.s.replace(ctx, m, next, part, content); err != nil {
		w.undo(ctx, row, m)
		return row, m.named(err)
	}
	var moved bool
	err := w.s.rows.Write(ctx, func(tx meta.Tx) (err error) {
		moved, err = tx.Placements().Move(row.Stores, next)
		return err
	})
	if err == nil && !moved {
		err = fault.Errorf(fault.Busy, "pack %s: it was moved by somebody else", row.Key.Pack)
	}
	if err != nil {
		w.undo(ctx, row, m)
		return row, err
	}
	return next, nil
}

// undo removes a part that was stored in vain, unless the row says that it is
// there after all. What stays nevertheless harms nobody.
func (w *worker) undo(ctx context.Context, row meta.Placement, m *member) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.s.c.Rest)
	defer cancel()
	now, err := w.s.place(ctx, blobKey(row.Key))
	if err == nil && !slices.Contains(now.Stores, m.ID) || fault.Is(err, fault.NotFound) {
		_ = m.Store.Delete(ctx, blobKey(row.Key))
	}
}
