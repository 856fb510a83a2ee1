package convergence_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/client/syncer"
	"parsec/internal/client/workspace"
	"parsec/internal/format/manifest"
	"parsec/internal/format/record"
)

// written is what is known of a content that somebody wrote.
type written struct {
	by string
	// superseded says that somebody wrote something else over it, or removed it,
	// where they saw it.
	superseded bool
}

// play is what happens in one workspace.
type play struct {
	// act counts the cases so far.
	act int

	t       *rapid.T
	ctx     context.Context
	world   *world
	devices []*device
	clock   *clock
	// contents are all that were written, by their text.
	contents map[string]*written
	// roles is what the workspace's log says of each user.
	roles map[id.User]record.Role
	turns turns
	next  int
	// story is what happened so far.
	story []string
}

// tell notes what happens.
func (p *play) tell(d *device, format string, a ...any) {
	p.story = append(p.story, d.name+" "+fmt.Sprintf(format, a...))
}

// Helper implements [fataler].
func (p *play) Helper() {}

// Fatalf ends a case, and says how it came to it.
func (p *play) Fatalf(format string, a ...any) {
	p.t.Fatalf("%s\nin turns: %v; what happened:\n%s", fmt.Sprintf(format, a...), p.turns, strings.Join(p.story, "\n"))
}

// turns is how a play is played.
type turns bool

const (
	// atOnce: everybody works, and syncs now and then.
	atOnce turns = false
	// inTurns: everybody is synced after each step.
	inTurns turns = true
)

// acts is how many cases in a row a workspace serves: each begins with what the
// one before left, and after the last it is read anew.
const acts = 5

// run is one case.
func run(ctx context.Context, r *rapid.T, w *world, how turns) {
	p := w.play
	w.play = nil // where this fails, the next is in another workspace
	n := rapid.IntRange(2, len(w.devices)).Draw(r, "devices")
	if p == nil {
		p = &play{world: w, devices: w.devices[:n], clock: new(clock), contents: map[string]*written{}, roles: map[id.User]record.Role{}, turns: how}
		p.in(ctx, r)
		p.begin()
	} else {
		p.in(ctx, r)
		p.readmit()
		if p.turns == inTurns {
			p.quiesce() // who is back has not seen what others did meanwhile
		}
	}
	for range rapid.IntRange(3, 25).Draw(r, "steps") {
		p.step(p.devices[rapid.IntRange(0, len(p.devices)-1).Draw(r, "device")])
		if p.turns == inTurns {
			p.quiesce()
		}
	}
	if rapid.Bool().Draw(r, "all back") {
		p.readmit()
	}
	p.quiesce()
	p.check()
	if p.act++; p.act < acts {
		w.play = p
		return
	}
	p.checkReplay()
	for _, d := range p.devices {
		d.end()
	}
}

// in says for whom the play goes on.
func (p *play) in(ctx context.Context, r *rapid.T) {
	p.ctx, p.t = ctx, r
	for _, d := range p.devices {
		d.t = p
	}
}

// step is one step of one device, or of the owner.
func (p *play) step(d *device) {
	switch rapid.IntRange(0, 19).Draw(p.t, "step") {
	case 0, 1, 2:
		p.sync(d)
	case 3, 4:
		p.breakdown(d)
	case 5:
		p.cancel(d)
	case 6:
		p.tell(d, "is killed")
		d.kill(p.ctx)
	case 7:
		p.rotate()
	case 8, 9:
		p.member(d)
	default:
		p.work(d)
	}
}

// begin makes the workspace of the run, which all devices see.
func (p *play) begin() {
	owner := p.devices[0]
	owner.line.whole()
	for i, d := range p.devices {
		if d.revoked {
			p.devices[i] = p.world.replace(d)
		}
	}
	ws, err := workspace.Create(p.ctx, owner.Session, "plans")
	owner.ok(err)
	p.roles[owner.Device().User] = record.RoleOwner
	for _, d := range p.devices {
		d.line.whole()
		if _, in := p.roles[d.Device().User]; !in {
			p.share(ws, d, record.RoleManager)
		}
	}
	for _, d := range p.devices {
		d.begin(p.ctx, p, ws.ID(), p.clock)
		d.ok(d.sync.Sync(p.ctx))
	}
}

// share gives a device's user a role, as the owner.
func (p *play) share(ws *workspace.Workspace, d *device, role record.Role) {
	owner := p.devices[0]
	to, err := owner.Find(d.Device().Email)
	owner.ok(err)
	if role == record.RoleNone {
		owner.ok(ws.Unshare(p.ctx, to))
	} else {
		owner.ok(ws.Share(p.ctx, to, role))
	}
	p.roles[d.Device().User] = role
	p.tell(d, "is now %s", role)
}

