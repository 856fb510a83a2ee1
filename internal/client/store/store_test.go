package store_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/base/secret"
	"parsec/internal/client/store"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
)

// place is where a store lives and what opens it.
type place struct {
	dir    string
	device id.Device
	key    secret.Key
}

func newPlace(t testing.TB) place {
	t.Helper()
	p := place{dir: t.TempDir(), device: id.New[id.Device]()}
	rand.Read(p.key[:])
	return p
}

func (p place) create(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Create(t.Context(), p.dir, p.device, p.key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (p place) open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), p.dir, p.device, p.key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (p place) reopen(t testing.TB, s *store.Store) *store.Store {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return p.open(t)
}

func newStore(t testing.TB) *store.Store {
	t.Helper()
	return newPlace(t).create(t)
}

// must returns a value that comes without an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func same[T any](t testing.TB, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func update(t testing.TB, s *store.Store, apply func(*store.StateTx) error) {
	t.Helper()
	check(t, s.State.Update(t.Context(), apply))
}

func cache(t testing.TB, s *store.Store, w id.Workspace, apply func(*store.CacheTx) error) {
	t.Helper()
	check(t, s.Cache.Update(t.Context(), w, apply))
}

// records returns n records of a made-up log that follow index from.
func records(from uint64, n int) []store.Record {
	made := make([]store.Record, n)
	for i := range made {
		index := from + 1 + uint64(i)
		raw := fmt.Appendf(nil, "record %d", index)
		made[i] = store.Record{Index: index, Head: sha256.Sum256(raw), Raw: raw}
	}
	return made
}

func collect[T any](t testing.TB, seq func(func(T, error) bool)) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		check(t, err)
		all = append(all, v)
	}
	return all
}

func TestTheStateRemembersEverythingAcrossOpenings(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	s := p.create(t)
	w, user := id.New[id.Workspace](), id.New[id.User]()
	own, shared := records(0, 40), records(0, 3)
	organization := store.Organization{Position: record.Position{Index: 40, Head: own[39].Head}, Snapshot: []byte("everybody")}
	workspace := store.Workspace{
		Workspace: w, Position: record.Position{Index: 3, Head: shared[2].Head}, Organization: 40,
		Snapshot: []byte("members"), Name: "plans", Role: record.RoleManager,
	}
	keys := []store.Key{{Generation: 1, Key: secret.Key{1}}, {Generation: 2, Key: secret.Key{2}, Grant: []byte("sealed")}}
	manifest := store.UserManifest{Version: 7, Digest: [32]byte{7}, Raw: []byte("user manifest")}
	update(t, s, func(tx *store.StateTx) error {
		return errors.Join(
			tx.Append(id.Workspace{}, own...), tx.PutOrganization(organization),
			tx.Append(w, shared...), tx.PutWorkspace(workspace), tx.PutKeys(w, keys[1], keys[0]),
			tx.PutOpening(user, []byte("salt and name")), tx.PutUserManifest(manifest),
			tx.PutProgress("cp /home/alice", []byte("half")), tx.PutProgress("gone", nil), tx.DropProgress("gone"))
	})
	s = p.reopen(t, s)

	gotOrganization, found, err := s.State.Organization(ctx)
	check(t, err)
	same(t, gotOrganization, organization)
	gotWorkspace, foundToo, err := s.State.Workspace(ctx, w)
	check(t, err)
	same(t, gotWorkspace, workspace)
	gotManifest, foundAlso, err := s.State.UserManifest(ctx)
	check(t, err)
	same(t, gotManifest, manifest)
	if !found || !foundToo || !foundAlso {
		t.Errorf("organization %t, workspace %t, user manifest %t", found, foundToo, foundAlso)
	}
	same(t, must(s.State.Workspaces(ctx))(t), []store.Workspace{workspace})
	same(t, must(s.State.Keys(ctx, w))(t), keys)
	same(t, must(s.State.Openings(ctx))(t), map[id.User][]byte{user: []byte("salt and name")})
	same(t, must(s.State.Position(ctx, id.Workspace{}))(t), organization.Position)
	same(t, must(s.State.Position(ctx, w))(t), workspace.Position)
	same(t, must(s.State.Head(ctx, id.Workspace{}, 17))(t), own[16].Head)
	same(t, collect(t, s.State.Records(ctx, id.Workspace{}, 2)), own[2:])
	progress, found, err := s.State.Progress(ctx, "cp /home/alice")
	if err != nil || !found || string(progress) != "half" {
		t.Errorf("progress %q, %t, %v", progress, found, err)
	}
	if _, found, err := s.State.Progress(ctx, "gone"); found || err != nil {
		t.Errorf("dropped progress: %t, %v", found, err)
	}
}

