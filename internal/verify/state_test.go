package verify_test

import (
	"bytes"
	"testing"

	"parsec/internal/format/record"
	"parsec/internal/verify"
)

func TestASnapshotRestoresToItself(t *testing.T) {
	m := newTeam(t)
	m.AddService()
	m.w.Rotate(m.alice)
	for name, org := range map[string]*verify.Organization{"empty": verify.NewOrganization(m.Fingerprint()), "full": m.Org} {
		got, err := verify.RestoreOrganization(org.Snapshot())
		if err != nil || !bytes.Equal(got.Snapshot(), org.Snapshot()) || got.Position() != org.Position() {
			t.Errorf("the %s organization is not restored: %v", name, err)
		}
	}
	for name, w := range map[string]*verify.Workspace{"empty": verify.NewWorkspace(m.Fingerprint(), m.w.ID), "full": m.w.State} {
		got, err := verify.RestoreWorkspace(w.Snapshot())
		if err != nil || !bytes.Equal(got.Snapshot(), w.Snapshot()) || got.Position() != w.Position() {
			t.Errorf("the %s workspace is not restored: %v", name, err)
		}
	}
}

func TestWhatIsNoSnapshotIsNotRestored(t *testing.T) {
	m := newTeam(t)
	org, w := m.Org.Snapshot(), m.w.State.Snapshot()
	for _, tc := range []struct {
		name   string
		org, w []byte
	}{
		{"nothing", nil, nil},
		{"text", []byte("snapshot"), []byte("snapshot")},
		{"a snapshot cut short", org[:len(org)-1], w[:len(w)-1]},
		{"a snapshot with more behind it", append(bytes.Clone(org), 0), append(bytes.Clone(w), 0)},
		{"the other's snapshot", w, org},
		{"a record", m.Records[0], m.w.Records[0]},
	} {
		if _, err := verify.RestoreOrganization(tc.org); err == nil {
			t.Errorf("%s was restored as an organization", tc.name)
		}
		if _, err := verify.RestoreWorkspace(tc.w); err == nil {
			t.Errorf("%s was restored as a workspace", tc.name)
		}
	}
}

func TestTheStateAnswersForEveryIndex(t *testing.T) {
	m := newTeam(t)
	added := m.Org.Position().Index
	m.SetProfile(m.alice, m.bob, record.ProfileOutsider)
	changed := m.Org.Position().Index
	m.RevokeUser(m.alice, m.bob)
	revoked := m.Org.Position().Index
	for _, tc := range []struct {
		name    string
		index   uint64
		active  bool
		profile record.Profile
		role    record.Role
		due     bool
	}{
		{"before anything", 0, false, 0, record.RoleNone, false},
		{"before the change of profile", added, true, record.ProfileStandard, record.RoleContributor, false},
		{"at the change of profile", changed, true, record.ProfileOutsider, record.RoleContributor, false},
		{"at the revocation", revoked, false, record.ProfileOutsider, record.RoleNone, true},
		{"at an index to come", ^uint64(0), false, record.ProfileOutsider, record.RoleNone, true},
	} {
		if got := m.Org.ActiveAt(m.bob.ID, tc.index); got != tc.active {
			t.Errorf("%s: active is %t", tc.name, got)
		}
		if got := m.Org.ProfileAt(m.bob.User, tc.index); got != tc.profile {
			t.Errorf("%s: profile is %s", tc.name, got)
		}
		if got := m.w.State.Role(m.Org, m.bob.User, tc.index); got != tc.role {
			t.Errorf("%s: role is %s", tc.name, got)
		}
		if got := m.w.State.Due(m.Org, tc.index); got != tc.due {
			t.Errorf("%s: due is %t", tc.name, got)
		}
	}
}
