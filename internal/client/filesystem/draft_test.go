package filesystem_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parsec/internal/client/clienttest"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/syncer"
	"parsec/internal/server/servertest"
)

// draft makes a draft in the workspace "plans" and writes to it.
func (d *desk) draft(content string) *filesystem.Draft {
	d.t.Helper()
	made, err := d.Draft(d.t.Context(), d.find("/plans").Node, false)
	d.ok(err)
	_, err = made.WriteAt(d.t.Context(), []byte(content), 0)
	d.ok(err)
	return made
}

// place places a draft at a path.
func (d *desk) place(draft *filesystem.Draft, p string, keep bool) (filesystem.Attr, error) {
	d.t.Helper()
	folder, name, err := d.Place(d.t.Context(), p)
	d.ok(err)
	a, err := draft.Place(d.t.Context(), folder, name, keep)
	d.ok(draft.Close())
	return a, err
}

func TestADraftIsNowhereUntilItIsPlaced(t *testing.T) {
	d := alone(t)
	d.write("/plans/file", "before")
	d.sync()
	draft, dropped := d.draft("after"), d.draft("never")
	d.sync()
	if diff := cmp.Diff([]string{"file"}, d.names("/plans")); diff != "" {
		t.Errorf("the folder shows the drafts: %s", diff)
	}
	other := sit(t, d.person.EnrollDevice())
	other.sync()
	if diff := cmp.Diff([]string{"file"}, other.names("/plans")); diff != "" {
		t.Errorf("another device has the drafts: %s", diff)
	}
	was := d.find("/plans/file")
	now, err := d.place(draft, "/plans/file", false)
	d.ok(err)
	if now.Node != was.Node || d.read("/plans/file") != "after" {
		t.Errorf("what was placed has not taken the file's place: %+v", now)
	}
	d.ok(dropped.Close())
	d.sync()
	if got := d.find("/plans/file"); got.Version != was.Version+1 || got.Pending || got.Modified != now.Modified {
		t.Errorf("after the push: %+v, was %+v", got, was)
	}
	other.sync()
	if got := other.read("/plans/file"); got != "after" {
		t.Errorf("another device reads %q", got)
	}
}

func TestADraftTakesOnlyAPlaceThatItMay(t *testing.T) {
	p := clienttest.Bootstrap(t, servertest.Start(t, servertest.Config{}).CreateOrganization("Acme"), "alice@example.com")
	p.CreateWorkspace("plans")
	p.CreateWorkspace("accounts")
	d := sit(t, p)
	ctx := t.Context()
	d.write("/plans/taken", "")
	d.mkdir("/plans/folder")
	for what, c := range map[string]struct {
		at   string
		keep bool
		want syscall.Errno
	}{
		"a name that is taken":             {"/plans/taken", true, syscall.EEXIST},
		"over a folder":                    {"/plans/folder", false, syscall.EISDIR},
		"in another workspace":             {"/accounts/file", false, syscall.EXDEV},
		"among the workspaces":             {"/file", false, syscall.EPERM},
		"a name of drafts":                 {"/plans/.parsec-draft-x", false, syscall.EPERM},
		"a name of drafts in other places": {"/plans/folder/.parsec-draft-x", false, 0},
		"a name that is too long":          {"/plans/" + strings.Repeat("n", 256), false, syscall.ENAMETOOLONG},
	} {
		if _, err := d.place(d.draft("x"), c.at, c.keep); filesystem.Errno(err) != c.want {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	plans := d.find("/plans").Node
	_, err := d.Mkdir(ctx, plans, ".parsec-draft-x")
	if got := filesystem.Errno(err); got != syscall.EPERM {
		t.Errorf("make a folder with a name of drafts: %v", err)
	}
	if _, err := d.rename("/plans/taken", "/plans/.parsec-draft-x", false); filesystem.Errno(err) != syscall.EPERM {
		t.Errorf("give a file a name of drafts: %v", err)
	}
	if diff := cmp.Diff([]string{"folder", "taken"}, d.names("/plans")); diff != "" {
		t.Error(diff)
	}
	if _, err := d.Draft(ctx, filesystem.Node{}, false); filesystem.Errno(err) != syscall.EPERM {
		t.Errorf("a draft among the workspaces: %v", err)
	}
}

func TestDraftsThatAProcessLeftAreRemoved(t *testing.T) {
	d := alone(t)
	left := d.draft("left behind")
	d.ok(left.Flush())
	d.ok(d.all.Close())
	all, err := syncer.OpenDevice(t.Context(), d.person.Session, syncer.DeviceConfig{Folder: d.person.Folder()})
	d.ok(err)
	again := &desk{person: d.person, t: t, all: all, View: all.Files().View(filesystem.Options{})}
	d.all = all
	again.discover()
	if got := again.names("/plans"); len(got) > 0 {
		t.Errorf("the folder shows %q", got)
	}
	s, err := all.Find("plans")
	d.ok(err)
	root := s.Overlay().Root
	if got, err := s.Overlay().Children(t.Context(), root); len(got) != 1 || err != nil {
		t.Fatalf("the device kept %v, %v", got, err)
	}
	d.ok(again.draft("another").Close())
	if got, err := s.Overlay().Children(t.Context(), root); len(got) > 0 || err != nil {
		t.Errorf("after the next draft: %v, %v", got, err)
	}
}
