package merge_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"parsec/internal/base/id"
	"parsec/internal/client/merge"
	"parsec/internal/format/manifest"
)

// entry is the newest version of an entry in a model.
type entry struct {
	version uint64
	gone    bool
	node    merge.Node
	kids    map[string]manifest.Child
}

// model is a workspace's newest state, as a server and all its clients have it.
type model struct {
	root    id.Entry
	entries map[id.Entry]entry
	parents map[id.Entry]merge.Place
}

var root = id.Entry{0xff}

func newModel() *model { return &model{root: root, entries: map[id.Entry]entry{}} }

func (m *model) clone() *model {
	c := &model{root: m.root, entries: make(map[id.Entry]entry, len(m.entries))}
	for e, v := range m.entries {
		v.kids = maps.Clone(v.kids)
		c.entries[e] = v
	}
	return c
}

func (m *model) Entry(_ context.Context, e id.Entry) (merge.State, error) {
	v := m.entries[e]
	if v.gone {
		return merge.State{Version: v.version, Gone: true}, nil
	}
	return merge.State{Version: v.version, Node: v.node}, nil
}

func (m *model) Child(_ context.Context, folder id.Entry, name string) (manifest.Child, bool, error) {
	c, ok := m.entries[folder].kids[name]
	return c, ok, nil
}

func (m *model) Children(_ context.Context, folder id.Entry) ([]manifest.Child, error) {
	var out []manifest.Child
	for _, name := range slices.Sorted(maps.Keys(m.entries[folder].kids)) {
		out = append(out, m.entries[folder].kids[name])
	}
	return out, nil
}

func (m *model) Parent(_ context.Context, e id.Entry) (merge.Place, bool, error) {
	if m.parents == nil {
		m.parents = map[id.Entry]merge.Place{}
		_ = m.walk(func(p merge.Place, c manifest.Child) error {
			m.parents[c.Entry] = p
			return nil
		})
	}
	p, ok := m.parents[e]
	return p, ok, nil
}

// walk visits every entry that the root reaches.
func (m *model) walk(visit func(merge.Place, manifest.Child) error) error {
	passed := map[id.Entry]bool{}
	open := []id.Entry{m.root}
	for len(open) > 0 {
		at := open[0]
		open = open[1:]
		for _, name := range slices.Sorted(maps.Keys(m.entries[at].kids)) {
			c := m.entries[at].kids[name]
			if err := visit(merge.Place{Folder: at, Name: name}, c); err != nil {
				return err
			}
			if c.Kind == manifest.Folder && !passed[c.Entry] {
				passed[c.Entry] = true
				open = append(open, c.Entry)
			}
		}
	}
	return nil
}

// check fails on a tree that is none.
func (m *model) check() error {
	passed := map[id.Entry]bool{m.root: true}
	return m.walk(func(p merge.Place, c manifest.Child) error {
		v := m.entries[c.Entry]
		switch {
		case passed[c.Entry]:
			return fmt.Errorf("%s has two parents or is in a cycle, at %v", c.Entry, p)
		case v.version == 0 || v.gone || v.node.Kind != c.Kind:
			return fmt.Errorf("%s is named %q but is %+v", c.Entry, p.Name, v)
		case manifest.CheckName(p.Name) != nil || p.Name != c.Name:
			return fmt.Errorf("the name %q", p.Name)
		}
		passed[c.Entry] = true
		return nil
	})
}

// commit applies a plan whole, as a server does that checks versions, and
// fails if the plan is not what it says to be.
func (m *model) commit(p *merge.Plan) error {
	m.parents = nil
	restructures := len(p.Gone) > 0
	for _, put := range p.Puts {
		v := m.entries[put.Entry]
		if put.Version != v.version+1 || put.Node.Kind == 0 {
			return fmt.Errorf("put %s version %d after %d, %v", put.Entry, put.Version, v.version, put.Node.Kind)
		}
		if put.Fresh || v.gone {
			v.kids = nil
		}
		if !put.Fresh && (v.gone || v.version == 0) {
			return fmt.Errorf("put %s is not fresh", put.Entry)
		}
		v = entry{version: put.Version, node: put.Node, kids: maps.Clone(v.kids)}
		if v.kids == nil {
			v.kids = map[string]manifest.Child{}
		}
		for _, c := range put.Changes {
			before, ok := v.kids[c.Name]
			restructures = restructures || ok && before.Entry != c.Entry
			v.kids[c.Name] = c
			if c.Removed() {
				delete(v.kids, c.Name)
			}
		}
		m.entries[put.Entry] = v
	}
	for _, g := range p.Gone {
		v := m.entries[g.Entry]
		if g.Version != v.version+1 || v.gone {
			return fmt.Errorf("gone %s version %d after %d", g.Entry, g.Version, v.version)
		}
		m.entries[g.Entry] = entry{version: g.Version, gone: true}
	}
	if restructures != p.Restructures {
		return fmt.Errorf("restructures is %v, want %v", p.Restructures, restructures)
	}
	return m.check()
}

