package filesystem_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"parsec/internal/base/fault"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/filesystem"
	"parsec/internal/client/overlay"
	"parsec/internal/client/syncer"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
	"parsec/internal/server/servertest"
)

// desk is a person's device with its file system.
type desk struct {
	*filesystem.View
	t      testing.TB
	person *clienttest.Person
	all    *syncer.Device
}

func sit(t testing.TB, p *clienttest.Person) *desk {
	t.Helper()
	all, err := syncer.OpenDevice(t.Context(), p.Session, syncer.DeviceConfig{
		Folder: p.Folder(), Files: filesystem.Config{Patience: 200 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := all.Close(); err != nil {
			t.Error(err)
		}
	})
	d := &desk{person: p, t: t, all: all, View: all.Files().View(filesystem.Options{})}
	d.discover()
	return d
}

func (d *desk) discover() {
	d.t.Helper()
	d.ok(d.all.Discover(d.t.Context()))
}

func (d *desk) ok(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// alone returns somebody with the one workspace "plans".
func alone(t testing.TB) *desk {
	t.Helper()
	p := clienttest.Bootstrap(t, servertest.Start(t, servertest.Config{}).CreateOrganization("Acme"), "alice@example.com")
	p.CreateWorkspace("plans")
	return sit(t, p)
}

// sync syncs the workspace "plans" until nothing is left.
func (d *desk) sync() {
	d.t.Helper()
	s, err := d.all.Find("plans")
	d.ok(err)
	d.ok(s.Finish(d.t.Context()))
}

func (d *desk) find(p string) filesystem.Attr {
	d.t.Helper()
	a, err := d.Find(d.t.Context(), p, false)
	d.ok(err)
	return a
}

// write makes a file, or writes one anew.
func (d *desk) write(p, content string) filesystem.Attr {
	d.t.Helper()
	h := d.open(p, filesystem.Write|filesystem.Truncate)
	_, err := h.WriteAt(d.t.Context(), []byte(content), 0)
	d.ok(err)
	d.ok(h.Close())
	return d.find(p)
}

func (d *desk) open(p string, flags filesystem.Flags) *filesystem.Handle {
	d.t.Helper()
	folder, name, err := d.Place(d.t.Context(), p)
	d.ok(err)
	h, _, err := d.Create(d.t.Context(), folder, name, flags, false)
	d.ok(err)
	return h
}

func (d *desk) mkdir(p string) filesystem.Attr {
	d.t.Helper()
	a, err := d.MkdirAll(d.t.Context(), p)
	d.ok(err)
	return a
}

func (d *desk) content(h *filesystem.Handle) string {
	d.t.Helper()
	b := make([]byte, 1<<20)
	n, err := h.ReadAt(d.t.Context(), b, 0)
	d.ok(err)
	return string(b[:n])
}

func (d *desk) read(p string) string {
	d.t.Helper()
	h, err := d.Open(d.t.Context(), d.find(p).Node, filesystem.Read)
	d.ok(err)
	defer func() { d.ok(h.Close()) }()
	return d.content(h)
}

func (d *desk) names(p string) []string {
	d.t.Helper()
	var all []string
	d.ok(d.List(d.t.Context(), d.find(p).Node, func(l filesystem.Listed) error {
		all = append(all, l.Name)
		return nil
	}))
	return all
}

// rename renames as a face does that knows paths.
func (d *desk) rename(from, to string, keep bool) (filesystem.Node, error) {
	d.t.Helper()
	a, name, err := d.Place(d.t.Context(), from)
	d.ok(err)
	b, newName, err := d.Place(d.t.Context(), to)
	d.ok(err)
	return d.Rename(d.t.Context(), a, name, b, newName, keep)
}

func (d *desk) unlink(p string) error {
	d.t.Helper()
	folder, name, err := d.Place(d.t.Context(), p)
	d.ok(err)
	return d.Unlink(d.t.Context(), folder, name)
}

func (d *desk) rmdir(p string) error {
	d.t.Helper()
	folder, name, err := d.Place(d.t.Context(), p)
	d.ok(err)
	return d.Rmdir(d.t.Context(), folder, name)
}

func TestEveryErrorHasAnErrno(t *testing.T) {
	for _, k := range fault.Kinds() {
		if filesystem.Errno(fault.Errorf(k, "x")) == 0 {
			t.Errorf("the kind %v has no errno", k)
		}
	}
	for _, r := range filesystem.Refusals() {
		if filesystem.Errno(fmt.Errorf("x: %w", r)) == syscall.EIO || r.Error() == "refused" {
			t.Errorf("refusal %d has no errno or text", r)
		}
	}
	for r := overlay.Exists; r.Error() != "refused"; r++ {
		if filesystem.Errno(fmt.Errorf("x: %w", r)) == 0 {
			t.Errorf("%v has no errno", r)
		}
	}
	for err, want := range map[error]syscall.Errno{
		nil: 0, context.Canceled: syscall.EINTR, context.DeadlineExceeded: syscall.EIO,
		fmt.Errorf("write: %w", syscall.ENOSPC): syscall.ENOSPC, errors.New("x"): syscall.EIO,
	} {
		if got := filesystem.Errno(err); got != want {
			t.Errorf("%v is %v, want %v", err, got, want)
		}
	}
}

func TestWhatPOSIXRefusesIsRefusedAsItSays(t *testing.T) {
	d := alone(t)
	ctx := t.Context()
	d.mkdir("/plans/full/below")
	d.mkdir("/plans/empty")
	d.write("/plans/file", "content")
	plans, file, full := d.find("/plans").Node, d.find("/plans/file").Node, d.find("/plans/full").Node
	drop := func(_ any, err error) error { return err }
	for what, c := range map[string]struct {
		err  error
		want syscall.Errno
	}{
		"look up what is not there":           {drop(d.Lookup(ctx, plans, "none")), syscall.ENOENT},
		"look into a file":                    {drop(d.Lookup(ctx, file, "none")), syscall.ENOTDIR},
		"look up a workspace that is none":    {drop(d.Find(ctx, "/none", false)), syscall.ENOENT},
		"a long name":                         {drop(d.Mkdir(ctx, plans, strings.Repeat("n", 256))), syscall.ENAMETOOLONG},
		"a name that is no text":              {drop(d.Mkdir(ctx, plans, "\xff")), syscall.EILSEQ},
		"a name with NUL":                     {drop(d.Mkdir(ctx, plans, "a\x00b")), syscall.EINVAL},
		"make a folder under a taken name":    {drop(d.Mkdir(ctx, plans, "file")), syscall.EEXIST},
		"make a folder in a file":             {drop(d.Mkdir(ctx, file, "x")), syscall.ENOTDIR},
		"make a workspace":                    {drop(d.Mkdir(ctx, filesystem.Node{}, "x")), syscall.EPERM},
		"unlink a workspace":                  {d.Rmdir(ctx, filesystem.Node{}, "plans"), syscall.EPERM},
		"remove a workspace with all in it":   {d.RemoveAll(ctx, filesystem.Node{}, "plans"), syscall.EPERM},
		"make a file that must not be there":  {second(d.Create(ctx, plans, "file", filesystem.Exclusive|filesystem.Write, false)), syscall.EEXIST},
		"open a folder as a file":             {drop(d.Open(ctx, full, filesystem.Read)), syscall.EISDIR},
		"open the list of workspaces":         {drop(d.Open(ctx, filesystem.Node{}, filesystem.Read)), syscall.EISDIR},
		"create over a folder":                {second(d.Create(ctx, plans, "full", filesystem.Write, false)), syscall.EISDIR},
		"open a file as a folder":             {drop(d.OpenFolder(ctx, file)), syscall.ENOTDIR},
		"remove a folder with unlink":         {d.unlink("/plans/empty"), syscall.EISDIR},
		"remove a file with rmdir":            {d.rmdir("/plans/file"), syscall.ENOTDIR},
		"remove a folder that is not empty":   {d.rmdir("/plans/full"), syscall.ENOTEMPTY},
		"remove what is not there":            {d.unlink("/plans/none"), syscall.ENOENT},
		"rename what is not there":            {drop(d.rename("/plans/none", "/plans/x", false)), syscall.ENOENT},
		"rename over what must stay":          {drop(d.rename("/plans/file", "/plans/empty", true)), syscall.EEXIST},
		"rename a file over a folder":         {drop(d.rename("/plans/file", "/plans/empty", false)), syscall.EISDIR},
		"rename a folder over a file":         {drop(d.rename("/plans/empty", "/plans/file", false)), syscall.ENOTDIR},
		"rename a folder over a full one":     {drop(d.rename("/plans/empty", "/plans/full", false)), syscall.ENOTEMPTY},
		"rename a folder into itself":         {drop(d.rename("/plans/full", "/plans/full/below/x", false)), syscall.EINVAL},
		"read a file as a symlink":            {drop(d.ReadLink(ctx, file)), syscall.EINVAL},
		"make the root":                       {third(d.Place(ctx, "/")), syscall.EEXIST},
		"make something below what is a file": {third(d.Place(ctx, "/plans/file/x")), syscall.ENOTDIR},
		"grow a file beyond what there is":    {drop(d.Set(ctx, file, filesystem.Changes{Size: ptr(uint64(1) << 63)})), syscall.EFBIG},
		"give a folder a size":                {drop(d.Set(ctx, full, filesystem.Changes{Size: ptr(uint64(0))})), syscall.EISDIR},
	} {
		if got := filesystem.Errno(c.err); got != c.want {
			t.Errorf("%s: %v (%v), want %v", what, got, c.err, c.want)
		}
	}
	if diff := cmp.Diff([]string{"empty", "file", "full"}, d.names("/plans")); diff != "" {
		t.Errorf("what was refused left something: %s", diff)
	}
}

func ptr[T any](v T) *T { return &v }

func second[A, B any](_ A, _ B, err error) error { return err }

func third[A, B any](_ A, _ B, err error) error { return err }

func TestHandlesKeepToTheirFlags(t *testing.T) {
	d := alone(t)
	ctx := t.Context()
	d.write("/plans/file", "content")
	reading := d.open("/plans/file", filesystem.Read)
	_, err := reading.WriteAt(ctx, []byte("x"), 0)
	if got := filesystem.Errno(err); got != syscall.EBADF {
		t.Errorf("write to what is open for reading: %v", err)
	}
	if got := filesystem.Errno(reading.Truncate(ctx, 0)); got != syscall.EBADF {
		t.Errorf("truncate what is open for reading: %v", got)
	}
	appending := d.open("/plans/file", filesystem.Append)
	if _, err := appending.ReadAt(ctx, make([]byte, 1), 0); filesystem.Errno(err) != syscall.EBADF {
		t.Errorf("read what is open for writing: %v", err)
	}
	_, err = appending.WriteAt(ctx, []byte(" and more"), 0)
	d.ok(err)
	if got := d.content(reading); got != "content and more" {
		t.Errorf("appended to: %q", got)
	}
	d.ok(d.open("/plans/file", filesystem.Write|filesystem.Truncate).Close())
	if got := d.content(reading); got != "" {
		t.Errorf("truncated: %q", got)
	}
	d.ok(appending.Close())
	d.ok(reading.Close())
}

func TestSparseFilesHaveHoles(t *testing.T) {
	d := alone(t)
	ctx := t.Context()
	h := d.open("/plans/sparse", filesystem.Read|filesystem.Write)
	defer func() { d.ok(h.Close()) }()
	_, err := h.WriteAt(ctx, []byte("head"), 0)
	d.ok(err)
	_, err = h.WriteAt(ctx, []byte("tail"), 1<<30)
	d.ok(err)
	seek := func(off int64, hole bool) int64 {
		at, err := h.Seek(ctx, off, hole)
		if filesystem.Errno(err) == syscall.ENXIO {
			return -1
		}
		d.ok(err)
		return at
	}
	for _, c := range []struct {
		off  int64
		hole bool
		want int64
	}{{0, false, 0}, {0, true, 4}, {4, false, 1 << 30}, {4, true, 4}, {1 << 29, false, 1 << 30}, {1 << 30, true, 1<<30 + 4}, {1<<30 + 4, false, -1}, {2 << 30, true, -1}} {
		if got := seek(c.off, c.hole); got != c.want {
			t.Errorf("seek from %d, hole %v: %d, want %d", c.off, c.hole, got, c.want)
		}
	}
	_, err = h.WriteAt(ctx, []byte("middle"), 1<<20)
	d.ok(err)
	if data, hole := seek(5, false), seek(1<<20, true); data != 1<<20 || hole != 1<<20+6 {
		t.Errorf("what was written last, before what is there, begins at %d and ends at %d", data, hole)
	}
	d.ok(h.Zero(ctx, 1<<30, 2, false))
	d.ok(h.Zero(ctx, 1<<30+2, 100, true))
	got := make([]byte, 200)
	n, err := h.ReadAt(ctx, got, 1<<30)
	d.ok(err)
	if want := make([]byte, 102); !bytes.Equal(got[:n], want) {
		t.Errorf("punched: %q", got[:n])
	}
}

func TestATimeStaysUntilSomethingChanges(t *testing.T) {
	d := alone(t)
	from, to := d.mkdir("/plans/from"), d.mkdir("/plans/to")
	d.mkdir("/plans/from/folder")
	_, err := d.rename("/plans/from/folder", "/plans/to/folder", false)
	d.ok(err)
	at := time.Unix(1_000_000_000, 5)
	for _, n := range []filesystem.Node{from.Node, to.Node} {
		_, err := d.View.Set(t.Context(), n, filesystem.Changes{Modified: &at})
		d.ok(err)
	}
	d.ok(d.rmdir("/plans/to/folder"))
	if got := d.find("/plans/from").Modified; !got.Equal(at) {
		t.Errorf("the folder that it was moved from before was changed at %v, want %v", got, at)
	}
	if got := d.find("/plans/to").Modified; !got.After(at) {
		t.Errorf("the folder that it was in was changed at %v", got)
	}
}

func TestNothingVanishesWhileItIsSent(t *testing.T) {
	d := alone(t)
	s, err := d.all.Find("plans")
	d.ok(err)
	names := []string{"/plans/one", "/plans/other"}
	d.mkdir(names[0])
	d.write(names[0]+"/file", "content")
	var sent atomic.Bool
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() {
		defer sent.Store(true)
		if err := s.Finish(t.Context()); err != nil {
			t.Error(err)
		}
	})
	committed := false
	for at := 0; !sent.Load(); {
		if !committed { // so that something of the folder waits when the file is sent
			_, err := d.rename(names[at], names[1-at], true)
			d.ok(err)
			at = 1 - at
		}
		committed = d.find(names[at]+"/file").Version > 0
	}
}

func TestWhoHasAFileOpenKeepsIt(t *testing.T) {
	d := alone(t)
	ctx := t.Context()
	d.write("/plans/draft", "new")
	d.write("/plans/report", "old")
	d.sync()
	draft, report := d.find("/plans/draft"), d.find("/plans/report")
	h := d.open("/plans/draft", filesystem.Read|filesystem.Write)
	old := d.open("/plans/report", filesystem.Read)

	moved, err := d.rename("/plans/draft", "/plans/report", false)
	d.ok(err)
	a := d.find("/plans/report")
	if a.Node != moved || moved != report.Node || a.Number != draft.Number {
		t.Errorf("renamed over: %v with number %d, want the entry of the old report and the draft's number %d", a.Node, a.Number, draft.Number)
	}
	if h.Node() != moved {
		t.Errorf("the handle is of %v, want %v", h.Node(), moved)
	}
	_, err = h.WriteAt(ctx, []byte("newer"), 0)
	d.ok(err)
	if got := d.read("/plans/report"); got != "newer" {
		t.Errorf("written through the handle: %q", got)
	}
	if got := d.content(old); got != "old" {
		t.Errorf("what was replaced reads %q", got)
	}

	d.ok(d.unlink("/plans/report"))
	if got := d.content(h); got != "newer" {
		t.Errorf("what was removed reads %q", got)
	}
	if a, err := d.Stat(ctx, h.Node()); err != nil || !a.Removed || a.Size != 5 {
		t.Errorf("stat of what was removed: %+v, %v", a, err)
	}
	again, err := d.Open(ctx, h.Node(), filesystem.Read)
	d.ok(err)
	d.ok(again.Close())
	d.ok(h.Close())
	d.ok(old.Close())
	if _, err := d.Stat(ctx, moved); filesystem.Errno(err) != syscall.ENOENT {
		t.Errorf("stat of what nobody has open: %v", err)
	}
}

func TestCursorsOfFoldersStay(t *testing.T) {
	d := alone(t)
	ctx := t.Context()
	dir := d.mkdir("/plans/dir").Node
	const count = 1200
	for i := range count {
		_, err := d.Mkdir(ctx, dir, fmt.Sprintf("%04d", i))
		d.ok(err)
	}
	f, err := d.OpenFolder(ctx, dir)
	d.ok(err)
	read := func(from uint64, visit func(filesystem.Listed)) {
		for cursor := from; ; {
			l, ok, err := f.At(ctx, cursor)
			d.ok(err)
			if !ok {
				return
			}
			cursor = l.Next
			visit(l)
		}
	}
	var seen []string
	read(0, func(l filesystem.Listed) { // removed while it is read, as by rm -r
		seen = append(seen, l.Name)
		if l.Next == 7 {
			d.write("/plans/dir/0000 new", "")
		}
		d.ok(d.Rmdir(ctx, dir, l.Name))
	})
	if len(seen) != count || !slices.IsSorted(seen) {
		t.Errorf("read %d, want each of %d once", len(seen), count)
	}
	read(3, func(l filesystem.Listed) { t.Errorf("%s is there, at %d", l.Name, l.Next) })
	d.ok(f.Rewind(ctx))
	seen = nil
	read(0, func(l filesystem.Listed) { seen = append(seen, l.Name) })
	if diff := cmp.Diff([]string{"0000 new"}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestSymlinksDoNotLeadOut(t *testing.T) {
	d := alone(t)
	ctx := t.Context()
	d.mkdir("/plans/a/b")
	d.write("/plans/a/file", "content")
	for p, c := range map[string]struct {
		target string
		leads  bool
	}{
		"/plans/a/b/up":      {"../file", true},
		"/plans/a/b/top":     {"../../a/file", true},
		"/plans/a/b/out":     {"../../../plans/a/file", false},
		"/plans/a/b/abs":     {"/etc/passwd", false},
		"/plans/a/b/through": {"up/../../../../etc/passwd", false},
		"/plans/self":        {"self", true},
	} {
		folder, name, err := d.Place(ctx, p)
		d.ok(err)
		a, err := d.Symlink(ctx, folder, name, c.target)
		d.ok(err)
		got, err := d.ReadLink(ctx, a.Node)
		switch {
		case c.leads && (err != nil || got != c.target):
			t.Errorf("%s: %q, %v", p, got, err)
		case !c.leads && filesystem.Errno(err) != syscall.EACCES:
			t.Errorf("%s: %q, %v", p, got, err)
		}
	}
	if a, err := d.Find(ctx, "/plans/a/b/top", true); err != nil || a.Size != 7 {
		t.Errorf("followed: %+v, %v", a, err)
	}
	if _, err := d.Find(ctx, "/plans/self", true); filesystem.Errno(err) != syscall.ELOOP {
		t.Errorf("a link to itself: %v", err)
	}
	// What led up from deep below leads out once it lies higher.
	_, err := d.rename("/plans/a/b/top", "/plans/top", false)
	d.ok(err)
	if _, err := d.ReadLink(ctx, d.find("/plans/top").Node); filesystem.Errno(err) != syscall.EACCES {
		t.Errorf("moved up: %v", err)
	}
}

func TestLocksKeepOthersOut(t *testing.T) {
	d := alone(t)
	ctx := t.Context()
	a := d.write("/plans/file", "")
	one, two, three := d.Owner(1), d.Owner(2), d.Owner(3)
	lock := func(ctx context.Context, o filesystem.Owner, from, to uint64, exclusive, wait bool) error {
		return d.Lock(ctx, a.Node, a.Number, filesystem.Lock{Owner: o, From: from, To: to, Exclusive: exclusive}, wait)
	}
	d.ok(lock(ctx, one, 0, 10, true, false))
	d.ok(lock(ctx, one, 5, filesystem.ToTheEnd, false, false)) // from there on only shared
	d.ok(lock(ctx, two, 10, 20, false, false))
	if err := lock(ctx, two, 4, 6, false, false); filesystem.Errno(err) != syscall.EAGAIN {
		t.Errorf("a part that is taken: %v", err)
	}
	d.ok(d.Lock(ctx, a.Node, a.Number, filesystem.Lock{Owner: two, To: filesystem.ToTheEnd, Exclusive: true, Whole: true}, false))
	if l, taken := d.Locked(a.Node, a.Number, filesystem.Lock{Owner: two, To: 1}); !taken || l.Owner != one || l.To != 5 || !l.Exclusive {
		t.Errorf("locked: %+v, %v", l, taken)
	}

	group, waiting := errgroup.Group{}, func(o filesystem.Owner) {
		t.Helper()
		for end := time.Now().Add(10 * time.Second); !d.Waits(o); {
			if time.Now().After(end) {
				t.Fatal("nobody waits")
			}
		}
	}
	group.Go(func() error { return lock(ctx, two, 0, 1, true, true) })
	waiting(two)
	if err := lock(ctx, one, 10, 11, true, true); filesystem.Errno(err) != syscall.EDEADLK {
		t.Errorf("to wait for each other: %v", err)
	}
	canceled, cancel := context.WithCancel(ctx)
	stopped := errgroup.Group{}
	stopped.Go(func() error { return lock(canceled, three, 0, 1, true, true) })
	waiting(three)
	cancel()
	if err := stopped.Wait(); filesystem.Errno(err) != syscall.EINTR {
		t.Errorf("interrupted: %v", err)
	}
	d.Unlock(a.Node, a.Number, filesystem.Lock{Owner: one, To: filesystem.ToTheEnd})
	d.ok(group.Wait())
	d.Unlock(a.Node, a.Number, filesystem.Lock{Owner: two, To: filesystem.ToTheEnd})
	d.ok(lock(ctx, three, 0, filesystem.ToTheEnd, true, false))
}

func TestAllWorkspacesAreFoldersOfOneRoot(t *testing.T) {
	p := clienttest.Bootstrap(t, servertest.Start(t, servertest.Config{}).CreateOrganization("Acme"), "alice@example.com")
	p.CreateWorkspace("plans")
	p.CreateWorkspace("accounts")
	d := sit(t, p)
	ctx := t.Context()
	if diff := cmp.Diff([]string{"accounts", "plans"}, d.names("/")); diff != "" {
		t.Fatal(diff)
	}
	d.write("/plans/file", "content")
	if _, err := d.rename("/plans/file", "/accounts/file", false); filesystem.Errno(err) != syscall.EXDEV {
		t.Errorf("from one workspace into another: %v", err)
	}
	if a, b := d.find("/plans"), d.find("/accounts"); a.Number == b.Number || a.Number == d.find("/").Number {
		t.Error("two roots have the same number")
	}
	if got, ok, err := d.Path(ctx, d.find("/plans/file").Node); got != "/plans/file" || !ok || err != nil {
		t.Errorf("path %q, %v, %v", got, ok, err)
	}
	one := d.all.Files().View(filesystem.Options{Workspace: d.find("/plans").Node.Workspace(), ReadOnly: true})
	a, err := one.Find(ctx, "/file", false)
	d.ok(err)
	if a.Node != d.find("/plans/file").Node {
		t.Error("two views have two nodes of a file")
	}
	if _, err := one.Open(ctx, a.Node, filesystem.Write); filesystem.Errno(err) != syscall.EROFS {
		t.Errorf("write through a view that is read-only: %v", err)
	}
}

func TestReadersChangeNothing(t *testing.T) {
	alice := clienttest.Bootstrap(t, servertest.Start(t, servertest.Config{}).CreateOrganization("Acme"), "alice@example.com")
	tree := alice.CreateWorkspace("plans")
	a := sit(t, alice)
	a.write("/plans/file", "content")
	a.sync()
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	alice.Share(tree, bob, record.RoleReader)
	b := sit(t, bob)
	b.sync()
	if got := b.read("/plans/file"); got != "content" {
		t.Errorf("read %q", got)
	}
	file := b.find("/plans/file").Node
	if _, err := b.Open(t.Context(), file, filesystem.Write); filesystem.Errno(err) != syscall.EROFS {
		t.Errorf("write as a reader: %v", err)
	} else if !strings.Contains(err.Error(), "plans") {
		t.Errorf("the error does not say where: %v", err)
	}
	a.ok(tree.Workspace().Archive(t.Context(), true))
	if _, err := a.Mkdir(t.Context(), a.find("/plans").Node, "x"); filesystem.Errno(err) != syscall.EROFS {
		t.Errorf("write to what is archived: %v", err)
	}
}

// heard gathers what a view is told.
type heard struct {
	mu  sync.Mutex
	all map[filesystem.Node]int
}

func (h *heard) tell(nodes []filesystem.Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range nodes {
		h.all[n]++
	}
}

// take returns how often each node was told of since the last call.
func (h *heard) take() map[filesystem.Node]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := h.all
	h.all = map[filesystem.Node]int{}
	return all
}

func TestWhoWatchesHearsOfWhatOthersDo(t *testing.T) {
	alice := clienttest.Bootstrap(t, servertest.Start(t, servertest.Config{}).CreateOrganization("Acme"), "alice@example.com")
	tree := alice.CreateWorkspace("plans")
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	alice.Share(tree, bob, record.RoleContributor)
	a, b := sit(t, alice), sit(t, bob)
	own, other := &heard{all: map[filesystem.Node]int{}}, &heard{all: map[filesystem.Node]int{}}
	defer a.Watch(own.tell)()
	defer a.all.Files().View(filesystem.Options{}).Watch(other.tell)()

	file := a.write("/plans/file", "content").Node
	root := a.find("/plans").Node
	if got := own.take(); len(got) > 0 {
		t.Errorf("told of what it did itself: %v", got)
	}
	if got := other.take(); got[root] == 0 || got[file] == 0 {
		t.Errorf("told of %v, want the folder and the file", got)
	}
	a.sync()
	if got := own.take(); len(got) > 0 {
		t.Errorf("told that nothing changed: %v", got)
	}
	b.sync()
	b.write("/plans/file", "content of Bob's")
	b.sync()
	a.sync()
	if got := own.take(); got[file] == 0 {
		t.Errorf("told of %v, want the file that Bob changed", got)
	}
	if got := a.read("/plans/file"); got != "content of Bob's" {
		t.Errorf("read %q", got)
	}
}

func TestAServerThatIsAwayIsAnErrorOfThatReadAlone(t *testing.T) {
	server := servertest.Start(t, servertest.Config{})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	tree := alice.CreateWorkspace("plans")
	a := sit(t, alice)
	a.write("/plans/file", strings.Repeat("content ", 1<<12))
	a.sync()
	bob := alice.Enroll("bob@example.com", record.ProfileStandard)
	alice.Share(tree, bob, record.RoleContributor)
	b := sit(t, bob)
	b.sync()
	server.Stop()
	h := b.open("/plans/file", filesystem.Read)
	if _, err := h.ReadAt(t.Context(), make([]byte, 8), 0); filesystem.Errno(err) != syscall.EIO {
		t.Errorf("read what is not here: %v", err)
	}
	if got := b.find("/plans/file").Size; got != 8<<12 {
		t.Errorf("the file has %d bytes", got)
	}
	b.write("/plans/own", "written meanwhile")
	if got := b.read("/plans/own"); got != "written meanwhile" {
		t.Errorf("read %q", got)
	}
	servertest.Start(t, servertest.Config{Dir: server.Dir, Listen: server.URL[len("http://"):]})
	if got := b.content(h); got != strings.Repeat("content ", 1<<12) {
		t.Errorf("read %d bytes once the server is back", len(got))
	}
	b.ok(h.Close())
}

func TestManyDoEverythingAtOnce(t *testing.T) {
	d := alone(t)
	ctx := t.Context()
	var group errgroup.Group
	for w := range 8 {
		group.Go(func() error {
			for i := range 30 {
				mine := fmt.Sprintf("/plans/%d/%d", w%4, i)
				if _, err := d.MkdirAll(ctx, mine); err != nil && filesystem.Errno(err) != syscall.EEXIST && filesystem.Errno(err) != syscall.ENOENT {
					return err
				}
				folder, name, err := d.Place(ctx, mine+"/file")
				if filesystem.Errno(err) == syscall.ENOENT {
					continue // the other one was faster
				}
				h, _, err := d.Create(ctx, folder, name, filesystem.Write|filesystem.Append, false)
				if filesystem.Errno(err) == syscall.ENOENT {
					continue
				}
				if err != nil {
					return err
				}
				if _, err := h.WriteAt(ctx, []byte("word "), 0); err != nil {
					return err
				}
				if err := h.Close(); err != nil {
					return err
				}
				if w < 4 {
					continue
				}
				above, name, err := d.Place(ctx, mine)
				if err == nil {
					err = d.RemoveAll(ctx, above, name)
				}
				if e := filesystem.Errno(err); e != 0 && e != syscall.ENOENT && e != syscall.ENOTEMPTY {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		for range 30 {
			if err := d.Walk(ctx, d.find("/plans"), func(string, filesystem.Attr) error { return nil }); err != nil && filesystem.Errno(err) != syscall.ENOENT {
				return err
			}
		}
		return nil
	})
	d.ok(group.Wait())
	before := shown(t, d)
	d.sync()
	if diff := cmp.Diff(before, shown(t, d)); diff != "" {
		t.Errorf("after the push: %s", diff)
	}
	fresh := sit(t, d.person.EnrollDevice())
	fresh.sync()
	if diff := cmp.Diff(before, shown(t, fresh)); diff != "" {
		t.Errorf("on another device: %s", diff)
	}
}

// shown returns what there is of the workspace "plans".
func shown(t *testing.T, d *desk) map[string]string {
	t.Helper()
	all := map[string]string{}
	d.ok(d.Walk(t.Context(), d.find("/plans"), func(p string, a filesystem.Attr) error {
		if all[p] = a.Kind.String(); a.Kind == manifest.File {
			all[p] = d.read("/plans/" + p)
		}
		return nil
	}))
	return all
}

var _ filesystem.Workspace = (*syncer.Syncer)(nil)
