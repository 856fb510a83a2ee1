package convergence_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"parsec/internal/base/fault"
	"parsec/internal/client/merge"
	"parsec/internal/client/syncer"
	"parsec/internal/client/workspace"
	"parsec/internal/format/record"
)

// stop is where a sync is stopped.
type stop struct {
	name string
	// at returns a context for a sync that is stopped at the n-th such place.
	at func(ctx context.Context, d *device, n int) *until
}

var stops = []stop{
	{"between two steps of its own", func(ctx context.Context, _ *device, n int) *until { return endingAt(ctx, n) }},
	{"with a request under way, which arrives", func(ctx context.Context, d *device, n int) *until { return d.line.ending(ctx, n, true) }},
	{"with a request under way, which does not arrive", func(ctx context.Context, d *device, n int) *until { return d.line.ending(ctx, n, false) }},
}

// ending returns a context that ends when the n-th request from now on is under way.
func (l *line) ending(ctx context.Context, n int, handled bool) *until {
	inner, end := context.WithCancel(ctx)
	u := &until{Context: inner, end: end}
	l.breaks(n-1, handled)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = end
	return u
}

// A sync that is stopped, wherever it is, takes nothing from the next one: work
// is committed once, and the server is not accused of what this side has lost.
func TestASyncThatIsStoppedAnywhereGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, newNetwork(), "bob")
		for _, s := range stops {
			t.Log("stopped", s.name)
			stopEverywhere(t, w, s)
		}
	})
}

// share opens a new workspace of alice's at her device and bob's, who is a contributor.
func (w *world) share(ctx context.Context, t *testing.T) (alice, bob *device) {
	alice, bob = w.devices[0], w.devices[1]
	alice.t, bob.t = t, t
	ws, err := workspace.Create(ctx, alice.Session, "plans")
	alice.ok(err)
	alice.gives(ctx, ws, bob, record.RoleContributor)
	clock := new(clock)
	for _, d := range []*device{alice, bob} {
		d.begin(ctx, t, ws.ID(), clock)
		t.Cleanup(d.end)
		d.ok(d.sync.Sync(ctx))
	}
	return alice, bob
}

// gives has an owner give a role.
func (d *device) gives(ctx context.Context, ws *workspace.Workspace, to *device, role record.Role) {
	d.t.Helper()
	p, err := d.Find(to.Device().Email)
	d.ok(err)
	d.ok(ws.Share(ctx, p, role))
}

// What a reader wrote as a contributor, in a file that others have removed, has no
// name any more: it is listed, and is back once the reader may write again.
func TestWorkThatNoNameLeadsToIsListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		alice, bob := newWorld(t, newNetwork(), "bob").share(ctx, t)
		alice.write("plan", "one")
		alice.settle()
		alice.ok(alice.sync.Finish(ctx))
		bob.ok(bob.sync.Finish(ctx))
		bob.write("plan", "two")
		alice.gives(ctx, alice.sync.Workspace(), bob, record.RoleReader)
		alice.ok(alice.over.Remove(ctx, merge.Place{Folder: alice.over.Root, Name: "plan"}, false))
		alice.settle()
		alice.ok(alice.sync.Finish(ctx))
		if err := bob.sync.Sync(ctx); !fault.Is(err, fault.Denied) {
			t.Fatalf("a reader's sync ended with %v, want denied", err)
		}
		st := bob.sync.Status(ctx)
		if st.State != syncer.ReadOnly || st.Pending != 1 || len(st.Problems) != 1 || st.Problems[0].Path != "/plan" {
			t.Fatalf("status %+v, want one problem, of /plan", st)
		}
		alice.gives(ctx, alice.sync.Workspace(), bob, record.RoleContributor)
		bob.ok(bob.sync.Finish(ctx))
		alice.ok(alice.sync.Finish(ctx))
		alice.shows("plan", "two")
	})
}

// stopEverywhere has alice and bob edit one file in turn, and stops each sync of
// alice's once at each place, until one comes to its end.
func stopEverywhere(t *testing.T, w *world, s stop) {
	ctx := t.Context()
	alice, bob := w.share(ctx, t)
	const most = 501
	for n := 1; ; n++ {
		text := fmt.Sprint("alice, stopped at ", n)
		alice.write("plan", text)
		alice.settle()
		stopped := s.at(ctx, alice, n)
		err := alice.sync.Sync(stopped)
		ended := stopped.Context.Err() != nil
		stopped.end()
		alice.line.whole()
		if err != nil && !errors.Is(err, context.Canceled) && !fault.Is(err, fault.Unreachable) {
			t.Fatalf("stopped at %d: %v", n, err)
		}
		alice.ok(alice.sync.Finish(ctx))
		if ended && n%2 == 0 { // what comes next is alice's own
			continue
		}
		bob.ok(bob.sync.Finish(ctx))
		bob.shows("plan", text)
		if !ended {
			t.Logf("%d places", n-1)
			return
		}
		if n == most {
			t.Fatalf("a sync is not over after %d places", n)
		}
		text = fmt.Sprint("bob, after ", n)
		bob.write("plan", text)
		bob.settle()
		bob.ok(bob.sync.Finish(ctx))
		alice.ok(alice.sync.Finish(ctx))
		alice.shows("plan", text)
	}
}

// A pull that is stopped may have taken in that something is gone. What is shown
// then is what is there, and whoever works on can send it.
func TestWhatIsShownAfterASyncThatWasStoppedCanBeChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		alice, bob := newWorld(t, newNetwork(), "bob").share(ctx, t)
		for n := 1; ; n++ {
			alice.write("plan", fmt.Sprint(n))
			finish(t, alice, bob)
			bob.contents() // is remembered
			plan := bob.at("plan")
			c, _, err := bob.over.Child(ctx, plan.Folder, plan.Name)
			bob.ok(err)
			alice.remove("plan", false)
			finish(t, alice)
			stopped := endingAt(ctx, n)
			err = bob.sync.Sync(stopped)
			ended := stopped.Context.Err() != nil
			stopped.end()
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatalf("stopped at %d: %v", n, err)
			}
			_, shown := bob.contents()["/plan"]
			err = bob.over.SetExecutable(ctx, c.Entry, true)
			if shown && err != nil || !shown && !fault.Is(err, fault.NotFound) {
				t.Fatalf("stopped at %d, plan is shown: %v; and changing it: %v", n, shown, err)
			}
			finish(t, bob, alice)
			same(t, alice, bob)
			if _, there := alice.contents()["/plan"]; there != shown {
				t.Fatalf("stopped at %d, plan was changed at bob's: %v; it is there: %v", n, shown, there)
			}
			if !ended {
				return
			}
		}
	})
}

// shows fails unless the root has one file, with this name and content.
func (d *device) shows(name, text string) {
	d.t.Helper()
	ctx := context.Background()
	all, err := d.over.Children(ctx, d.over.Root)
	d.ok(err)
	if len(all) != 1 || all[0].Name != name {
		d.t.Fatalf("device %s shows %v, want %s alone", d.name, all, name)
	}
	f, err := d.over.Open(ctx, all[0].Entry, false)
	d.ok(err)
	b := make([]byte, f.Node().File.Size)
	_, err = f.ReadAt(ctx, b, 0)
	d.ok(errors.Join(err, f.Close()))
	if string(b) != text {
		d.t.Fatalf("device %s shows %q, want %q", d.name, b, text)
	}
}
