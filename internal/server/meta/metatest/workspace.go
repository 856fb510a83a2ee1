package metatest

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/server/meta"
)

func workspaces(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"a workspace is found as it was created and updated": workspaceIsFound,
		"an id is taken once in an organization":             workspaceIsUnique,
		"a member's workspaces are listed with their roles":  membershipsAreListed,
		"what was given is told by when it was given":        joiningsAreTold,
	})
}

func workspaceIsFound(t *testing.T, s *store) {
	o := s.newOrganization(t, "Acme")
	want := meta.Workspace{
		Key: meta.WorkspaceKey{Organization: o}, ID: id.New[id.Workspace](),
		Position: record.Position{Index: 1, Head: record.Head{1}}, State: []byte("state"), Updated: 10,
	}
	s.write(t, func(tx meta.Tx) (err error) {
		want.Key, err = tx.Workspaces().Create(want)
		return err
	})
	if want.Key.Number == 0 || want.Key.Organization != o {
		t.Errorf("the key is %v", want.Key)
	}
	check := func() {
		t.Helper()
		s.read(t, func(tx meta.Tx) error {
			got, err := tx.Workspaces().Get(o, want.ID)
			same(t, "workspace", got, want)
			return err
		})
	}
	check()
	s.write(t, func(tx meta.Tx) error {
		got, organization, err := tx.Workspaces().Lock(o, want.ID)
		if err != nil {
			return err
		}
		if organization.Key != o || organization.Name != "Acme" {
			t.Errorf("locked with organization %d, %q", organization.Key, organization.Name)
		}
		same(t, "locked", got, want)
		want.Position, want.State, want.Updated = record.Position{Index: 2, Head: record.Head{2}}, []byte("other"), 20
		return tx.Workspaces().Update(want)
	})
	check()
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Workspaces().Get(o, id.New[id.Workspace]()); return err })
	s.missing(t, func(tx meta.Tx) error { _, _, err := tx.Workspaces().Lock(o, id.New[id.Workspace]()); return err })
	s.fails(t, fault.NotFound, func(tx meta.Tx) error {
		return tx.Workspaces().Update(meta.Workspace{Key: meta.WorkspaceKey{Organization: o, Number: 99}})
	})
	same(t, "stats", s.stats(t, o), meta.Stats{Workspaces: 1})
}

func workspaceIsUnique(t *testing.T, s *store) {
	first, second := s.newOrganization(t, "First"), s.newOrganization(t, "Second")
	w := s.newWorkspace(t, first)
	s.fails(t, fault.Conflict, func(tx meta.Tx) error {
		_, err := tx.Workspaces().Create(meta.Workspace{Key: meta.WorkspaceKey{Organization: first}, ID: w.ID})
		return err
	})
	s.missing(t, func(tx meta.Tx) error { _, err := tx.Workspaces().Get(second, w.ID); return err })
	s.write(t, func(tx meta.Tx) error {
		key, err := tx.Workspaces().Create(meta.Workspace{Key: meta.WorkspaceKey{Organization: second}, ID: w.ID})
		if key == w.Key {
			t.Error("two workspaces have one key")
		}
		return err
	})
}

