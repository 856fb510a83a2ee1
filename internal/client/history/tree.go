package history

import (
	"context"
	"slices"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/edit"
	"parsec/internal/client/list"
	"parsec/internal/client/merge"
	"parsec/internal/client/mirror"
	"parsec/internal/client/store"
	"parsec/internal/client/tree"
	"parsec/internal/format/manifest"
)

// What is remembered at most, some 20 MiB each.
const (
	maxKnown    = 50_000
	maxChildren = 200_000
)

// atOnce is how many entries are looked up at once.
const atOnce = 4096

// known is what the version of an entry says.
type known struct {
	state  merge.State
	parent id.Entry
	author id.Device
	// hidden says why it cannot be shown, nil if it can.
	hidden error
}

// folder is what a folder names.
type folder struct {
	children tree.Children
	// twice are the entries that it names more than once, with the first name.
	twice map[id.Entry]string
	// lost says why its content cannot be had, nil if it can.
	lost error
}

func newFolder(children tree.Children) *folder {
	f := &folder{children: children}
	first := make(map[id.Entry]string, len(children))
	for _, c := range children {
		name, again := first[c.Entry]
		if !again {
			first[c.Entry] = c.Name
			continue
		}
		if f.twice == nil {
			f.twice = map[id.Entry]string{}
		}
		f.twice[c.Entry] = name
	}
	return f
}

// nameOf returns the first name that the folder gives an entry.
func (f *folder) nameOf(e id.Entry) (string, bool) {
	for _, c := range f.children {
		if c.Entry == e {
			return c.Name, true
		}
	}
	return "", false
}

// Entry implements [basecache.Base].
func (t *Tree) Entry(ctx context.Context, e id.Entry) (merge.State, error) {
	k, err := t.one(ctx, e)
	return k.state, err
}

func (t *Tree) one(ctx context.Context, e id.Entry) (known, error) {
	all, err := t.look(ctx, []manifest.Child{{Entry: e}})
	if err != nil {
		return known{}, err
	}
	return all[0], nil
}

// Entries implements [basecache.Base]. One that cannot be shown is not there.
func (t *Tree) Entries(ctx context.Context, entries []id.Entry) ([]merge.State, error) {
	asked := make([]manifest.Child, len(entries))
	for i, e := range entries {
		asked[i].Entry = e
	}
	all, err := t.look(ctx, asked)
	if err != nil {
		return nil, err
	}
	states := make([]merge.State, len(all))
	for i, k := range all {
		states[i] = k.state
	}
	return states, nil
}

// look returns what entries were, in their order. What a folder says of their
// kinds helps where a manifest cannot be used.
func (t *Tree) look(ctx context.Context, asked []manifest.Child) ([]known, error) {
	out := make([]known, 0, len(asked))
	for some := range slices.Chunk(asked, atOnce) {
		all, err := t.lookSome(ctx, some)
		if err != nil {
			return nil, err
		}
		for _, c := range some {
			out = append(out, all[c.Entry])
		}
	}
	return out, nil
}