// role is what a device's user may by what everybody could know.
func (p *play) role(d *device) record.Role { return p.roles[d.Device().User] }

// member has the owner change what a device's user may, remove the user, bring
// the user back, or revoke the user for good.
func (p *play) member(d *device) {
	owner := p.devices[0]
	if d.Device().User == owner.Device().User || d.revoked {
		return
	}
	owner.line.whole()
	owner.ok(owner.PullOrganization(p.ctx))
	roles := []record.Role{record.RoleNone, record.RoleReader, record.RoleContributor, record.RoleManager}
	switch role := rapid.SampledFrom(roles).Draw(p.t, "role"); {
	case role == p.role(d) && role == record.RoleNone:
		_, err := owner.RevokeUser(p.ctx, d.Device().Email)
		owner.ok(err)
		d.revoked = true
		p.tell(d, "is revoked")
	case role != p.role(d):
		p.share(owner.sync.Workspace(), d, role)
	}
}

// readmit gives back to all who are not revoked what they need to have their work go.
func (p *play) readmit() {
	owner := p.devices[0]
	owner.line.whole()
	for _, d := range p.devices {
		if !d.revoked && p.role(d) < record.RoleContributor {
			p.share(owner.sync.Workspace(), d, record.RoleContributor)
		}
	}
}

// synced fails unless a sync ended as it has to, by what the user may.
func (p *play) synced(d *device, err error, also ...fault.Kind) {
	switch role := p.role(d); {
	case err != nil && slices.Contains(also, fault.KindOf(err)):
	case d.revoked && (fault.Is(err, fault.Unauthenticated) || fault.Is(err, fault.Denied)):
	case !d.revoked && role == record.RoleNone && fault.Is(err, fault.Denied):
	case !d.revoked && role == record.RoleReader && (err == nil || d.over.Pending() > 0 && fault.Is(err, fault.Denied)):
	case !d.revoked && role >= record.RoleContributor && err == nil:
	default:
		p.Fatalf("device %s, whose user is %s (revoked: %v), synced and got: %v", d.name, role, d.revoked, err)
	}
}

// sync syncs one device as far as that goes.
func (p *play) sync(d *device) {
	d.line.whole()
	d.line.twice.Store(rapid.Bool().Draw(p.t, "twice"))
	d.settle()
	err := d.sync.Sync(p.ctx)
	p.tell(d, "synced, everything arriving twice %v: %v", d.line.twice.Load(), err)
	p.synced(d, err)
}

// breakdown syncs one device over a line that breaks, and may kill it there.
func (p *play) breakdown(d *device) {
	requests, handled := rapid.IntRange(0, 12).Draw(p.t, "requests"), rapid.Bool().Draw(p.t, "handled")
	d.line.breaks(requests, handled)
	d.settle()
	err := d.sync.Sync(p.ctx)
	p.tell(d, "synced over a line that broke after %d requests, the next handled %v: %v", requests, handled, err)
	p.synced(d, err, fault.Unreachable)
	p.after(d)
}

// cancel syncs one device until it is told to stop, between any two steps.
func (p *play) cancel(d *device) {
	d.line.whole()
	d.settle()
	looks := rapid.IntRange(1, 60).Draw(p.t, "looks")
	ctx := endingAt(p.ctx, looks)
	defer ctx.end()
	err := d.sync.Sync(ctx)
	p.tell(d, "synced until look %d: %v", looks, err)
	if ctx.Context.Err() == nil || !errors.Is(err, context.Canceled) {
		p.synced(d, err, fault.Canceled)
	}
	p.after(d)
}

// after may kill a device whose sync broke off, and may leave it offline.
func (p *play) after(d *device) {
	if rapid.IntRange(0, 2).Draw(p.t, "killed") == 2 {
		p.tell(d, "is killed")
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
		p.Fatalf("rotate: %v", err)
	}
	p.tell(d, "rotated the key")
}

// quiesce syncs all devices until nobody has anything new.
func (p *play) quiesce() {
	const most = 10 // so many times everybody at the utmost; two do, or three
	for round := range most {
		for _, d := range p.devices {
			d.line.whole()
			if round > 0 && p.rests(d) {
				continue
			}
			d.settle()
			err := d.sync.Finish(p.ctx)
			if err != nil {
				p.tell(d, "finished: %v", err)
			}
			p.synced(d, err)
		}
		if !slices.ContainsFunc(p.devices, func(d *device) bool { return !p.rests(d) && p.role(d) > record.RoleNone && !d.revoked }) {
			p.story = append(p.story, "all are synced")
			return
		}
	}
	p.Fatalf("the devices do not come to rest")
}