func membershipsAreListed(t *testing.T, s *store) {
	o := s.newOrganization(t, "Acme")
	user, other := id.New[id.User](), id.New[id.User]()
	var want []meta.Membership
	for i := range 5 {
		w := s.newWorkspace(t, o)
		w.Position.Index = uint64(i)
		s.write(t, func(tx meta.Tx) error {
			if err := tx.Workspaces().Update(w); err != nil {
				return err
			}
			if err := tx.Workspaces().SetRole(w.Key, other, record.RoleOwner, 1); err != nil {
				return err
			}
			if err := tx.Workspaces().SetRole(w.Key, user, record.RoleReader, 1); err != nil {
				return err
			}
			role := record.RoleManager
			if i == 0 {
				role = record.RoleNone
			}
			return tx.Workspaces().SetRole(w.Key, user, role, 2)
		})
		if i > 0 {
			want = append(want, meta.Membership{ID: w.ID, Index: uint64(i), Role: record.RoleManager})
		}
	}
	slices.SortFunc(want, func(a, b meta.Membership) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	var got []meta.Membership
	s.read(t, func(tx meta.Tx) error {
		var after id.Workspace
		for {
			page, err := tx.Workspaces().OfMember(o, user, after, 3)
			if err != nil || len(page) == 0 {
				return err
			}
			got = append(got, page...)
			after = page[len(page)-1].ID
		}
	})
	same(t, "memberships", got, want)
	s.write(t, func(tx meta.Tx) error {
		w, err := tx.Workspaces().Get(o, want[0].ID)
		if err != nil {
			return err
		}
		for range 2 { // taking away what is not there does nothing
			if err := tx.Workspaces().SetRole(w.Key, user, record.RoleNone, 3); err != nil {
				return err
			}
		}
		got, err := tx.Workspaces().OfMember(o, user, id.Workspace{}, 10)
		same(t, "memberships", got, want[1:])
		return err
	})
}

func logs(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"records are read from an index on, within bounds": recordsAreRead,
		"a record is found by its digest":                  recordIsFound,
		"an index and a digest are taken once in a log":    recordIsUnique,
		"logs do not mix":                          logsDoNotMix,
		"what moved is told by when it last moved": movesAreTold,
	})
}

func (s *store) records(t *testing.T, l meta.Log, since uint64, maxBytes int) (got []meta.Record) {
	t.Helper()
	s.read(t, func(tx meta.Tx) (err error) {
		got, err = tx.Logs().Since(l, since, maxBytes)
		return err
	})
	return got
}

func (s *store) append(t *testing.T, l meta.Log, records []meta.Record) {
	t.Helper()
	s.write(t, func(tx meta.Tx) error { return tx.Logs().Append(l, records) })
}

func recordsAreRead(t *testing.T, s *store) {
	l := s.newOrganization(t, "Acme").Log()
	same(t, "an empty log", s.records(t, l, 0, 100), []meta.Record(nil))
	all := chained(record.Position{}, "aaaa", "bbbb", "cccc", "dddddddd")
	s.append(t, l, all[:1])
	s.append(t, l, all[1:])
	s.append(t, l, nil)
	for _, test := range []struct {
		name  string
		since uint64
		bytes int
		want  []meta.Record
	}{
		{"everything", 0, 1000, all},
		{"what fits exactly", 0, 8, all[:2]},
		{"what fits", 1, 9, all[1:3]},
		{"one at least", 3, 1, all[3:]},
		{"one at least of many", 0, 0, all[:1]},
		{"nothing behind the end", 4, 1000, nil},
	} {
		same(t, test.name, s.records(t, l, test.since, test.bytes), test.want)
	}
	same(t, "stats", s.stats(t, l.Organization), meta.Stats{Records: 4})
}

func recordIsFound(t *testing.T, s *store) {
	l := s.newOrganization(t, "Acme").Log()
	all := chained(record.Position{}, "one", "two")
	s.append(t, l, all)
	s.read(t, func(tx meta.Tx) error {
		p, err := tx.Logs().Find(l, all[1].Digest)
		same(t, "position", p, all[1].Position)
		if err != nil {
			return err
		}
		p, err = tx.Logs().Find(l, record.Digest{1})
		same(t, "position of none", p, record.Position{})
		if err != nil {
			return err
		}
		h, err := tx.Logs().Head(l, 1)
		same(t, "head", h, all[0].Position.Head)
		return err
	})
	for _, index := range []uint64{0, 3} {
		s.missing(t, func(tx meta.Tx) error { _, err := tx.Logs().Head(l, index); return err })
	}
}

func recordIsUnique(t *testing.T, s *store) {
	l := s.newOrganization(t, "Acme").Log()
	all := chained(record.Position{}, "one", "two")
	s.append(t, l, all)
	index, digest := all[1], all[1]
	index.Digest = record.Digest{9}
	digest.Position.Index = 9
	for _, r := range []meta.Record{index, digest} {
		s.fails(t, fault.Conflict, func(tx meta.Tx) error { return tx.Logs().Append(l, []meta.Record{r}) })
	}
	same(t, "records", s.records(t, l, 0, 1000), all)
}

