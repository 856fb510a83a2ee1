package verify_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
	"parsec/internal/verify"
	"parsec/internal/verify/verifytest"
)

// team is the cast with a workspace: alice owns it, carol is a manager, bob
// and the guest are contributors, dave is a reader; erin is no member.
type team struct {
	*cast
	w    *verifytest.Workspace
	erin *verifytest.Device
	// file is an entry of the workspace at version 2, a delta on 1.
	file id.Entry
	// dead is an entry that is gone.
	dead id.Entry
}

func newTeam(t *testing.T) *team {
	t.Helper()
	c := newCast(t)
	m := &team{cast: c, erin: c.AddUser(record.ProfileStandard), w: c.CreateWorkspace(c.alice)}
	m.w.Share(c.alice, c.carol, record.RoleManager)
	m.w.Share(c.alice, c.bob, record.RoleContributor)
	m.w.Share(c.alice, c.guest, record.RoleContributor)
	m.w.Share(c.carol, c.dave, record.RoleReader)
	file, dead := m.w.New(), m.w.New()
	m.file, m.dead = file.Entry, dead.Entry
	m.w.Commit(c.alice, file, dead)
	m.w.Commit(c.bob, m.w.Delta(m.file), m.w.Gone(m.dead))
	return m
}

// workspaceCase is a record at the end of the team's workspace log.
type workspaceCase struct {
	name string
	make func(m *team) []byte
	want outcome
}

func runWorkspace(t *testing.T, cases []workspaceCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			m := newTeam(t)
			raw := tc.make(m)
			tryWorkspace(t, m.w, raw, tc.want)
		})
	}
}

func (m *team) commit(by *verifytest.Device, edits ...func(*record.Body)) []byte {
	return m.w.Sign(by, m.w.Changes(m.w.New()), edits...)
}

func (m *team) rotate(by *verifytest.Device, edits ...func(*record.Rotation)) []byte {
	r := m.w.Rotation()
	for _, edit := range edits {
		edit(&r)
	}
	return m.w.Sign(by, record.KeyRotated{Rotation: r})
}

func (m *team) share(by, with *verifytest.Device, role record.Role, edits ...func(*record.RoleChanged)) []byte {
	p := m.w.RoleChanged(with, role)
	for _, edit := range edits {
		edit(&p)
	}
	return m.w.Sign(by, p)
}

// late returns a record that was signed now and is sent only after f.
func (m *team) late(by *verifytest.Device, p record.Payload, f func()) []byte {
	raw := m.w.Sign(by, p)
	f()
	return raw
}

func TestAWorkspaceStartsWithItsCreation(t *testing.T) {
	create := func(by func(*cast) *verifytest.Device, edits ...func(*cast, *record.WorkspaceCreated)) func(*cast, *verifytest.Workspace) []byte {
		return func(c *cast, w *verifytest.Workspace) []byte {
			p := w.Created(by(c))
			for _, edit := range edits {
				edit(c, &p)
			}
			return w.Sign(by(c), p)
		}
	}
	bob := func(c *cast) *verifytest.Device { return c.bob }
	for _, tc := range []struct {
		name string
		make func(*cast, *verifytest.Workspace) []byte
		want outcome
	}{
		{"a standard user creates one", create(bob), accepted},
		{"an administrator creates one", create(func(c *cast) *verifytest.Device { return c.desk }), accepted},
		{"an outsider does not", create(func(c *cast) *verifytest.Device { return c.guest }), denied},
		{"a revoked user does not", create(func(c *cast) *verifytest.Device { return c.gone }), denied},
		{"a revoked device does not", create(func(c *cast) *verifytest.Device { return c.lost }), denied},
		{"the sequester services get the key", func(c *cast, w *verifytest.Workspace) []byte {
			c.AddService()
			return w.Sign(c.bob, w.Created(c.bob))
		}, accepted},
		{"a sequester service left out is refused", func(c *cast, w *verifytest.Workspace) []byte {
			p := w.Created(c.bob)
			c.AddService()
			return w.Sign(c.bob, p)
		}, denied},
		{"a key sealed to nobody is refused", create(bob, func(_ *cast, p *record.WorkspaceCreated) { p.Rotation.Grants = nil }), denied},
		{"a key sealed to somebody else is refused", create(bob, func(c *cast, p *record.WorkspaceCreated) {
			p.Rotation.Grants[0].Recipient = c.alice.User
		}), denied},
		{"a key sealed to another key is refused", create(bob, func(_ *cast, p *record.WorkspaceCreated) {
			p.Rotation.Grants[0].Key[0]++
		}), denied},
		{"a start at generation two is refused", create(bob, func(_ *cast, p *record.WorkspaceCreated) {
			p.Rotation.Generation, p.Rotation.Links, p.Rotation.Backlink = 2, 1, make([]byte, record.BacklinkSize)
		}), form},
		{"an unnamed one is refused", create(bob, func(_ *cast, p *record.WorkspaceCreated) { p.Name = nil }), form},
		{"a commit is no start", func(c *cast, w *verifytest.Workspace) []byte {
			return w.Sign(c.bob, w.Changes(w.New()))
		}, place},
		{"another workspace's creation is refused", func(c *cast, w *verifytest.Workspace) []byte {
			return c.CreateWorkspace(c.bob).Records[0]
		}, form},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newCast(t)
			w := c.NewWorkspace()
			raw := tc.make(c, w)
			tryWorkspace(t, w, raw, tc.want)
			if tc.want == accepted {
				tryWorkspace(t, w, raw, place)
			}
		})
	}
}

