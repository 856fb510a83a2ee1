package hostile_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/api/parsecv1"
	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/device"
	"parsec/internal/client/seal"
	"parsec/internal/client/session"
	"parsec/internal/client/workspace"
	"parsec/internal/format/canon"
	"parsec/internal/format/record"
	"parsec/internal/hostile"
	"parsec/internal/verify"
)

// people is what a command does that looks up everybody.
func (s *scene) people(p *clienttest.Person) error {
	if err := p.Held.Sync(s.Context()); err != nil {
		return err
	}
	for _, email := range []string{"alice@example.com", "bob@example.com"} {
		if _, err := p.Find(email); err != nil {
			return err
		}
	}
	return nil
}

// onOrganization lies about the organization's log.
func onOrganization(p *hostile.Proxy, about func(*parsecv1.OrganizationPullResponse)) {
	lie(p, "OrganizationService/Pull", about)
}

// inOrganization puts records behind those of the organization's log.
func inOrganization(p *hostile.Proxy, raw ...[]byte) {
	onOrganization(p, func(m *parsecv1.OrganizationPullResponse) { m.Records = append(m.Records, raw...) })
}

// inWorkspace puts records behind those of the workspace's log.
func inWorkspace(p *hostile.Proxy, raw ...[]byte) {
	eachRecord(p, func(records [][]byte) [][]byte { return append(records, raw...) })
}

// signOrganization signs the next record of the organization's log.
func signOrganization(p *clienttest.Person, payload record.Payload) []byte {
	o := p.Organization()
	return p.Sign(record.OrganizationLog(o.Root()), record.Seen{Organization: o.Position()}, o.Sequence(p.Device().Device)+1, o.Time(), payload)
}

// signWorkspace signs the next record of the workspace's log, on what the
// signer has seen.
func (s *scene) signWorkspace(p *clienttest.Person, payload record.Payload) []byte {
	s.Helper()
	tree, err := s.open(p)
	s.ok(err)
	return s.signHere(p, tree.Workspace().Log(), payload)
}

func (s *scene) signHere(p *clienttest.Person, log *verify.Workspace, payload record.Payload) []byte {
	d := p.Device()
	return p.Sign(record.WorkspaceLog(d.Organization, s.workspace()),
		record.Seen{Organization: p.Organization().Position(), Workspace: log.Position()},
		log.Sequence(d.Device)+1, log.Time(), payload)
}

// swapOut has Alice and Bob exchange their connections: Alice is the victim.
func (s *scene) swap() {
	s.Helper()
	s.bob.ToServer(s.server.URL)
	s.alice.ToServer(s.proxy.URL)
	_, err := s.open(s.alice)
	s.ok(err)
}

// newUser is somebody whom nobody enrolled.
func newUser(o id.Fingerprint) (record.NewUser, record.Opening, *device.Device) {
	d, user := device.New(), id.New[id.User]()
	opening := record.Opening{User: user, Email: "mallory@example.com", Name: "Mallory"}
	rand.Read(opening.Salt[:])
	return record.NewUser{User: user, Identity: opening.Commit([32]byte(o)), Key: seal.NewKeyPair().Public(), Device: d.Keys()}, opening, d
}

func TestAttack01_SubstitutedKeys(t *testing.T) {
	s := newScene(t)
	carol := s.alice.Enroll("carol@example.com", record.ProfileStandard).Device().Keys()
	device, _ := s.alice.Organization().Device(carol.Device)
	user, _ := s.alice.Organization().User(device.User)
	verifying, _, err := ed25519.GenerateKey(nil)
	s.ok(err)
	sealing := seal.NewKeyPair().Public()
	in := func(true_, false_ []byte) func() {
		return func() {
			onOrganization(s.proxy, func(m *parsecv1.OrganizationPullResponse) {
				for i := range m.Records {
					m.Records[i] = bytes.Replace(m.Records[i], true_, false_, 1)
				}
			})
		}
	}
	s.tries(s.bob, expectation{promise: verify.RuleSignature.String()}, s.people, []variant[func()]{
		{"a user's key", in(user.Key(), sealing)},
		{"a device's encryption key", in(device.Encrypt, sealing)},
		{"a device's verify key", in(device.Verify, verifying)},
	})
}