func logsDoNotMix(t *testing.T, s *store) {
	first, second := s.newOrganization(t, "First"), s.newOrganization(t, "Second")
	w, v := s.newWorkspace(t, first).Key, s.newWorkspace(t, first).Key
	for i, l := range []meta.Log{first.Log(), second.Log(), w.Log(), v.Log()} {
		all := chained(record.Position{}, "the same", fmt.Sprint(i))
		s.append(t, l, all)
		same(t, "records", s.records(t, l, 0, 1000), all)
	}
	same(t, "stats", s.stats(t, first), meta.Stats{Workspaces: 2, Records: 6})
}

func joiningsAreTold(t *testing.T, s *store) {
	o := acme()
	o.Fingerprint = id.Fingerprint{1}
	s.write(t, func(tx meta.Tx) (err error) {
		o.Key, err = tx.Organizations().Create(o)
		return err
	})
	w, v := s.newWorkspace(t, o.Key).Key, s.newWorkspace(t, o.Key).Key
	ada, bob, eve := id.New[id.User](), id.New[id.User](), id.New[id.User]()
	for _, r := range []struct {
		w    meta.WorkspaceKey
		user id.User
		role record.Role
		when int64
	}{
		{w, ada, record.RoleOwner, 10},
		{w, bob, record.RoleReader, 20},
		{v, bob, record.RoleOwner, 30},
		{w, eve, record.RoleReader, 40},
		{w, eve, record.RoleNone, 50},
		{w, ada, record.RoleManager, 60},
	} {
		s.write(t, func(tx meta.Tx) error { return tx.Workspaces().SetRole(r.w, r.user, r.role, r.when) })
	}
	joined := func(user id.User, when int64) meta.Joining {
		return meta.Joining{Organization: o.Fingerprint, User: user, Updated: when}
	}
	all := []meta.Joining{joined(bob, 20), joined(bob, 30), joined(ada, 60)}
	for since, want := range map[int64][]meta.Joining{0: all, 20: all, 21: all[1:], 60: all[2:], 61: nil} {
		s.read(t, func(tx meta.Tx) error {
			got, err := tx.Workspaces().Joined(since, 10)
			same(t, fmt.Sprintf("since %d", since), got, want)
			return err
		})
	}
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Workspaces().Joined(0, 2)
		same(t, "the first two", got, all[:2])
		return err
	})
}

func movesAreTold(t *testing.T, s *store) {
	first, second := acme(), acme()
	first.Fingerprint, first.Updated, first.Position.Index = id.Fingerprint{1}, 30, 5
	second.Name, second.Fingerprint, second.Updated = "Second", id.Fingerprint{2}, 10
	v := meta.Workspace{ID: id.New[id.Workspace](), Updated: 20, Position: record.Position{Index: 1}}
	w := meta.Workspace{ID: id.New[id.Workspace](), Updated: 5, Position: record.Position{Index: 2}}
	s.write(t, func(tx meta.Tx) (err error) {
		if first.Key, err = tx.Organizations().Create(first); err != nil {
			return err
		}
		if second.Key, err = tx.Organizations().Create(second); err != nil {
			return err
		}
		v.Key.Organization, w.Key.Organization = first.Key, second.Key
		if v.Key, err = tx.Workspaces().Create(v); err != nil {
			return err
		}
		w.Key, err = tx.Workspaces().Create(w)
		return err
	})
	w.Updated, w.Position.Index = 40, 7
	s.write(t, func(tx meta.Tx) error { return tx.Workspaces().Update(w) })
	all := []meta.Movement{
		{Organization: second.Fingerprint, Updated: 10},
		{Organization: first.Fingerprint, Workspace: v.ID, Index: 1, Updated: 20},
		{Organization: first.Fingerprint, Index: 5, Updated: 30},
		{Organization: second.Fingerprint, Workspace: w.ID, Index: 7, Updated: 40},
	}
	moved := func(since int64, limit int) (got []meta.Movement) {
		s.read(t, func(tx meta.Tx) (err error) {
			got, err = tx.Logs().Moved(since, limit)
			return err
		})
		return got
	}
	for since, want := range map[int64][]meta.Movement{0: all, 10: all, 11: all[1:], 30: all[2:], 40: all[3:], 41: nil} {
		same(t, fmt.Sprintf("since %d", since), moved(since, 10), want)
	}
	same(t, "the first three", moved(0, 3), all[:3])
}