func TestAWorkspaceRecordStandsWhereItWasSigned(t *testing.T) {
	runWorkspace(t, []workspaceCase{
		{"a commit at the end is accepted", func(m *team) []byte { return m.commit(m.bob) }, accepted},
		{"a commit behind other commits is accepted", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() {
				m.w.Commit(m.alice, m.w.New())
				m.w.Commit(m.guest, m.w.New())
			})
		}, accepted},
		{"a commit behind a heartbeat is accepted", func(m *team) []byte {
			raw := m.commit(m.bob, verifytest.Later(24*time.Hour))
			m.w.Heartbeat(m.dave)
			return raw
		}, accepted},
		{"a commit behind a change of role is refused", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() { m.w.Share(m.alice, m.erin, record.RoleReader) })
		}, place},
		{"a commit behind a rotation is refused", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() { m.w.Rotate(m.alice) })
		}, place},
		{"a commit behind a renaming is refused", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() { m.w.Rename(m.alice) })
		}, place},
		{"a commit behind archiving and back is refused", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() {
				m.w.Archive(m.alice, record.ArchivingArchived)
				m.w.Archive(m.alice, record.ArchivingActive)
			})
		}, place},
		{"a change of role behind a commit is refused", func(m *team) []byte {
			return m.late(m.alice, m.w.RoleChanged(m.erin, record.RoleReader), func() { m.w.Commit(m.bob, m.w.New()) })
		}, place},
		{"a rotation behind a commit is refused", func(m *team) []byte {
			return m.late(m.alice, record.KeyRotated{Rotation: m.w.Rotation()}, func() { m.w.Commit(m.bob, m.w.New()) })
		}, place},
		{"a renaming behind a commit is refused", func(m *team) []byte {
			return m.late(m.alice, record.Renamed{Generation: 1, Name: []byte("x")}, func() { m.w.Commit(m.bob, m.w.New()) })
		}, place},
		{"archiving behind a commit is refused", func(m *team) []byte {
			return m.late(m.alice, record.ArchivingChanged{State: record.ArchivingArchived}, func() { m.w.Commit(m.bob, m.w.New()) })
		}, place},
		{"a commit that saw the future is refused", func(m *team) []byte {
			return m.commit(m.bob, func(b *record.Body) { b.Seen.Workspace.Index++ })
		}, place},
		{"a commit that saw another newest record is refused", func(m *team) []byte {
			return m.commit(m.bob, func(b *record.Body) { b.Seen.Workspace.Head[0]++ })
		}, place},
		{"a commit that saw an older record under a newer index is refused", func(m *team) []byte {
			before := m.w.State.Position()
			m.w.Commit(m.alice, m.w.New())
			m.w.Commit(m.alice, m.w.New())
			return m.commit(m.bob, verifytest.SeenWorkspace(record.Position{Index: before.Index + 1, Head: before.Head}))
		}, place},
		{"a commit that saw the empty log is refused", func(m *team) []byte {
			return m.commit(m.bob, verifytest.SeenWorkspace(record.WorkspaceLog(m.Fingerprint(), m.w.ID).Start()))
		}, place},
		{"a second creation is refused", func(m *team) []byte { return m.w.Sign(m.alice, m.w.Created(m.alice)) }, place},
		{"a commit for another workspace is refused", func(m *team) []byte {
			other := m.CreateWorkspace(m.alice)
			return other.Sign(m.alice, other.Changes(other.New()))
		}, form},
		{"a commit for a workspace of the same id elsewhere is refused", func(m *team) []byte {
			return m.commit(m.bob, func(b *record.Body) { b.Log = record.WorkspaceLog(verifytest.New(t).Fingerprint(), m.w.ID) })
		}, form},
		{"an organization's kind is refused", func(m *team) []byte {
			return m.w.Sign(m.alice, record.UserRevoked{User: m.bob.User})
		}, form},
		{"an organization's record is refused", func(m *team) []byte {
			return m.Sign(m.alice, record.UserRevoked{User: m.bob.User})
		}, form},
	})
}

func TestADeviceCountsItsWorkspaceRecords(t *testing.T) {
	seq := func(n uint64) func(*record.Body) { return func(b *record.Body) { b.Seq = n } }
	runWorkspace(t, []workspaceCase{
		{"the first record of a second device is number one", func(m *team) []byte { return m.commit(m.phone, seq(1)) }, accepted},
		{"a number that was used is refused", func(m *team) []byte {
			return m.commit(m.bob, seq(m.w.State.Sequence(m.bob.ID)))
		}, sequence},
		{"a number left out is refused", func(m *team) []byte {
			return m.commit(m.bob, seq(m.w.State.Sequence(m.bob.ID)+2))
		}, sequence},
		{"number zero is refused", func(m *team) []byte { return m.commit(m.phone, seq(0)) }, sequence},
		{"a commit that was accepted is refused the second time", func(m *team) []byte {
			raw := m.commit(m.bob)
			m.w.Must(raw)
			return raw
		}, sequence},
		{"a removed member who returns goes on counting", func(m *team) []byte {
			m.w.Remove(m.alice, m.bob)
			m.w.Share(m.alice, m.bob, record.RoleContributor)
			return m.commit(m.bob, seq(1))
		}, sequence},
	})
}

func TestTimeNeverGoesBackInAWorkspace(t *testing.T) {
	at := func(d int64) func(m *team) []byte {
		return func(m *team) []byte { return m.commit(m.bob, func(b *record.Body) { b.Time = m.w.State.Time() + d }) }
	}
	runWorkspace(t, []workspaceCase{
		{"the time of the record before is accepted", at(0), accepted},
		{"a later time is accepted", at(1), accepted},
		{"a time before a record that the author must have seen is refused", at(-1), backwards},
		{"a commit dated before another that landed first is accepted", func(m *team) []byte {
			raw := m.commit(m.bob)
			m.w.Append(m.alice, m.w.Changes(m.w.New()), verifytest.Later(1))
			return raw
		}, accepted},
		{"another record dated before a commit that landed first is refused", func(m *team) []byte {
			m.w.Append(m.alice, m.w.Changes(m.w.New()), verifytest.Later(2))
			return m.w.Sign(m.alice, record.Renamed{Generation: 1, Name: []byte("x")}, func(b *record.Body) { b.Time-- })
		}, backwards},
		{"the beginning of time is refused", func(m *team) []byte {
			return m.commit(m.bob, func(b *record.Body) { b.Time = math.MinInt64 })
		}, backwards},
	})
}

func TestWhatARecordSawOfTheOrganizationNeverShrinks(t *testing.T) {
	runWorkspace(t, []workspaceCase{
		{"an older index that nobody went beyond is accepted", func(m *team) []byte {
			before := m.Org.Position()
			m.AddUser(record.ProfileStandard)
			return m.commit(m.bob, verifytest.SeenOrganization(before))
		}, accepted},
		{"an index below the effective position is refused", func(m *team) []byte {
			before := m.Org.Position()
			m.AddUser(record.ProfileStandard)
			m.w.Commit(m.alice, m.w.New())
			return m.commit(m.bob, verifytest.SeenOrganization(before))
		}, unknown},
		{"an index beyond the log is refused", func(m *team) []byte {
			return m.commit(m.bob, func(b *record.Body) { b.Seen.Organization.Index++ })
		}, unknown},
		{"another organization's history is refused", func(m *team) []byte {
			return m.commit(m.bob, func(b *record.Body) { b.Seen.Organization.Head[0]++ })
		}, place},
		{"the organization before its genesis is refused", func(m *team) []byte {
			return m.commit(m.bob, verifytest.SeenOrganization(record.OrganizationLog(m.Org.Root()).Start()))
		}, unknown},
		{"an author who was not there yet is refused", func(m *team) []byte {
			before := m.Org.Position()
			return m.commit(m.AddDevice(m.bob), verifytest.SeenOrganization(before))
		}, denied},
		{"an author whom the organization does not know is refused", func(m *team) []byte {
			return m.commit(m.NewDevice(m.bob))
		}, unknown},
	})
}