func TestAnEmptyStateRemembersNothing(t *testing.T) {
	ctx := t.Context()
	s := newStore(t).State
	if _, found, err := s.Organization(ctx); found || err != nil {
		t.Errorf("organization: %t, %v", found, err)
	}
	if _, found, err := s.Workspace(ctx, id.New[id.Workspace]()); found || err != nil {
		t.Errorf("workspace: %t, %v", found, err)
	}
	same(t, must(s.Position(ctx, id.Workspace{}))(t), record.Position{})
	for _, index := range []uint64{0, 1, 99} {
		if _, err := s.Head(ctx, id.Workspace{}, index); !fault.Is(err, fault.NotFound) {
			t.Errorf("head %d: %v", index, err)
		}
	}
}

func TestALogOnlyGrowsByOneAfterTheOther(t *testing.T) {
	s := newStore(t)
	w := id.New[id.Workspace]()
	update(t, s, func(tx *store.StateTx) error { return tx.Append(w, records(0, 5)...) })
	for name, wrong := range map[string][]store.Record{
		"a record that is there": records(4, 1),
		"a gap":                  records(6, 1),
		"a gap in the middle":    append(records(5, 1), records(7, 1)...),
		"the first again":        records(0, 6),
	} {
		if err := s.State.Update(t.Context(), func(tx *store.StateTx) error { return tx.Append(w, wrong...) }); err == nil {
			t.Errorf("%s was appended", name)
		}
		if at := must(s.State.Position(t.Context(), w))(t); at.Index != 5 {
			t.Errorf("%s: the log ends at %d, want 5", name, at.Index)
		}
	}
}