func entries(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"the version of each entry is told in the order asked":                   versionsAreTold,
		"a chain goes from the newest snapshot to the newest":                    chainIsLive,
		"chains are answered for the first entries that fit":                     chainsAreBounded,
		"versions that others followed, or that were removed, are read in spans": spansAreRead,
		"changes are answered by index and entry, page by page":                  changesAreOrdered,
		"of a change only what came behind the index is answered":                changesAreNew,
		"a version is put once":                                                  versionIsUnique,
		"entries of another workspace are other entries":                         entriesAreScoped,
		"everything that was put is counted":                                     entriesAreCounted,
	})
}

// entry returns the entry with this number.
func entry(n byte) id.Entry { return id.Entry{n} }

func snapshot(e byte, number uint64, sealed string) meta.Change {
	return meta.Change{Entry: entry(e), Number: number, Base: number, Sealed: []byte(sealed)}
}

func delta(e byte, number, base uint64, sealed string) meta.Change {
	return meta.Change{Entry: entry(e), Number: number, Base: base, Sealed: []byte(sealed)}
}

func gone(e byte, number uint64) meta.Change { return meta.Change{Entry: entry(e), Number: number} }

func (s *store) put(t *testing.T, w meta.WorkspaceKey, index uint64, changes ...meta.Change) {
	t.Helper()
	s.write(t, func(tx meta.Tx) error { return tx.Entries().Put(w, index, changes) })
}

// chain returns a chain that begins with a version.
func chain(e byte, index, from uint64, sealed ...string) meta.Chain {
	c := meta.Chain{Entry: entry(e), Index: index}
	for i, text := range sealed {
		c.Manifests = append(c.Manifests, meta.Manifest{Number: from + uint64(i), Sealed: []byte(text)})
	}
	return c
}

func (s *store) chains(t *testing.T, w meta.WorkspaceKey, maxBytes int, entries ...byte) (got []meta.Chain) {
	t.Helper()
	ids := make([]id.Entry, len(entries))
	for i, e := range entries {
		ids[i] = entry(e)
	}
	s.read(t, func(tx meta.Tx) (err error) {
		got, err = tx.Entries().Chains(w, ids, maxBytes)
		return err
	})
	return got
}

// changed reads everything that changed, in pages of so many bytes.
func (s *store) changed(t *testing.T, w meta.WorkspaceKey, since uint64, maxBytes int) (got []meta.Chain) {
	t.Helper()
	s.read(t, func(tx meta.Tx) error {
		var after meta.Cursor
		for {
			page, err := tx.Entries().Changed(w, since, after, maxBytes)
			if err != nil || len(page) == 0 {
				return err
			}
			if maxBytes == 0 && len(page) > 1 {
				t.Errorf("a page of %d chains where none fits", len(page))
			}
			got = append(got, page...)
			last := page[len(page)-1]
			after = meta.Cursor{Index: last.Index, Entry: last.Entry}
		}
	})
	return got
}

func versionsAreTold(t *testing.T, s *store) {
	w := s.workspace(t)
	s.put(t, w, 1, snapshot(1, 1, "a"), snapshot(2, 1, "b"))
	s.put(t, w, 2, delta(1, 2, 1, "c"))
	s.put(t, w, 3, gone(2, 2))
	s.read(t, func(tx meta.Tx) error {
		got, err := tx.Entries().Versions(w, []id.Entry{entry(2), entry(3), entry(1), entry(1)})
		one := meta.Version{Number: 2, Base: 1, Index: 2}
		same(t, "versions", got, []meta.Version{{Number: 2, Index: 3}, {}, one, one})
		if err == nil && (!got[0].Gone() || got[1].Gone() || got[2].Gone()) {
			t.Error("gone is told wrongly")
		}
		return err
	})
}