func TestARevocationEndsAnAuthorOnceAnybodyKnowsIt(t *testing.T) {
	revokeUser := func(m *team) { m.RevokeUser(m.alice, m.bob) }
	revokeDevice := func(m *team) { m.RevokeDevice(m.alice, m.bob) }
	runWorkspace(t, []workspaceCase{
		{"a revoked user who knows it is refused", func(m *team) []byte {
			revokeUser(m)
			return m.commit(m.bob)
		}, denied},
		{"a revoked device that knows it is refused", func(m *team) []byte {
			revokeDevice(m)
			return m.commit(m.bob)
		}, denied},
		{"a record from before, while nobody knows, is accepted", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() { revokeUser(m) })
		}, accepted},
		{"a record from before, after a heartbeat that knows, is refused", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() {
				revokeUser(m)
				m.w.Must(m.w.Sign(m.dave, record.Heartbeat{}))
			})
		}, unknown},
		{"a record dated later, after a heartbeat that knows, is refused", func(m *team) []byte {
			raw := m.commit(m.bob, verifytest.Later(time.Hour))
			revokeDevice(m)
			m.w.Must(m.w.Sign(m.dave, record.Heartbeat{}))
			return raw
		}, unknown},
		{"another device of the same user stays, after the rotation", func(m *team) []byte {
			revokeDevice(m)
			m.w.Rotate(m.phone)
			return m.commit(m.phone)
		}, accepted},
	})
}

func TestRolesDecideWhoWrites(t *testing.T) {
	runWorkspace(t, []workspaceCase{
		{"an owner commits", func(m *team) []byte { return m.commit(m.desk) }, accepted},
		{"a manager commits", func(m *team) []byte { return m.commit(m.carol) }, accepted},
		{"a contributor commits", func(m *team) []byte { return m.commit(m.phone) }, accepted},
		{"an outsider commits as a contributor", func(m *team) []byte { return m.commit(m.guest) }, accepted},
		{"a reader does not", func(m *team) []byte { return m.commit(m.dave) }, denied},
		{"an administrator who is no member does not", func(m *team) []byte {
			m.SetProfile(m.alice, m.erin, record.ProfileAdmin)
			return m.commit(m.erin)
		}, denied},
		{"a removed member does not", func(m *team) []byte {
			m.w.Remove(m.alice, m.bob)
			return m.commit(m.bob)
		}, denied},
		{"a member who returned does", func(m *team) []byte {
			m.w.Remove(m.alice, m.bob)
			m.w.Share(m.alice, m.bob, record.RoleContributor)
			return m.commit(m.bob)
		}, accepted},
		{"a contributor who became a reader does not", func(m *team) []byte {
			m.w.Share(m.alice, m.bob, record.RoleReader)
			return m.commit(m.bob)
		}, denied},
		{"the sequester authority does not", func(m *team) []byte { return m.commit(m.Authority) }, denied},
		{"nobody does while the workspace is archived", func(m *team) []byte {
			m.w.Archive(m.alice, record.ArchivingArchived)
			return m.commit(m.alice)
		}, denied},
		{"a contributor does again when it is back in use", func(m *team) []byte {
			m.w.Archive(m.alice, record.ArchivingArchived)
			m.w.Archive(m.alice, record.ArchivingActive)
			return m.commit(m.bob)
		}, accepted},
	})
}

func TestAHeartbeatSaysSomethingNew(t *testing.T) {
	beat := func(m *team, by *verifytest.Device, later time.Duration) []byte {
		return m.w.Sign(by, record.Heartbeat{}, func(b *record.Body) { b.Time = m.w.State.Time() + later.Nanoseconds() })
	}
	runWorkspace(t, []workspaceCase{
		{"a reader's, a day after the newest record, is accepted", func(m *team) []byte { return beat(m, m.dave, 24*time.Hour) }, accepted},
		{"one of a moment less is refused", func(m *team) []byte { return beat(m, m.dave, 24*time.Hour-1) }, place},
		{"the first that knows a member's revocation is accepted", func(m *team) []byte {
			m.RevokeUser(m.alice, m.bob)
			return beat(m, m.dave, 0)
		}, accepted},
		{"the first that knows the revocation of a member's device is accepted", func(m *team) []byte {
			m.RevokeAndReplace(m.bob, m.phone)
			return beat(m, m.guest, 0)
		}, accepted},
		{"the second that knows it is refused", func(m *team) []byte {
			m.RevokeUser(m.alice, m.bob)
			m.w.Must(beat(m, m.dave, 0))
			return beat(m, m.guest, 0)
		}, place},
		{"the revocation of somebody else is no reason", func(m *team) []byte {
			m.RevokeUser(m.alice, m.erin)
			return beat(m, m.dave, 0)
		}, place},
		{"one behind a commit that it had not seen is accepted", func(m *team) []byte {
			before := m.w.State.Position()
			m.w.Commit(m.alice, m.w.New())
			return m.w.Sign(m.dave, record.Heartbeat{}, verifytest.SeenWorkspace(before), verifytest.Later(24*time.Hour))
		}, accepted},
		{"one in an archived workspace is accepted", func(m *team) []byte {
			m.w.Archive(m.alice, record.ArchivingArchived)
			return beat(m, m.dave, 24*time.Hour)
		}, accepted},
		{"somebody who is no member says nothing", func(m *team) []byte { return beat(m, m.erin, 24*time.Hour) }, denied},
		{"the end of time after its beginning is no reason to panic", func(m *team) []byte {
			return m.w.Sign(m.dave, record.Heartbeat{}, func(b *record.Body) { b.Time = math.MaxInt64 })
		}, accepted},
	})
}