func (t *Tree) lookSome(ctx context.Context, asked []manifest.Child) (map[id.Entry]known, error) {
	all := make(map[id.Entry]known, len(asked))
	var ask []id.Entry
	t.mu.Lock()
	for _, c := range asked {
		if _, again := all[c.Entry]; again {
			continue
		}
		k, ok := t.known[c.Entry]
		if !ok {
			ask = append(ask, c.Entry)
		}
		all[c.Entry] = k
	}
	t.mu.Unlock()
	if len(ask) == 0 {
		return all, nil
	}
	chains, earlier, err := t.chains(ctx, ask)
	if err != nil {
		return nil, err
	}
	for _, c := range asked {
		chain, ok := chains[c.Entry]
		if !ok {
			continue
		}
		if all[c.Entry], err = t.open(ctx, c, chain); err != nil {
			return nil, err
		}
		if err := t.keepInline(ctx, c.Entry, all[c.Entry], earlier[c.Entry]); err != nil {
			return nil, err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range ask {
		t.known[e] = all[e]
	}
	for e := range t.known {
		if len(t.known) <= maxKnown {
			break
		}
		delete(t.known, e)
	}
	return all, nil
}

// keepInline remembers what a folder names that was changed since, where its
// manifests say it without pages: who looks at a folder often lists it next.
func (t *Tree) keepInline(ctx context.Context, e id.Entry, k known, chain []store.Version) error {
	if k.hidden != nil || k.state.Node.Kind != manifest.Folder || len(chain) == 0 {
		return nil
	}
	children, err := t.children(ctx, chain, noPages{})
	if err == nil {
		t.keep([]id.Entry{e}, map[id.Entry]*folder{e: newFolder(children)})
	} else if !mirror.Confined(err) {
		return err
	}
	return nil
}

// noPages has no pages.
type noPages struct{}

var _ list.Reader = noPages{}

// ReadPages implements [list.Reader].
func (noPages) ReadPages(context.Context, []manifest.Ref) ([][]byte, error) {
	return nil, fault.Errorf(fault.NotFound, "read pages: they are not to be fetched")
}

// open opens the manifest that an entry had.
func (t *Tree) open(ctx context.Context, c manifest.Child, chain []store.Version) (known, error) {
	kind := c.Kind
	if len(chain) > 1 || c.Entry == t.Root() {
		kind = manifest.Folder
	}
	if n := len(chain); n > 0 && chain[n-1].Gone {
		k := known{state: merge.State{Version: chain[n-1].Number, Gone: true}}
		k.hidden = fault.Errorf(fault.Invalid, "it was gone")
		return k, nil
	}
	opened, err := t.mirror.Newest(ctx, c.Entry, kind, chain)
	if err != nil && (!mirror.Confined(err) || fault.Is(err, fault.Integrity)) {
		return known{}, err
	}
	if err != nil {
		return known{hidden: err}, nil
	}
	k := known{parent: opened.Manifest.Parent, author: opened.Version.Author}
	k.state = merge.State{Version: opened.Version.Number, Node: edit.NodeOf(opened.Manifest, opened.Body)}
	if k.state.Node.Kind == 0 {
		k.state.Node.Kind = kind
	}
	return k, nil
}

// load returns what folders named, as it was signed.
func (t *Tree) load(ctx context.Context, wanted []id.Entry) (map[id.Entry]*folder, error) {
	all := make(map[id.Entry]*folder, len(wanted))
	var ask []id.Entry
	t.mu.Lock()
	for _, e := range wanted {
		if f, ok := t.folders[e]; ok {
			all[e] = f
		} else if !slices.Contains(ask, e) {
			ask = append(ask, e)
		}
	}
	t.mu.Unlock()
	if len(ask) == 0 {
		return all, nil
	}
	same, changed, err := t.split(ctx, ask)
	if err != nil {
		return nil, err
	}
	for _, e := range same {
		children, still, err := t.present(ctx, e)
		if err != nil {
			return nil, err
		}
		if !still {
			changed = append(changed, e)
			continue
		}
		all[e] = newFolder(children)
	}
	chains, err := t.earlier(ctx, changed)
	if err != nil {
		return nil, err
	}
	for _, e := range changed {
		children, err := t.children(ctx, chains[e], t.mirror.Pages())
		if err != nil && !mirror.Confined(err) {
			return nil, err
		}
		all[e] = newFolder(children)
		all[e].lost = err
	}
	t.keep(ask, all)
	return all, nil
}

// present returns what a folder names now, if it was not changed since.
func (t *Tree) present(ctx context.Context, e id.Entry) (tree.Children, bool, error) {
	if err := t.mirror.Complete(ctx, e); err != nil && !mirror.Confined(err) {
		return nil, false, err
	}
	children, err := t.mirror.Named(ctx, e)
	if err != nil {
		return nil, false, err
	}
	same, _, err := t.split(ctx, []id.Entry{e})
	return children, len(same) > 0, err
}

// children returns what a folder with a chain names. Content that cannot be used
// changes nothing.
func (t *Tree) children(ctx context.Context, chain []store.Version, pages list.Reader) (tree.Children, error) {
	if len(chain) == 0 || chain[len(chain)-1].Gone {
		return nil, nil
	}
	versions := make([]tree.Version, len(chain))
	for i, v := range chain {
		versions[i].Number = v.Number
		_, body, err := t.mirror.OpenVersion(ctx, v)
		if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.Upgrade) {
			return nil, err
		}
		if b, ok := body.(manifest.FolderBody); ok && err == nil {
			versions[i].Body = &b
		}
	}
	f, err := tree.Load(ctx, versions, pages)
	if err != nil {
		return nil, err
	}
	return f.Children, nil
}

// keep remembers folders.
func (t *Tree) keep(folders []id.Entry, all map[id.Entry]*folder) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range folders {
		if t.folders[e] == nil && all[e].lost == nil {
			t.folders[e] = all[e]
			t.held += len(all[e].children)
		}
	}
	for e, f := range t.folders {
		if t.held <= maxChildren {
			break
		}
		delete(t.folders, e)
		t.held -= len(f.children)
	}
}