func chainIsLive(t *testing.T, s *store) {
	w := s.workspace(t)
	s.put(t, w, 1, snapshot(1, 1, "old"), snapshot(2, 1, "x"))
	s.put(t, w, 2, snapshot(1, 2, "new"))
	same(t, "a snapshot", s.chains(t, w, 1000, 1), []meta.Chain{chain(1, 2, 2, "new")})
	s.put(t, w, 3, delta(1, 3, 2, "d1"), gone(2, 2))
	s.put(t, w, 5, delta(1, 4, 2, "d2"))
	same(t, "deltas", s.chains(t, w, 1000, 1), []meta.Chain{chain(1, 5, 2, "new", "d1", "d2")})
	same(t, "gone, never there, there", s.chains(t, w, 1000, 2, 3, 1), []meta.Chain{{}, {}, chain(1, 5, 2, "new", "d1", "d2")})
	s.put(t, w, 6, snapshot(2, 3, "back"), gone(1, 5))
	same(t, "revived", s.chains(t, w, 1000, 1, 2), []meta.Chain{{}, chain(2, 6, 3, "back")})
	s.put(t, w, 7, delta(2, 4, 3, "again"))
	same(t, "after revival", s.chains(t, w, 1000, 2), []meta.Chain{chain(2, 7, 3, "back", "again")})
}

func chainsAreBounded(t *testing.T, s *store) {
	w := s.workspace(t)
	s.put(t, w, 1, snapshot(1, 1, "aaaa"), snapshot(2, 1, "bbbb"), snapshot(3, 1, "cccc"))
	a, b, c := chain(1, 1, 1, "aaaa"), chain(2, 1, 1, "bbbb"), chain(3, 1, 1, "cccc")
	same(t, "all", s.chains(t, w, 12, 3, 1, 2), []meta.Chain{c, a, b})
	same(t, "two", s.chains(t, w, 11, 3, 1, 2), []meta.Chain{c, a})
	same(t, "at least one", s.chains(t, w, 0, 3, 1, 2), []meta.Chain{c})
	same(t, "what is not there takes no room", s.chains(t, w, 4, 9, 3, 8, 1), []meta.Chain{{}, c, {}})
	same(t, "nothing", s.chains(t, w, 10), []meta.Chain(nil))
}

// spans returns versions of entries, in parts of so many bytes.
func (s *store) spans(t *testing.T, w meta.WorkspaceKey, maxBytes int, asked ...meta.Span) (got []meta.Chain) {
	t.Helper()
	s.read(t, func(tx meta.Tx) error {
		for len(asked) > 0 {
			page, err := tx.Entries().Spans(w, asked, maxBytes)
			if err != nil {
				return err
			}
			if maxBytes == 0 && len(page) > 1 && len(page[0].Manifests) > 0 && len(page[1].Manifests) > 0 {
				t.Errorf("a page of %d chains where none fits", len(page))
			}
			got, asked = append(got, page...), asked[len(page):]
		}
		return nil
	})
	return got
}

func spansAreRead(t *testing.T, s *store) {
	w := s.workspace(t)
	span := func(e byte, first, last uint64) meta.Span {
		return meta.Span{Entry: entry(e), First: first, Last: last}
	}
	s.put(t, w, 1, snapshot(1, 1, "s1"), snapshot(2, 1, "x"), snapshot(3, 1, "y"))
	s.put(t, w, 2, delta(1, 2, 1, "d2"))
	s.put(t, w, 3, delta(1, 3, 1, "d3"), gone(2, 2))
	s.put(t, w, 4, snapshot(1, 4, "s4"), snapshot(2, 3, "back"))
	s.put(t, w, 5, gone(1, 5))
	for _, bytes := range []int{0, 4, 1000} {
		same(t, fmt.Sprintf("in pages of %d bytes", bytes),
			s.spans(t, w, bytes, span(1, 1, 3), span(2, 1, 1), span(3, 1, 1)),
			[]meta.Chain{chain(1, 0, 1, "s1", "d2", "d3"), chain(2, 0, 1, "x"), chain(3, 0, 1, "y")})
	}
	same(t, "some of a chain", s.spans(t, w, 1000, span(1, 2, 2), span(2, 3, 3)), []meta.Chain{chain(1, 0, 2, "d2"), chain(2, 0, 3, "back")})
	same(t, "two chains as one", s.spans(t, w, 1000, span(1, 1, 4)), []meta.Chain{chain(1, 0, 1, "s1", "d2", "d3", "s4")})
	same(t, "not whole", s.spans(t, w, 1000, span(1, 4, 5), span(2, 1, 2), span(2, 2, 2), span(2, 1, 3), span(9, 1, 1), span(3, 1, 2), span(1, 4, 4)),
		[]meta.Chain{{}, {}, {}, {}, {}, {}, chain(1, 0, 4, "s4")})
	same(t, "nothing", s.spans(t, w, 10), []meta.Chain(nil))
	same(t, "another workspace", s.spans(t, s.newWorkspace(t, s.newOrganization(t, "Other")).Key, 10, span(1, 1, 1)), []meta.Chain{{}})
}

