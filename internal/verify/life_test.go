package verify_test

import (
	"math/rand/v2"
	"slices"

	"pgregory.net/rapid"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/verify"
	"parsec/internal/verify/verifytest"
)

// life makes a random history of an organization and one of its workspaces.
// It does only what the states say is allowed, and expects that to succeed.
type life struct {
	*verifytest.Kit
	t *rapid.T
	w *verifytest.Workspace
	// devices are all that ever were, revoked ones too.
	devices []*verifytest.Device
	entries []id.Entry
}

func newLife(t *rapid.T) *life {
	k := verifytest.NewWith(t, verifytest.Config{Sequester: true, Now: noon, Random: rand.NewChaCha8([32]byte{})})
	l := &life{Kit: k, t: t, devices: []*verifytest.Device{k.Admin}}
	for _, p := range []record.Profile{record.ProfileStandard, record.ProfileAdmin, record.ProfileOutsider} {
		l.devices = append(l.devices, k.AddUser(p))
	}
	l.devices = append(l.devices, k.AddDevice(l.devices[1]))
	creator := rapid.IntRange(0, 2).Draw(t, "creator")
	l.w = k.CreateWorkspace(l.devices[creator])
	l.w.Share(l.devices[creator], l.devices[(creator+1)%3], record.RoleManager)
	l.w.Share(l.devices[creator], l.devices[3], record.RoleContributor)
	return l
}

// pick draws one of a list, by its index, so that a failure prints in little space.
func pick[T any](t *rapid.T, what string, list []T) T {
	return list[rapid.IntRange(0, len(list)-1).Draw(t, what)]
}

// run takes some steps; one for which nobody has the right is left out.
func (l *life) run(steps int) {
	for range steps {
		pick(l.t, "action", l.actions())()
	}
}

func (l *life) actions() []func() {
	return append(l.organizationActions(),
		l.share, l.share, l.changeRole, l.remove, l.rotate, l.rotate, l.commit, l.commit, l.commit, l.lateCommit, l.lateCommit,
		l.rename, l.archive, l.heartbeat, l.takeOwnership)
}

func (l *life) organizationActions() []func() {
	return []func(){l.addUser, l.addDevice, l.setProfile, l.revokeUser, l.revokeDevice, l.replaceKey, l.changeService}
}

func (l *life) now() uint64 { return l.Org.Position().Index }

func (l *life) active(d *verifytest.Device) bool { return l.Org.ActiveAt(d.ID, l.now()) }

func (l *life) admin(d *verifytest.Device) bool {
	return l.active(d) && l.Org.ProfileAt(d.User, l.now()) == record.ProfileAdmin
}

func (l *life) role(d *verifytest.Device) record.Role {
	if !l.active(d) {
		return record.RoleNone
	}
	return l.w.State.Role(l.Org, d.User, l.now())
}

func (l *life) member(d *verifytest.Device) bool {
	return slices.ContainsFunc(l.w.State.Members(), func(m verify.Member) bool { return m.User == d.User })
}

func (l *life) due() bool { return l.w.State.Due(l.Org, l.now()) }

// one draws one of the devices that fit.
func (l *life) one(what string, fits func(*verifytest.Device) bool) (*verifytest.Device, bool) {
	var fit []*verifytest.Device
	for _, d := range l.devices {
		if fits(d) {
			fit = append(fit, d)
		}
	}
	if len(fit) == 0 {
		return nil, false
	}
	return pick(l.t, what, fit), true
}

// pair draws an author and somebody else.
func (l *life) pair(author func(*verifytest.Device) bool, about func(by, of *verifytest.Device) bool, do func(by, of *verifytest.Device)) {
	by, ok := l.one("author", author)
	if !ok {
		return
	}
	if of, ok := l.one("about", func(d *verifytest.Device) bool { return about(by, d) }); ok {
		do(by, of)
	}
}

func (l *life) profile() record.Profile {
	return pick(l.t, "profile", []record.Profile{record.ProfileOutsider, record.ProfileStandard, record.ProfileAdmin})
}

func (l *life) addUser() {
	if by, ok := l.one("author", l.admin); ok {
		n, d := l.NewUser([32]byte(l.Fingerprint()))
		l.Append(by, record.UserAdded{New: n, Profile: l.profile()})
		l.devices = append(l.devices, d)
	}
}

func (l *life) addDevice() {
	if by, ok := l.one("author", l.active); ok {
		l.devices = append(l.devices, l.AddDevice(by))
	}
}

func (l *life) otherUser(by, of *verifytest.Device) bool {
	u, _ := l.Org.User(of.User)
	return by.User != of.User && u.Revoked == 0
}

func (l *life) setProfile() {
	p := l.profile()
	l.pair(l.admin, func(by, of *verifytest.Device) bool {
		return l.otherUser(by, of) && l.Org.ProfileAt(of.User, l.now()) != p
	}, func(by, of *verifytest.Device) { l.SetProfile(by, of, p) })
}

func (l *life) revokeUser() { l.pair(l.admin, l.otherUser, l.RevokeUser) }

func (l *life) revokeDevice() {
	l.pair(l.active, func(by, of *verifytest.Device) bool {
		return by.ID != of.ID && l.active(of) && (by.User == of.User || l.admin(by))
	}, func(by, of *verifytest.Device) {
		if by.User == of.User && rapid.Bool().Draw(l.t, "replace") {
			l.RevokeAndReplace(by, of)
			return
		}
		l.RevokeDevice(by, of)
	})
}

