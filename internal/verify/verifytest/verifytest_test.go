package verifytest_test

import (
	"testing"

	"parsec/internal/base/id"
	"parsec/internal/format/record"
	"parsec/internal/verify/verifytest"
)

func TestTheKitMakesALifeThatPassesAllRules(t *testing.T) {
	k := verifytest.NewWith(t, verifytest.Config{Sequester: true})
	alice := k.Admin
	bob := k.AddUser(record.ProfileStandard)
	guest := k.AddUser(record.ProfileOutsider)
	laptop := k.AddDevice(bob)
	k.AddService()

	w := k.CreateWorkspace(alice)
	w.Share(alice, bob, record.RoleContributor)
	w.Share(alice, guest, record.RoleReader)
	root := id.RootEntry(w.ID)
	file := w.New()
	w.Commit(alice, w.Put(root), file)
	w.Commit(laptop, w.Delta(root))
	w.Commit(bob, w.Delta(root), w.Gone(file.Entry))
	w.Heartbeat(guest)

	k.RevokeDevice(alice, laptop)
	w.Rotate(bob)
	k.ReplaceKey(bob)
	w.Rotate(alice)
	k.RevokeAndReplace(k.AddDevice(bob), bob)
	w.Remove(alice, guest)
	w.Rename(alice)
	w.Archive(alice, record.ArchivingArchived)
	k.SetProfile(alice, bob, record.ProfileAdmin)
	k.RevokeUser(alice, guest)
	w.Heartbeat(alice)

	if got := len(k.Records); got != 11 {
		t.Errorf("the organization's log has %d records", got)
	}
	if got := uint64(len(w.Records)); got != w.State.Position().Index {
		t.Errorf("%d records led to index %d", got, w.State.Position().Index)
	}
}
