package redundant

import (
	"bytes"
	"context"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/server/blob"
	"parsec/internal/server/meta"
)

// Drain begins to move everything out of a store, in the background, to the
// store with the URL into, which is added where it is new, or else to the
// others. It returns the store's name.
func (s *Store) Drain(ctx context.Context, url, into string, rate int64) (string, error) {
	const what = "drain store"
	row, err := s.named(ctx, url)
	if err != nil {
		return "", fault.Errorf(fault.KindOf(err), "%s: %w", what, err)
	}
	j := &Job{Kind: jobDrain, Store: row.ID, Rate: rate}
	if into != "" {
		if j.Into, _, err = s.Add(ctx, into); err != nil {
			return "", err
		}
		if j.Into == row.ID {
			return "", fault.Errorf(fault.Usage, "%s %s: it cannot take its own place", what, row.Name)
		}
	}
	left := 0
	for _, m := range s.active() {
		if m.ID != row.ID {
			left++
		}
	}
	if least := s.c.Layout.Data + s.c.Layout.Parity; !s.c.Mirror && left < least || left < 1 {
		return "", fault.WithHint(fault.Errorf(fault.Conflict, "%s %s: %d stores would be left, and packs need %d", what, row.Name, left, max(1, least)), "add another store first, or replace this one")
	}
	err = s.beginJob(ctx, j, func(on *Job) error {
		if on.Store != row.ID {
			return fault.WithHint(fault.Errorf(fault.Conflict, "another store is being emptied"), "wait for it; `parsec-server store list` says how far it is")
		}
		on.Into, on.Rate = j.Into, rate
		return nil
	})
	if err == nil {
		row.State = meta.StoreDraining
		err = s.set(ctx, row)
	}
	if err != nil {
		return "", fault.Errorf(fault.KindOf(err), "%s %s: %w", what, row.Name, err)
	}
	return row.Name, nil
}

// named returns the row of the store with a URL, or with such a name.
func (s *Store) named(ctx context.Context, url string) (found meta.ObjectStore, err error) {
	name, unclear := s.c.Name(url)
	err = s.rows.Read(ctx, func(tx meta.Tx) error {
		all, err := tx.ObjectStores().List()
		if err != nil {
			return err
		}
		for _, row := range all {
			if row.Name == url || unclear == nil && row.Name == name {
				found = row
				return nil
			}
		}
		if unclear != nil {
			return unclear
		}
		return fault.WithHint(fault.Errorf(fault.NotFound, "there is no store %s", name), "`parsec-server store list` names them")
	})
	return found, err
}

// set changes the row of a store.
func (s *Store) set(ctx context.Context, row meta.ObjectStore) error {
	if err := s.rows.Write(ctx, func(tx meta.Tx) error { return tx.ObjectStores().Set(row) }); err != nil {
		return err
	}
	return s.Refresh(ctx)
}

// Add adds a store, in which packs are placed from then on, and returns its
// number and name. One that was emptied is taken back into use. It may already
// be one of the stores, but not one of another server.
func (s *Store) Add(ctx context.Context, url string) (number meta.StoreID, name string, err error) {
	const what = "add store"
	if name, err = s.c.Name(url); err != nil {
		return 0, "", fault.Errorf(fault.KindOf(err), "%s: %w", what, err)
	}
	store, err := s.c.Open(ctx, url)
	if err != nil {
		return 0, "", fault.Errorf(fault.KindOf(err), "%s %s: %w", what, name, err)
	}
	row, err := s.accept(ctx, store, name, url)
	if _, known := s.member(row.ID); err != nil || known == nil || !s.join(Member{ID: row.ID, Name: name, Store: store}, row) {
		_ = store.Close() // it is another one of the same, or was refused
	}
	if err == nil {
		err = s.Refresh(ctx)
	}
	if err != nil {
		return 0, "", fault.Errorf(fault.KindOf(err), "%s %s: %w", what, name, err)
	}
	return row.ID, name, nil
}

// accept makes an object store one of the stores. What it is to be known by is
// noted before it is put there, so that this can be repeated.
func (s *Store) accept(ctx context.Context, store blob.Store, name, url string) (row meta.ObjectStore, err error) {
	held, err := readMarker(ctx, store)
	damaged := fault.Is(err, fault.Integrity)
	if err != nil && !damaged && !fault.Is(err, fault.NotFound) {
		return row, err
	}
	if err := s.rows.Write(ctx, func(tx meta.Tx) error {
		row, err = enter(tx, name, held)
		return err
	}); err != nil {
		return row, err
	}
	if damaged {
		if err := store.Delete(ctx, markerKey()); err != nil {
			return row, err
		}
	}
	if held == nil {
		if err := store.Put(ctx, markerKey(), [][]byte{row.Marker}); err != nil {
			return row, err
		}
	}
	if row.State == meta.StoreRetired || row.URL != "" { // else the configuration has it
		row.URL = url
	}
	row.State = meta.StoreActive
	return row, s.rows.Write(ctx, func(tx meta.Tx) error { return tx.ObjectStores().Set(row) })
}

