package filesystem

import (
	"context"
	"sync"

	"parsec/internal/base/fault"
	"parsec/internal/base/id"
	"parsec/internal/client/overlay"
	"parsec/internal/format/manifest"
)

// Folder is an open folder. Its list is that of when it was opened or last begun
// anew, whatever happens meanwhile, so that a cursor always leads to the same
// place: each entry that was there all the time is returned once. Its methods
// may be called from many goroutines.
type Folder struct {
	view *View
	node Node

	mu sync.Mutex
	// mu guards what follows. looked is up to where many entries were looked up
	// at once.
	names  []string
	nodes  []Node
	looked int
}

// Listed is what a folder names.
type Listed struct {
	Name string
	Attr Attr
	// Next is the cursor behind it.
	Next uint64
}

// lookAhead is how many entries of a folder are looked up at once.
const lookAhead = 512

// OpenFolder opens a folder.
func (v *View) OpenFolder(ctx context.Context, n Node) (*Folder, error) {
	a, err := v.Stat(ctx, n)
	if err != nil {
		return nil, err
	}
	if a.Kind != manifest.Folder {
		return nil, fault.Errorf(fault.Conflict, "open folder: %w", overlay.NotFolder)
	}
	f := &Folder{view: v, node: n}
	return f, f.Rewind(ctx)
}

// Node returns which folder it is.
func (f *Folder) Node() Node { return f.node }

// Rewind takes the list as it is now.
func (f *Folder) Rewind(ctx context.Context) error {
	names, nodes, err := f.view.list(ctx, f.node)
	if err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names, f.nodes, f.looked = names, nodes, 0
	return nil
}

// list returns what a folder names, by ascending name.
func (v *View) list(ctx context.Context, n Node) (names []string, nodes []Node, err error) {
	if n.Top() {
		for _, w := range v.device.top() {
			names, nodes = append(names, w.name), append(nodes, Node{w.volume, w.volume.over.Root})
		}
		return names, nodes, nil
	}
	ctx, cancel := v.bounded(ctx)
	defer cancel()
	all, err := n.volume.over.Children(ctx, n.entry)
	if err != nil {
		return nil, nil, err
	}
	names, nodes = make([]string, 0, len(all)), make([]Node, 0, len(all))
	for _, c := range all {
		hidden, err := n.volume.hides(ctx, n.entry, c)
		if err != nil {
			return nil, nil, err
		}
		if !hidden {
			names, nodes = append(names, c.Name), append(nodes, Node{n.volume, c.Entry})
		}
	}
	return names, nodes, nil
}

// Names returns what a folder names, and which nodes these are.
func (v *View) Names(ctx context.Context, folder Node) (map[string]Node, error) {
	names, nodes, err := v.list(ctx, folder)
	all := make(map[string]Node, len(names))
	for i, name := range names {
		all[name] = nodes[i]
	}
	return all, err
}

// At returns what stands at a cursor, which is 0 for the first one, and false at
// the end. What was removed since is passed over.
func (f *Folder) At(ctx context.Context, cursor uint64) (Listed, bool, error) {
	for {
		name, n, ok, err := f.at(ctx, cursor)
		if err != nil || !ok {
			return Listed{}, false, err
		}
		cursor++
		a, err := f.view.Stat(ctx, n)
		if fault.Is(err, fault.NotFound) {
			continue
		}
		return Listed{name, a, cursor}, err == nil, err
	}
}

func (f *Folder) at(ctx context.Context, cursor uint64) (name string, n Node, ok bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cursor >= uint64(len(f.names)) {
		return "", n, false, nil
	}
	if f.node.volume != nil && cursor >= uint64(f.looked) {
		end := min(int(cursor)+lookAhead, len(f.nodes))
		entries := make([]id.Entry, 0, lookAhead)
		for _, n := range f.nodes[cursor:end] {
			entries = append(entries, n.entry)
		}
		ctx, cancel := f.view.bounded(ctx)
		defer cancel()
		if err := f.node.volume.over.Ahead(ctx, entries); err != nil {
			return "", n, false, err
		}
		f.looked = end
	}
	return f.names[cursor], f.nodes[cursor], true, nil
}

// List calls visit with everything that a folder names, by ascending name.
func (v *View) List(ctx context.Context, n Node, visit func(Listed) error) error {
	f, err := v.OpenFolder(ctx, n)
	if err != nil {
		return err
	}
	for cursor := uint64(0); ; {
		l, ok, err := f.At(ctx, cursor)
		if err != nil || !ok {
			return err
		}
		cursor = l.Next
		if err := visit(l); err != nil {
			return err
		}
	}
}