// rests says that a device has all that any has, and nothing that may go.
func (p *play) rests(d *device) bool {
	for _, other := range p.devices {
		if other.sync.Workspace().Log().Position().Index > d.sync.Workspace().Log().Position().Index {
			return false
		}
	}
	return d.over.Pending() == 0 || p.role(d) == record.RoleReader
}

// spot is a place in a device's tree with what is there.
type spot struct {
	path  string
	at    merge.Place
	child manifest.Child
}

// spots returns all that a device shows.
func (p *play) spots(d *device) ([]spot, error) {
	var all []spot
	var walk func(folder id.Entry, path string) error
	walk = func(folder id.Entry, path string) error {
		children, err := d.over.Children(p.ctx, folder)
		if err != nil {
			return err
		}
		for _, c := range children {
			all = append(all, spot{path + "/" + c.Name, merge.Place{Folder: folder, Name: c.Name}, c})
			if c.Kind == manifest.Folder {
				if err := walk(c.Entry, path+"/"+c.Name); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return all, walk(d.over.Root, "")
}

// content returns what a file has, at a device.
func (p *play) content(d *device, e id.Entry) (string, error) {
	f, err := d.over.Open(p.ctx, e, false)
	if err != nil {
		return "", err
	}
	b := make([]byte, f.Node().File.Size)
	_, err = f.ReadAt(p.ctx, b, 0)
	return string(b), errors.Join(err, f.Close())
}

// shutOut says that an error is that of a device whose user was removed or
// revoked, and which asked the server for what it does not have.
func (p *play) shutOut(d *device, err error) bool {
	return (d.revoked || p.role(d) == record.RoleNone) && (fault.Is(err, fault.Denied) || fault.Is(err, fault.Unauthenticated))
}

// supersede notes that a device replaces or removes what it sees at a spot, and
// reports whether it could see it.
func (p *play) supersede(d *device, all []spot, at spot) bool {
	var over []*written
	for _, s := range all {
		if s.child.Kind != manifest.File || s.path != at.path && !strings.HasPrefix(s.path, at.path+"/") {
			continue
		}
		text, err := p.content(d, s.child.Entry)
		if err != nil && p.shutOut(d, err) {
			return false
		}
		d.ok(err)
		w := p.contents[text]
		if w == nil && text != "" {
			p.Fatalf("device %s shows %.40q, which nobody wrote", d.name, text)
		}
		if w != nil {
			over = append(over, w)
		}
	}
	for _, w := range over {
		w.superseded = true
	}
	return true
}

// fresh returns a content that nobody wrote before.
func (p *play) fresh(d *device) string {
	p.next++
	text := fmt.Sprintf("%04d by %s", p.next, d.name)
	if p.next%7 == 0 { // more than one block
		text += strings.Repeat(".", manifest.BlockSize)
	}
	p.contents[text] = &written{by: d.name}
	p.tell(d, "writes %.20q", text)
	return text
}

// work does one thing at a device, as a program would.
func (p *play) work(d *device) {
	if p.turns == inTurns && (d.revoked || p.role(d) < record.RoleContributor) {
		return // what is not accepted is not synced
	}
	d.line.whole() // where a pull broke off, even a look may need the server
	all, err := p.spots(d)
	if p.shutOut(d, err) || d.sync.MayWrite() != nil {
		return // as all who let people change something do
	}
	d.ok(err)
	folders := []id.Entry{d.over.Root}
	for _, s := range all {
		if s.child.Kind == manifest.Folder && strings.Count(s.path, "/") < 4 {
			folders = append(folders, s.child.Entry)
		}
	}
	folder := folders[rapid.IntRange(0, len(folders)-1).Draw(p.t, "folder")]
	at := merge.Place{Folder: folder, Name: rapid.SampledFrom([]string{"a", "b", "c.txt"}).Draw(p.t, "name")}
	i := slices.IndexFunc(all, func(s spot) bool { return s.at == at })
	defer func() { p.story = append(p.story, p.shown(d)...) }()
	what := rapid.SampledFrom([]string{"write", "write", "write", "mkdir", "remove", "move", "move", "mode", "link"}).Draw(p.t, "work")
	p.tell(d, "%s at %s in %s", what, at.Name, at.Folder)
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
		if p.supersede(d, all, all[i]) {
			p.overwrite(d, all[i].child.Entry)
		}
	case what == "mode" && all[i].child.Kind == manifest.File:
		d.ok(d.over.SetExecutable(p.ctx, all[i].child.Entry, rapid.Bool().Draw(p.t, "executable")))
	case what == "remove":
		if p.supersede(d, all, all[i]) {
			p.remove(d, all, all[i])
		}
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
		if !p.supersede(d, all, all[i]) {
			return
		}
		if all[i].child.Kind == manifest.Symlink || from.child.Kind == manifest.Symlink {
			d.ok(d.over.Remove(p.ctx, to, false))
		}
	}
	p.tell(d, "moves %s to %s in %s", from.path, to.Name, into.path)
	_, err := d.over.Move(p.ctx, from.at, to, true)
	d.ok(err)
}

// shown returns what a device shows, for the story.
func (p *play) shown(d *device) []string {
	var out []string
	all, err := p.spots(d)
	for _, s := range all {
		text := ""
		if s.child.Kind == manifest.File {
			text, err = p.content(d, s.child.Entry)
		}
		out = append(out, fmt.Sprintf("    %s %s %s %.20q %v", s.path, s.child.Kind, s.child.Entry, text, err))
	}
	return out
}

// tree returns what a device shows, with contents, modes and times.
func (p *play) tree(d *device) map[string]string {
	out := map[string]string{}
	all, err := p.spots(d)
	d.ok(err)
	for _, s := range all {
		n, err := d.over.Node(p.ctx, s.child.Entry)
		d.ok(err)
		text := fmt.Sprintf("%s %v %s %s", n.Kind, n.File.Executable, n.Target, time.Unix(0, n.Modified).UTC())
		if n.Kind == manifest.File {
			content, err := p.content(d, s.child.Entry)
			d.ok(err)
			text += " " + content
		}
		out[s.path] = text
	}
	return out
}

// check checks what must hold once everybody is done.
func (p *play) check() {
	there := map[string]bool{}
	want := p.tree(p.devices[0])
	p.seen(p.devices[0], there)
	for _, d := range p.devices[1:] {
		if d.revoked || p.role(d) == record.RoleNone || d.over.Pending() > 0 {
			p.seen(d, there)
			p.checkListed(d, there)
		} else if diff := cmp.Diff(want, p.tree(d)); diff != "" {
			p.Fatalf("%s and %s do not have the same:\n%s", p.devices[0].name, d.name, diff)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(p.contents)) {
		if w := p.contents[text]; !there[text] && !w.superseded {
			p.Fatalf("%.40q is lost, and nobody who saw it wrote over it or removed it; there is:\n%v", text, shortened(want))
		}
	}
	for path := range want {
		if p.turns == inTurns && strings.Contains(path, "conflict") {
			p.Fatalf("a conflict although everybody was synced before: %s", path)
		}
	}
}

// seen notes what a device shows, which somebody must have written.
func (p *play) seen(d *device, there map[string]bool) {
	all, err := p.spots(d)
	if !p.shutOut(d, err) {
		d.ok(err)
	}
	for _, s := range all {
		if s.child.Kind != manifest.File {
			continue
		}
		text, err := p.content(d, s.child.Entry)
		if err != nil && p.shutOut(d, err) {
			continue
		}
		d.ok(err)
		if text != "" && p.contents[text] == nil {
			p.Fatalf("%s has %.40q at %s, which nobody wrote", d.name, text, s.path)
		}
		there[text] = true
	}
}

// checkListed checks that a device tells its user of work that may not go, in
// words, and names that to which no name leads any more.
func (p *play) checkListed(d *device, there map[string]bool) {
	st := d.sync.Status(p.ctx)
	if d.over.Pending() > 0 && (st.Pending == 0 || st.Reason == "" || st.State != syncer.ReadOnly && st.State != syncer.Revoked) {
		p.Fatalf("device %s has %d operations that may not go, and says %+v", d.name, d.over.Pending(), st)
	}
	for e, at := range d.over.Waiting() {
		n, err := d.over.Node(p.ctx, e)
		if err != nil || n.Kind != manifest.File {
			continue
		}
		text, err := p.content(d, e)
		if err != nil || there[text] { // it is not what was written here, or shown
			continue
		}
		named := func(problem syncer.Problem) bool {
			return strings.HasSuffix(problem.Path, "/"+at.Name) && problem.Reason != ""
		}
		if text != "" && !slices.ContainsFunc(st.Problems, named) {
			p.Fatalf("device %s holds %.40q, which nothing shows or names: its status is %+v", d.name, text, st)
		}
		there[text] = true
	}
}

func shortened(tree map[string]string) string {
	var b strings.Builder
	for _, path := range slices.Sorted(maps.Keys(tree)) {
		fmt.Fprintf(&b, "%s: %.100s\n", path, tree[path])
	}
	return b.String()
}

// checkReplay checks that a device that has seen nothing of the workspace before
// sees the same once it has read the log.
func (p *play) checkReplay() {
	want := p.tree(p.devices[0])
	d := p.world.fresh
	d.begin(p.ctx, p, p.devices[0].w, p.clock)
	defer d.end()
	d.line.whole()
	d.ok(d.sync.Sync(p.ctx))
	if diff := cmp.Diff(want, p.tree(d)); diff != "" {
		p.Fatalf("read anew the tree is another:\n%s", diff)
	}
}