func changesAreOrdered(t *testing.T, s *store) {
	w := s.workspace(t)
	same(t, "nothing yet", s.changed(t, w, 0, 1000), []meta.Chain(nil))
	s.put(t, w, 1, snapshot(5, 1, "e5"), snapshot(3, 1, "e3"), snapshot(4, 1, "e4"), snapshot(6, 1, "e6"))
	s.put(t, w, 2, snapshot(1, 1, "e1"))
	s.put(t, w, 4, snapshot(4, 2, "e4b"), gone(6, 2), snapshot(2, 1, "e2"))
	all := []meta.Chain{
		chain(3, 1, 1, "e3"), chain(5, 1, 1, "e5"), chain(1, 2, 1, "e1"), chain(2, 4, 1, "e2"), chain(4, 4, 2, "e4b"),
	}
	for _, bytes := range []int{0, 2, 4, 5, 6, 1000} {
		same(t, fmt.Sprintf("in pages of %d bytes", bytes), s.changed(t, w, 0, bytes), all)
	}
	same(t, "behind 1", s.changed(t, w, 1, 1000), all[2:])
	same(t, "behind 2", s.changed(t, w, 2, 0), all[3:])
	same(t, "behind 3", s.changed(t, w, 3, 0), all[3:])
	same(t, "behind the end", s.changed(t, w, 4, 0), []meta.Chain(nil))
}

func changesAreNew(t *testing.T, s *store) {
	w := s.workspace(t)
	s.put(t, w, 1, snapshot(1, 1, "s1"), snapshot(2, 1, "x"))
	s.put(t, w, 2, delta(1, 2, 1, "d2"))
	s.put(t, w, 3, delta(1, 3, 1, "d3"))
	same(t, "behind 0", s.changed(t, w, 0, 1000), []meta.Chain{chain(2, 1, 1, "x"), chain(1, 3, 1, "s1", "d2", "d3")})
	same(t, "behind 1", s.changed(t, w, 1, 1000), []meta.Chain{chain(1, 3, 2, "d2", "d3")})
	same(t, "behind 2", s.changed(t, w, 2, 1000), []meta.Chain{chain(1, 3, 3, "d3")})
	s.put(t, w, 4, snapshot(1, 4, "s4"))
	same(t, "behind 2, a snapshot later", s.changed(t, w, 2, 1000), []meta.Chain{chain(1, 4, 4, "s4")})
}

func versionIsUnique(t *testing.T, s *store) {
	w := s.workspace(t)
	s.put(t, w, 1, snapshot(1, 1, "a"), gone(2, 1))
	for _, again := range []meta.Change{snapshot(1, 1, "a"), gone(1, 1), snapshot(2, 1, "b")} {
		s.fails(t, fault.Conflict, func(tx meta.Tx) error {
			return tx.Entries().Put(w, 2, []meta.Change{snapshot(3, 1, "c"), again})
		})
	}
	same(t, "changes", s.changed(t, w, 0, 1000), []meta.Chain{chain(1, 1, 1, "a")})
}

func entriesAreScoped(t *testing.T, s *store) {
	o := s.newOrganization(t, "Acme")
	w, v := s.newWorkspace(t, o).Key, s.newWorkspace(t, o).Key
	s.put(t, w, 1, snapshot(1, 1, "in w"), snapshot(2, 1, "only in w"))
	s.put(t, v, 1, snapshot(1, 1, "in v"))
	s.put(t, v, 2, delta(1, 2, 1, "more in v"))
	s.put(t, w, 2, delta(1, 2, 1, "more in w"))
	same(t, "chains in w", s.chains(t, w, 1000, 1), []meta.Chain{chain(1, 2, 1, "in w", "more in w")})
	same(t, "chains in v", s.chains(t, v, 1000, 1, 2), []meta.Chain{chain(1, 2, 1, "in v", "more in v"), {}})
	same(t, "changes in v", s.changed(t, v, 0, 1000), []meta.Chain{chain(1, 2, 1, "in v", "more in v")})
}