func TestOwnersAndManagersGiveRoles(t *testing.T) {
	give := func(by, to func(*team) *verifytest.Device, role record.Role) func(*team) []byte {
		return func(m *team) []byte { return m.share(by(m), to(m), role) }
	}
	alice, carol := func(m *team) *verifytest.Device { return m.alice }, func(m *team) *verifytest.Device { return m.carol }
	bob, dave := func(m *team) *verifytest.Device { return m.bob }, func(m *team) *verifytest.Device { return m.dave }
	erin, guest := func(m *team) *verifytest.Device { return m.erin }, func(m *team) *verifytest.Device { return m.guest }
	desk, phone := func(m *team) *verifytest.Device { return m.desk }, func(m *team) *verifytest.Device { return m.phone }
	runWorkspace(t, []workspaceCase{
		{"an owner makes another owner", give(alice, erin, record.RoleOwner), accepted},
		{"an owner promotes a member to owner", give(desk, bob, record.RoleOwner), accepted},
		{"an owner demotes a manager", give(alice, carol, record.RoleReader), accepted},
		{"an owner removes a manager", give(alice, carol, record.RoleNone), accepted},
		{"an owner demotes another owner", func(m *team) []byte {
			m.w.Share(m.alice, m.carol, record.RoleOwner)
			return m.share(m.carol, m.alice, record.RoleNone)
		}, accepted},
		{"a manager adds a reader", give(carol, erin, record.RoleReader), accepted},
		{"a manager adds a contributor", give(carol, erin, record.RoleContributor), accepted},
		{"a manager promotes a reader to contributor", give(carol, dave, record.RoleContributor), accepted},
		{"a manager removes a contributor", give(carol, bob, record.RoleNone), accepted},
		{"a manager removes an outsider", give(carol, guest, record.RoleNone), accepted},
		{"a manager makes no manager", give(carol, bob, record.RoleManager), denied},
		{"a manager adds no owner", give(carol, erin, record.RoleOwner), denied},
		{"a manager does not demote an owner", give(carol, alice, record.RoleReader), denied},
		{"a manager does not remove another manager", func(m *team) []byte {
			m.w.Share(m.alice, m.erin, record.RoleManager)
			return m.share(m.carol, m.erin, record.RoleNone)
		}, denied},
		{"a contributor adds nobody", give(bob, erin, record.RoleReader), denied},
		{"a reader adds nobody", give(dave, erin, record.RoleReader), denied},
		{"somebody who is no member adds nobody", give(erin, func(m *team) *verifytest.Device { return m.AddUser(record.ProfileStandard) }, record.RoleReader), denied},
		{"an administrator who is no member does not add themselves", func(m *team) []byte {
			m.SetProfile(m.alice, m.erin, record.ProfileAdmin)
			return m.share(m.erin, m.erin, record.RoleOwner)
		}, denied},
		{"an owner does not step down", give(alice, alice, record.RoleManager), denied},
		{"an owner does not leave", give(alice, alice, record.RoleNone), denied},
		{"nobody changes their own role from another device", give(desk, alice, record.RoleReader), denied},
		{"a contributor does not promote themselves", give(phone, bob, record.RoleManager), denied},
		{"a change to the same role is refused", give(alice, bob, record.RoleContributor), denied},
		{"somebody who is no member is not removed", give(alice, erin, record.RoleNone), denied},
		{"an unknown user gets no role", func(m *team) []byte {
			p := m.w.RoleChanged(m.erin, record.RoleReader)
			p.User = id.New[id.User]()
			return m.w.Sign(m.alice, p)
		}, denied},
		{"a revoked user gets no role", func(m *team) []byte {
			m.RevokeUser(m.alice, m.erin)
			return m.share(m.alice, m.erin, record.RoleReader)
		}, denied},
		{"a revoked member gets no other role", func(m *team) []byte {
			m.RevokeUser(m.alice, m.bob)
			return m.share(m.alice, m.bob, record.RoleReader)
		}, denied},
		{"a revoked member is removed", func(m *team) []byte {
			m.RevokeUser(m.alice, m.bob)
			return m.share(m.carol, m.bob, record.RoleNone)
		}, accepted},
		{"a role that does not exist is refused", give(alice, bob, record.RoleOwner+1), form},
	})
}

func TestOutsidersCountAsAtMostContributors(t *testing.T) {
	owner := func(m *team) { m.w.Share(m.alice, m.guest, record.RoleOwner) }
	runWorkspace(t, []workspaceCase{
		{"an outsider with the role of owner commits", func(m *team) []byte {
			owner(m)
			return m.commit(m.guest)
		}, accepted},
		{"an outsider with the role of owner adds nobody", func(m *team) []byte {
			owner(m)
			return m.share(m.guest, m.erin, record.RoleReader)
		}, denied},
		{"an outsider with the role of owner rotates nothing", func(m *team) []byte {
			owner(m)
			return m.rotate(m.guest)
		}, denied},
		{"an outsider with the role of owner renames nothing", func(m *team) []byte {
			owner(m)
			return m.w.Sign(m.guest, record.Renamed{Generation: 1, Name: []byte("x")})
		}, denied},
		{"an owner who becomes an outsider loses the right", func(m *team) []byte {
			m.w.Share(m.alice, m.erin, record.RoleOwner)
			m.SetProfile(m.alice, m.erin, record.ProfileOutsider)
			return m.share(m.erin, m.bob, record.RoleReader)
		}, denied},
		{"and gets it back with the profile", func(m *team) []byte {
			m.w.Share(m.alice, m.erin, record.RoleOwner)
			m.SetProfile(m.alice, m.erin, record.ProfileOutsider)
			m.SetProfile(m.alice, m.erin, record.ProfileStandard)
			return m.share(m.erin, m.bob, record.RoleReader)
		}, accepted},
	})
}

func TestOwnershipIsTakenOnlyWhenNoOwnerIsLeft(t *testing.T) {
	leave := func(m *team) { m.RevokeUser(m.carol, m.alice) }
	take := func(m *team, by *verifytest.Device) []byte { return m.share(by, by, record.RoleOwner) }
	runWorkspace(t, []workspaceCase{
		{"a manager takes it when the owner was revoked", func(m *team) []byte {
			leave(m)
			return take(m, m.carol)
		}, accepted},
		{"a manager takes it when the owner became an outsider", func(m *team) []byte {
			m.SetProfile(m.carol, m.alice, record.ProfileOutsider)
			return take(m, m.carol)
		}, accepted},
		{"a contributor takes it when no manager is left", func(m *team) []byte {
			m.w.Remove(m.alice, m.carol)
			leave(m)
			return take(m, m.bob)
		}, accepted},
		{"a reader takes it when nobody else is left", func(m *team) []byte {
			for _, d := range []*verifytest.Device{m.carol, m.bob, m.guest} {
				m.w.Remove(m.alice, d)
			}
			leave(m)
			return take(m, m.dave)
		}, accepted},
		{"nobody takes it while there is an owner", func(m *team) []byte { return take(m, m.carol) }, denied},
		{"nobody takes it while a second owner is there", func(m *team) []byte {
			m.w.Share(m.alice, m.erin, record.RoleOwner)
			leave(m)
			return take(m, m.carol)
		}, denied},
		{"a contributor does not take it past a manager", func(m *team) []byte {
			leave(m)
			return take(m, m.bob)
		}, denied},
		{"a reader does not take it past a contributor", func(m *team) []byte {
			m.w.Remove(m.alice, m.carol)
			leave(m)
			return take(m, m.dave)
		}, denied},
		{"an outsider does not take it", func(m *team) []byte {
			m.w.Remove(m.alice, m.carol)
			leave(m)
			return take(m, m.guest)
		}, denied},
		{"an administrator who is no member does not take it", func(m *team) []byte {
			m.SetProfile(m.alice, m.erin, record.ProfileAdmin)
			leave(m)
			return take(m, m.erin)
		}, denied},
		{"a manager does not name somebody else", func(m *team) []byte {
			leave(m)
			return m.share(m.carol, m.bob, record.RoleOwner)
		}, denied},
		{"nobody takes less than ownership", func(m *team) []byte {
			m.w.Remove(m.alice, m.carol)
			leave(m)
			return m.share(m.bob, m.bob, record.RoleManager)
		}, denied},
		{"a claim that knows no revocation is refused", func(m *team) []byte {
			before := m.Org.Position()
			leave(m)
			return m.w.Sign(m.carol, m.w.RoleChanged(m.carol, record.RoleOwner), verifytest.SeenOrganization(before))
		}, denied},
		{"the second of two claims is refused", func(m *team) []byte {
			m.w.Share(m.alice, m.erin, record.RoleManager)
			leave(m)
			raw := take(m, m.erin)
			m.w.Must(take(m, m.carol))
			return raw
		}, place},
		{"the second of two claims is refused when it is signed again", func(m *team) []byte {
			m.w.Share(m.alice, m.erin, record.RoleManager)
			leave(m)
			m.w.Must(take(m, m.carol))
			return take(m, m.erin)
		}, denied},
	})
}