func (t *Tree) folder(ctx context.Context, e id.Entry) (*folder, error) {
	all, err := t.load(ctx, []id.Entry{e})
	if err == nil {
		err = all[e].lost
	}
	return all[e], err
}

// Children implements [basecache.Base]. What cannot be shown is left out.
func (t *Tree) Children(ctx context.Context, e id.Entry) ([]manifest.Child, error) {
	all, err := t.List(ctx, e)
	if err != nil {
		return nil, err
	}
	children := make([]manifest.Child, len(all))
	for i, l := range all {
		children[i] = l.Child
	}
	return children, nil
}

// Child implements [basecache.Base].
func (t *Tree) Child(ctx context.Context, e id.Entry, name string) (manifest.Child, bool, error) {
	f, err := t.folder(ctx, e)
	if err != nil {
		return manifest.Child{}, false, err
	}
	c, ok := f.children.Find(name)
	if !ok {
		return c, false, nil
	}
	all, err := t.shown(ctx, e, f, []manifest.Child{c})
	return c, len(all) > 0, err
}

// shown returns those of a folder's children that have their place there.
func (t *Tree) shown(ctx context.Context, e id.Entry, f *folder, children []manifest.Child) ([]Listed, error) {
	all, err := t.look(ctx, children)
	if err != nil {
		return nil, err
	}
	own, err := t.own(ctx, e, all)
	if err != nil {
		return nil, err
	}
	out := make([]Listed, 0, len(children))
	for i, c := range children {
		first, twice := f.twice[c.Entry]
		if k := all[i]; k.hidden != nil || k.state.Node.Kind != c.Kind || c.Entry == t.Root() || twice && first != c.Name {
			continue
		}
		if all[i].parent == e || t.stands(c, e, own[all[i].parent]) {
			out = append(out, listed(c, all[i]))
		}
	}
	return out, nil
}

// own returns the folders which entries name as their own, other than the one that
// names them.
func (t *Tree) own(ctx context.Context, e id.Entry, all []known) (map[id.Entry]*folder, error) {
	var others []id.Entry
	for _, k := range all {
		if k.hidden == nil && k.parent != e && !k.parent.IsZero() && !slices.Contains(others, k.parent) {
			others = append(others, k.parent)
		}
	}
	if len(others) == 0 {
		return nil, nil
	}
	return t.load(ctx, others)
}

// stands reports whether an entry has its place in a folder that it does not name
// as its own, as one that was moved does: unless its own names it too, or another
// one that was looked at before.
func (t *Tree) stands(c manifest.Child, e id.Entry, own *folder) bool {
	if own != nil {
		if _, named := own.nameOf(c.Entry); named {
			return false
		}
	}
	at := merge.Place{Folder: e, Name: c.Name}
	t.mu.Lock()
	defer t.mu.Unlock()
	if before, ok := t.places[c.Entry]; ok {
		return before == at
	}
	t.places[c.Entry] = at
	return true
}

// Parent implements [basecache.Base]. Of an entry that does not name its folder as
// its own, the place is known once the folder was looked at.
func (t *Tree) Parent(ctx context.Context, e id.Entry) (merge.Place, bool, error) {
	at, ok, err := t.parent(ctx, e)
	passed := map[id.Entry]bool{}
	for above := at.Folder; ok && err == nil && above != t.Root(); {
		if passed[above] {
			return merge.Place{}, false, nil
		}
		passed[above] = true
		var next merge.Place
		next, ok, err = t.parent(ctx, above)
		above = next.Folder
	}
	return at, ok, err
}

// parent returns the folder that names an entry, be it reachable or not.
func (t *Tree) parent(ctx context.Context, e id.Entry) (at merge.Place, ok bool, err error) {
	if e == t.Root() {
		return at, false, nil
	}
	t.mu.Lock()
	at, ok = t.places[e]
	t.mu.Unlock()
	if ok {
		return at, true, nil
	}
	k, err := t.one(ctx, e)
	if err != nil || k.hidden != nil {
		return at, false, err
	}
	f, err := t.folder(ctx, k.parent)
	if err != nil {
		return at, false, err
	}
	name, ok := f.nameOf(e)
	return merge.Place{Folder: k.parent, Name: name}, ok, nil
}