func TestAttack01_FalseNames(t *testing.T) {
	s := newScene(t)
	s.alice.Enroll("carol@example.com", record.ProfileStandard)
	s.alice.Enroll("dave@example.com", record.ProfileStandard)
	both := func(change func(a, b *record.Opening)) func([]record.Opening) []record.Opening {
		return func(all []record.Opening) []record.Opening {
			if len(all) == 2 {
				change(&all[0], &all[1])
			}
			return all
		}
	}
	var lies []variant[func()]
	for _, v := range []variant[func([]record.Opening) []record.Opening]{
		{"addresses exchanged", both(func(a, b *record.Opening) { a.Email, b.Email = b.Email, a.Email })},
		{"another name", both(func(a, _ *record.Opening) { a.Name = "Carol the Boss" })},
		{"openings exchanged", both(func(a, b *record.Opening) { a.User, b.User = b.User, a.User })},
		{"the name of nobody", both(func(a, _ *record.Opening) { a.User = id.New[id.User]() })},
		{"a name withheld", func([]record.Opening) []record.Opening { return nil }},
	} {
		lies = append(lies, variant[func()]{v.name, func() { s.openings(v.lie) }})
	}
	s.tries(s.bob, expectation{session.PromiseIdentity, true}, func(p *clienttest.Person) error {
		if err := p.Held.Sync(t.Context()); err != nil {
			return err
		}
		carol, err := p.Find("carol@example.com")
		if err == nil && carol.Name != "carol@example.com" {
			t.Errorf("carol is called %q", carol.Name)
		}
		return err
	}, lies)
}

// openings has the proxy change the names that the server gives.
func (s *scene) openings(change func([]record.Opening) []record.Opening) {
	onOrganization(s.proxy, func(m *parsecv1.OrganizationPullResponse) {
		var all []record.Opening
		for _, raw := range m.Openings {
			var o record.Opening
			s.ok(canon.Unmarshal(raw, &o))
			all = append(all, o)
		}
		m.Openings = nil
		for _, o := range change(all) {
			m.Openings = append(m.Openings, canon.Marshal(o))
		}
	})
}

func TestAttack02_UserAddedByADeviceThatNobodyKnows(t *testing.T) {
	s := newScene(t)
	o := s.alice.Organization()
	added, _, d := newUser(o.Fingerprint())
	raw := record.Sign(record.Body{
		Log: record.OrganizationLog(o.Root()), Author: d.Device, Seq: 1, Time: o.Time(), Seen: record.Seen{Organization: o.Position()},
		Kind: record.KindUserAdded, Payload: record.Encode(record.UserAdded{New: added, Profile: record.ProfileAdmin}),
	}, o.Fingerprint(), d.Signing)
	inOrganization(s.proxy, raw)
	s.broken(s.bob, verify.RuleAuthority.String(), s.people)
}

func TestAttack02_RecordsByOneWhoIsNoAdministrator(t *testing.T) {
	s := newScene(t)
	s.swap()
	added, _, _ := newUser(s.alice.Organization().Fingerprint())
	var lies []variant[func()]
	for _, v := range []variant[record.Payload]{
		{"a user added", record.UserAdded{New: added, Profile: record.ProfileStandard}},
		{"an administrator by own hand", record.ProfileChanged{User: s.bob.Device().User, Profile: record.ProfileAdmin}},
		{"a user revoked", record.UserRevoked{User: s.alice.Device().User}},
		{"another user's device added", record.DeviceAdded{New: s.alice.Device().Keys()}},
		{"another user's device revoked", record.DeviceRevoked{Device: s.alice.Device().Device}},
	} {
		lies = append(lies, variant[func()]{v.name, func() { inOrganization(s.proxy, signOrganization(s.bob, v.lie)) }})
	}
	s.tries(s.alice, expectation{promise: verify.RuleAuthority.String()}, s.people, lies)
}