func entriesAreCounted(t *testing.T, s *store) {
	w := s.workspace(t)
	s.put(t, w, 1, snapshot(1, 1, "12345"), snapshot(2, 1, ""))
	s.put(t, w, 2, delta(1, 2, 1, "123"), gone(2, 2))
	s.put(t, w, 3)
	same(t, "stats", s.stats(t, w.Organization), meta.Stats{Workspaces: 1, Manifests: 3, ManifestBytes: 8})
}

func blocks(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"blocks are located in the order asked":                     blocksAreLocated,
		"a block that is there already stays, and is told":          blockIsNotOverwritten,
		"a commit marks its blocks and is told which are not there": blocksAreMarked,
		"blocks of another workspace are other blocks":              blocksAreScoped,
	})
}

func block(n byte, p meta.Pack, offset, length uint32) meta.Block {
	return meta.Block{ID: id.Block{n}, Pack: p.ID, Offset: offset, Length: length, Digest: [32]byte{n, n}}
}

func (s *store) add(t *testing.T, w meta.WorkspaceKey, p meta.Pack, blocks ...meta.Block) (taken []meta.Block) {
	t.Helper()
	s.write(t, func(tx meta.Tx) (err error) {
		taken, err = tx.Blocks().Add(w, p, blocks)
		return err
	})
	return taken
}

func (s *store) located(t *testing.T, w meta.WorkspaceKey, blocks ...byte) (got []meta.Block) {
	t.Helper()
	ids := make([]id.Block, len(blocks))
	for i, n := range blocks {
		ids[i] = id.Block{n}
	}
	s.read(t, func(tx meta.Tx) (err error) {
		got, err = tx.Blocks().Locate(w, ids)
		return err
	})
	return got
}

func blocksAreLocated(t *testing.T, s *store) {
	w := s.workspace(t)
	p := meta.Pack{ID: id.New[id.Pack](), Size: 30, Added: 5}
	a, b := block(1, p, 0, 10), block(2, p, 10, 1<<32-1)
	same(t, "taken", s.add(t, w, p, a, b), []meta.Block(nil))
	same(t, "located", s.located(t, w, 2, 3, 1, 2), []meta.Block{b, {}, a, b})
	same(t, "none", s.located(t, w), []meta.Block(nil))
	same(t, "stats", s.stats(t, w.Organization), meta.Stats{Workspaces: 1, Packs: 1, Blocks: 2, BlockBytes: 10 + 1<<32 - 1})
}

func blockIsNotOverwritten(t *testing.T, s *store) {
	w := s.workspace(t)
	first, second := meta.Pack{ID: id.New[id.Pack](), Size: 20}, meta.Pack{ID: id.New[id.Pack](), Size: 15}
	a, b := block(1, first, 0, 10), block(2, first, 10, 10)
	s.add(t, w, first, a, b)
	clash, fresh := block(1, second, 0, 7), block(3, second, 7, 8)
	clash.Digest = [32]byte{99}
	same(t, "taken", s.add(t, w, second, clash, fresh, block(2, second, 0, 10)), []meta.Block{a, b})
	same(t, "located", s.located(t, w, 1, 2, 3), []meta.Block{a, b, fresh})
	same(t, "stats", s.stats(t, w.Organization), meta.Stats{Workspaces: 1, Packs: 2, Blocks: 3, BlockBytes: 28})
	s.fails(t, fault.Conflict, func(tx meta.Tx) error {
		_, err := tx.Blocks().Add(w, second, []meta.Block{block(4, second, 0, 1)})
		return err
	})
}