func TestARoleComesWithTheKey(t *testing.T) {
	add := func(edit func(*team, *record.RoleChanged)) func(*team) []byte {
		return func(m *team) []byte {
			return m.share(m.alice, m.erin, record.RoleReader, func(p *record.RoleChanged) { edit(m, p) })
		}
	}
	runWorkspace(t, []workspaceCase{
		{"a new member without a grant is refused", add(func(_ *team, p *record.RoleChanged) { p.Grant = nil }), denied},
		{"a grant to somebody else is refused", add(func(m *team, p *record.RoleChanged) { p.Grant[0].Recipient = m.bob.User }), denied},
		{"a grant to another key is refused", add(func(m *team, p *record.RoleChanged) { p.Grant[0].Key = m.w.Grant(m.bob).Key }), denied},
		{"two grants are refused", add(func(_ *team, p *record.RoleChanged) { p.Grant = append(p.Grant, p.Grant[0]) }), form},
		{"a rotation beside a grant is refused", add(func(m *team, p *record.RoleChanged) {
			p.Rotation = []record.Rotation{m.w.Rotation()}
		}), form},
		{"a grant for one who is a member is refused", func(m *team) []byte {
			return m.share(m.alice, m.bob, record.RoleReader, func(p *record.RoleChanged) { p.Grant = []record.Grant{m.w.Grant(m.bob)} })
		}, denied},
		{"a grant to a key that was replaced is refused", func(m *team) []byte {
			p := m.w.RoleChanged(m.erin, record.RoleReader)
			m.ReplaceKey(m.erin)
			return m.w.Sign(m.alice, p)
		}, denied},
		{"a grant to a key that was replaced unknown to its author is accepted", func(m *team) []byte {
			p, before := m.w.RoleChanged(m.erin, record.RoleReader), m.Org.Position()
			m.ReplaceKey(m.erin)
			return m.w.Sign(m.alice, p, verifytest.SeenOrganization(before))
		}, accepted},
		{"one whose key awaits replacement does not join", func(m *team) []byte {
			m.RevokeDevice(m.erin, m.AddDevice(m.erin))
			return m.share(m.alice, m.erin, record.RoleReader)
		}, denied},
		{"and joins once it is replaced", func(m *team) []byte {
			m.RevokeDevice(m.erin, m.AddDevice(m.erin))
			m.ReplaceKey(m.erin)
			return m.share(m.alice, m.erin, record.RoleReader)
		}, accepted},
		{"a member whose key awaits replacement changes role", func(m *team) []byte {
			m.RevokeDevice(m.bob, m.phone)
			return m.share(m.alice, m.bob, record.RoleReader)
		}, accepted},
	})
}

func TestRemovalContainsTheRotation(t *testing.T) {
	remove := func(edit func(*team, *record.RoleChanged)) func(*team) []byte {
		return func(m *team) []byte {
			return m.share(m.alice, m.bob, record.RoleNone, func(p *record.RoleChanged) { edit(m, p) })
		}
	}
	runWorkspace(t, []workspaceCase{
		{"with it the removal is accepted", remove(func(*team, *record.RoleChanged) {}), accepted},
		{"without it the removal is refused", remove(func(_ *team, p *record.RoleChanged) { p.Rotation = nil }), form},
		{"a new key for the removed member too is refused", remove(func(m *team, p *record.RoleChanged) {
			p.Rotation[0] = m.w.Rotation()
		}), denied},
		{"the present generation again is refused", remove(func(_ *team, p *record.RoleChanged) {
			p.Rotation[0].Generation, p.Rotation[0].Links, p.Rotation[0].Backlink = 1, 0, nil
		}), denied},
		{"a commit under the key of before is refused", func(m *team) []byte {
			old := m.w.Changes(m.w.New())
			m.w.Remove(m.alice, m.bob)
			return m.w.Sign(m.carol, old)
		}, due},
	})
}

func TestARotationSealsTheKeyToExactlyTheMembers(t *testing.T) {
	rotate := func(edit func(*team, *record.Rotation)) func(*team) []byte {
		return func(m *team) []byte { return m.rotate(m.alice, func(r *record.Rotation) { edit(m, r) }) }
	}
	runWorkspace(t, []workspaceCase{
		{"an owner rotates at any time", func(m *team) []byte { return m.rotate(m.desk) }, accepted},
		{"a manager rotates at any time", func(m *team) []byte { return m.rotate(m.carol) }, accepted},
		{"a contributor does not while none is due", func(m *team) []byte { return m.rotate(m.bob) }, denied},
		{"a reader does not", func(m *team) []byte { return m.rotate(m.dave) }, denied},
		{"somebody who is no member does not", func(m *team) []byte { return m.rotate(m.erin) }, denied},
		{"a rotation in an archived workspace is accepted", func(m *team) []byte {
			m.w.Archive(m.alice, record.ArchivingArchived)
			return m.rotate(m.alice)
		}, accepted},
		{"a member left out is refused", rotate(func(_ *team, r *record.Rotation) { r.Grants = r.Grants[1:] }), denied},
		{"nobody at all is refused", rotate(func(_ *team, r *record.Rotation) { r.Grants = nil }), denied},
		{"one who is no member is refused", rotate(func(m *team, r *record.Rotation) {
			r.Grants = append(r.Grants, m.w.Grant(m.erin))
			slices.SortFunc(r.Grants, func(a, b record.Grant) int { return bytes.Compare(a.Recipient[:], b.Recipient[:]) })
		}), denied},
		{"one who is no member in a member's place is refused", rotate(func(m *team, r *record.Rotation) {
			r.Grants[0] = m.w.Grant(m.erin)
			slices.SortFunc(r.Grants, func(a, b record.Grant) int { return bytes.Compare(a.Recipient[:], b.Recipient[:]) })
		}), denied},
		{"another key of a member is refused", rotate(func(_ *team, r *record.Rotation) { r.Grants[0].Key[0]++ }), denied},
		{"a revoked member is left out", func(m *team) []byte {
			m.RevokeUser(m.alice, m.bob)
			return m.rotate(m.alice)
		}, accepted},
		{"a revoked member in it is refused", func(m *team) []byte {
			r := m.w.Rotation()
			m.RevokeUser(m.alice, m.bob)
			return m.w.Sign(m.alice, record.KeyRotated{Rotation: r})
		}, denied},
		{"a member whose key awaits replacement is left out", func(m *team) []byte {
			m.RevokeDevice(m.alice, m.phone)
			if len(m.w.Rotation().Grants) != 4 {
				return nil
			}
			return m.rotate(m.bob)
		}, accepted},
		{"a member whose key awaits replacement in it is refused", func(m *team) []byte {
			r := m.w.Rotation()
			m.RevokeDevice(m.alice, m.phone)
			return m.w.Sign(m.alice, record.KeyRotated{Rotation: r})
		}, denied},
		{"a member whose key was replaced is in again", func(m *team) []byte {
			m.RevokeDevice(m.alice, m.phone)
			m.ReplaceKey(m.bob)
			return m.rotate(m.alice)
		}, accepted},
		{"a replaced key under its old digest is refused", func(m *team) []byte {
			r := m.w.Rotation()
			m.ReplaceKey(m.bob)
			return m.w.Sign(m.alice, record.KeyRotated{Rotation: r})
		}, denied},
		{"a sequester service is in it", func(m *team) []byte {
			m.AddService()
			return m.rotate(m.alice)
		}, accepted},
		{"a sequester service left out is refused", func(m *team) []byte {
			r := m.w.Rotation()
			m.AddService()
			return m.w.Sign(m.alice, record.KeyRotated{Rotation: r})
		}, denied},
		{"a generation left out is refused", rotate(func(_ *team, r *record.Rotation) { r.Generation++ }), denied},
		{"generation one again is refused", rotate(func(_ *team, r *record.Rotation) {
			r.Generation, r.Links, r.Backlink = 1, 0, nil
		}), form},
		{"a link to itself is refused", rotate(func(_ *team, r *record.Rotation) { r.Links++ }), form},
		{"no link is refused", rotate(func(_ *team, r *record.Rotation) { r.Links = 0 }), form},
		{"one recipient twice is refused", rotate(func(_ *team, r *record.Rotation) { r.Grants[1] = r.Grants[0] }), form},
	})
}

