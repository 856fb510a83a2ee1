// Package merge rebases what a device did onto what others did meanwhile. The
// device's work is a list of operations, each with what it saw when it was
// done; [Rebase] replays them on the newest verified tree and returns the
// changes to commit. Only the device that rebases decides, all others apply
// the log, so every device ends with the same tree.
//
// It is pure: it reads the tree through a [View], compares contents through a
// function of the caller, seals nothing and sends nothing. It never alters
// what it is given.
//
// Invariants: no content is dropped unless the one who overwrote or removed
// it had seen it; a plan applied to its view leaves a tree, without cycles and
// with one parent for each entry; a rename is planned whole or not at all.
//
// The rules, where both sides touched something:
//
//   - The fields of an entry merge three-way: content, executable bit, times,
//     folder and name. Of two different names or folders the server's stays.
//   - Content changed on both sides: the local one becomes a copy beside it.
//   - One name for two entries: new folders become one, equal new files and
//     symlinks too; otherwise the entry on the server keeps the name.
//   - A removal spares what its author had not seen, and the folders above it.
//   - Work in a removed folder revives the folder and those above it, empty
//     but for the work; without a known place, the work goes to the root.
//   - A move into the entry itself, by way of others' moves, is dropped.
package merge

import (
	"context"
	"time"

	"parsec/internal/base/id"
	"parsec/internal/format/manifest"
)

// Place is where an entry is.
type Place struct {
	Folder id.Entry
	Name   string
}

// Node is what a version of an entry says, except for a folder's children.
type Node struct {
	Kind              manifest.Kind
	Created, Modified int64
	// File is set for a file, Target for a symlink.
	File   manifest.FileBody
	Target string
}

// State is the newest version of an entry.
type State struct {
	// Version is 0 for an entry that never was.
	Version uint64
	// Gone says that the newest version is a gone; Node is zero then.
	Gone bool
	Node Node
}

// View is the newest verified tree. What it returns does not change while it
// is used.
type View interface {
	// Entry returns the newest version of an entry, wherever it is.
	Entry(ctx context.Context, e id.Entry) (State, error)
	// Child returns what a folder names so, also an entry that is hidden.
	Child(ctx context.Context, folder id.Entry, name string) (manifest.Child, bool, error)
	// Children returns all that a folder names, by ascending name.
	Children(ctx context.Context, folder id.Entry) ([]manifest.Child, error)
	// Parent returns the place of an entry, and false if it is the root or no
	// folder that is reachable from the root names it.
	Parent(ctx context.Context, e id.Entry) (Place, bool, error)
}

// Seen is what a device saw of an entry when it did something to it. Version
// is the newest one of the server that it knew, 0 if there was none; Place and
// Node are as the device had them, with its own changes that were not yet
// committed.
type Seen struct {
	Version uint64
	Place   Place
	Node    Node
}

// Op is one thing that a person or a program did: a [Create], [Write],
// [Remove] or [Move].
type Op interface {
	// touches calls f with the entries that the operation reads or changes.
	touches(f func(id.Entry))
}

// Create makes a new entry, with an id that nothing had before.
type Create struct {
	Entry id.Entry
	At    Place
	Node  Node
}

// Write gives an entry a new content, mode or time; or a folder new times.
type Write struct {
	Entry id.Entry
	Seen  Seen
	Now   Node
	// Copy is the id for a copy beside the entry, if one is needed. It is
	// random, and the same whenever the operation is replayed.
	Copy id.Entry
}

// Remove removes an entry, and everything below a folder.
type Remove struct {
	Entry id.Entry
	Seen  Seen
	// Below is what was seen below a folder, at any depth. Nodes are needed only
	// of what the device itself made or changed since the version seen.
	Below map[id.Entry]Seen
}

// Move moves or renames an entry.
type Move struct {
	Entry id.Entry
	Seen  Seen
	To    Place
	// Over is the entry that the move replaced, zero for none. A file or symlink
	// replaced by one of its kind gets a new version instead, so that its
	// history goes on.
	Over     id.Entry
	OverSeen Seen
	// Copy is as in a [Write], to the entry replaced.
	Copy id.Entry
}

// Config is what a rebase needs besides the tree.
type Config struct {
	// Root is the root folder, which may not exist yet.
	Root id.Entry
	// Device and Now name conflicts; Now is also when folders are modified.
	Device string
	Now    time.Time
	// Same reports whether two files of the same size have the same content,
	// although their blocks differ, as those of two imports of one file do.
	// Without it they count as different.
	Same func(ctx context.Context, ours, theirs manifest.FileBody) (bool, error)
}

// What is what became of an operation that did not go as intended.
type What uint8

// The things worth telling.
const (
	// Renamed: the name was taken, the local entry has another one.
	Renamed What = 1 + iota
	// Copied: both sides changed the content, the local one is a copy.
	Copied
	// Joined: both sides made the same folder or file, which is now one.
	Joined
	// Spared: not removed, since others had changed, moved or made it.
	Spared
	// Revived: others had removed it, work that they had not seen brings it back.
	Revived
	// Stayed: not moved where it should, since others had moved it elsewhere.
	Stayed
	// Removed: not moved, since others had removed it with all that was in it.
	Removed
)

// String returns the thing in a word.
func (w What) String() string {
	names := []string{"", "renamed", "copied", "joined", "spared", "revived", "stayed", "removed"}
	if int(w) >= len(names) {
		return "unknown"
	}
	return names[w]
}