// contents returns the content of every file that the root reaches.
func (m *model) contents() map[uint64]bool {
	all := map[uint64]bool{}
	_ = m.walk(func(_ merge.Place, c manifest.Child) error {
		if c.Kind == manifest.File {
			all[m.entries[c.Entry].node.File.Size] = true
		}
		return nil
	})
	return all
}

// tree returns the paths of all entries, with the contents of files.
func (m *model) tree() string {
	paths := map[id.Entry]string{m.root: ""}
	var lines []string
	_ = m.walk(func(p merge.Place, c manifest.Child) error {
		path := paths[p.Folder] + "/" + p.Name
		if _, again := paths[c.Entry]; again {
			return fmt.Errorf("a cycle")
		}
		paths[c.Entry] = path
		if n := m.entries[c.Entry].node; n.Kind == manifest.File {
			path += fmt.Sprintf("=%d", n.File.Size)
			if n.File.Executable {
				path += "x"
			}
		}
		lines = append(lines, path)
		return nil
	})
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// fileOf returns a file whose content is told by a number.
func fileOf(content uint64) merge.Node {
	return merge.Node{
		Kind: manifest.File, Created: 1, Modified: int64(content),
		File: manifest.FileBody{Size: content, Blocks: manifest.List{Items: binary.BigEndian.AppendUint64(nil, content)}},
	}
}

func folderNode() merge.Node { return merge.Node{Kind: manifest.Folder, Created: 1, Modified: 1} }

// device is one device: what it has from the server, what it did since, and
// what its user sees.
type device struct {
	name  string
	world *world
	base  *model
	known merge.Base
	ops   []merge.Op
	local *model
	notes []merge.Note
}

// world is a server, its devices, and what people wrote and gave up.
type world struct {
	server  *model
	devices []*device
	next    uint64
	written map[uint64]string
	given   map[uint64]bool
}

func newWorld(devices int) *world {
	w := &world{server: newModel(), written: map[uint64]string{}, given: map[uint64]bool{}}
	for i := range devices {
		w.devices = append(w.devices, &device{name: fmt.Sprintf("device%d", i), world: w, base: newModel(), local: newModel()})
	}
	return w
}

func (w *world) number() uint64 { w.next++; return w.next }

func (w *world) id() (e id.Entry) {
	binary.BigEndian.PutUint64(e[8:], w.number())
	return e
}

// write returns a new content.
func (w *world) write(who string) merge.Node {
	n := w.number()
	w.written[n] = who
	return fileOf(n)
}

func (d *device) config() merge.Config {
	return merge.Config{Root: root, Device: d.name, Now: time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)}
}

// do does an operation: the user sees its effect at once, and that nothing
// else happened.
func (d *device) do(op merge.Op) error {
	before := d.notes
	d.ops = append(d.ops, op)
	if err := d.show(); err != nil {
		return fmt.Errorf("do %+v: %w", op, err)
	}
	if len(d.notes) != len(before) {
		return fmt.Errorf("do %+v: %v after %v\n%s", op, d.notes, before, describe(d.ops))
	}
	return nil
}

// show puts the operations that wait on the base.
func (d *device) show() error {
	p, err := merge.Rebase(context.Background(), d.base, &d.known, d.ops, d.config())
	if err != nil {
		return err
	}
	d.notes = p.Notes
	d.local = d.base.clone()
	return d.local.commit(p)
}

// seen returns what the device saw of an entry: the server's version with its
// own changes.
func (d *device) seen(e id.Entry) merge.Seen {
	place, _, _ := d.local.Parent(context.Background(), e)
	return merge.Seen{Version: d.base.entries[e].version, Place: place, Node: d.local.entries[e].node}
}

// work remembers the folders above a place where the device works.
func (d *device) work(folder id.Entry) {
	for e := folder; e != root && !e.IsZero(); {
		if d.base.entries[e].version > 0 {
			if err := d.known.See(context.Background(), d.base, e); err != nil {
				panic(err)
			}
		}
		p, _, _ := d.local.Parent(context.Background(), e)
		e = p.Folder
	}
}

// sync commits the first n operations and pulls.
func (d *device) sync(n int) error {
	p, err := merge.Rebase(context.Background(), d.world.server, &d.known, d.ops[:n], d.config())
	if err != nil {
		return err
	}
	if len(p.Puts)+len(p.Gone) > 0 {
		if err := d.world.server.commit(p); err != nil {
			return fmt.Errorf("commit of %s: %w\n%s", d.name, err, describe(d.ops[:n]))
		}
	}
	d.ops = slices.Clone(d.ops[n:])
	d.known.Accept(p, d.ops)
	d.base = d.world.server.clone()
	return d.show()
}

func describe(ops []merge.Op) string {
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintf(&b, "%T %+v\n", op, op)
	}
	return b.String()
}

// inside returns the entries that the device's user sees, by path.
func (d *device) inside(kind manifest.Kind) []id.Entry {
	var all []id.Entry
	if kind == manifest.Folder {
		all = append(all, root)
	}
	_ = d.local.walk(func(_ merge.Place, c manifest.Child) error {
		if kind == 0 || c.Kind == kind {
			all = append(all, c.Entry)
		}
		return nil
	})
	return all
}