func TestARotationIsDueAfterARevocation(t *testing.T) {
	user := func(m *team) { m.RevokeUser(m.alice, m.dave) }
	runWorkspace(t, []workspaceCase{
		{"a commit that knows of a revoked member is refused", func(m *team) []byte {
			user(m)
			return m.commit(m.alice)
		}, due},
		{"a commit that does not know yet is accepted", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() { user(m) })
		}, accepted},
		{"a commit after the rotation is accepted", func(m *team) []byte {
			user(m)
			m.w.Rotate(m.bob)
			return m.commit(m.guest)
		}, accepted},
		{"a commit under the old generation after it is refused", func(m *team) []byte {
			user(m)
			old := m.w.Changes(m.w.New())
			m.w.Rotate(m.bob)
			return m.w.Sign(m.alice, old)
		}, due},
		{"a commit under a generation to come is refused", func(m *team) []byte {
			p := m.w.Changes(m.w.New())
			p.Generation++
			return m.w.Sign(m.alice, p)
		}, due},
		{"a rotation that does not know of the revocation leaves it due", func(m *team) []byte {
			raw := m.rotate(m.alice)
			user(m)
			m.w.Must(raw)
			return m.commit(m.alice)
		}, due},
		{"a revoked device makes it due", func(m *team) []byte {
			m.RevokeDevice(m.alice, m.phone)
			return m.commit(m.alice)
		}, due},
		{"a device revoked with its key replaced makes it due", func(m *team) []byte {
			m.RevokeAndReplace(m.bob, m.phone)
			return m.commit(m.bob)
		}, due},
		{"the replacement of the key alone does not", func(m *team) []byte {
			m.ReplaceKey(m.bob)
			return m.commit(m.bob)
		}, accepted},
		{"the replacement after a rotation does not", func(m *team) []byte {
			m.RevokeDevice(m.bob, m.phone)
			m.w.Rotate(m.alice)
			m.ReplaceKey(m.bob)
			return m.commit(m.bob)
		}, accepted},
		{"the revocation of one who is no member does not", func(m *team) []byte {
			m.RevokeUser(m.alice, m.erin)
			return m.commit(m.bob)
		}, accepted},
		{"the revocation of a member removed before does not", func(m *team) []byte {
			m.w.Remove(m.alice, m.dave)
			user(m)
			return m.commit(m.bob)
		}, accepted},
		{"a device lost before its user joined does not", func(m *team) []byte {
			m.RevokeAndReplace(m.erin, m.AddDevice(m.erin))
			m.w.Share(m.alice, m.erin, record.RoleContributor)
			return m.commit(m.erin)
		}, accepted},
		{"a device lost before its user joined again does not", func(m *team) []byte {
			m.w.Remove(m.alice, m.bob)
			m.RevokeAndReplace(m.bob, m.phone)
			m.w.Share(m.alice, m.bob, record.RoleContributor)
			return m.commit(m.bob)
		}, accepted},
		{"a revocation unknown to who let its user join makes it due", func(m *team) []byte {
			raw := m.share(m.alice, m.erin, record.RoleContributor)
			m.RevokeAndReplace(m.erin, m.AddDevice(m.erin))
			m.w.Must(raw)
			return m.commit(m.bob)
		}, due},
		{"a revocation long before somebody joins stays due", func(m *team) []byte {
			user(m)
			m.w.Share(m.alice, m.erin, record.RoleContributor)
			return m.commit(m.erin)
		}, due},
		{"the removal of the revoked member settles it", func(m *team) []byte {
			user(m)
			m.w.Remove(m.carol, m.dave)
			return m.commit(m.bob)
		}, accepted},
		{"the removal of another member settles it", func(m *team) []byte {
			user(m)
			m.w.Remove(m.carol, m.guest)
			return m.commit(m.bob)
		}, accepted},
		{"a second revocation after a commit makes it due again", func(m *team) []byte {
			user(m)
			m.w.Rotate(m.bob)
			m.w.Commit(m.bob, m.w.New())
			m.RevokeDevice(m.alice, m.phone)
			return m.commit(m.bob)
		}, due},
		{"a new sequester service makes it due", func(m *team) []byte {
			m.AddService()
			return m.commit(m.bob)
		}, due},
		{"a revoked sequester service makes it due", func(m *team) []byte {
			s := m.AddService()
			m.w.Rotate(m.alice)
			m.Append(m.Authority, record.SequesterRevoked{Service: s})
			return m.commit(m.bob)
		}, due},
		{"while it is due a contributor rotates", func(m *team) []byte {
			user(m)
			return m.rotate(m.phone)
		}, accepted},
		{"while it is due an outsider rotates as a contributor", func(m *team) []byte {
			user(m)
			return m.rotate(m.guest)
		}, accepted},
		{"while it is due a reader does not", func(m *team) []byte {
			m.RevokeUser(m.alice, m.bob)
			return m.rotate(m.dave)
		}, denied},
		{"a contributor who does not know that it is due does not", func(m *team) []byte {
			before := m.Org.Position()
			raw := m.w.Sign(m.bob, record.KeyRotated{Rotation: m.w.Rotation()}, verifytest.SeenOrganization(before))
			user(m)
			return raw
		}, denied},
		{"a contributor who is second does not", func(m *team) []byte {
			user(m)
			m.w.Rotate(m.bob)
			return m.rotate(m.guest)
		}, denied},
		{"a contributor leaves out no generation", func(m *team) []byte {
			m.w.Rotate(m.alice)
			user(m)
			return m.rotate(m.bob, func(r *record.Rotation) { r.Links = 1 })
		}, denied},
		{"a manager leaves out one that does not open", func(m *team) []byte {
			m.w.Rotate(m.alice)
			return m.rotate(m.carol, func(r *record.Rotation) { r.Links = 1 })
		}, accepted},
		{"a renaming while it is due is refused", func(m *team) []byte {
			user(m)
			return m.w.Sign(m.alice, record.Renamed{Generation: 1, Name: []byte("x")})
		}, due},
	})
}

