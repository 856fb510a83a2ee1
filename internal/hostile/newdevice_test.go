package hostile_test

import (
	"testing"

	"parsec/internal/api/parsecv1"
	"parsec/internal/client/session"
)

// What the greeter knows counts although the user manifest does not tell it yet.
func TestAttack09_NewDeviceIsShownAWorkspaceFromBeforeItsGreeterSawIt(t *testing.T) {
	s := newScene(t)
	s.bob.ToServer(s.server.URL) // which tells the own devices
	s.put("/notes.txt", "second draft")
	s.ok(s.read(first().and("/notes.txt", "second draft"))(s.bob))
	phone := s.bob.EnrollDevice()
	phone.Sync() // which takes up the user manifest
	phone.ToServer(s.proxy.URL)
	records := s.recordsOf(s.bob, s.workspace())
	lie(s.proxy, "WorkspaceService/Pull", func(m *parsecv1.WorkspacePullResponse) {
		at := headBehind(s, records[:len(records)-1])
		m.Records, m.Position = records[:len(records)-1], &parsecv1.Position{Index: at.Index, Head: at.Head[:]}
	})
	s.brokenContent(phone, session.PromiseNoRollback, s.read(first().and("/notes.txt", "second draft")))
}

// A fork that a new device is shown does not stay with it.
func TestAttack09_NewDeviceIsShownAFork(t *testing.T) {
	s := newScene(t)
	carol := s.newcomer("carol@example.com")
	other := s.fork(s.backup())
	s.bob.ToServer(s.server.URL)
	s.put("/notes.txt", "second draft")
	want := first().and("/notes.txt", "second draft")
	s.ok(s.read(want)(s.bob))
	phone := s.bob.EnrollDevice()
	phone.ToServer(s.proxy.URL)
	carol.ToServer(other.URL)
	s.ok(s.write("/notes.txt", "by carol")(carol))
	branch := s.recordsOf(carol, s.workspace())
	lie(s.proxy, "WorkspaceService/Pull", func(m *parsecv1.WorkspacePullResponse) {
		at := headBehind(s, branch)
		m.Records, m.Position = branch, &parsecv1.Position{Index: at.Index, Head: at.Head[:]}
	})
	s.ok(phone.Held.Sync(t.Context()))
	s.broken(phone, session.PromiseOneHistory, s.read(want))
}
