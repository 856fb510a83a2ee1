package convergence_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/clienttest"
	"parsec/internal/client/merge"
	"parsec/internal/client/workspace"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
	"parsec/internal/hostile"
	"parsec/internal/server/rpc"
	"parsec/internal/server/servertest"
)

// Few runs by default: each is a server, devices and their disks. `make soak` asks for many.
func TestMain(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "rapid.checks" })
	if !asked {
		if err := flag.Set("rapid.checks", "25"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// plenty is a rate that no run reaches.
const plenty = 1_000_000

// cast are the devices of all runs: two of alice and one each of bob and carol.
func cast(t *testing.T) []*device {
	t.Helper()
	server := servertest.Start(t, servertest.Config{Network: rpc.Config{
		AddressRate: plenty, AddressBurst: plenty, DeviceRate: plenty, DeviceBurst: plenty, OpenRate: plenty, OpenBurst: plenty,
	}})
	alice := clienttest.Bootstrap(t, server.CreateOrganization("Acme"), "alice@example.com")
	people := []*clienttest.Person{
		alice, alice.Enroll("bob@example.com", record.ProfileStandard), alice.EnrollDevice(), alice.Enroll("carol@example.com", record.ProfileStandard),
	}
	var all []*device
	for i, p := range people {
		l := &line{proxy: hostile.New(t, server.URL)}
		l.whole()
		l.proxy.Gate(l.gate)
		p.ToServer(l.proxy.URL)
		p.Sync()
		all = append(all, &device{Person: p, line: l, name: []string{"alice", "bob", "laptop", "carol"}[i]})
	}
	return all
}

// written is what is known of a content that somebody wrote.
type written struct {
	by string
	// superseded says that somebody wrote something else over it, or removed it,
	// where they saw it.
	superseded bool
}

// play is one run.
type play struct {
	t       *rapid.T
	ctx     context.Context
	devices []*device
	clock   *clock
	// contents are all that were written, by their text.
	contents map[string]*written
	// turns says that everybody is synced after each step.
	turns bool
	next  int
}

func TestDevicesConverge(t *testing.T) {
	devices := cast(t)
	rapid.Check(t, func(r *rapid.T) { run(t.Context(), r, devices, false) })
}

func TestWhoTakesTurnsHasNoConflicts(t *testing.T) {
	devices := cast(t)
	rapid.Check(t, func(r *rapid.T) { run(t.Context(), r, devices, true) })
}

func run(ctx context.Context, r *rapid.T, all []*device, turns bool) {
	p := &play{t: r, ctx: ctx, devices: all[:rapid.IntRange(2, len(all)).Draw(r, "devices")], clock: new(clock), contents: map[string]*written{}, turns: turns}
	p.begin()
	for range rapid.IntRange(3, 25).Draw(r, "steps") {
		d := p.devices[rapid.IntRange(0, len(p.devices)-1).Draw(r, "device")]
		if turns {
			p.work(d)
			p.quiesce()
			continue
		}
		switch rapid.IntRange(0, 9).Draw(r, "step") {
		case 0, 1:
			p.sync(d)
		case 2:
			p.breakdown(d)
		case 3:
			d.kill(ctx)
		case 4:
			p.rotate()
		default:
			p.work(d)
		}
	}
	p.quiesce()
	p.check()
	for _, d := range p.devices {
		d.end()
	}
}

// begin makes the workspace of the run, which all devices see.
func (p *play) begin() {
	owner := p.devices[0]
	owner.t = p.t
	owner.line.whole()
	ws, err := workspace.Create(p.ctx, owner.Session, "plans")
	owner.ok(err)
	for _, d := range p.devices[1:] {
		d.line.whole()
		if d.Device().User == owner.Device().User {
			continue
		}
		to, err := owner.Find(d.Device().Email)
		owner.ok(err)
		owner.ok(ws.Share(p.ctx, to, record.RoleManager))
	}
	for _, d := range p.devices {
		d.begin(p.ctx, p.t, ws.ID(), p.clock)
		d.ok(d.sync.Sync(p.ctx))
	}
}

// sync syncs one device as far as that goes.
func (p *play) sync(d *device) {
	d.line.whole()
	d.settle()
	if err := d.sync.Sync(p.ctx); err != nil {
		p.t.Fatalf("device %s: %v", d.name, err)
	}
}

// breakdown syncs one device over a line that breaks, and may kill it there.
func (p *play) breakdown(d *device) {
	d.line.breaks(rapid.IntRange(0, 12).Draw(p.t, "requests"), rapid.Bool().Draw(p.t, "handled"))
	d.settle()
	if err := d.sync.Sync(p.ctx); err != nil && !fault.Is(err, fault.Unreachable) {
		p.t.Fatalf("device %s: %v", d.name, err)
	}
	if rapid.Bool().Draw(p.t, "killed") {
		d.kill(p.ctx)
	}
	if rapid.Bool().Draw(p.t, "back") {
		d.line.whole()
	}
}

// rotate has the owner change the workspace's key.
func (p *play) rotate() {
	d := p.devices[0]
	d.line.whole()
	if err := d.sync.Workspace().Rotate(p.ctx); err != nil {
		p.t.Fatalf("rotate: %v", err)
	}
}

// quiesce syncs all devices until nobody has anything new.
func (p *play) quiesce() {
	for range 3 {
		for _, d := range p.devices {
			if err := d.finish(p.ctx); err != nil {
				p.t.Fatalf("%v", err)
			}
		}
	}
}

// spot is a place in a device's tree with what is there.
type spot struct {
	path  string
	at    merge.Place
	child manifest.Child
}

// spots returns all that a device shows.
func (p *play) spots(d *device) []spot {
	var all []spot
	var walk func(folder id.Entry, path string)
	walk = func(folder id.Entry, path string) {
		children, err := d.over.Children(p.ctx, folder)
		d.ok(err)
		for _, c := range children {
			all = append(all, spot{path + "/" + c.Name, merge.Place{Folder: folder, Name: c.Name}, c})
			if c.Kind == manifest.Folder {
				walk(c.Entry, path+"/"+c.Name)
			}
		}
	}
	walk(d.over.Root, "")
	return all
}

// content returns what a file has, at a device.
func (p *play) content(d *device, e id.Entry) string {
	f, err := d.over.Open(p.ctx, e, false)
	d.ok(err)
	b := make([]byte, f.Node().File.Size)
	_, err = f.ReadAt(p.ctx, b, 0)
	d.ok(err)
	d.ok(f.Close())
	return string(b)
}

// visible returns what a file has, at a device.
func (p *play) visible(d *device, s spot) (string, bool) {
	if s.child.Kind != manifest.File {
		return "", false
	}
	return p.content(d, s.child.Entry), true
}

// supersede notes that a device replaces or removes what it sees at a spot.
func (p *play) supersede(d *device, all []spot, at spot) {
	for _, s := range all {
		if s.path != at.path && !strings.HasPrefix(s.path, at.path+"/") {
			continue
		}
		if text, ok := p.visible(d, s); ok && text != "" {
			if w := p.contents[text]; w != nil {
				w.superseded = true
			} else {
				p.t.Fatalf("device %s shows %q, which nobody wrote", d.name, text)
			}
		}
	}
}

// fresh returns a content that nobody wrote before.
func (p *play) fresh(d *device) string {
	p.next++
	text := fmt.Sprintf("%04d by %s", p.next, d.name)
	if p.next%7 == 0 { // more than one block
		text += strings.Repeat(".", manifest.BlockSize)
	}
	p.contents[text] = &written{by: d.name}
	return text
}

// work does one thing at a device, as a program would.
func (p *play) work(d *device) {
	d.line.whole() // where a pull broke off, even a look may need the server
	all := p.spots(d)
	folders := []id.Entry{d.over.Root}
	for _, s := range all {
		if s.child.Kind == manifest.Folder && strings.Count(s.path, "/") < 4 {
			folders = append(folders, s.child.Entry)
		}
	}
	folder := folders[rapid.IntRange(0, len(folders)-1).Draw(p.t, "folder")]
	at := merge.Place{Folder: folder, Name: rapid.SampledFrom([]string{"a", "b", "c.txt"}).Draw(p.t, "name")}
	i := slices.IndexFunc(all, func(s spot) bool { return s.at == at })
	what := rapid.SampledFrom([]string{"write", "write", "write", "mkdir", "remove", "move", "move", "mode", "link"}).Draw(p.t, "work")
	switch {
	case i < 0 && what == "mkdir":
		_, err := d.over.Create(p.ctx, at, merge.Node{Kind: manifest.Folder})
		d.ok(err)
	case i < 0 && what == "link":
		_, err := d.over.Create(p.ctx, at, merge.Node{Kind: manifest.Symlink, Target: rapid.SampledFrom([]string{"a", "b"}).Draw(p.t, "target")})
		d.ok(err)
	case i < 0 && what == "write":
		p.create(d, at)
	case i < 0:
	case what == "write" && all[i].child.Kind == manifest.File:
		p.supersede(d, all, all[i])
		p.overwrite(d, all[i].child.Entry)
	case what == "mode" && all[i].child.Kind == manifest.File:
		d.ok(d.over.SetExecutable(p.ctx, all[i].child.Entry, rapid.Bool().Draw(p.t, "executable")))
	case what == "remove":
		p.supersede(d, all, all[i])
		p.remove(d, all, all[i])
	case what == "move":
		p.move(d, all, all[i])
	}
}

func (p *play) create(d *device, at merge.Place) {
	f, _, err := d.over.CreateFile(p.ctx, at, false)
	d.ok(err)
	_, err = f.WriteAt(p.ctx, []byte(p.fresh(d)), 0)
	d.ok(err)
	d.ok(f.Close())
}

func (p *play) overwrite(d *device, e id.Entry) {
	f, err := d.over.Open(p.ctx, e, true)
	d.ok(err)
	d.ok(f.Truncate(p.ctx, 0))
	_, err = f.WriteAt(p.ctx, []byte(p.fresh(d)), 0)
	d.ok(err)
	d.ok(f.Close())
}

// remove removes what is at a spot, what is below before it.
func (p *play) remove(d *device, all []spot, at spot) {
	for _, s := range slices.Backward(all) {
		if strings.HasPrefix(s.path, at.path+"/") {
			d.ok(d.over.Remove(p.ctx, s.at, s.child.Kind == manifest.Folder))
		}
	}
	d.ok(d.over.Remove(p.ctx, at.at, at.child.Kind == manifest.Folder))
}

// move moves what is at a spot to another one, over a file that is there.
func (p *play) move(d *device, all []spot, from spot) {
	folders := []spot{{path: "", at: merge.Place{}, child: manifest.Child{Entry: d.over.Root, Kind: manifest.Folder}}}
	for _, s := range all {
		if s.child.Kind == manifest.Folder && s.path != from.path && !strings.HasPrefix(s.path, from.path+"/") {
			folders = append(folders, s)
		}
	}
	into := folders[rapid.IntRange(0, len(folders)-1).Draw(p.t, "into")]
	to := merge.Place{Folder: into.child.Entry, Name: rapid.SampledFrom([]string{"a", "b", "c.txt"}).Draw(p.t, "as")}
	if to == from.at {
		return
	}
	if i := slices.IndexFunc(all, func(s spot) bool { return s.at == to }); i >= 0 {
		if all[i].child.Kind == manifest.Folder || from.child.Kind == manifest.Folder {
			return
		}
		p.supersede(d, all, all[i])
		if all[i].child.Kind == manifest.Symlink || from.child.Kind == manifest.Symlink {
			d.ok(d.over.Remove(p.ctx, to, false))
		}
	}
	_, err := d.over.Move(p.ctx, from.at, to, true)
	d.ok(err)
}

// tree returns what a device shows, with contents, modes and times.
func (p *play) tree(d *device) map[string]string {
	out := map[string]string{}
	for _, s := range p.spots(d) {
		n, err := d.over.Node(p.ctx, s.child.Entry)
		d.ok(err)
		text := fmt.Sprintf("%s %v %s %s", n.Kind, n.File.Executable, n.Target, time.Unix(0, n.Modified).UTC())
		if n.Kind == manifest.File {
			text += " " + p.content(d, s.child.Entry)
		}
		out[s.path] = text
	}
	return out
}

// check checks what must hold once everybody is done.
func (p *play) check() {
	want := p.tree(p.devices[0])
	for _, d := range p.devices[1:] {
		if diff := cmp.Diff(want, p.tree(d)); diff != "" {
			p.t.Fatalf("%s and %s do not have the same:\n%s", p.devices[0].name, d.name, diff)
		}
	}
	p.checkContents(want)
	p.checkReplay(want)
	for path := range want {
		if p.turns && strings.Contains(path, "conflict") {
			p.t.Fatalf("a conflict although everybody was synced before: %s", path)
		}
	}
}

// checkContents checks that what was written is there or was superseded by
// somebody who saw it, and that nothing else is there.
func (p *play) checkContents(tree map[string]string) {
	there := map[string]bool{}
	for _, s := range p.spots(p.devices[0]) {
		text, isFile := p.visible(p.devices[0], s)
		if !isFile {
			continue
		}
		if text != "" && p.contents[text] == nil {
			p.t.Fatalf("%s has %.40q, which nobody wrote", s.path, text)
		}
		there[text] = true
	}
	for _, text := range slices.Sorted(maps.Keys(p.contents)) {
		if w := p.contents[text]; !there[text] && !w.superseded {
			p.t.Fatalf("%.40q is lost, and nobody who saw it wrote over it or removed it; there is:\n%v", text, shortened(tree))
		}
	}
}

func shortened(tree map[string]string) string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(tree)) {
		fmt.Fprintf(&b, "%s: %.100s\n", path, tree[path])
	}
	return b.String()
}

// checkReplay checks that a device without any memory of the tree sees the same.
func (p *play) checkReplay(want map[string]string) {
	d := p.devices[len(p.devices)-1]
	d.ok(d.Local().Cache.Reset(p.ctx))
	d.ok(d.over.Flush()) // a removal that nothing followed may be undone by a kill
	d.kill(p.ctx)
	if err := d.finish(p.ctx); err != nil {
		p.t.Fatalf("%v", err)
	}
	if diff := cmp.Diff(want, p.tree(d)); diff != "" {
		p.t.Fatalf("read anew the tree is another:\n%s", diff)
	}
}