// under returns what the user sees below an entry.
func (d *device) under(e id.Entry) map[id.Entry]merge.Seen {
	below := map[id.Entry]merge.Seen{}
	for _, c := range d.local.entries[e].kids {
		below[c.Entry] = d.seen(c.Entry)
		maps.Copy(below, d.under(c.Entry))
	}
	return below
}

func (d *device) giveUp(e id.Entry) {
	for c := range d.under(e) {
		d.world.given[d.local.entries[c].node.File.Size] = true
	}
	d.world.given[d.local.entries[e].node.File.Size] = true
}

var names = []string{"a", "b", "c", "d.txt"}

func pick[T any](t *rapid.T, label string, from []T) (v T, ok bool) {
	if len(from) == 0 {
		return v, false
	}
	return from[rapid.IntRange(0, len(from)-1).Draw(t, label)], true
}

// act lets the device's user do something that is possible.
func (d *device) act(t *rapid.T) {
	var err error
	switch rapid.SampledFrom([]string{"create", "create", "mkdir", "write", "remove", "move", "move", "over"}).Draw(t, "act") {
	case "create", "mkdir":
		err = d.create(t)
	case "write":
		err = d.overwrite(t)
	case "remove":
		err = d.remove(t)
	case "move":
		err = d.move(t)
	case "over":
		err = d.over(t)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (d *device) create(t *rapid.T) error {
	folder, _ := pick(t, "folder", d.inside(manifest.Folder))
	at := merge.Place{Folder: folder, Name: rapid.SampledFrom(names).Draw(t, "name")}
	if _, taken := d.local.entries[folder].kids[at.Name]; taken {
		return nil
	}
	d.work(folder)
	n := folderNode()
	if rapid.Bool().Draw(t, "file") {
		n = d.world.write(d.name)
	}
	return d.do(merge.Create{Entry: d.world.id(), At: at, Node: n})
}

func (d *device) overwrite(t *rapid.T) error {
	e, ok := pick(t, "file", d.inside(manifest.File))
	if !ok {
		return nil
	}
	seen := d.seen(e)
	d.work(seen.Place.Folder)
	d.giveUp(e)
	return d.do(merge.Write{Entry: e, Seen: seen, Now: d.world.write(d.name), Copy: d.world.id()})
}

func (d *device) remove(t *rapid.T) error {
	e, ok := pick(t, "entry", d.inside(0))
	if !ok {
		return nil
	}
	op := merge.Remove{Entry: e, Seen: d.seen(e), Below: d.under(e)}
	d.giveUp(e)
	return d.do(op)
}

func (d *device) move(t *rapid.T) error {
	e, ok := pick(t, "entry", d.inside(0))
	folder, _ := pick(t, "folder", d.inside(manifest.Folder))
	to := merge.Place{Folder: folder, Name: rapid.SampledFrom(names).Draw(t, "name")}
	_, inside := d.under(e)[folder]
	if _, taken := d.local.entries[folder].kids[to.Name]; !ok || taken || inside || e == folder {
		return nil
	}
	d.work(folder)
	d.work(d.seen(e).Place.Folder)
	return d.do(merge.Move{Entry: e, Seen: d.seen(e), To: to})
}

// over renames a file over another, or a folder over an empty one.
func (d *device) over(t *rapid.T) error {
	kind := rapid.SampledFrom([]manifest.Kind{manifest.File, manifest.Folder}).Draw(t, "kind")
	all := d.inside(kind)
	e, ok := pick(t, "entry", all)
	target, _ := pick(t, "over", all)
	if !ok || e == root || target == root || e == target || len(d.local.entries[target].kids) > 0 {
		return nil
	}
	if _, inside := d.under(e)[target]; inside {
		return nil
	}
	over := d.seen(target)
	d.work(over.Place.Folder)
	d.work(d.seen(e).Place.Folder)
	d.giveUp(target)
	return d.do(merge.Move{Entry: e, Seen: d.seen(e), To: over.Place, Over: target, OverSeen: over, Copy: d.world.id()})
}

// check fails if anything that somebody wrote is lost.
func (w *world) check() error {
	for _, d := range w.devices {
		if got, want := d.local.tree(), w.server.tree(); got != want {
			return fmt.Errorf("%s sees\n%s\nwant\n%s", d.name, got, want)
		}
	}
	there := w.server.contents()
	for n, who := range w.written {
		if !there[n] && !w.given[n] {
			return fmt.Errorf("content %d of %s is lost; left is\n%s", n, who, w.server.tree())
		}
	}
	return w.server.check()
}

func TestDevicesConvergeAndNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(rapid.IntRange(2, 3).Draw(t, "devices"))
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			d, _ := pick(t, "device", w.devices)
			if rapid.IntRange(0, 5).Draw(t, "sync") > 0 {
				d.act(t)
				continue
			}
			if err := d.sync(rapid.IntRange(0, len(d.ops)).Draw(t, "operations")); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			for _, d := range w.devices {
				if err := d.sync(len(d.ops)); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := w.check(); err != nil {
			t.Fatal(err)
		}
	})
}
