package hostile_test

import (
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"os"
	"strings"
	"testing"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/device"
	"parsec/internal/client/remote"
	"parsec/internal/client/seal"
	"parsec/internal/client/workspace"
	"parsec/internal/format/record"
	"parsec/internal/hostile"
	"parsec/internal/verify"
)

func TestAttack06_FalseGrants(t *testing.T) {
	s := newScene(t)
	carol := s.newcomer("carol@example.com")
	theirs, err := s.bob.Server().Grants(t.Context(), s.workspace())
	s.ok(err)
	_, own, err := seal.NewWorkspaceKey(s.plans.Workspace().Place(), 1).SealGrant(carol.Device().User, carol.UserKey().Public())
	s.ok(err)
	var lies []variant[func()]
	for _, v := range []variant[func(*parsecv1.GrantsResponse)]{
		{"an altered grant", func(m *parsecv1.GrantsResponse) { m.Grants[0].Sealed = flipped(m.Grants[0].Sealed) }},
		{"the grant of another member", func(m *parsecv1.GrantsResponse) { m.Grants[0].Sealed = theirs[0].Sealed }},
		{"a key of the server's own", func(m *parsecv1.GrantsResponse) { m.Grants[0].Sealed = own }},
		{"no grant at all", func(m *parsecv1.GrantsResponse) { m.Grants = nil }},
	} {
		lies = append(lies, variant[func()]{v.name, func() { lie(s.proxy, "WorkspaceService/Grants", v.lie) }})
	}
	s.tries(carol, expectation{seal.PromiseKeys, true}, s.read(first()), lies)
}

func TestAttack06_NewestGenerationWithheld(t *testing.T) {
	s := newScene(t)
	s.ok(s.plans.Workspace().Rotate(t.Context()))
	s.put("/notes.txt", "second draft")
	lie(s.proxy, "WorkspaceService/Grants", func(m *parsecv1.GrantsResponse) {
		m.Grants = m.Grants[1:] // newest first
	})
	s.brokenContent(s.bob, seal.PromiseKeys, s.read(first().and("/notes.txt", "second draft")))
}

// A commit under an old generation, whoever signs it, is none.
func TestAttack06_OldGenerationAfterARotation(t *testing.T) {
	s := newScene(t)
	s.ok(s.plans.Workspace().Rotate(t.Context()))
	s.swap()
	old := record.Commit{Generation: 1, Changes: []record.Change{
		{Entry: id.New[id.Entry](), Version: 1, Base: 1, Manifest: make([]byte, 32)},
	}}
	inWorkspace(s.proxy, s.signWorkspace(s.bob, old))
	s.broken(s.alice, verify.RuleRotation.String(), s.read(first()))
}

func TestAttack06_CommitFromBeforeARotationBehindIt(t *testing.T) {
	s := newScene(t)
	s.swap()
	before := s.signWorkspace(s.bob, record.Commit{Generation: 1, Changes: []record.Change{
		{Entry: id.New[id.Entry](), Version: 1, Base: 1, Manifest: make([]byte, 32)},
	}})
	s.ok(s.plans.Workspace().Rotate(t.Context()))
	inWorkspace(s.proxy, before)
	s.broken(s.alice, verify.RuleTime.String(), s.read(first()))
}

// refused has the proxy refuse requests at a path.
func refused(p *hostile.Proxy, path string) {
	p.Gate(func(r *http.Request) int {
		if r.URL.Path == path {
			return http.StatusServiceUnavailable
		}
		return 0
	})
}

func TestAttack07_RotationThatIsDueSuppressed(t *testing.T) {
	s := newScene(t)
	s.newcomer("carol@example.com")
	_, err := s.alice.RevokeUser(t.Context(), "carol@example.com")
	s.ok(err)
	refused(s.proxy, hostile.Path("WorkspaceService/Append"))
	before := s.facts(s.bob)
	if err := s.write("/new.txt", "not for carol")(s.bob); err == nil {
		t.Error("bob wrote although the rotation did not get through")
	}
	after := s.facts(s.bob)
	if before.Records != after.Records || before.Manifests != after.Manifests || before.Blocks != after.Blocks {
		t.Errorf("something was written: before %+v, after %+v", before, after)
	}
	s.proxy.Honest()
	s.ok(s.write("/new.txt", "not for carol")(s.bob))
	s.ok(s.read(first().and("/new.txt", "not for carol"))(s.alice))
	if g := s.plans.Workspace().Log().Generation(); g != 2 {
		t.Errorf("generation %d, want 2", g)
	}
}

func TestAttack07_CommitUnderTheOldKeyAfterARevocation(t *testing.T) {
	s := newScene(t)
	s.newcomer("carol@example.com")
	_, err := s.alice.RevokeUser(t.Context(), "carol@example.com")
	s.ok(err)
	s.bob.ToServer(s.server.URL)
	s.ok(s.bob.PullOrganization(t.Context()))
	w, err := workspace.Find(t.Context(), s.bob.Session, "plans") // which does not rotate yet
	s.ok(err)
	raw := s.signHere(s.bob, w.Log(), record.Commit{Generation: 1, Changes: []record.Change{
		{Entry: id.New[id.Entry](), Version: 1, Base: 1, Manifest: make([]byte, 32)},
	}})
	s.alice.ToServer(s.proxy.URL)
	inWorkspace(s.proxy, raw)
	s.broken(s.alice, verify.RuleRotation.String(), s.read(first()))
}