// Note tells that something did not go as intended.
type Note struct {
	What  What
	Entry id.Entry
	// Wanted is where the local side had it, Place where it is now.
	Wanted, Place Place
}

// Put is a new version of an entry.
type Put struct {
	Entry   id.Entry
	Version uint64
	// Place is the hint that goes into the manifest.
	Place Place
	Node  Node
	// Changes are the changes to a folder's children, by ascending name.
	Changes []manifest.Child
	// Fresh says that the entry is new or comes back: a folder's version is a
	// snapshot, whose children are Changes.
	Fresh bool
}

// Gone ends an entry.
type Gone struct {
	Entry   id.Entry
	Version uint64
}

// Plan is what to commit.
type Plan struct {
	// Puts are by ascending entry.
	Puts []Put
	// Gone are parents before what was below them. Those that do not fit the
	// commit follow in others; see [Sweep].
	Gone []Gone
	// Restructures says that the commit removes or moves an existing entry.
	Restructures bool
	Notes        []Note

	became map[id.Entry]id.Entry
	joined map[id.Entry]Place
	own    map[id.Entry]Own
}

// Became returns the entry that e is after the plan: another one if e was new
// and is joined with it.
func (p *Plan) Became(e id.Entry) id.Entry { return follow(p.became, e) }

func follow(became map[id.Entry]id.Entry, e id.Entry) id.Entry {
	for range became {
		next, ok := became[e]
		if !ok {
			break
		}
		e = next
	}
	return e
}

// Base is what a device keeps beside its operations while they wait. The zero
// value is empty and ready for use.
type Base struct {
	// Folders are those above the work, so that they can come back.
	Folders map[id.Entry]Seen
	// Became says which new entries were joined with others.
	Became map[id.Entry]id.Entry
	// Own is what commits made of entries that waiting operations touch.
	Own map[id.Entry]Own
}

// Own is what a device's own commit made of an entry.
type Own struct {
	// Place is where the entry went, Wanted where the local side has it.
	Wanted, Place Place
	// Ours is a local content that equals Theirs, which stayed.
	Ours, Theirs Node
}

// See remembers a folder and those above it as they are in v.
func (b *Base) See(ctx context.Context, v View, folder id.Entry) error {
	for !folder.IsZero() {
		if _, ok := b.Folders[folder]; ok {
			return nil
		}
		seen, err := Look(ctx, v, folder)
		if err != nil {
			return err
		}
		b.keep(folder, seen)
		folder = seen.Place.Folder
	}
	return nil
}

func (b *Base) keep(folder id.Entry, seen Seen) {
	if b.Folders == nil {
		b.Folders = map[id.Entry]Seen{}
	}
	b.Folders[folder] = seen
}

// Accept takes in that a plan was committed, while the operations in rest,
// which come after it, wait. Its folders are known from now on, so that later
// operations may work in them.
func (b *Base) Accept(p *Plan, rest []Op) { b.Join(p.Made(), rest) }

// Follow returns what an entry has become.
func (b *Base) Follow(e id.Entry) id.Entry { return follow(b.Became, e) }

// Made returns what a device keeps of a plan that is committed, for
// [Base.Join].
func (p *Plan) Made() Base {
	made := Base{Became: p.became, Own: p.own}
	for _, put := range p.Puts {
		if put.Node.Kind == manifest.Folder {
			made.keep(put.Entry, Seen{put.Version, put.Place, put.Node})
		}
	}
	for folder, place := range p.joined {
		made.keep(folder, Seen{Place: place})
	}
	return made
}

// Join takes in what a committed plan made; see [Base.Accept].
func (b *Base) Join(made Base, rest []Op) {
	if b.Became == nil {
		b.Became = map[id.Entry]id.Entry{}
	}
	for from, to := range made.Became {
		b.Became[from] = to
	}
	for folder, seen := range made.Folders {
		b.keep(folder, seen)
	}
	own := map[id.Entry]Own{}
	for _, op := range rest {
		op.touches(func(e id.Entry) {
			e = follow(b.Became, e)
			if now, ok := made.Own[e]; ok {
				own[e] = now
			} else if before, ok := b.Own[e]; ok {
				own[e] = before
			}
		})
	}
	b.Own = own
}

// Look returns what there is to see of an entry.
func Look(ctx context.Context, v View, e id.Entry) (Seen, error) {
	state, err := v.Entry(ctx, e)
	if err != nil {
		return Seen{}, err
	}
	place, _, err := v.Parent(ctx, e)
	return Seen{state.Version, place, state.Node}, err
}

// LookBelow returns what there is to see below a folder, at any depth, without
// nodes. A file has nothing below it.
func LookBelow(ctx context.Context, v View, folder id.Entry) (map[id.Entry]Seen, error) {
	all := map[id.Entry]Seen{}
	open := []id.Entry{folder}
	for len(open) > 0 {
		at := open[len(open)-1]
		open = open[:len(open)-1]
		children, err := v.Children(ctx, at)
		if err != nil {
			return nil, err
		}
		for _, c := range children {
			if _, ok := all[c.Entry]; ok || c.Entry == folder {
				continue
			}
			state, err := v.Entry(ctx, c.Entry)
			if err != nil {
				return nil, err
			}
			all[c.Entry] = Seen{Version: state.Version, Place: Place{at, c.Name}}
			if c.Kind == manifest.Folder {
				open = append(open, c.Entry)
			}
		}
	}
	return all, nil
}
