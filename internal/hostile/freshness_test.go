package hostile_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/fault"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/session"
	"parsec/internal/format/record"
	"parsec/internal/server/servertest"
	"parsec/internal/verify"
)

// backup copies what the server stores, while it is stopped for a moment.
func (s *scene) backup() string {
	s.Helper()
	s.bob.Reopen() // tells the own devices what it knows
	s.server.Stop()
	dir := s.TempDir()
	s.ok(os.CopyFS(dir, os.DirFS(s.server.Dir)))
	s.restart(servertest.Config{Network: hurried()})
	return dir
}

// fork starts another server with what a backup holds.
func (s *scene) fork(dir string) *servertest.Server {
	s.Helper()
	return servertest.Start(s, servertest.Config{Dir: dir, Network: hurried()})
}

// staysPut expects that commands fail for a promise, with a hint what to do,
// and that nothing is written or remembered.
func (s *scene) staysPut(who *clienttest.Person, promise string, do ...func(*clienttest.Person) error) {
	s.Helper()
	before := s.facts(who)
	for _, d := range do {
		err := d(who)
		s.breaks(promise, err)
		if promise == session.PromiseNoRollback && fault.HintOf(err) == "" {
			s.Errorf("%v: without a hint what to do", err)
		}
	}
	if diff := cmp.Diff(before, s.facts(who)); diff != "" {
		s.Errorf("something was written or remembered (-before +after):\n%s", diff)
	}
}

func TestAttack17_WholeServerRolledBack(t *testing.T) {
	s := newScene(t)
	old := s.backup()
	s.alice.Enroll("carol@example.com", record.ProfileStandard)
	s.put("/notes.txt", "second draft")
	want := first().and("/notes.txt", "second draft")
	s.ok(s.read(want)(s.bob))
	honest := s.server.URL
	s.proxy.SetServer(s.fork(old).URL)
	s.staysPut(s.bob, session.PromiseNoRollback, s.read(want), s.write("/new.txt", "into the past"))
	s.proxy.SetServer(honest)
	s.heals(s.bob, s.read(want))
}

func TestAttack17_WorkspaceRolledBack(t *testing.T) {
	s := newScene(t)
	old := s.backup()
	s.put("/notes.txt", "second draft")
	want := first().and("/notes.txt", "second draft")
	s.ok(s.read(want)(s.bob))
	honest := s.server.URL
	s.proxy.SetServer(s.fork(old).URL) // the organization did not change meanwhile
	s.staysPut(s.bob, session.PromiseNoRollback, s.read(want), s.write("/new.txt", "into the past"))
	s.proxy.SetServer(honest)
	s.heals(s.bob, s.read(want))
}

// onLast drops the last record of the workspace, which Bob has seen or not.
func onLast(t *testing.T, seen, claimed bool, promise string) {
	t.Helper()
	s := newScene(t)
	s.put("/notes.txt", "second draft")
	want := first().and("/notes.txt", "second draft")
	if seen {
		s.ok(s.read(want)(s.bob))
	}
	records := s.recordsOf(s.alice, s.workspace())
	at := headBehind(s, records[:len(records)-1])
	lie(s.proxy, "WorkspaceService/Pull", func(m *parsecv1.WorkspacePullResponse) {
		m.Records = slices.DeleteFunc(m.Records, func(raw []byte) bool { return slices.Equal(raw, records[len(records)-1]) })
		if !claimed {
			m.Position = &parsecv1.Position{Index: at.Index, Head: at.Head[:]}
		}
	})
	s.brokenContent(s.bob, promise, s.read(want))
}

func TestAttack17_LastRecordDropped(t *testing.T) {
	onLast(t, true, false, session.PromiseNoRollback)
}

func TestAttack17_LastRecordAnnouncedAndNotGiven(t *testing.T) {
	onLast(t, false, true, verify.RuleKnown.String())
}

func TestAttack17_TwoClientsForkedAndJoinedLater(t *testing.T) {
	s := newScene(t)
	other := s.fork(s.backup())
	s.put("/notes.txt", "by alice")
	s.proxy.SetServer(other.URL)
	s.ok(s.write("/notes.txt", "by bob")(s.bob))
	s.ok(s.read(first().and("/notes.txt", "by bob"))(s.bob)) // apart, neither can know
	s.proxy.SetServer(s.server.URL)
	s.staysPut(s.bob, session.PromiseOneHistory, s.read(first()), s.write("/new.txt", "on both"))
	s.put("/more.txt", "by alice") // and so it stays when one branch grows
	s.staysPut(s.bob, verify.RulePlace.String(), s.read(first()))
	s.ok(s.read(first().and("/notes.txt", "by alice").and("/more.txt", "by alice"))(s.alice))
}