// rotates has a manager sign a rotation in which something is wrong.
func (s *scene) rotates(by *clienttest.Person, wrong func(*record.Rotation, []remote.Grant)) {
	s.Helper()
	tree, err := s.open(by)
	s.ok(err)
	w := tree.Workspace()
	old, err := w.Newest(s.Context())
	s.ok(err)
	key := seal.NewWorkspaceKey(w.Place(), old.Generation+1)
	r := record.Rotation{Generation: key.Generation, Commitment: key.Commitment(), Links: old.Generation, Backlink: key.SealBacklink(old)}
	var grants []remote.Grant
	o := by.Organization()
	for _, to := range w.Log().Recipients(o, o.Position().Index, id.User{}) {
		g, sealed, err := key.SealGrant(to.ID, to.Key)
		s.ok(err)
		r.Grants = append(r.Grants, g)
		grants = append(grants, remote.Grant{Recipient: to.ID, Generation: r.Generation, Sealed: sealed})
	}
	wrong(&r, grants)
	_, err = by.Server().AppendWorkspace(s.Context(), w.ID(), s.signHere(by, w.Log(), record.KeyRotated{Rotation: r}), grants)
	s.ok(err)
}

// manager makes Bob a manager.
func (s *scene) manager() {
	s.Helper()
	s.alice.Share(s.plans, s.bob, record.RoleManager)
}

func TestAttack07_RotationWhoseGrantDoesNotOpen(t *testing.T) {
	s := newScene(t)
	carol := s.newcomer("carol@example.com")
	s.ok(s.read(first())(carol))
	s.manager()
	s.rotates(s.bob, func(r *record.Rotation, grants []remote.Grant) {
		for i, g := range r.Grants {
			if g.Recipient == carol.Device().User {
				rand.Read(grants[i].Sealed)
				r.Grants[i].Sealed = sha256.Sum256(grants[i].Sealed)
			}
		}
	})
	s.ok(s.write("/more.txt", "more")(s.alice))
	_, err := s.look(carol)
	if err == nil || !strings.Contains(err.Error(), "bob@example.com") {
		t.Errorf("carol is told %v, want an error that names bob@example.com", err)
	}
	s.ok(s.plans.Workspace().Rotate(t.Context())) // which mends it, and the past with it
	s.ok(s.read(first().and("/more.txt", "more"))(carol))
}

func TestAttack07_RotationWhoseBacklinkDoesNotOpen(t *testing.T) {
	s := newScene(t)
	s.manager()
	s.rotates(s.bob, func(r *record.Rotation, _ []remote.Grant) { rand.Read(r.Backlink) })
	s.ok(s.write("/more.txt", "more")(s.alice)) // who has the earlier key, and loses nothing
	s.ok(s.read(first().and("/more.txt", "more"))(s.alice))
	carol := s.newcomer("carol@example.com")
	before := s.facts(carol)
	_, err := s.look(carol)
	if err == nil || !strings.Contains(err.Error(), "bob@example.com") {
		t.Errorf("carol is told %v, want an error that names bob@example.com", err)
	}
	if err := s.write("/carol.txt", "over what she cannot read")(carol); err == nil {
		t.Error("carol wrote into folders that she cannot read")
	}
	if after := s.facts(carol); before.Records != after.Records {
		t.Errorf("%d records, want %d", after.Records, before.Records)
	}
}

func TestAttack08_DeviceFilesOfTwoDevicesMixed(t *testing.T) {
	s := newScene(t)
	s.bob.Close()
	alice, bob := s.deviceFile(s.alice), s.deviceFile(s.bob)
	for name, data := range map[string][]byte{
		"another device's file": alice,
		"half of it":            bob[:len(bob)/2],
		"another's head":        append(append([]byte{}, alice[:len(alice)/3]...), bob[len(alice)/3:]...),
		"another's end":         append(append([]byte{}, bob[:len(bob)/2]...), alice[len(bob)/2:]...),
		"one bit":               flipped(bob),
		"nothing":               {},
	} {
		s.ok(os.WriteFile(devicePath(s.bob), data, 0o600))
		if _, err := device.Open(devicePath(s.bob), s.bob.Lock()); err == nil {
			t.Errorf("%s in place of the device file: it opened", name)
		}
	}
	s.ok(os.WriteFile(devicePath(s.bob), bob, 0o600))
	s.bob.Reopen()
	s.ok(s.read(first())(s.bob))
}

func devicePath(p *clienttest.Person) string { return device.Path(p.Place.Home, p.Device().Device) }

func (s *scene) deviceFile(p *clienttest.Person) []byte {
	s.Helper()
	data, err := os.ReadFile(devicePath(p))
	s.ok(err)
	return data
}