func TestAttack02_RecordsBeyondTheRole(t *testing.T) {
	s := newScene(t)
	carol := s.alice.Enroll("carol@example.com", record.ProfileStandard)
	reader := s.alice.Enroll("reader@example.com", record.ProfileStandard)
	s.alice.Share(s.plans, reader, record.RoleReader)
	tree, err := s.open(s.bob)
	s.ok(err)
	key, err := tree.Workspace().Newest(t.Context())
	s.ok(err)
	outside, _, _ := newUser(s.alice.Organization().Fingerprint())
	grant := func(to id.User, k record.PublicKey) []record.Grant {
		g, _, err := key.SealGrant(to, k)
		s.ok(err)
		return []record.Grant{g}
	}
	s.swap()
	by := func(who *clienttest.Person, p record.Payload) func() {
		raw := s.signWorkspace(who, p)
		return func() { inWorkspace(s.proxy, raw) }
	}
	s.tries(s.alice, expectation{promise: verify.RuleAuthority.String()}, s.read(first()), []variant[func()]{
		{"a member added by a contributor", by(s.bob, record.RoleChanged{
			User: carol.Device().User, Role: record.RoleReader, Grant: grant(carol.Device().User, carol.UserKey().Public()),
		})},
		{"an owner by own hand", by(s.bob, record.RoleChanged{User: s.bob.Device().User, Role: record.RoleOwner})},
		{"a member who is not in the organization", by(s.alice, record.RoleChanged{
			User: outside.User, Role: record.RoleReader, Grant: grant(outside.User, outside.Key),
		})},
		{"a commit by a reader", by(reader, record.Commit{Generation: 1, Changes: []record.Change{
			{Entry: id.New[id.Entry](), Version: 1, Base: 1, Manifest: make([]byte, 32)},
		}})},
		{"a renaming by a contributor", by(s.bob, record.Renamed{Generation: 1, Name: make([]byte, 64)})},
	})
}

// recordsOf returns the records of the organization's log.
func (s *scene) recordsOf(p *clienttest.Person, w id.Workspace) [][]byte {
	s.Helper()
	var all [][]byte
	for r, err := range p.Local().State.Records(s.Context(), w, 0) {
		s.ok(err)
		all = append(all, r.Raw)
	}
	return all
}

func TestAttack03_GenesisOfAnotherOrganizationForANewcomer(t *testing.T) {
	s := newScene(t)
	other := clienttest.Bootstrap(t, s.server.CreateOrganization("Umbrella"), "eve@example.com")
	genesis := s.recordsOf(other, id.Workspace{})
	onOrganization(s.proxy, func(m *parsecv1.OrganizationPullResponse) { m.Records, m.Openings = genesis, nil })
	s.refusesToEnroll(verify.RuleForm.String())
}

func TestAttack03_OtherRecordsBehindTheOwnGenesis(t *testing.T) {
	s := newScene(t)
	other := clienttest.Bootstrap(t, s.server.CreateOrganization("Umbrella"), "eve@example.com")
	other.Enroll("mallory@example.com", record.ProfileStandard)
	s.ok(other.PullOrganization(t.Context()))
	foreign := s.recordsOf(other, id.Workspace{})[1:]
	onOrganization(s.proxy, func(m *parsecv1.OrganizationPullResponse) {
		m.Records, m.Openings = append(m.Records[:1], foreign...), nil
	})
	s.refusesToEnroll(verify.RuleAuthority.String())
}

func TestAttack03_AnotherOrganizationAtBootstrap(t *testing.T) {
	s := newScene(t)
	genesis := s.recordsOf(s.alice, id.Workspace{})[0]
	onOrganization(s.proxy, func(m *parsecv1.OrganizationPullResponse) { m.Records, m.Openings = [][]byte{genesis}, nil })
	link := s.server.CreateOrganization("Umbrella")
	place := clienttest.NewPlace(t)
	_, err := s.bootstrap(place, link)
	s.breaks(verify.RuleForm.String(), err)
}

