package metatest

import (
	"slices"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/server/meta"
)

func placements(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"a store keeps the number it was given":             storesAreNumbered,
		"what was stored before is in the first store":      packsOfBeforeAreAdopted,
		"a pack is placed once, and found as it was placed": packIsPlacedOnce,
		"placements are listed by ascending key":            placementsAreListed,
		"a repair is queued once, until it is done":         repairIsQueued,
	})
}

func storesAreNumbered(t *testing.T, s *store) {
	for range 2 {
		for i, name := range []string{"first", "second", "third"} {
			s.write(t, func(tx meta.Tx) error {
				got, err := tx.Placements().Register(name)
				same(t, "number of "+name, got, meta.StoreID(i+1))
				return err
			})
		}
	}
}

func newPackKey(n byte) meta.PackKey {
	return meta.PackKey{Organization: id.Fingerprint{1, n}, Workspace: id.Workspace{2}, Pack: id.Pack{n}}
}

func newPlacement(n byte) meta.Placement {
	return meta.Placement{Key: newPackKey(n), Size: 100 + int64(n), Data: 2, Parity: 1, Stores: []meta.StoreID{3, 1 << 40, 2}, Sums: []byte{n, 2, 3}}
}

// place adds a placement and checks what the pack has.
func (s *store) place(t *testing.T, p, want meta.Placement) {
	t.Helper()
	s.write(t, func(tx meta.Tx) error {
		got, err := tx.Placements().Add(p)
		same(t, "added", got, want)
		return err
	})
}

func packIsPlacedOnce(t *testing.T, s *store) {
	first, other := newPlacement(1), newPlacement(1)
	other.Sums = []byte("other")
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Placements().Get(first.Key); return err })
	s.place(t, first, first)
	s.place(t, other, first)
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Placements().Get(first.Key)
		same(t, "placement", got, first)
		return err
	})
	for range 2 {
		s.write(t, func(tx meta.Tx) error { return tx.Placements().Remove(first.Key) })
		s.missing(t, func(tx meta.Tx) error { _, err := tx.Placements().Get(first.Key); return err })
	}
	s.place(t, other, other)
}

func placementsAreListed(t *testing.T, s *store) {
	for _, n := range []byte{3, 1, 200, 2} {
		s.place(t, newPlacement(n), newPlacement(n))
	}
	s.read(t, func(tx meta.Tx) error {
		first, err := tx.Placements().List(meta.PackKey{}, 3)
		same(t, "first page", first, []meta.Placement{newPlacement(1), newPlacement(2), newPlacement(3)})
		if err != nil {
			return err
		}
		second, err := tx.Placements().List(newPackKey(3), 3)
		same(t, "second page", second, []meta.Placement{newPlacement(200)})
		return err
	})
}

func repairIsQueued(t *testing.T, s *store) {
	all := []meta.Repair{{Key: newPackKey(1), Store: 1}, {Key: newPackKey(1), Store: 2}, {Key: newPackKey(2), Store: 1}}
	backwards := slices.Clone(all)
	slices.Reverse(backwards)
	for range 2 {
		s.write(t, func(tx meta.Tx) error { return tx.Placements().Queue(backwards) })
	}
	queued := func(after meta.Repair, limit int, want ...meta.Repair) {
		t.Helper()
		s.read(t, func(tx meta.Tx) error {
			got, err := tx.Placements().Queued(after, limit)
			same(t, "queued", got, want)
			return err
		})
	}
	queued(meta.Repair{}, 2, all[:2]...)
	queued(all[1], 2, all[2])
	for range 2 {
		s.write(t, func(tx meta.Tx) error { return tx.Placements().Done(all[0]) })
		queued(meta.Repair{}, 9, all[1:]...)
	}
	s.write(t, func(tx meta.Tx) error { return tx.Placements().Remove(newPackKey(1)) })
	queued(meta.Repair{}, 9, all[1:]...)
	if err := s.Read(t.Context(), func(tx meta.Tx) error { return tx.Placements().Done(all[2]) }); err == nil || fault.Is(err, fault.NotFound) {
		t.Errorf("a read that writes: %v", err)
	}
}

// Packs that were stored while there was one store are placed in it once there
// are more. What is placed already stays where it is.
func packsOfBeforeAreAdopted(t *testing.T, s *store) {
	var o meta.OrganizationKey
	s.write(t, func(tx meta.Tx) (err error) {
		o, err = tx.Organizations().Create(meta.Organization{Name: "Before", Fingerprint: id.Fingerprint{1, 1}})
		return err
	})
	w := s.newWorkspace(t, o)
	placed := meta.PackKey{Organization: id.Fingerprint{1, 1}, Workspace: w.ID, Pack: id.Pack{1}}
	before := meta.PackKey{Organization: id.Fingerprint{1, 1}, Workspace: w.ID, Pack: id.Pack{2}}
	s.add(t, w.Key, meta.Pack{ID: placed.Pack, Size: 10})
	s.add(t, w.Key, meta.Pack{ID: before.Pack, Size: 20})
	elsewhere := meta.Placement{Key: placed, Size: 10, Data: 1, Stores: []meta.StoreID{7}, Sums: []byte("sums")}
	s.place(t, elsewhere, elsewhere)
	for range 2 {
		for i, name := range []string{"first", "second"} {
			s.write(t, func(tx meta.Tx) error {
				got, err := tx.Placements().Register(name)
				same(t, "number of "+name, got, meta.StoreID(i+1))
				return err
			})
		}
	}
	var got []meta.Placement
	s.read(t, func(tx meta.Tx) (err error) {
		got, err = tx.Placements().List(meta.PackKey{}, 10)
		return err
	})
	same(t, "placements", got, []meta.Placement{elsewhere, {Key: before, Size: 20, Data: 1, Stores: []meta.StoreID{1}, Sums: []byte{}}})
}