func blocksAreMarked(t *testing.T, s *store) {
	w := s.workspace(t)
	p := meta.Pack{ID: id.New[id.Pack](), Size: 30}
	a, b, c := block(1, p, 0, 10), block(2, p, 10, 10), block(3, p, 20, 10)
	s.add(t, w, p, a, b, c)
	mark := func(index uint64, want []id.Block, ids ...id.Block) {
		t.Helper()
		s.write(t, func(tx meta.Tx) error {
			missing, err := tx.Blocks().Mark(w, index, ids)
			same(t, "missing", missing, want)
			return err
		})
	}
	mark(5, nil, a.ID, b.ID)
	mark(6, []id.Block{{8}, {9}}, id.Block{8}, b.ID, id.Block{9}, c.ID)
	mark(7, nil)
	a.Index, b.Index, c.Index = 5, 5, 6
	same(t, "located", s.located(t, w, 1, 2, 3), []meta.Block{a, b, c})
}

func blocksAreScoped(t *testing.T, s *store) {
	o := s.newOrganization(t, "Acme")
	w, v := s.newWorkspace(t, o).Key, s.newWorkspace(t, o).Key
	p, q := meta.Pack{ID: id.New[id.Pack](), Size: 10}, meta.Pack{ID: id.New[id.Pack](), Size: 10}
	a, b := block(1, p, 0, 10), block(1, q, 0, 10)
	s.add(t, w, p, a)
	same(t, "located elsewhere", s.located(t, v, 1), []meta.Block{{}})
	same(t, "taken", s.add(t, v, q, b), []meta.Block(nil))
	s.write(t, func(tx meta.Tx) error {
		_, err := tx.Blocks().Mark(v, 3, []id.Block{a.ID})
		return err
	})
	b.Index = 3
	same(t, "located", append(s.located(t, w, 1), s.located(t, v, 1)...), []meta.Block{a, b})
}

func grants(t *testing.T, a Adapter) {
	cases(t, a, map[string]func(*testing.T, *store){
		"the grants to a recipient are listed, newest first": grantsAreListed,
		"nobody's grant takes the place of another's":        grantsStay,
	})
}

func (s *store) grantsOf(t *testing.T, w meta.WorkspaceKey, recipient [id.Size]byte, before uint64, limit int) (got []meta.Grant) {
	t.Helper()
	s.read(t, func(tx meta.Tx) (err error) {
		got, err = tx.Grants().Of(w, recipient, before, limit)
		return err
	})
	return got
}

func grantsAreListed(t *testing.T, s *store) {
	w := s.workspace(t)
	bob, eve := [id.Size]byte{1}, [id.Size]byte{2}
	grant := func(generation uint64, recipient [id.Size]byte) meta.Grant {
		return meta.Grant{Generation: generation, Recipient: recipient, Sealed: fmt.Appendf(nil, "%d to %d", generation, recipient[0])}
	}
	s.write(t, func(tx meta.Tx) error {
		return tx.Grants().Put(w, []meta.Grant{grant(1, bob), grant(3, bob), grant(2, bob), grant(2, eve)})
	})
	same(t, "all", s.grantsOf(t, w, bob, 0, 10), []meta.Grant{grant(3, bob), grant(2, bob), grant(1, bob)})
	same(t, "a page", s.grantsOf(t, w, bob, 0, 2), []meta.Grant{grant(3, bob), grant(2, bob)})
	same(t, "the next", s.grantsOf(t, w, bob, 2, 2), []meta.Grant{grant(1, bob)})
	same(t, "nobody's", s.grantsOf(t, w, [id.Size]byte{3}, 0, 2), []meta.Grant(nil))
	v := s.newWorkspace(t, w.Organization).Key
	same(t, "elsewhere", s.grantsOf(t, v, bob, 0, 2), []meta.Grant(nil))
}

func grantsStay(t *testing.T, s *store) {
	w := s.workspace(t)
	bob := [id.Size]byte{1}
	put := func(resealer id.User, sealed string) meta.Grant {
		g := meta.Grant{Generation: 1, Recipient: bob, Resealer: resealer, Sealed: []byte(sealed)}
		s.write(t, func(tx meta.Tx) error { return tx.Grants().Put(w, []meta.Grant{g}) })
		return g
	}
	second := put(id.User{7}, "by seven")
	put(id.User{5}, "by five")
	original := put(id.User{}, "of the record")
	first := put(id.User{5}, "by five, again")
	same(t, "grants", s.grantsOf(t, w, bob, 0, 10), []meta.Grant{original, first, second})
}