func TestOnlyOwnersRenameAndArchive(t *testing.T) {
	rename := func(m *team, by *verifytest.Device) []byte {
		return m.w.Sign(by, record.Renamed{Generation: m.w.State.Generation(), Name: []byte("x")})
	}
	archive := func(m *team, by *verifytest.Device, s record.Archiving) []byte {
		return m.w.Sign(by, record.ArchivingChanged{State: s})
	}
	runWorkspace(t, []workspaceCase{
		{"an owner renames", func(m *team) []byte { return rename(m, m.desk) }, accepted},
		{"a manager does not rename", func(m *team) []byte { return rename(m, m.carol) }, denied},
		{"a contributor does not rename", func(m *team) []byte { return rename(m, m.bob) }, denied},
		{"a name under an old generation is refused", func(m *team) []byte {
			p := record.Renamed{Generation: 1, Name: []byte("x")}
			m.w.Rotate(m.alice)
			return m.w.Sign(m.alice, p)
		}, due},
		{"an empty name is refused", func(m *team) []byte { return m.w.Sign(m.alice, record.Renamed{Generation: 1}) }, form},
		{"an owner archives", func(m *team) []byte { return archive(m, m.alice, record.ArchivingArchived) }, accepted},
		{"a manager does not archive", func(m *team) []byte { return archive(m, m.carol, record.ArchivingArchived) }, denied},
		{"an owner does not archive twice", func(m *team) []byte {
			m.w.Archive(m.alice, record.ArchivingArchived)
			return archive(m, m.alice, record.ArchivingArchived)
		}, denied},
		{"what is in use is not taken back into use", func(m *team) []byte { return archive(m, m.alice, record.ArchivingActive) }, denied},
		{"a state that does not exist is refused", func(m *team) []byte { return archive(m, m.alice, 2) }, form},
	})
}

func TestVersionsFollowEachOther(t *testing.T) {
	put := func(v, base uint64) func(*team) []byte {
		return func(m *team) []byte {
			return m.w.Sign(m.bob, m.w.Changes(record.Change{Entry: m.file, Version: v, Base: base, Manifest: make([]byte, 32)}))
		}
	}
	revive := func(v, base uint64) func(*team) []byte {
		return func(m *team) []byte {
			return m.w.Sign(m.bob, m.w.Changes(record.Change{Entry: m.dead, Version: v, Base: base, Manifest: make([]byte, 32)}))
		}
	}
	fresh := func(c record.Change) func(*team) []byte {
		c.Entry = id.New[id.Entry]()
		return func(m *team) []byte { return m.w.Sign(m.bob, m.w.Changes(c)) }
	}
	digest := make([]byte, 32)
	runWorkspace(t, []workspaceCase{
		{"the first version is a snapshot", fresh(record.Change{Version: 1, Base: 1, Manifest: digest}), accepted},
		{"a first version two is refused", fresh(record.Change{Version: 2, Base: 2, Manifest: digest}), version},
		{"a first version on another's base is refused", fresh(record.Change{Version: 2, Base: 1, Manifest: digest}), version},
		{"the removal of what never was is refused", fresh(record.Change{Version: 2}), version},
		{"the removal of the root folder is refused", func(m *team) []byte {
			root := id.RootEntry(m.w.ID)
			m.w.Commit(m.bob, m.w.Put(root))
			return m.w.Sign(m.bob, m.w.Changes(m.w.Gone(root)))
		}, form},
		{"a removal at version one is refused", fresh(record.Change{Version: 1}), form},
		{"the next version as a delta is accepted", put(3, 1), accepted},
		{"the next version as a snapshot is accepted", put(3, 3), accepted},
		{"a delta on what is no snapshot is refused", put(3, 2), version},
		{"the present version again is refused", put(2, 1), version},
		{"the present version as a snapshot is refused", put(2, 2), version},
		{"a version left out is refused", put(4, 1), version},
		{"the last version of all is refused", put(math.MaxUint64, math.MaxUint64), version},
		{"a base beyond the version is refused", put(3, 4), form},
		{"a removal is accepted", func(m *team) []byte { return m.w.Sign(m.bob, m.w.Changes(m.w.Gone(m.file))) }, accepted},
		{"a removal of an older version is refused", func(m *team) []byte {
			return m.w.Sign(m.bob, m.w.Changes(record.Change{Entry: m.file, Version: 2}))
		}, version},
		{"a second removal is refused", func(m *team) []byte { return m.w.Sign(m.bob, m.w.Changes(m.w.Gone(m.dead))) }, version},
		{"a snapshot revives what is gone", revive(3, 3), accepted},
		{"a delta does not revive what is gone", revive(3, 1), version},
		{"a revival does not start anew", revive(1, 1), version},
		{"a delta on a revival is accepted", func(m *team) []byte {
			m.w.Commit(m.bob, m.w.Put(m.dead))
			return m.w.Sign(m.bob, m.w.Changes(m.w.Delta(m.dead)))
		}, accepted},
		{"a delta on the snapshot before a removal is refused", func(m *team) []byte {
			m.w.Commit(m.bob, m.w.Put(m.dead))
			return revive(4, 1)(m)
		}, version},
		{"two changes of one entry are refused", func(m *team) []byte {
			c := m.w.New()
			return m.w.Sign(m.bob, m.w.Changes(c, c))
		}, form},
		{"a commit of nothing is refused", func(m *team) []byte { return m.w.Sign(m.bob, m.w.Changes()) }, form},
		{"a commit of too much is refused", func(m *team) []byte {
			changes := make([]record.Change, record.MaxChanges+1)
			for i := range changes {
				changes[i] = record.Change{Entry: id.New[id.Entry](), Version: 1, Base: 1, Manifest: digest}
			}
			return m.w.Sign(m.bob, m.w.Changes(changes...))
		}, form},
		{"a removal that is not said to restructure is refused", func(m *team) []byte {
			p := m.w.Changes(m.w.Gone(m.file))
			p.Restructures = false
			return m.w.Sign(m.bob, p)
		}, form},
	})
}

func TestAStaleCommitNamesEveryStaleEntry(t *testing.T) {
	m := newTeam(t)
	stale := []id.Entry{m.file, m.dead}
	slices.SortFunc(stale, func(a, b id.Entry) int { return bytes.Compare(a[:], b[:]) })
	raw := m.w.Sign(m.bob, m.w.Changes(m.w.New(),
		record.Change{Entry: m.file, Version: 2, Base: 2, Manifest: make([]byte, 32)},
		record.Change{Entry: m.dead, Version: 2, Base: 2, Manifest: make([]byte, 32)}, m.w.New()))
	_, err := m.w.Try(raw)
	var v *verify.Violation
	if !errors.As(err, &v) || v.Rule != verify.RuleVersion {
		t.Fatalf("got %v", err)
	}
	if diff := cmp.Diff(stale, v.Entries); diff != "" {
		t.Error(diff)
	}
}

