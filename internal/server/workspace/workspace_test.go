package workspace_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
	"parsec/internal/server/call"
	"parsec/internal/server/events"
	"parsec/internal/server/meta"
	"parsec/internal/server/organization"
	"parsec/internal/server/servertest"
	"parsec/internal/server/workspace"
	"parsec/internal/verify/verifytest"
)

func TestTheLogAndTheManifestsAreServedAsTheyWereAppended(t *testing.T) {
	s := servertest.NewStage(t)
	bob := s.AddUser(record.ProfileStandard)
	w := s.CreateWorkspace(s.Admin)
	w.Share(s.Admin, bob, record.RoleContributor)
	entries := make([]id.Entry, 3)
	for i := range entries {
		put := w.New()
		entries[i] = put.Entry
		w.Commit(bob, put)
		w.Bring(bob)
	}
	w.Commit(bob, w.Delta(entries[0]), w.Put(entries[1]))
	w.Bring(bob)
	w.Commit(bob, w.Gone(entries[2]))
	w.Bring(bob)
	s.Restart()

	var records [][]byte
	var end record.Position
	err := s.Workspaces.Pull(t.Context(), s.Caller(bob), w.ID, 1, func(p workspace.Page) error {
		end = p.Position
		records = append(records, p.Records...)
		return nil
	})
	if err != nil || end != w.State.Position() {
		t.Fatalf("position %v, %v; want %v", end, err, w.State.Position())
	}
	if diff := cmp.Diff(w.Records[1:], records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	want := map[id.Entry][]uint64{entries[0]: {1, 2}, entries[1]: {2}}
	var got []call.Chain
	err = s.Workspaces.Manifests(t.Context(), s.Caller(bob), w.ID, 0, meta.Cursor{}, func(c []call.Chain, _ meta.Cursor) error {
		got = append(got, c...)
		return nil
	})
	if diff := cmp.Diff(want, versions(t, got, s)); err != nil || diff != "" {
		t.Errorf("all manifests: %v (-want +got):\n%s", err, diff)
	}
	got = nil
	err = s.Workspaces.EntryManifests(t.Context(), s.Caller(bob), w.ID, entries, func(c []call.Chain) error {
		got = append(got, c...)
		return nil
	})
	if diff := cmp.Diff(want, versions(t, got, s)); err != nil || diff != "" {
		t.Errorf("asked for: %v (-want +got):\n%s", err, diff)
	}
	got = nil
	spans := []meta.Span{{Entry: entries[0], First: 1, Last: 1}, {Entry: entries[1], First: 1, Last: 2}, {Entry: entries[2], First: 1, Last: 1}, {Entry: entries[0], First: 2, Last: 3}}
	err = s.Workspaces.EntryVersions(t.Context(), s.Caller(bob), w.ID, spans, func(c []call.Chain) error {
		got = append(got, c...)
		return nil
	})
	want = map[id.Entry][]uint64{entries[0]: {1}, entries[1]: {1, 2}, entries[2]: {1}}
	if diff := cmp.Diff(want, versions(t, got, s)); err != nil || diff != "" {
		t.Errorf("earlier versions: %v (-want +got):\n%s", err, diff)
	}
}

func TestSpansOfVersionsAreBounded(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	for name, spans := range map[string][]meta.Span{
		"from version 0":            {{First: 0, Last: 1}},
		"backwards":                 {{First: 2, Last: 1}},
		"more than a chain has":     {{First: 1, Last: 2 + manifest.MaxDeltas}},
		"beyond what a version can": {{First: 1 << 63, Last: 1 << 63}},
		"too many":                  make([]meta.Span, workspace.MaxEntries+1),
	} {
		err := s.Workspaces.EntryVersions(t.Context(), s.Caller(s.Admin), w.ID, spans, func([]call.Chain) error { return nil })
		if !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// versions returns which versions of each entry chains have, and checks that
// their manifests were sealed by somebody.
func versions(t *testing.T, chains []call.Chain, s *servertest.Stage) map[id.Entry][]uint64 {
	t.Helper()
	all := map[id.Entry][]uint64{}
	for _, c := range chains {
		for _, m := range c.Manifests {
			all[c.Entry] = append(all[c.Entry], m.Version)
			if _, ok := s.Sealed[sha256.Sum256(m.Sealed)]; !ok {
				t.Errorf("version %d of entry %s is not what was sealed", m.Version, c.Entry)
			}
		}
	}
	return all
}

func TestARecordWhoseAnswerWasLostIsAnsweredAgain(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	w.Commit(s.Admin, w.New())
	w.Bring(s.Admin)
	w.Commit(s.Admin, w.New())
	w.Bring(s.Admin)
	s.Now = func() time.Time { return time.Now().Add(time.Hour) } // much later
	for i, raw := range w.Records {
		got, err := w.Send(s.Admin, raw)
		if err != nil || got != w.Positions[i] {
			t.Errorf("record %d: got %v, %v; want %v", i+1, got, err, w.Positions[i])
		}
	}
}

func TestAStaleCommitIsRefusedWithWhatItNeeds(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	first, other := w.New(), w.New()
	w.Commit(s.Admin, first, other)
	w.Bring(s.Admin)
	late := w.Sign(s.Admin, w.Changes(w.Put(first.Entry), w.Put(other.Entry)))
	seen := len(w.Records)
	w.Commit(s.Admin, w.Delta(first.Entry))
	w.Bring(s.Admin)
	bob := s.AddUser(record.ProfileStandard)
	w.Share(s.Admin, bob, record.RoleContributor)

	stale := refusal(t, w, s.Admin, late)
	if diff := cmp.Diff(w.Records[seen:], stale.Records); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if stale.Position != w.State.Position() || stale.Organization != s.Org.Position() {
		t.Errorf("positions %v and %v, want %v and %v", stale.Position, stale.Organization, w.State.Position(), s.Org.Position())
	}
	// The role change came between: only a commit whose place is right learns
	// which of its versions are taken.
	again := w.Sign(s.Admin, w.Changes(w.Put(other.Entry)), verifytest.SeenWorkspace(w.State.Position()))
	w.Must(again)
	lost := w.Sign(bob, w.Changes(record.Change{Entry: first.Entry, Version: 2, Base: 2, Manifest: w.New().Manifest}))
	w.Bring(s.Admin)
	stale = refusal(t, w, bob, lost)
	if diff := cmp.Diff(map[id.Entry][]uint64{first.Entry: {1, 2}}, versions(t, stale.Chains, s)); diff != "" {
		t.Errorf("chains (-want +got):\n%s", diff)
	}
}

func refusal(t *testing.T, w *servertest.Workspace, by *verifytest.Device, raw []byte) *call.Stale {
	t.Helper()
	_, err := w.Send(by, raw)
	servertest.Kind(t, "a stale record", err, fault.Stale)
	var stale *call.Stale
	if !errors.As(err, &stale) {
		t.Fatalf("got %T, want %T", err, stale)
	}
	return stale
}

func TestTwoCommitsAtOnceAreOrdered(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	const writers = 8
	devices := make([]*verifytest.Device, writers)
	for i := range devices {
		devices[i] = s.AddUser(record.ProfileStandard)
		w.Share(s.Admin, devices[i], record.RoleContributor)
	}
	entry := w.New()
	w.Commit(s.Admin, entry)
	w.Bring(s.Admin)
	// Each writes a file of its own, and all want the next version of one. They
	// sign at the same moment: time may not go back in a log.
	before, moment := w.State.Position().Index, time.Now().UnixNano()
	var own, shared [writers][]byte
	for i, d := range devices {
		at := func(b *record.Body) { b.Time = moment }
		own[i] = w.Sign(d, w.Changes(w.New()), at)
		shared[i] = w.Sign(d, w.Changes(w.Put(entry.Entry)), at, func(b *record.Body) { b.Seq++ })
	}
	var wait sync.WaitGroup
	var errs [writers][2]error
	for i, d := range devices {
		wait.Go(func() {
			_, errs[i][0] = w.Send(d, own[i])
			_, errs[i][1] = w.Send(d, shared[i])
		})
	}
	wait.Wait()
	winners := 0
	for i := range errs {
		if errs[i][0] != nil {
			t.Errorf("a file of one's own: %v", errs[i][0])
		}
		if errs[i][1] == nil {
			winners++
		} else {
			servertest.Kind(t, "a version that another took", errs[i][1], fault.Stale)
		}
	}
	if winners != 1 {
		t.Errorf("%d writers made the same version, want 1", winners)
	}
	seen := before
	err := s.Workspaces.Pull(t.Context(), s.Caller(s.Admin), w.ID, before, func(p workspace.Page) error {
		for _, raw := range p.Records {
			if _, err := w.Try(raw); err != nil {
				return err
			}
			seen++
		}
		return nil
	})
	if err != nil || seen != before+writers+1 {
		t.Errorf("the log has %d records that verify, %v; want %d", seen-before, err, writers+1)
	}
}

func upload(t *testing.T, s *servertest.Stage, by *verifytest.Device, w id.Workspace, contents ...[]byte) []id.Block {
	t.Helper()
	h := pack.Header{Workspace: w}
	var ids []id.Block
	for _, c := range contents {
		b := pack.Block{ID: id.New[id.Block](), Length: uint32(len(c)), Digest: sha256.Sum256(c)}
		h.Blocks, ids = append(h.Blocks, b), append(ids, b.ID)
	}
	if err := s.Blocks.Upload(t.Context(), s.Caller(by), h, bytes.NewReader(bytes.Join(contents, nil))); err != nil {
		t.Fatal(err)
	}
	return ids
}

func TestACommitWaitsForItsBlocks(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	raw := w.Sign(s.Admin, w.Changes(w.New()))
	here, absent := upload(t, s, s.Admin, w.ID, []byte("content")), id.New[id.Block]()
	_, err := w.Send(s.Admin, raw, here[0], absent)
	servertest.Kind(t, "a block that is not there", err, fault.Missing)
	var missing *call.Missing
	if !errors.As(err, &missing) || !cmp.Equal(missing.Blocks, []id.Block{absent}) {
		t.Errorf("got %v, want that %v is missing", err, absent)
	}
	if _, err := w.Send(s.Admin, raw, here...); err != nil {
		t.Errorf("after the refusal, with blocks that are there: %v", err)
	}
}

func TestWhatMayNotBeAppendedIsRefusedByKind(t *testing.T) {
	s := servertest.NewStage(t)
	reader, bob, eve := s.AddUser(record.ProfileStandard), s.AddUser(record.ProfileStandard), s.AddUser(record.ProfileStandard)
	w := s.CreateWorkspace(s.Admin)
	w.Share(s.Admin, reader, record.RoleReader)
	w.Share(s.Admin, bob, record.RoleContributor)
	commit := func(by *verifytest.Device, edits ...func(*record.Body)) []byte {
		return w.Sign(by, w.Changes(w.New()), edits...)
	}
	send := func(by *verifytest.Device, raw []byte) func() error {
		return func() error {
			_, err := w.Send(by, raw)
			return err
		}
	}
	commits := func(raw []byte, manifests ...[]byte) func() error {
		return func() error {
			_, err := s.Workspaces.Commit(t.Context(), s.Caller(bob), w.ID, workspace.Commit{Record: raw, Manifests: manifests})
			return err
		}
	}
	appends := func(raw []byte, grants ...meta.Grant) func() error {
		return func() error {
			_, err := s.Workspaces.Append(t.Context(), s.Caller(s.Admin), w.ID, raw, grants)
			return err
		}
	}
	good := commit(bob)
	manifest := w.Manifests(good)[0]
	rotation := w.Sign(s.Admin, record.KeyRotated{Rotation: w.Rotation()})
	grants := w.Grants(rotation)
	for i := range grants {
		grants[i].Generation = 2
	}
	other := append([]meta.Grant(nil), grants...)
	other[0].Sealed = []byte("another")
	for _, c := range []struct {
		name string
		do   func() error
		want fault.Kind
	}{
		{"a commit of a reader", send(reader, commit(reader)), fault.Denied},
		{"a commit of somebody else", send(eve, commit(eve)), fault.Denied},
		{"a commit that another device signed", send(s.Admin, commit(bob)), fault.Denied},
		{"a time six minutes ago", send(bob, commit(bob, func(b *record.Body) { b.Time -= int64(6 * time.Minute) })), fault.Clock},
		{"a time before the newest record's", send(bob, commit(bob, func(b *record.Body) { b.Time -= int64(time.Minute) })), fault.Stale},
		{"a time six minutes ahead", send(bob, commit(bob, verifytest.Later(6*time.Minute))), fault.Clock},
		{"a sequence number again", send(bob, commit(bob, func(b *record.Body) { b.Seq++ })), fault.Stale},
		{"another workspace's record", send(bob, commit(bob, func(b *record.Body) { b.Log[40]++ })), fault.Invalid},
		{"no manifest", commits(good), fault.Invalid},
		{"another manifest", commits(good, []byte("another")), fault.Invalid},
		{"a manifest too many", commits(good, manifest, manifest), fault.Invalid},
		{"a manifest that is too long", commits(good, make([]byte, 2<<20)), fault.TooLarge},
		{"a commit as a record", appends(commit(s.Admin)), fault.Invalid},
		{"a record as a commit", commits(w.Sign(bob, record.Heartbeat{})), fault.Invalid},
		{"noise", appends([]byte("noise")), fault.Invalid},
		{"a rotation without its grants", appends(rotation), fault.Invalid},
		{"a rotation with one grant too few", appends(rotation, grants[1:]...), fault.Invalid},
		{"a rotation with one grant twice", appends(rotation, append(grants[1:], grants[1])...), fault.Invalid},
		{"a rotation with another grant", appends(rotation, other...), fault.Invalid},
		{"a grant beside a record that needs none", appends(w.Sign(s.Admin, record.Renamed{Generation: 1, Name: []byte("x")}), grants...), fault.Invalid},
	} {
		servertest.Kind(t, c.name, c.do(), c.want)
	}
	if err := appends(rotation, grants...)(); err != nil {
		t.Errorf("the rotation as it should be: %v", err)
	}
}

func TestStorageIsLimited(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	most := uint64(100)
	if _, err := s.Organizations.Set(t.Context(), s.Org.Name(), organization.Settings{Storage: &most}); err != nil {
		t.Fatal(err)
	}
	w.Commit(s.Admin, w.New()) // 64 bytes
	w.Bring(s.Admin)
	w.Commit(s.Admin, w.New())
	_, err := w.Send(s.Admin, w.Records[len(w.Records)-1])
	servertest.Kind(t, "a commit beyond the limit", err, fault.Full)
	if text := err.Error(); !strings.Contains(text, "64 of the 100 bytes") {
		t.Errorf("%q names neither what is used nor what may be", text)
	}
}

func TestWhatOnlyRemovesIsNotRefusedForStorage(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	entry := id.New[id.Entry]()
	w.Commit(s.Admin, w.Put(entry))
	w.Bring(s.Admin)
	most := uint64(1) // below what is there
	if _, err := s.Organizations.Set(t.Context(), s.Org.Name(), organization.Settings{Storage: &most}); err != nil {
		t.Fatal(err)
	}
	w.Append(s.Admin, record.Commit{Generation: 1, Restructures: true, Changes: []record.Change{w.Gone(entry)}})
	w.Bring(s.Admin)
}

func TestWhoIsRemovedLosesAccessAtOnce(t *testing.T) {
	s := servertest.NewStage(t)
	w := s.CreateWorkspace(s.Admin)
	removed, revoked, stays := s.AddUser(record.ProfileStandard), s.AddUser(record.ProfileStandard), s.AddUser(record.ProfileStandard)
	all := []*verifytest.Device{removed, revoked, stays}
	for _, d := range all {
		w.Share(s.Admin, d, record.RoleContributor)
	}
	calls := func(d *verifytest.Device) map[string]error {
		c, ctx := s.Caller(d), t.Context()
		_, grants := s.Workspaces.Grants(ctx, c, w.ID)
		return map[string]error{
			"pull":      s.Workspaces.Pull(ctx, c, w.ID, 0, func(workspace.Page) error { return nil }),
			"manifests": s.Workspaces.Manifests(ctx, c, w.ID, 0, meta.Cursor{}, func([]call.Chain, meta.Cursor) error { return nil }),
			"entries":   s.Workspaces.EntryManifests(ctx, c, w.ID, make([]id.Entry, 1), func([]call.Chain) error { return nil }),
			"versions":  s.Workspaces.EntryVersions(ctx, c, w.ID, []meta.Span{{First: 1, Last: 1}}, func([]call.Chain) error { return nil }),
			"grants":    grants,
			"regrant":   s.Workspaces.Regrant(ctx, c, w.ID, meta.Grant{Generation: 1, Recipient: stays.User, Sealed: []byte("x")}),
			"upload":    s.Blocks.Upload(ctx, c, pack.Header{Workspace: w.ID}, bytes.NewReader(nil)),
		}
	}
	for _, d := range all {
		for name, err := range calls(d) {
			if err != nil {
				t.Fatalf("%s of a member: %v", name, err)
			}
		}
	}
	late := w.Sign(revoked, w.Changes(w.New()))
	w.Remove(s.Admin, removed)
	w.Bring(s.Admin)
	s.RevokeUser(revoked)
	for name, err := range calls(removed) {
		servertest.Kind(t, name+" of a removed member", err, fault.Denied)
	}
	for name, err := range calls(revoked) {
		servertest.Kind(t, name+" of a revoked user", err, fault.Unauthenticated)
	}
	_, err := w.Send(revoked, late)
	servertest.Kind(t, "a commit signed before the revocation", err, fault.Unauthenticated)
	_, err = w.Send(stays, w.Sign(stays, w.Changes(w.New())))
	servertest.Kind(t, "a commit under the key that the revoked hold", err, fault.Stale)
	for who, want := range map[*verifytest.Device]int{removed: 0, stays: 1} {
		if _, got, err := s.Organizations.Workspaces(t.Context(), s.Caller(who)); err != nil || len(got) != want {
			t.Errorf("a list of %d workspaces, %v; want %d", len(got), err, want)
		}
	}
}

func TestGrantsAreServedToTheirRecipients(t *testing.T) {
	s := servertest.NewStage(t)
	bob, eve := s.AddUser(record.ProfileStandard), s.AddUser(record.ProfileStandard)
	w := s.CreateWorkspace(s.Admin)
	w.Share(s.Admin, bob, record.RoleReader)
	w.Rotate(s.Admin)
	w.Bring(s.Admin)
	for _, c := range []struct {
		name  string
		grant meta.Grant
		want  fault.Kind
	}{
		{"to somebody who is no member", meta.Grant{Generation: 1, Recipient: eve.User, Sealed: []byte("x")}, fault.Denied},
		{"of a generation that is not there", meta.Grant{Generation: 3, Recipient: bob.User, Sealed: []byte("x")}, fault.NotFound},
		{"of generation 0", meta.Grant{Recipient: bob.User, Sealed: []byte("x")}, fault.NotFound},
		{"of nothing", meta.Grant{Generation: 1, Recipient: bob.User}, fault.Invalid},
		{"of far too much", meta.Grant{Generation: 1, Recipient: bob.User, Sealed: make([]byte, 1<<16)}, fault.Invalid},
	} {
		servertest.Kind(t, c.name, s.Workspaces.Regrant(t.Context(), s.Caller(s.Admin), w.ID, c.grant), c.want)
	}
	if err := s.Workspaces.Regrant(t.Context(), s.Caller(s.Admin), w.ID, meta.Grant{Generation: 1, Recipient: bob.User, Sealed: []byte("again")}); err != nil {
		t.Fatal(err)
	}
	grants, err := s.Workspaces.Grants(t.Context(), s.Caller(bob), w.ID)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range grants {
		got = append(got, fmt.Sprintf("%d by the record: %v", g.Generation, g.Resealer.IsZero()))
	}
	want := []string{"2 by the record: true", "1 by the record: true", "1 by the record: false"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("grants (-want +got):\n%s", diff)
	}
}

func TestSubscribersHearOfRecordsAndMemberships(t *testing.T) {
	s := servertest.NewStage(t)
	bob := s.AddUser(record.ProfileStandard)
	w := s.CreateWorkspace(s.Admin)
	sub := s.Hub.Subscribe()
	defer sub.Close()
	log := events.Topic{Organization: s.Fingerprint(), Kind: events.Workspace, ID: w.ID}
	memberships := events.Topic{Organization: s.Fingerprint(), Kind: events.Memberships, ID: bob.User}
	sub.Watch(log, memberships)
	w.Share(s.Admin, bob, record.RoleReader)
	got := map[events.Topic]uint64{}
	for len(got) < 2 {
		hints, err := sub.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hints {
			got[h.Topic] = h.Index
		}
	}
	if diff := cmp.Diff(map[events.Topic]uint64{log: 2, memberships: 0}, got); diff != "" {
		t.Errorf("hints (-want +got):\n%s", diff)
	}
}

// BenchmarkCommit is a part of an import: a thousand new files in one commit.
func BenchmarkCommit(b *testing.B) {
	s := servertest.NewStage(b)
	w := s.CreateWorkspace(s.Admin)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		changes := make([]record.Change, 1000)
		introduced := make([]id.Block, 0, len(changes))
		h := pack.Header{Workspace: w.ID}
		content := make([]byte, 2048)
		rand.Read(content)
		for i := range changes {
			changes[i] = w.New()
			h.Blocks = append(h.Blocks, pack.Block{ID: id.New[id.Block](), Length: 2048, Digest: sha256.Sum256(content)})
			introduced = append(introduced, h.Blocks[i].ID)
		}
		if err := s.Blocks.Upload(b.Context(), s.Caller(s.Admin), h, bytes.NewReader(bytes.Repeat(content, len(changes)))); err != nil {
			b.Fatal(err)
		}
		w.Commit(s.Admin, changes...)
		b.StartTimer()
		w.Bring(s.Admin, introduced...)
	}
}
