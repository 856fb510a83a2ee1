package metatest

import (
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

func deletions(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"an organization that stays loses nothing":             organizationStays,
		"of a deleted organization nothing is left":            organizationGoes,
		"deleted organizations are listed until they are gone": deletedAreListed,
		"workspaces are listed by ascending id":                workspacesAreListed,
	})
}

// begin marks an organization as being deleted.
func (s *store) begin(t *testing.T, key meta.OrganizationKey) {
	t.Helper()
	s.write(t, func(tx meta.Tx) error {
		row, err := tx.Organizations().Lock(key, meta.Exclusive)
		if err != nil {
			return err
		}
		row.Deleting, row.Problem = era+1, "the problem"
		return tx.Organizations().Update(row)
	})
}

// begun returns the keys of those behind one that are being deleted.
func (s *store) begun(t *testing.T, after meta.OrganizationKey, limit int) (keys []meta.OrganizationKey) {
	t.Helper()
	s.read(t, func(tx meta.Tx) error {
		all, err := tx.Deletions().Begun(after, limit)
		for _, o := range all {
			if o.Deleting != era+1 || o.Problem != "the problem" {
				t.Errorf("it is %+v", o)
			}
			keys = append(keys, o.Key)
		}
		return err
	})
	return keys
}

// Delete removes an organization that is there with all its rows, two at a time.
func Delete(t *testing.T, open meta.Store, key meta.OrganizationKey) {
	t.Helper()
	s := &store{open}
	s.begin(t, key)
	for more, rounds := true, 0; more; rounds++ {
		s.write(t, func(tx meta.Tx) (err error) {
			more, err = tx.Deletions().Remove(key, 2)
			return err
		})
		if rounds > 10_000 {
			t.Fatal("it has no end")
		}
	}
	s.write(t, func(tx meta.Tx) error { return tx.Deletions().End(key) })
}

func organizationStays(t *testing.T, s *store) {
	w := s.workspace(t)
	s.fails(t, fault.NotFound, func(tx meta.Tx) error { _, err := tx.Deletions().Remove(w.Organization, 10); return err })
	s.fails(t, fault.NotFound, func(tx meta.Tx) error { return tx.Deletions().End(w.Organization) })
	same(t, "stats", s.stats(t, w.Organization), meta.Stats{Workspaces: 1})
}

func organizationGoes(t *testing.T, s *store) {
	goes, stays := s.furnished(t, "Acme"), s.furnished(t, "Zebra")
	before := s.stats(t, stays.Organization)
	Delete(t, s, goes.Organization)
	same(t, "records", s.records(t, goes.Log(), 0, 1000), []meta.Record(nil))
	same(t, "blocks", s.located(t, goes, 1), []meta.Block{{}})
	same(t, "chains", s.chains(t, goes, 1000, 1), []meta.Chain{{}})
	same(t, "grants", s.grantsOf(t, goes, [id.Size]byte{1}, 0, 10), []meta.Grant(nil))
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Organizations().ByName("Acme"); return err })
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Users().ByEmail(goes.Organization, "ada"); return err })
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Organizations().Stats(goes.Organization); return err })
	same(t, "stats of another", s.stats(t, stays.Organization), before)
	same(t, "chains of another", len(s.chains(t, stays, 1000, 1)[0].Manifests), 3)
	same(t, "records of another", len(s.records(t, stays.Log(), 0, 1000)), 3)
	if again := s.newOrganization(t, "Acme"); again == goes.Organization {
		t.Error("a key is given again")
	}
}

// furnished makes an organization that has something of everything.
func (s *store) furnished(t *testing.T, name string) meta.WorkspaceKey {
	t.Helper()
	w := s.newWorkspace(t, s.newOrganization(t, name)).Key
	s.addUsers(t, w.Organization, meta.User{ID: id.User{1}, Email: "ada"}, meta.User{ID: id.User{2}, Email: "bob"})
	s.append(t, w.Log(), chained(record.Position{}, "a", "b", "c"))
	s.append(t, w.Organization.Log(), chained(record.Position{}, "d"))
	for n := uint64(1); n <= 3; n++ { // three versions of one entry, and another one
		changes := []meta.Change{{Entry: entry(1), Number: n, Base: 1, Sealed: []byte("sealed")}}
		if n == 1 {
			changes = append(changes, meta.Change{Entry: entry(2), Number: 1, Base: 1, Sealed: []byte("sealed")})
		}
		s.put(t, w, n, changes...)
	}
	p := meta.Pack{ID: id.Pack{1}, Size: 10}
	s.add(t, w, p, block(1, p, 0, 10))
	s.write(t, func(tx meta.Tx) error {
		if err := tx.Grants().Put(w, []meta.Grant{{Generation: 1, Recipient: [id.Size]byte{1}, Sealed: []byte("key")}}); err != nil {
			return err
		}
		if err := tx.Workspaces().SetRole(w, id.User{1}, record.RoleOwner, era); err != nil {
			return err
		}
		return tx.Users().PutManifest(w.Organization, id.User{1}, 1, []byte("manifest"))
	})
	return w
}

func deletedAreListed(t *testing.T, s *store) {
	var keys []meta.OrganizationKey
	for _, name := range []string{"a", "b", "c"} {
		keys = append(keys, s.newOrganization(t, name))
	}
	same(t, "none", s.begun(t, 0, 10), []meta.OrganizationKey(nil))
	s.begin(t, keys[2])
	s.begin(t, keys[0])
	same(t, "both", s.begun(t, 0, 10), []meta.OrganizationKey{keys[0], keys[2]})
	same(t, "the first", s.begun(t, 0, 1), []meta.OrganizationKey{keys[0]})
	same(t, "behind the first", s.begun(t, keys[0], 10), []meta.OrganizationKey{keys[2]})
	Delete(t, s, keys[0])
	same(t, "the other", s.begun(t, 0, 10), []meta.OrganizationKey{keys[2]})
}

func workspacesAreListed(t *testing.T, s *store) {
	o := s.newOrganization(t, "Acme")
	other := s.newWorkspace(t, s.newOrganization(t, "Zebra"))
	all := map[id.Workspace]bool{}
	for range 5 {
		all[s.newWorkspace(t, o).ID] = true
	}
	for after := (id.Workspace{}); ; {
		var page []id.Workspace
		s.read(t, func(tx meta.Tx) (err error) {
			page, err = tx.Deletions().Workspaces(o, after, 2)
			return err
		})
		if len(page) == 0 {
			break
		}
		for _, w := range page {
			if !all[w] || w == other.ID || string(w[:]) <= string(after[:]) {
				t.Errorf("%v is listed behind %v", w, after)
			}
			delete(all, w)
			after = w
		}
	}
	same(t, "not listed", len(all), 0)
}