// enter returns the row of a store that holds what it is known by, or nil. One
// that is new is not used yet.
func enter(tx meta.Tx, name string, held []byte) (row meta.ObjectStore, err error) {
	all, err := tx.ObjectStores().List()
	if err != nil {
		return row, err
	}
	for _, other := range all {
		if other.Name == name {
			row = other
		} else if held != nil && bytes.Equal(other.Marker, held) {
			return row, fault.Errorf(fault.Conflict, "it is the store %s", other.Name)
		}
	}
	fresh := row.ID == 0
	if held != nil && (fresh || len(row.Marker) > 0 && !bytes.Equal(row.Marker, held)) {
		return row, fault.WithHint(fault.Errorf(fault.Conflict, "it is a store of another server"), "give this server a folder, bucket or container of its own")
	}
	if fresh {
		row = meta.ObjectStore{Name: name, State: meta.StoreRetired}
		if row.ID, err = tx.ObjectStores().Register(name); err != nil {
			return row, err
		}
	}
	if len(row.Marker) == 0 {
		if row.Marker = held; held == nil {
			row.Marker = newMarker()
		}
	}
	return row, tx.ObjectStores().Set(row)
}

// retire ends the use of a store that is empty.
func (w *worker) retire(ctx context.Context) error {
	if w.j.Failed > 0 {
		return nil
	}
	row, err := w.s.rowOf(ctx, w.j.Store)
	if err != nil || row.State != meta.StoreDraining { // it was taken back into use
		return err
	}
	row.State, row.URL = meta.StoreRetired, ""
	if err := w.s.rows.Write(ctx, func(tx meta.Tx) error { return tx.ObjectStores().Forget(row.ID) }); err != nil {
		return err
	}
	return w.s.set(ctx, row)
}

// rowOf returns the row of a store.
func (s *Store) rowOf(ctx context.Context, number meta.StoreID) (found meta.ObjectStore, err error) {
	err = s.rows.Read(ctx, func(tx meta.Tx) error {
		all, err := tx.ObjectStores().List()
		for _, row := range all {
			if row.ID == number {
				found = row
			}
		}
		return err
	})
	return found, err
}

// moveOut moves the part that the store has of a pack. It returns how many
// bytes it read.
func (w *worker) moveOut(ctx context.Context, row meta.Placement) (int64, error) {
	part := slices.Index(row.Stores, w.j.Store)
	if part < 0 {
		return 0, nil
	}
	err := w.moveAway(ctx, row, part)
	if err != nil && ctx.Err() == nil {
		used := true
		if err := w.s.rows.Read(ctx, func(tx meta.Tx) (err error) { used, err = tx.ObjectStores().Uses(row.Key); return err }); err != nil {
			return 0, err
		}
		if used {
			w.j.Failed++
			w.fails(ctx, row.Key.Pack, err)
		}
	}
	return partSize(row.Size, row.Data), ctx.Err()
}

// moveAway moves a part to a store that has none of its pack. Where all have,
// and they are copies, one copy less is what is left.
func (w *worker) moveAway(ctx context.Context, row meta.Placement, part int) error {
	to := w.target(row)
	if to == nil && (row.Data > 1 || len(row.Stores) == 1) {
		return fault.Errorf(fault.Conflict, "pack %s: there is no other store for it", row.Key.Pack)
	}
	if to == nil {
		next := row
		next.Stores = slices.Delete(slices.Clone(row.Stores), part, part+1)
		next.Parity = len(next.Stores) - 1
		good := 0
		for _, err := range w.s.each(next.Stores, func(m *member) error { return w.s.checkPart(ctx, m, next, 0) }) {
			if err == nil {
				good++
			}
		}
		if good == 0 {
			return fault.Errorf(fault.Unreachable, "pack %s: no other copy of it is good", row.Key.Pack)
		}
		if err := w.s.rows.Write(ctx, func(tx meta.Tx) error { _, err := tx.Placements().Move(row.Stores, next); return err }); err != nil {
			return err
		}
	} else {
		content, err := w.s.readPart(ctx, row, part)
		if err != nil {
			return err
		}
		if _, err := w.copyTo(ctx, row, to, part, content); err != nil {
			return err
		}
	}
	if old, err := w.s.member(w.j.Store); err == nil {
		_ = old.Store.Delete(ctx, blobKey(row.Key)) // what stays in a store that is given up harms nobody
	}
	return nil
}

// target returns a store for a part that is moved; nil where there is none.
func (w *worker) target(row meta.Placement) *member {
	all := w.s.active()
	begin := int(row.Key.Pack[1])
	var found *member
	for i := range all {
		m := all[(begin+i)%len(all)]
		if slices.Contains(row.Stores, m.ID) {
			continue
		}
		if m.ID == w.j.Into {
			return m
		}
		if found == nil || found.rests() {
			found = m
		}
	}
	return found
}

// readPart reads a whole part from its store, or computes it from the others.
func (s *Store) readPart(ctx context.Context, row meta.Placement, part int) ([]byte, error) {
	m, err := s.member(row.Stores[part])
	if err == nil {
		var b bytes.Buffer
		r := s.reading(ctx, row)
		defer r.close()
		if err = windows(row, func(first, last, until int64) error {
			got, err := r.ask(ctx, m, part, first, last, until)
			b.Write(got)
			s.spare(got)
			return err
		}); err == nil && row.Size == 0 {
			_, err = m.Store.Size(ctx, blobKey(row.Key))
		}
		if err == nil {
			return b.Bytes(), nil
		}
	}
	content, rebuilt := s.rebuildPart(ctx, row, part)
	if rebuilt != nil {
		return nil, verdict(ctx, []error{err, rebuilt})
	}
	return content, nil
}
