package syncer_test

import (
	"bytes"
	"fmt"
	"testing"

	"parsec/internal/client/session"
	"parsec/internal/client/syncer"
	"parsec/internal/format/record"
)

// bobOf returns bob as alice knows him.
func bobOf(alice *desk) session.Person {
	alice.t.Helper()
	p, err := alice.Find("bob@example.com")
	alice.ok(err)
	return p
}

// stuck syncs, which must not go, and returns the state that says why.
func (d *desk) stuck(want syncer.State) {
	d.t.Helper()
	d.ok(d.Held.Sync(d.t.Context()))
	if err := d.plans().Sync(d.t.Context()); err == nil {
		d.t.Error("it was synced")
	}
	if st := d.plans().Status(d.t.Context()); st.State != want || st.Pending == 0 || st.Reason == "" {
		d.t.Errorf("status %+v, want %s with work that waits and a reason", st, want)
	}
}

// Each reason to stop ends by itself, in the same process, and no work is lost.
func TestWorkWaitsForWhatKeepsItAndGoesOnByItself(t *testing.T) {
	alice, bob, _ := pair(t)
	ctx, ws := t.Context(), alice.plans().Workspace()
	alice.sync()
	bob.sync()
	for i, c := range []struct {
		state       syncer.State
		keep, again func() error
	}{
		{
			syncer.ReadOnly,
			func() error { return ws.Share(ctx, bobOf(alice), record.RoleReader) },
			func() error { return ws.Share(ctx, bobOf(alice), record.RoleContributor) },
		},
		{
			syncer.Archived,
			func() error { return ws.Archive(ctx, true) },
			func() error { return ws.Archive(ctx, false) },
		},
		{
			syncer.Revoked,
			func() error { return ws.Unshare(ctx, bobOf(alice)) },
			func() error { return ws.Share(ctx, bobOf(alice), record.RoleContributor) },
		},
	} {
		t.Run(string(c.state), func(t *testing.T) {
			name, want := fmt.Sprintf("work %d", i), []byte("written without knowing")
			bob.write(name, 0, want)
			alice.ok(c.keep())
			bob.stuck(c.state)
			if got := bob.read(name); !bytes.Equal(got, want) {
				t.Errorf("meanwhile it is %q here", got)
			}
			alice.ok(c.again())
			bob.ok(bob.Held.Sync(ctx))
			bob.sync()
			alice.sync()
			if got := alice.read(name); !bytes.Equal(got, want) {
				t.Errorf("it is %q at the other device", got)
			}
		})
	}
}

func TestARevokedUserKeepsUnsentWorkToCopyItOut(t *testing.T) {
	alice, bob, _ := pair(t)
	bob.sync()
	bob.write("mine", 0, []byte("not sent yet"))
	_, err := alice.RevokeUser(t.Context(), "bob@example.com")
	alice.ok(err)
	if err := bob.plans().Sync(t.Context()); err == nil {
		t.Error("a revoked user synced")
	}
	if st := bob.plans().Status(t.Context()); st.State != syncer.Revoked || st.Pending == 0 {
		t.Errorf("status %+v, want revoked with work that waits", st)
	}
	bob.reopen()
	if got := bob.read("mine"); string(got) != "not sent yet" {
		t.Errorf("after a restart it is %q", got)
	}
}

func TestARotationIsDoneByWhoComesFirstAndWorkGoesOn(t *testing.T) {
	alice, bob, _ := pair(t)
	carol := alice.Enroll("carol@example.com", record.ProfileStandard)
	p, err := alice.Find(carol.Device().Email)
	alice.ok(err)
	alice.ok(alice.plans().Workspace().Share(t.Context(), p, record.RoleContributor))
	alice.sync()
	bob.sync()
	bob.write("before", 0, []byte("under the old key"))
	_, err = alice.RevokeUser(t.Context(), "carol@example.com")
	alice.ok(err)
	bob.ok(bob.Held.Sync(t.Context()))
	bob.sync()
	alice.sync()
	if got := alice.plans().Workspace().Log().Generation(); got < 2 {
		t.Errorf("generation %d after a revocation, want another one", got)
	}
	if got := alice.read("before"); string(got) != "under the old key" {
		t.Errorf("it is %q", got)
	}
}