// A commit that somebody made on another branch shows, in what it has seen,
// that there is one.
func TestAttack17_RecordOfAnotherBranch(t *testing.T) {
	s := newScene(t)
	other := s.fork(s.backup())
	s.put("/notes.txt", "by alice")
	s.bob.ToServer(other.URL)
	s.ok(s.write("/a.txt", "by bob")(s.bob))
	s.ok(s.write("/b.txt", "by bob")(s.bob))
	foreign := s.recordsOf(s.bob, s.workspace())
	s.alice.ToServer(s.proxy.URL)
	inWorkspace(s.proxy, foreign[len(foreign)-1])
	s.broken(s.alice, verify.RulePlace.String(), s.read(first().and("/notes.txt", "by alice")))
}

// Two devices of one user on two branches: what one has verified is in the
// manifest that both share, and the other checks it.
func TestAttack17_TwoDevicesOfOneUserForked(t *testing.T) {
	s := newScene(t)
	s.bob.ToServer(s.server.URL)
	phone := s.bob.EnrollDevice()
	phone.ToServer(s.proxy.URL)
	s.ok(s.read(first())(phone))
	s.put("/notes.txt", "second draft")
	want := first().and("/notes.txt", "second draft")
	s.ok(s.read(want)(s.bob))
	s.bob.Reopen()
	records := s.recordsOf(s.bob, s.workspace())
	at := headBehind(s, records[:len(records)-1])
	lie(s.proxy, "WorkspaceService/Pull", func(m *parsecv1.WorkspacePullResponse) {
		m.Position, m.Records = &parsecv1.Position{Index: at.Index, Head: at.Head[:]}, nil
	})
	s.brokenContent(phone, session.PromiseNoRollback, s.read(want))
}

// Silence cannot be told from a freeze at once. What is shown is what was
// true, and since when nothing was seen of others can be asked.
func TestAttack17_EverythingNewWithheld(t *testing.T) {
	s := newScene(t)
	tree, err := s.open(s.bob)
	s.ok(err)
	organization, log := s.bob.Organization().Position(), tree.Workspace().Log().Position()
	s.put("/notes.txt", "second draft")
	onOrganization(s.proxy, func(m *parsecv1.OrganizationPullResponse) {
		m.Records, m.Openings, m.Position = nil, nil, &parsecv1.Position{Index: organization.Index, Head: organization.Head[:]}
	})
	lie(s.proxy, "WorkspaceService/Pull", func(m *parsecv1.WorkspacePullResponse) {
		m.Records, m.Position = nil, &parsecv1.Position{Index: log.Index, Head: log.Head[:]}
	})
	s.ok(s.read(first())(s.bob))
	s.breaks(verify.RuleKnown.String(), s.write("/notes.txt", "onto what is old")(s.bob)) // which the server has to refuse
	s.proxy.Honest()
	s.bob.Reopen()
	s.ok(s.read(first().and("/notes.txt", "second draft"))(s.bob))
}

func TestAttack18_ServerRestoredFromYesterdaysBackup(t *testing.T) {
	s := newScene(t)
	yesterday := s.backup()
	s.put("/notes.txt", "second draft")
	want := first().and("/notes.txt", "second draft")
	s.ok(s.read(want)(s.bob))
	today := s.server.Dir
	s.restart(servertest.Config{Dir: yesterday, Network: hurried()})
	for _, p := range []*clienttest.Person{s.alice, s.bob} {
		s.staysPut(p, session.PromiseNoRollback, s.read(want), s.write("/new.txt", "into the past"))
		_, err := s.open(p)
		for _, word := range []string{"index 5", "index 6"} {
			if err != nil && !strings.Contains(err.Error(), word) {
				t.Errorf("%v: does not say %s", err, word)
			}
		}
	}
	s.restart(servertest.Config{Dir: today, Network: hurried()})
	s.ok(s.read(want)(s.alice))
	s.heals(s.bob, s.read(want))
}