func TestAnUpdateAppliesWholeOrNotAtAll(t *testing.T) {
	s := newStore(t)
	w := id.New[id.Workspace]()
	wrong := errors.New("the caller's own")
	err := s.State.Update(t.Context(), func(tx *store.StateTx) error {
		return errors.Join(tx.Append(w, records(0, 2)...), tx.PutProgress("x", nil), wrong)
	})
	if !errors.Is(err, wrong) {
		t.Fatalf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = s.State.Update(ctx, func(tx *store.StateTx) error {
		cancel()
		return tx.Append(w, records(0, 2)...)
	})
	if !fault.Is(err, fault.Canceled) {
		t.Fatalf("got %v", err)
	}
	err = s.Cache.Update(t.Context(), w, func(tx *store.CacheTx) error {
		return errors.Join(tx.PutVersions(store.Version{Entry: id.New[id.Entry](), Number: 1, Base: 1}), wrong)
	})
	if !errors.Is(err, wrong) {
		t.Fatalf("got %v", err)
	}
	if at := must(s.State.Position(t.Context(), w))(t); at.Index != 0 {
		t.Errorf("the log ends at %d", at.Index)
	}
	if left := collect(t, s.Cache.Entries(t.Context(), w)); len(left) != 0 {
		t.Errorf("the cache holds %v", left)
	}
}

func TestARequestStaysUntilItIsSettledAndKeepsItsBytes(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	s := p.create(t)
	w := id.New[id.Workspace]()
	var want []store.Pending
	for i := range 3 {
		pending := store.Pending{Workspace: w, Digest: record.Digest{byte(i)}, Request: bytes.Repeat([]byte{byte(i)}, 5000)}
		update(t, s, func(tx *store.StateTx) (err error) {
			pending.Number, err = tx.Queue(pending)
			return err
		})
		want = append(want, pending)
	}
	s = p.reopen(t, s)
	same(t, collect(t, s.State.Outbox(ctx)), want)
	update(t, s, func(tx *store.StateTx) error { return tx.Settle(want[2].Number, want[0].Number, 99) })
	same(t, collect(t, s.State.Outbox(ctx)), want[1:2])
	update(t, s, func(tx *store.StateTx) error {
		n, err := tx.Queue(store.Pending{})
		if n <= want[2].Number {
			t.Errorf("number %d was given again", n)
		}
		return err
	})
}

func TestTheCacheKeepsTheLiveChainOfEveryEntry(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	s := p.create(t)
	w := id.New[id.Workspace]()
	file, folder, gone, bare := id.New[id.Entry](), id.New[id.Entry](), id.New[id.Entry](), id.New[id.Entry]()
	version := func(e id.Entry, number, base uint64) store.Version {
		return store.Version{
			Entry: e, Number: number, Base: base, Generation: 2, Index: 10 + number, Author: id.New[id.Device](),
			Digest: sha256.Sum256([]byte{byte(number)}), Manifest: fmt.Appendf(nil, "manifest %d", number),
		}
	}
	of := map[id.Entry][]store.Version{
		file:   {version(file, 1, 1), version(file, 2, 2)},
		folder: {version(folder, 1, 1), version(folder, 2, 1), version(folder, 3, 3), version(folder, 4, 3), version(folder, 5, 3)},
		gone:   {version(gone, 1, 1), {Entry: gone, Number: 2, Base: 2, Index: 9, Gone: true}},
		bare:   {{Entry: bare, Number: 1, Base: 1, Index: 4}},
	}
	cache(t, s, w, func(tx *store.CacheTx) error {
		err := tx.PutVersions(slices.Concat(of[file], of[folder], of[gone], of[bare])...)
		if got, readErr := tx.Newest([]id.Entry{file}); readErr != nil || got[0].Number != 2 {
			t.Errorf("within the update: %v, %v", got, readErr)
		}
		return err
	})
	s = p.reopen(t, s)

	unknown := id.New[id.Entry]()
	asked := []id.Entry{gone, file, unknown, folder, file, bare}
	same(t, must(s.Cache.Chains(ctx, w, asked))(t),
		[][]store.Version{of[gone][1:], of[file][1:], nil, of[folder][2:], of[file][1:], of[bare]})
	var want []store.Version
	for _, e := range asked {
		newest := store.Version{Entry: e}
		if chain := of[e]; len(chain) > 0 {
			newest = chain[len(chain)-1]
		}
		newest.Manifest = nil
		want = append(want, newest)
	}
	same(t, must(s.Cache.Newest(ctx, w, asked))(t), want)
	if other := must(s.Cache.Newest(ctx, id.New[id.Workspace](), asked))(t); other[0].Number != 0 {
		t.Errorf("another workspace knows %v", other[0])
	}
}

func TestManyEntriesAreReadInBulk(t *testing.T) {
	ctx := t.Context()
	s := newStore(t)
	w := id.New[id.Workspace]()
	var versions []store.Version
	var entries []id.Entry
	for i := range 600 {
		e := id.New[id.Entry]()
		entries = append(entries, e)
		versions = append(versions, store.Version{Entry: e, Number: 1, Base: 1, Index: uint64(i)})
	}
	cache(t, s, w, func(tx *store.CacheTx) error { return tx.PutVersions(versions...) })
	same(t, must(s.Cache.Newest(ctx, w, entries))(t), versions)
	all := collect(t, s.Cache.Entries(ctx, w))
	slices.SortFunc(versions, func(a, b store.Version) int { return bytes.Compare(a.Entry[:], b.Entry[:]) })
	same(t, all, versions)
}

func TestChildrenAreFoundByNameByFolderAndByEntry(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	s := p.create(t)
	w := id.New[id.Workspace]()
	root, sub := id.RootEntry(w), id.New[id.Entry]()
	children := []store.Child{{Folder: root, Name: "sub", Entry: sub, Kind: manifest.Folder}}
	for i := range 1100 {
		children = append(children, store.Child{Folder: sub, Name: fmt.Sprintf("file %d ü", i), Entry: id.New[id.Entry](), Kind: manifest.File})
	}
	cache(t, s, w, func(tx *store.CacheTx) error { return tx.PutChildren(children...) })
	s = p.reopen(t, s)

	got, found, err := s.Cache.Child(ctx, w, sub, "file 77 ü")
	if err != nil || !found {
		t.Fatalf("found %t, %v", found, err)
	}
	same(t, got, children[78])
	for _, wrong := range []struct {
		w      id.Workspace
		folder id.Entry
		name   string
	}{{w, root, "file 77 ü"}, {w, sub, "file 77"}, {id.New[id.Workspace](), sub, "file 77 ü"}} {
		if c, found, err := s.Cache.Child(ctx, wrong.w, wrong.folder, wrong.name); found || err != nil {
			t.Errorf("%v: found %v, %v", wrong, c, err)
		}
	}
	same(t, must(s.Cache.Places(ctx, w, children[9].Entry))(t), children[9:10])

	listed := collect(t, s.Cache.Children(ctx, w, sub, ""))
	same(t, collect(t, s.Cache.Children(ctx, w, sub, listed[600].Name)), listed[601:])
	byName := func(a, b store.Child) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) }
	slices.SortFunc(listed, byName)
	slices.SortFunc(children[1:], byName)
	same(t, listed, children[1:])
}