func TestDeltasOnOneSnapshotAreBounded(t *testing.T) {
	m := newTeam(t)
	for range manifest.MaxDeltas - 1 {
		m.w.Commit(m.bob, m.w.Delta(m.file))
	}
	tryWorkspace(t, m.w, m.w.Sign(m.bob, m.w.Changes(m.w.Delta(m.file))), version)
	tryWorkspace(t, m.w, m.w.Sign(m.bob, m.w.Changes(m.w.Put(m.file))), accepted)
	tryWorkspace(t, m.w, m.w.Sign(m.bob, m.w.Changes(m.w.Delta(m.file))), accepted)
}

func TestRemovalAndEditKnowEachOther(t *testing.T) {
	restructure := func(m *team, changes ...record.Change) record.Commit {
		p := m.w.Changes(changes...)
		p.Restructures = true
		return p
	}
	runWorkspace(t, []workspaceCase{
		{"a restructuring commit at the end is accepted", func(m *team) []byte {
			return m.w.Sign(m.bob, restructure(m, m.w.New()))
		}, accepted},
		{"one that had not seen a commit is refused", func(m *team) []byte {
			return m.late(m.bob, restructure(m, m.w.New()), func() { m.w.Commit(m.alice, m.w.New()) })
		}, place},
		{"one that had not seen a heartbeat is refused", func(m *team) []byte {
			raw := m.w.Sign(m.bob, restructure(m, m.w.New()), verifytest.Later(48*time.Hour))
			m.w.Heartbeat(m.dave)
			return raw
		}, place},
		{"an edit that had not seen a restructuring is refused", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() { m.w.Append(m.alice, restructure(m, m.w.New())) })
		}, place},
		{"an edit that had not seen a restructuring further back is refused", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() {
				m.w.Append(m.alice, restructure(m, m.w.New()))
				m.w.Commit(m.alice, m.w.New())
			})
		}, place},
		{"an edit that had seen exactly the restructuring is accepted", func(m *team) []byte {
			m.w.Append(m.alice, restructure(m, m.w.New()))
			return m.late(m.bob, m.w.Changes(m.w.New()), func() { m.w.Commit(m.alice, m.w.New()) })
		}, accepted},
		{"a heartbeat need not have seen a restructuring", func(m *team) []byte {
			raw := m.w.Sign(m.dave, record.Heartbeat{}, verifytest.Later(25*time.Hour))
			m.w.Append(m.alice, restructure(m, m.w.New()))
			return raw
		}, accepted},
	})
}

func TestTheServerHoldsRecordsToThePresentOrganization(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(m *team) []byte
		want outcome
	}{
		{"a commit that has not seen an unrelated record is accepted", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() { m.AddUser(record.ProfileStandard) })
		}, accepted},
		{"a commit by an author revoked since is refused", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() { m.RevokeUser(m.alice, m.bob) })
		}, denied},
		{"a commit by a device revoked since is refused", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() { m.RevokeDevice(m.alice, m.bob) })
		}, denied},
		{"a commit that has not seen a revocation that makes a rotation due is refused", func(m *team) []byte {
			return m.late(m.bob, m.w.Changes(m.w.New()), func() { m.RevokeUser(m.alice, m.dave) })
		}, due},
		{"a heartbeat that has not seen an unrelated record is accepted", func(m *team) []byte {
			raw := m.w.Sign(m.dave, record.Heartbeat{}, verifytest.Later(25*time.Hour))
			m.RevokeUser(m.alice, m.bob)
			return raw
		}, accepted},
		{"a change of role that has not seen an unrelated record is refused", func(m *team) []byte {
			return m.late(m.alice, m.w.RoleChanged(m.erin, record.RoleReader), func() { m.AddUser(record.ProfileStandard) })
		}, unknown},
		{"a rotation that has not seen a replaced key is refused", func(m *team) []byte {
			return m.late(m.alice, record.KeyRotated{Rotation: m.w.Rotation()}, func() { m.ReplaceKey(m.bob) })
		}, unknown},
		{"a claim by one who became an outsider is refused", func(m *team) []byte {
			m.RevokeUser(m.carol, m.alice)
			return m.late(m.carol, m.w.RoleChanged(m.carol, record.RoleOwner), func() {
				m.SetProfile(m.AddAdmin(m.carol), m.carol, record.ProfileOutsider)
			})
		}, unknown},
		{"a commit that saw more than there is goes on to the other rules", func(m *team) []byte {
			return m.commit(m.bob, func(b *record.Body) { b.Seen.Organization.Index += 9 })
		}, unknown},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newTeam(t)
			raw := tc.make(m)
			s, err := verify.Authenticate(m.Org, raw)
			if err != nil {
				t.Fatal(err)
			}
			before := m.w.State.Snapshot()
			err = m.w.State.CheckPresent(m.Org, s)
			if !bytes.Equal(before, m.w.State.Snapshot()) {
				t.Error("a check changed the state")
			}
			if err == nil {
				_, err = m.w.Try(raw)
			}
			if got := outcomeOf(err); got != tc.want {
				t.Errorf("got %q (%v), want %q", got, err, tc.want)
			}
		})
	}
}

// AddAdmin adds an administrator through an administrator.
func (c *cast) AddAdmin(by *verifytest.Device) *verifytest.Device {
	n, d := c.NewUser([32]byte(c.Fingerprint()))
	c.Append(by, record.UserAdded{New: n, Profile: record.ProfileAdmin})
	return d
}

func TestAClientHoldsRecordsToTheRevocationsBeforeItsHead(t *testing.T) {
	m := newTeam(t)
	early := m.Org.Position().Index
	tablet := m.AddDevice(m.bob)
	m.RevokeDevice(m.alice, m.phone)
	device := m.Org.Position().Index
	m.RevokeUser(m.alice, m.dave)
	user := m.Org.Position().Index
	for _, tc := range []struct {
		name  string
		by    *verifytest.Device
		index uint64
		want  outcome
	}{
		{"a device in use is fine", m.bob, user, accepted},
		{"a device added since the head is fine", tablet, early, accepted},
		{"a device revoked since the head is fine", m.phone, device - 1, accepted},
		{"a device revoked before the head is refused", m.phone, device, denied},
		{"a user revoked since the head is fine", m.dave, user - 1, accepted},
		{"a user revoked before the head is refused", m.dave, user, denied},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s, err := verify.Authenticate(m.Org, m.commit(tc.by))
			if err != nil {
				t.Fatal(err)
			}
			if got := outcomeOf(m.w.State.CheckUnrevoked(m.Org, s, tc.index)); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAViolationIsABrokenPromiseForAClient(t *testing.T) {
	m := newTeam(t)
	_, err := m.w.Try(m.commit(m.dave))
	if got := verify.Broken(err); !strings.Contains(got.Error(), string(denied)) {
		t.Errorf("got %v", got)
	}
	if other := errors.New("disk"); verify.Broken(other) != other { //nolint:errorlint // the very same error
		t.Error("an error that is no violation became a broken promise")
	}
}
