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
		"a placement moves from where it was, and only so":  placementMoves,
		"a store is what it was set to":                     storeIsSet,
		"a pack is used once its blocks are there":          packIsUsed,
		"a job is changed by who knows it":                  jobIsChanged,
	})
}

func storesAreNumbered(t *testing.T, s *store) {
	for range 2 {
		for i, name := range []string{"first", "second", "third"} {
			s.write(t, func(tx meta.Tx) error {
				got, err := tx.ObjectStores().Register(name)
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
				got, err := tx.ObjectStores().Register(name)
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

func placementMoves(t *testing.T, s *store) {
	p := newPlacement(1)
	s.place(t, p, p)
	before := p.Stores
	p.Parity, p.Stores, p.Sums = 2, []meta.StoreID{3, 4, 2, 5}, []byte("sums")
	other := newPlacement(2)
	for _, want := range []bool{true, false} {
		s.write(t, func(tx meta.Tx) error {
			moved, err := tx.Placements().Move(before, p)
			same(t, "moved", moved, want)
			if err != nil {
				return err
			}
			moved, err = tx.Placements().Move(before, other)
			same(t, "moved what is not there", moved, false)
			return err
		})
	}
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Placements().Get(p.Key)
		same(t, "placement", got, p)
		return err
	})
}

func storeIsSet(t *testing.T, s *store) {
	want := []meta.ObjectStore{{Name: "a"}, {Name: "b"}}
	s.write(t, func(tx meta.Tx) (err error) {
		for i := range want {
			if want[i].ID, err = tx.ObjectStores().Register(want[i].Name); err != nil {
				return err
			}
		}
		return tx.Placements().Queue([]meta.Repair{{Key: newPackKey(1), Store: 1}, {Key: newPackKey(1), Store: 2}, {Key: newPackKey(2), Store: 2}})
	})
	want[1].State, want[1].URL, want[1].Marker = meta.StoreDraining, "url", []byte("marker")
	s.write(t, func(tx meta.Tx) error { return tx.ObjectStores().Set(want[1]) })
	s.fails(t, fault.NotFound, func(tx meta.Tx) error { return tx.ObjectStores().Set(meta.ObjectStore{ID: 9}) })
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.ObjectStores().List()
		same(t, "stores", got, want)
		return err
	})
	for _, left := range []map[meta.StoreID]int64{{1: 1, 2: 2}, {1: 1}} {
		s.read(t, func(tx meta.Tx) error {
			got, err := tx.ObjectStores().Repairs()
			same(t, "repairs", got, left)
			return err
		})
		s.write(t, func(tx meta.Tx) error { return tx.ObjectStores().Forget(2) })
	}
}

func packIsUsed(t *testing.T, s *store) {
	var o meta.OrganizationKey
	s.write(t, func(tx meta.Tx) (err error) {
		o, err = tx.Organizations().Create(meta.Organization{Name: "Acme", Fingerprint: id.Fingerprint{1, 1}})
		return err
	})
	w := s.newWorkspace(t, o)
	s.add(t, w.Key, meta.Pack{ID: id.Pack{1}, Size: 10})
	for key, want := range map[meta.PackKey]bool{
		{Organization: id.Fingerprint{1, 1}, Workspace: w.ID, Pack: id.Pack{1}}:           true,
		{Organization: id.Fingerprint{1, 1}, Workspace: w.ID, Pack: id.Pack{2}}:           false,
		{Organization: id.Fingerprint{1, 2}, Workspace: w.ID, Pack: id.Pack{1}}:           false,
		{Organization: id.Fingerprint{1, 1}, Workspace: id.Workspace{}, Pack: id.Pack{1}}: false,
	} {
		s.read(t, func(tx meta.Tx) error {
			got, err := tx.ObjectStores().Uses(key)
			same(t, key.Pack.String(), got, want)
			return err
		})
	}
}

func jobIsChanged(t *testing.T, s *store) {
	set := func(was, is string) func(meta.Tx) error {
		return func(tx meta.Tx) error {
			if was == "" {
				return tx.ObjectStores().SetJob("job", nil, []byte(is))
			}
			return tx.ObjectStores().SetJob("job", []byte(was), []byte(is))
		}
	}
	s.fails(t, fault.Stale, set("one", "two"))
	s.write(t, set("", "one"))
	s.fails(t, fault.Stale, set("", "other"))
	s.write(t, set("one", "two"))
	s.fails(t, fault.Stale, set("one", "three"))
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.ObjectStores().Job("job")
		same(t, "job", string(got), "two")
		if err != nil {
			return err
		}
		got, err = tx.ObjectStores().Job("another")
		same(t, "no job", got, []byte(nil))
		return err
	})
}