func TestAttack04_RecordsOfOtherLogs(t *testing.T) {
	s := newScene(t)
	diary := s.alice.CreateWorkspace("diary")
	s.ok(put(t.Context(), diary, "/secret.txt", "dear diary"))
	foreign := s.recordsOf(s.alice, diary.Workspace().ID())
	s.tries(s.bob, expectation{promise: verify.RuleForm.String()}, s.read(first()), []variant[func()]{
		{"of another workspace", func() { inWorkspace(s.proxy, foreign[len(foreign)-1]) }},
		{"of the organization in a workspace", func() { inWorkspace(s.proxy, s.recordsOf(s.alice, id.Workspace{})[1]) }},
		{"of a workspace in the organization", func() { inOrganization(s.proxy, foreign[0]) }},
	})
}

func TestAttack04_RecordOfAnotherOrganization(t *testing.T) {
	s := newScene(t)
	other := clienttest.Bootstrap(t, s.server.CreateOrganization("Umbrella"), "eve@example.com")
	other.Enroll("mallory@example.com", record.ProfileAdmin)
	s.ok(other.PullOrganization(t.Context()))
	inOrganization(s.proxy, s.recordsOf(other, id.Workspace{})[1])
	s.broken(s.bob, verify.RuleAuthority.String(), s.people)
}

func TestAttack04_CommitASecondTime(t *testing.T) {
	s := newScene(t)
	s.put("/notes.txt", "second draft")
	all := s.recordsOf(s.alice, s.workspace())
	s.ok(s.read(first().and("/notes.txt", "second draft"))(s.bob))
	inWorkspace(s.proxy, all[len(all)-1])
	s.broken(s.bob, verify.RuleSequence.String(), s.read(first().and("/notes.txt", "second draft")))
}

func TestAttack04_GenesisASecondTime(t *testing.T) {
	s := newScene(t)
	inOrganization(s.proxy, s.recordsOf(s.alice, id.Workspace{})[0])
	s.broken(s.bob, verify.RuleSignature.String(), s.people)
}

func TestAttack04_RemovedMembersOldGrant(t *testing.T) {
	s := newScene(t)
	carol := s.newcomer("carol@example.com")
	all := s.recordsOf(s.alice, s.workspace())
	p, ok := s.alice.Person(carol.Device().User)
	if !ok {
		t.Fatal("carol is not there")
	}
	s.ok(s.plans.Workspace().Unshare(t.Context(), p))
	s.ok(s.read(first())(s.bob))
	inWorkspace(s.proxy, all[len(all)-1])
	s.broken(s.bob, verify.RuleTime.String(), s.read(first()))
}

func TestAttack04_DemotedAdministratorsOldPromotion(t *testing.T) {
	s := newScene(t)
	s.alice.Enroll("carol@example.com", record.ProfileStandard)
	_, err := s.alice.SetProfile(t.Context(), "carol@example.com", record.ProfileAdmin)
	s.ok(err)
	all := s.recordsOf(s.alice, id.Workspace{})
	_, err = s.alice.SetProfile(t.Context(), "carol@example.com", record.ProfileStandard)
	s.ok(err)
	s.ok(s.people(s.bob))
	inOrganization(s.proxy, all[len(all)-1])
	s.broken(s.bob, verify.RulePlace.String(), s.people)
}

// A record that the server refused once, or said that it did, is signed for a
// place that others have taken since.
func TestAttack04_RecordOnceWithheld(t *testing.T) {
	s := newScene(t)
	withheld := s.signWorkspace(s.bob, record.Commit{Generation: 1, Changes: []record.Change{
		{Entry: id.New[id.Entry](), Version: 1, Base: 1, Manifest: make([]byte, 32)},
	}})
	s.ok(s.write("/mine.txt", "by bob")(s.bob))
	s.swap()
	want := first().and("/mine.txt", "by bob")
	s.ok(s.read(want)(s.alice))
	inWorkspace(s.proxy, withheld)
	s.broken(s.alice, verify.RuleSequence.String(), s.read(want))
}