func (l *life) replaceKey() {
	if by, ok := l.one("author", l.active); ok {
		l.ReplaceKey(by)
	}
}

func (l *life) changeService() {
	live := l.Org.Services(l.now())
	if len(live) == 0 {
		l.AddService()
		return
	}
	l.Append(l.Authority, record.SequesterRevoked{Service: live[0].ID})
}

func (l *life) mayGive(d *verifytest.Device) bool { return l.role(d) >= record.RoleManager }

func (l *life) share() {
	l.pair(l.mayGive, func(_, of *verifytest.Device) bool {
		_, sealable := l.Org.KeyAt(of.User, l.now())
		return sealable && !l.member(of)
	}, func(by, of *verifytest.Device) {
		most := record.RoleOwner
		if l.role(by) == record.RoleManager {
			most = record.RoleContributor
		}
		l.w.Share(by, of, record.Role(rapid.IntRange(int(record.RoleReader), int(most)).Draw(l.t, "role")))
	})
}

// below fits members whose role an author may change.
func (l *life) below(by, of *verifytest.Device) bool {
	if by.User == of.User {
		return false
	}
	for _, m := range l.w.State.Members() {
		if m.User == of.User {
			return l.role(by) == record.RoleOwner || m.Role <= record.RoleContributor
		}
	}
	return false
}

func (l *life) changeRole() {
	l.pair(l.mayGive, func(by, of *verifytest.Device) bool {
		return l.below(by, of) && l.otherUser(by, of)
	}, func(by, of *verifytest.Device) {
		for _, m := range l.w.State.Members() {
			if m.User == of.User {
				role := record.RoleReader
				if m.Role == role {
					role = record.RoleContributor
				}
				l.w.Share(by, of, role)
			}
		}
	})
}

func (l *life) remove() { l.pair(l.mayGive, l.below, l.w.Remove) }

func (l *life) rotate() {
	least := record.RoleManager
	if l.due() {
		least = record.RoleContributor
	}
	if by, ok := l.one("author", func(d *verifytest.Device) bool { return l.role(d) >= least }); ok {
		l.w.Rotate(by)
	}
}

func (l *life) writer() (*verifytest.Device, bool) {
	if l.due() || l.w.State.Archived() {
		return nil, false
	}
	return l.one("author", func(d *verifytest.Device) bool { return l.role(d) >= record.RoleContributor })
}

// change draws the next version of an old entry or the first of a new one.
func (l *life) change() record.Change {
	if len(l.entries) == 0 || rapid.Bool().Draw(l.t, "new") {
		c := l.w.New()
		l.entries = append(l.entries, c.Entry)
		return c
	}
	e := pick(l.t, "entry", l.entries)
	now, err := l.w.History.Versions([]id.Entry{e})
	if err != nil {
		l.t.Fatalf("versions: %v", err)
	}
	if now[0].Number == 0 || now[0].Gone {
		return l.w.Put(e)
	}
	return pick(l.t, "change", []func(id.Entry) record.Change{l.w.Put, l.w.Delta, l.w.Gone})(e)
}

func (l *life) commit() {
	if by, ok := l.writer(); ok {
		l.w.Commit(by, l.change())
	}
}

// lateCommit adds an entry by an author who has not seen the commits before.
func (l *life) lateCommit() {
	by, ok := l.writer()
	if !ok {
		return
	}
	from := len(l.w.Records)
	for from > 1 && movesNothing(l.w.Records[from-1]) && rapid.Bool().Draw(l.t, "not seen") {
		from--
	}
	c := l.w.New()
	l.entries = append(l.entries, c.Entry)
	l.w.Append(by, l.w.Changes(c), verifytest.SeenWorkspace(l.w.Positions[from-1]))
}

func movesNothing(raw []byte) bool {
	r, err := record.Parse(raw)
	if err != nil || !r.Kind.Movable() {
		return false
	}
	p, err := r.Decode()
	c, ok := p.(record.Commit)
	return err == nil && !(ok && c.Restructures)
}

func (l *life) owner() (*verifytest.Device, bool) {
	return l.one("author", func(d *verifytest.Device) bool { return l.role(d) == record.RoleOwner })
}

func (l *life) rename() {
	if by, ok := l.owner(); ok && !l.due() {
		l.w.Rename(by)
	}
}

func (l *life) archive() {
	if by, ok := l.owner(); ok {
		s := record.ArchivingArchived
		if l.w.State.Archived() {
			s = record.ArchivingActive
		}
		l.w.Archive(by, s)
	}
}

func (l *life) heartbeat() {
	// Not a day later: that would leave all records signed before behind.
	if by, ok := l.one("author", func(d *verifytest.Device) bool { return l.role(d) >= record.RoleReader }); ok &&
		l.w.State.HeartbeatDue(l.Org, l.now(), max(noon().UnixNano(), l.w.State.Time())) {
		l.w.Heartbeat(by)
	}
}

func (l *life) takeOwnership() {
	var highest record.Role
	for _, m := range l.w.State.Members() {
		highest = max(highest, l.w.State.Role(l.Org, m.User, l.now()))
	}
	if highest == record.RoleOwner || highest == record.RoleNone {
		return
	}
	by, ok := l.one("author", func(d *verifytest.Device) bool {
		return l.role(d) == highest && l.Org.ProfileAt(d.User, l.now()) != record.ProfileOutsider
	})
	if ok {
		l.w.Share(by, by, record.RoleOwner)
	}
}
