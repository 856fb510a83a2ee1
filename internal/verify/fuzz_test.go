package verify_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/verify"
	"parsec/internal/verify/verifytest"
)

// fuzzed is a small organization and workspace, the same in every process and
// for every input.
type fuzzed struct {
	*verifytest.Kit
	w   *verifytest.Workspace
	bob *verifytest.Device
}

func newFuzzed(t verifytest.TB) *fuzzed {
	k := verifytest.NewWith(t, verifytest.Config{Sequester: true, Now: noon, Random: rand.NewChaCha8([32]byte{})})
	f := &fuzzed{Kit: k, bob: k.AddUser(record.ProfileStandard), w: k.CreateWorkspace(k.Admin)}
	f.w.Share(k.Admin, f.bob, record.RoleManager)
	f.w.Commit(f.bob, f.w.New())
	return f
}

// try appends to clones of both logs: nothing panics, and what is refused
// changes nothing.
func (f *fuzzed) try(t *testing.T, raw []byte) {
	t.Helper()
	org, w := f.Org.Clone(), f.w.State.Clone()
	if _, err := org.Append(raw); err != nil && !bytes.Equal(org.Snapshot(), f.Org.Snapshot()) {
		t.Error("a refused record changed the organization")
	}
	s, err := verify.Authenticate(f.Org, raw)
	if err != nil {
		return
	}
	_ = w.CheckPresent(f.Org, s)
	_ = w.CheckUnrevoked(f.Org, s, f.Org.Position().Index)
	if _, err := w.Append(f.Org, f.w.History, s); err != nil && !bytes.Equal(w.Snapshot(), f.w.State.Snapshot()) {
		t.Error("a refused record changed the workspace")
	}
}

func FuzzAppendOfAnyBytes(f *testing.F) {
	world := newFuzzed(f)
	for _, raw := range append(world.Records, world.w.Records...) {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		world.try(t, raw)
		empty := verify.NewOrganization(world.Fingerprint())
		if _, err := empty.Append(raw); err == nil && !bytes.Equal(raw, world.Records[0]) {
			t.Error("another record than the genesis starts the organization")
		}
	})
}

// Behind a good signature, by members, is where decoding and rules work.
func FuzzAppendOfAnySignedPayload(f *testing.F) {
	world := newFuzzed(f)
	for _, raw := range append(world.Records, world.w.Records...) {
		r, err := record.Parse(raw)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(r.Kind), r.Payload, int8(0), int8(0), true)
	}
	for _, p := range []record.Payload{
		record.UserRevoked{User: world.bob.User},
		record.DeviceRevoked{Device: world.bob.ID, Replacement: []record.Replacement{world.Replacement(world.Admin)}},
		record.UserKeyReplaced{Replacement: world.Replacement(world.Admin)},
		record.SequesterRevoked{Service: id.New[id.Service]()},
		record.KeyRotated{Rotation: world.w.Rotation()},
		world.w.RoleChanged(world.bob, record.RoleNone),
		record.Renamed{Generation: 1, Name: []byte("x")},
		record.ArchivingChanged{State: record.ArchivingArchived},
		record.Heartbeat{},
	} {
		f.Add(uint8(p.Kind()), record.Encode(p), int8(0), int8(0), false)
	}
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte, organization, workspace int8, admin bool) {
		by := world.bob
		if admin {
			by = world.Admin
		}
		edit := func(b *record.Body) {
			b.Kind, b.Payload = record.Kind(kind), payload
			b.Seen.Organization.Index += uint64(organization)
			b.Seen.Workspace.Index += uint64(workspace)
		}
		world.try(t, world.Sign(by, record.Heartbeat{}, edit))
		world.try(t, world.w.Sign(by, record.Heartbeat{}, edit))
		world.try(t, world.Sign(world.Authority, record.Heartbeat{}, edit))
	})
}

func FuzzRestoreOfAnyBytes(f *testing.F) {
	world := newFuzzed(f)
	f.Add(world.Org.Snapshot())
	f.Add(world.w.State.Snapshot())
	f.Fuzz(func(t *testing.T, snapshot []byte) {
		if org, err := verify.RestoreOrganization(snapshot); err == nil && !bytes.Equal(org.Snapshot(), snapshot) {
			t.Error("an organization does not restore to itself")
		}
		if w, err := verify.RestoreWorkspace(snapshot); err == nil && !bytes.Equal(w.Snapshot(), snapshot) {
			t.Error("a workspace does not restore to itself")
		}
	})
}