func TestNoLookupInTheCacheReadsAWholeWorkspace(t *testing.T) {
	ctx := t.Context()
	s := newStore(t)
	w, e := id.New[id.Workspace](), id.New[id.Entry]()
	must(s.Cache.Mark(ctx, w))(t)
	must(s.Cache.Newest(ctx, w, []id.Entry{e}))(t)
	must(s.Cache.Chains(ctx, w, make([]id.Entry, 1)))(t)
	must(s.Cache.Places(ctx, w, e))(t)
	must(s.Cache.More(ctx, w, 5))(t)
	if _, _, err := s.Cache.Crowded(ctx, w); err != nil {
		t.Fatal(err)
	}
	collect(t, s.Cache.Entries(ctx, w))
	collect(t, s.Cache.Children(ctx, w, e, ""))
	if _, _, err := s.Cache.Child(ctx, w, e, "name"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Cache.Folder(ctx, w, e); err != nil {
		t.Fatal(err)
	}
	plans := must(s.Cache.Plans(ctx))(t)
	if len(plans) < 11 {
		t.Errorf("%d queries, want at least 11", len(plans))
	}
	for query, steps := range plans {
		if strings.Contains(query, "FROM mark") { // of which each workspace has one row
			continue
		}
		for _, step := range steps {
			if strings.Contains(step, "SEARCH crowded") || strings.Contains(query, "count(*) FROM crowded") { // of which hardly any workspace has rows
				continue
			}
			if strings.HasSuffix(step, "(workspace=?)") || strings.HasPrefix(step, "SCAN") && step != "SCAN CONSTANT ROW" && step != "SCAN wanted" {
				t.Errorf("%s\nreads a whole workspace: %s", query, step)
			}
		}
	}
}

func TestEntriesWithTwoNamesAreFoundWithoutALookAtTheOthers(t *testing.T) {
	ctx := t.Context()
	s := newStore(t)
	w, other := id.New[id.Workspace](), id.New[id.Workspace]()
	a, b, twice, moved := id.New[id.Entry](), id.New[id.Entry](), id.New[id.Entry](), id.New[id.Entry]()
	var many []store.Child
	for i := range 300 {
		many = append(many, store.Child{Folder: a, Name: fmt.Sprint(i), Entry: id.New[id.Entry](), Kind: manifest.File})
	}
	many = append(many, store.Child{a, "twice", twice, manifest.File}, store.Child{a, "moved", moved, manifest.File})
	cache(t, s, w, func(tx *store.CacheTx) error { return tx.PutChildren(many...) })
	cache(t, s, other, func(tx *store.CacheTx) error { return tx.PutChildren(many[0]) }) // another workspace's names are its own
	check := func(stale bool, want ...id.Entry) {
		t.Helper()
		got, left, err := s.Cache.Crowded(ctx, w)
		if err != nil || !slices.Equal(got, want) || left != stale {
			t.Errorf("%v have two names, more were noted: %v, %v; want %v, %v", got, left, err, want, stale)
		}
	}
	check(false)
	cache(t, s, w, func(tx *store.CacheTx) error {
		return tx.PutChildren(store.Child{b, "twice", twice, manifest.File}, store.Child{b, "moved", moved, manifest.File})
	})
	cache(t, s, w, func(tx *store.CacheTx) error { return tx.RemoveChildren(a, "moved") })
	check(true, twice)
	cache(t, s, w, (*store.CacheTx).Uncrowd)
	check(false, twice)
	cache(t, s, w, func(tx *store.CacheTx) error { return tx.ClearFolder(b) })
	cache(t, s, w, (*store.CacheTx).Uncrowd)
	check(false)
}

func TestTheCacheKnowsWhetherItHasMoreThanSoMany(t *testing.T) {
	ctx := t.Context()
	s := newStore(t)
	w := id.New[id.Workspace]()
	for n := range 3 {
		for than := range 5 {
			if more := must(s.Cache.More(ctx, w, than))(t); more != (n > than) {
				t.Errorf("more than %d of %d: %v", than, n, more)
			}
		}
		cache(t, s, w, func(tx *store.CacheTx) error {
			return tx.PutVersions(store.Version{Entry: id.New[id.Entry](), Number: 1, Base: 1})
		})
	}
}

func TestChildrenAreReplacedRemovedAndCleared(t *testing.T) {
	ctx := t.Context()
	s := newStore(t)
	w := id.New[id.Workspace]()
	a, b, e, f := id.New[id.Entry](), id.New[id.Entry](), id.New[id.Entry](), id.New[id.Entry]()
	cache(t, s, w, func(tx *store.CacheTx) error {
		err := tx.PutChildren(store.Child{a, "x", e, manifest.File}, store.Child{a, "y", e, manifest.File}, store.Child{b, "x", e, manifest.File})
		if places, err := tx.Places(e); err != nil || len(places) != 3 {
			t.Errorf("the entry is in %v, %v", places, err)
		}
		return err
	})
	cache(t, s, w, func(tx *store.CacheTx) error {
		return errors.Join(tx.PutChildren(store.Child{a, "x", f, manifest.Folder}), tx.RemoveChildren(a, "y", "z"))
	})
	same(t, collect(t, s.Cache.Children(ctx, w, a, "")), []store.Child{{a, "x", f, manifest.Folder}})
	same(t, must(s.Cache.Places(ctx, w, e))(t), []store.Child{{b, "x", e, manifest.File}})
	cache(t, s, w, func(tx *store.CacheTx) error { return tx.ClearFolder(a) })
	same(t, collect(t, s.Cache.Children(ctx, w, a, "")), nil)
	same(t, collect(t, s.Cache.Children(ctx, w, b, "")), []store.Child{{b, "x", e, manifest.File}})
}

func TestWhatIsKeptOfAFolderStaysUntilTheWorkspaceIsDropped(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	s := p.create(t)
	w, folder := id.New[id.Workspace](), id.New[id.Entry]()
	for _, want := range []string{"seven deltas", "a snapshot"} {
		cache(t, s, w, func(tx *store.CacheTx) error { return tx.PutFolder(folder, []byte(want)) })
		s = p.reopen(t, s)
		if got, found, err := s.Cache.Folder(ctx, w, folder); string(got) != want || !found || err != nil {
			t.Errorf("got %q, %t, %v; want %q", got, found, err, want)
		}
	}
	check(t, s.Cache.Drop(ctx, w))
	if got, found, err := s.Cache.Folder(ctx, w, folder); found || err != nil {
		t.Errorf("got %q, %t, %v", got, found, err)
	}
}

func TestProblemsAreNamedUntilTheyAreSolved(t *testing.T) {
	ctx := t.Context()
	s := newStore(t)
	w := id.New[id.Workspace]()
	p := store.Problem{Entry: id.New[id.Entry](), Author: id.New[id.Device](), Reason: "two parents"}
	cache(t, s, w, func(tx *store.CacheTx) error { return tx.PutProblems(p) })
	p.Reason = "a cycle"
	cache(t, s, w, func(tx *store.CacheTx) error { return tx.PutProblems(p) })
	same(t, must(s.Cache.Problems(ctx, w))(t), []store.Problem{p})
	cache(t, s, w, func(tx *store.CacheTx) error { return tx.SolveProblems(p.Entry) })
	same(t, must(s.Cache.Problems(ctx, w))(t), nil)
}

func TestACacheAheadOfTheStateIsForgottenAtOpening(t *testing.T) {
	ctx := t.Context()
	p := newPlace(t)
	s := p.create(t)
	known, ahead, forked := id.New[id.Workspace](), id.New[id.Workspace](), id.New[id.Workspace]()
	log := records(0, 4)
	at := func(i int) store.Mark {
		return store.Mark{Position: record.Position{Index: log[i].Index, Head: log[i].Head}, Manifests: 1, Cursor: []byte("here")}
	}
	update(t, s, func(tx *store.StateTx) error {
		return errors.Join(tx.Append(known, log[:3]...), tx.Append(ahead, log[:3]...), tx.Append(forked, log[:3]...))
	})
	other := at(1)
	other.Position.Head = record.Head{1}
	for w, mark := range map[id.Workspace]store.Mark{known: at(1), ahead: at(3), forked: other} {
		cache(t, s, w, func(tx *store.CacheTx) error {
			return errors.Join(tx.PutMark(mark), tx.PutVersions(store.Version{Entry: id.RootEntry(w), Number: 1, Base: 1}))
		})
	}
	s = p.reopen(t, s)
	for w, want := range map[id.Workspace]store.Mark{known: at(1), ahead: {}, forked: {}} {
		same(t, must(s.Cache.Mark(ctx, w))(t), want)
		rows := collect(t, s.Cache.Entries(ctx, w))
		if (len(rows) == 1) != (want.Position.Index > 0) {
			t.Errorf("%d rows for mark %v", len(rows), want)
		}
	}
}

func TestAStoreIsMadeOnceAndNeverMadeUp(t *testing.T) {
	p := newPlace(t)
	if _, err := store.Open(t.Context(), p.dir, p.device, p.key); !store.IsDamaged(err) || fault.HintOf(err) == "" {
		t.Errorf("opening what is not there: %v", err)
	}
	p.create(t).Close()
	if _, err := store.Create(t.Context(), p.dir, p.device, p.key); !fault.Is(err, fault.Conflict) {
		t.Errorf("creating it again: %v", err)
	}
}

func TestNothingShowsOnTheDisk(t *testing.T) {
	p := newPlace(t)
	p.dir = filepath.Join(p.dir, "odd ?%23#é&x=1")
	check(t, os.Mkdir(p.dir, 0o700))
	s := p.create(t)
	w, e, parent := id.New[id.Workspace](), id.New[id.Entry](), id.New[id.Entry]()
	const hidden = "Geheimnis"
	mark := []byte(hidden)
	update(t, s, func(tx *store.StateTx) error {
		_, err := tx.Queue(store.Pending{Request: mark})
		return errors.Join(err,
			tx.Append(w, store.Record{Index: 1, Head: record.Head(bytes.Repeat([]byte("Head"), 8)), Raw: mark}),
			tx.PutOrganization(store.Organization{Snapshot: mark}), tx.PutUserManifest(store.UserManifest{Raw: mark}),
			tx.PutWorkspace(store.Workspace{Workspace: w, Snapshot: mark, Name: hidden}), tx.PutOpening(id.New[id.User](), mark),
			tx.PutKeys(w, store.Key{Generation: 1, Key: secret.Key(bytes.Repeat([]byte("Keys"), 8)), Grant: mark}),
			tx.PutProgress(hidden, mark))
	})
	cache(t, s, w, func(tx *store.CacheTx) error {
		return errors.Join(
			tx.PutVersions(store.Version{Entry: e, Number: 1, Base: 1, Author: id.Device(bytes.Repeat([]byte("Auth"), 4)), Manifest: mark}),
			tx.PutChildren(store.Child{parent, hidden, e, manifest.File}),
			tx.PutProblems(store.Problem{Entry: e, Reason: hidden}), tx.PutFolder(e, mark), tx.PutMark(store.Mark{Cursor: mark}))
	})
	look := func() {
		t.Helper()
		check(t, filepath.WalkDir(p.dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if info, err := d.Info(); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: mode %v, %v", path, info.Mode(), err)
			}
			data, err := os.ReadFile(path)
			for _, secret := range [][]byte{mark, []byte("HeadHead"), []byte("KeysKeys"), []byte("AuthAuth"), p.key[:], parent[:]} {
				if bytes.Contains(data, secret) {
					t.Errorf("%s shows %q", path, secret)
				}
			}
			return err
		}))
	}
	look()
	check(t, s.Close())
	look()
}
