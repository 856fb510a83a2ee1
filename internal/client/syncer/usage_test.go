package syncer_test

import (
	"context"
	"sync"
	"testing"

	"parsec/internal/api/parsecv1"
	"parsec/internal/client/filesystem"
	"parsec/internal/server/servertest"
)

func TestTheRoomIsWhatTheOrganizationMayStore(t *testing.T) {
	alice, _, server := pair(t)
	alice.sync()
	alice.write("a.txt", 0, []byte("it takes some room"))
	alice.sync()
	view := alice.all.Files().View(filesystem.Options{})
	room := func() filesystem.Space {
		t.Helper()
		s, err := view.Space(t.Context())
		alice.ok(err)
		return s
	}
	if got := room(); got != (filesystem.Space{}) {
		t.Errorf("before the server was asked: %+v", got)
	}
	operator := servertest.DialAdmin(server.URL, servertest.AdminToken)
	defer operator.Close()
	most := uint64(1 << 30)
	if _, err := operator.Admin.SetOrganization(t.Context(), &parsecv1.SetOrganizationRequest{Name: "Acme", StorageLimit: &most}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = alice.all.Run(ctx) })
	defer running.Wait()
	defer cancel()
	eventually(t, "the limit is the size", func() bool { return room().Total == most })
	stats, err := operator.Admin.OrganizationStats(t.Context(), &parsecv1.OrganizationStatsRequest{Name: "Acme"})
	alice.ok(err)
	if got, used := room(), stats.GetBlockBytes()+stats.GetManifestBytes(); used == 0 || got.Free != most-used {
		t.Errorf("there is room for %d bytes, of which %d are used and %d free", got.Total, used, got.Free)
	}
}