func TestAttack04_ReorderedRecords(t *testing.T) {
	s := newScene(t)
	s.put("/a.txt", "a")
	s.put("/b.txt", "b")
	eachRecord(s.proxy, func(records [][]byte) [][]byte {
		slices.Reverse(records)
		return records
	})
	s.broken(s.bob, verify.RulePlace.String(), s.read(first().and("/a.txt", "a").and("/b.txt", "b")))
}

func TestAttack04_RecordDroppedFromTheMiddle(t *testing.T) {
	s := newScene(t)
	s.put("/a.txt", "a")
	s.put("/b.txt", "b")
	eachRecord(s.proxy, func(records [][]byte) [][]byte { return records[min(1, len(records)):] })
	s.broken(s.bob, verify.RulePlace.String(), s.read(first().and("/a.txt", "a").and("/b.txt", "b")))
}

func TestAttack05_RevocationHiddenFromOne(t *testing.T) {
	s := newScene(t)
	s.newcomer("carol@example.com")
	s.ok(s.read(first())(s.bob))
	_, err := s.alice.RevokeUser(t.Context(), "carol@example.com")
	s.ok(err)
	at := s.alice.Organization().Position().Index - 1
	s.ok(s.write("/notes.txt", "not for carol")(s.alice)) // which rotates the key first
	hidden := s.position(at)
	onOrganization(s.proxy, func(m *parsecv1.OrganizationPullResponse) {
		m.Records, m.Openings = nil, nil
		m.Position = hidden
	})
	s.broken(s.bob, verify.RuleKnown.String(), s.read(first().and("/notes.txt", "not for carol")))
}

// position returns where the organization's log stood at an index.
func (s *scene) position(index uint64) *parsecv1.Position {
	s.Helper()
	at := record.OrganizationLog(s.alice.Organization().Root()).Start()
	for _, raw := range s.recordsOf(s.alice, id.Workspace{})[:index] {
		r, err := record.Parse(raw)
		s.ok(err)
		at = at.Next(r.Digest)
	}
	return &parsecv1.Position{Index: at.Index, Head: at.Head[:]}
}

// revokedCarol is a contributor who was revoked, and a commit that she signed
// knowing nothing of it, or as if so.
func (s *scene) revokedCarol() []byte {
	s.Helper()
	carol := s.newcomer("carol@example.com")
	raw := s.signWorkspace(carol, record.Commit{Generation: 1, Changes: []record.Change{
		{Entry: id.New[id.Entry](), Version: 1, Base: 1, Manifest: make([]byte, 32)},
	}})
	s.ok(s.read(first())(s.bob))
	_, err := s.alice.RevokeUser(s.Context(), "carol@example.com")
	s.ok(err)
	return raw
}

func TestAttack05_CommitByTheRevoked(t *testing.T) {
	s := newScene(t)
	raw := s.revokedCarol()
	s.ok(s.bob.PullOrganization(t.Context()))
	_, err := workspace.Find(t.Context(), s.bob.Session, "plans") // nothing in the log covers the revocation yet
	s.ok(err)
	inWorkspace(s.proxy, raw)
	s.broken(s.bob, verify.RuleAuthority.String(), s.read(first()))
}

func TestAttack05_BackDatedCommitByTheRevoked(t *testing.T) {
	s := newScene(t)
	raw := s.revokedCarol()
	s.ok(s.write("/notes.txt", "not for carol")(s.alice))
	inWorkspace(s.proxy, raw)
	before := s.facts(s.bob)
	_, err := s.look(s.bob)
	s.breaks(verify.RuleKnown.String(), err)
	after := s.facts(s.bob)
	after.Organization = before.Organization // that Carol is revoked is true
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("something was written or remembered (-before +after):\n%s", diff)
	}
	s.heals(s.bob, s.read(first().and("/notes.txt", "not for carol")))
}
