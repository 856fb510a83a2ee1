// Package edit replays operations on the newest verified tree of a workspace and
// commits what follows: it turns a plan of package merge into manifests, and
// folders into deltas or snapshots with their pages. It decides no conflict and
// moves no content; blocks that a file's new content introduces are stored
// before.
package edit

import (
	"context"
	"maps"
	"slices"

	"parsec/internal/base/id"
	"parsec/internal/client/list"
	"parsec/internal/client/merge"
	"parsec/internal/client/mirror"
	"parsec/internal/client/store"
	"parsec/internal/client/tree"
	"parsec/internal/client/workspace"
	"parsec/internal/format/canon"
	"parsec/internal/format/manifest"
	"parsec/internal/format/pack"
	"parsec/internal/format/record"
)

// Edit is a list of operations that are committed together.
type Edit struct {
	Ops []merge.Op
	// Base is what is known beside the operations.
	Base *merge.Base
	// Blocks are those that an operation's new content introduces, by the
	// entry that it makes or writes. They are stored.
	Blocks map[id.Entry][]id.Block
	// Modified are times that folders keep, although the edit changes what is
	// in them.
	Modified map[id.Entry]int64
	// Same compares the contents of two files of the same size.
	Same func(ctx context.Context, ours, theirs manifest.FileBody) (bool, error)
	// Intend, if it is not nil, is told which record is about to be sent, and
	// what it commits. Only when it returns nil, the record is sent.
	Intend func(digest record.Digest, plan *merge.Plan) error
}

// Editor commits edits of one workspace.
type Editor struct {
	*mirror.Mirror
	ws    *workspace.Workspace
	cache *store.Cache
}

// New returns the editor of a workspace over its verified tree.
func New(t *mirror.Mirror) *Editor {
	ws := t.Workspace()
	return &Editor{t, ws, ws.Session().Local().Cache}
}

// Commit replays an edit on the newest tree and commits it. Where others were
// first, it replays it on what there is then. A plan without changes is not
// committed. What was below removed folders and did not fit is left to
// [Editor.Sweep].
func (t *Editor) Commit(ctx context.Context, e Edit) (plan *merge.Plan, err error) {
	err = t.ws.Session().Exclusive(ctx, func(ctx context.Context) error {
		plan, err = t.commit(ctx, e)
		return err
	})
	return plan, err
}

func (t *Editor) commit(ctx context.Context, e Edit) (*merge.Plan, error) {
	var plan *merge.Plan
	err := t.ws.Commit(ctx, func(ctx context.Context) (*workspace.Proposal, error) {
		if err := t.Pull(ctx); err != nil {
			return nil, err
		}
		v := newView(t.Mirror)
		if err := v.lookAhead(ctx, slices.Collect(maps.Keys(e.Blocks))); err != nil {
			return nil, err
		}
		var err error
		plan, err = merge.Rebase(ctx, v, e.Base, e.Ops, merge.Config{
			Root: t.Root(), Device: t.ws.Session().Device().Label, Now: t.ws.Session().Now(), Same: e.Same,
		})
		if err != nil {
			return nil, err
		}
		return t.propose(ctx, plan, e)
	})
	if err != nil {
		return nil, err
	}
	if err := t.Pull(ctx); err != nil {
		return nil, err
	}
	if plan.Restructures || len(t.ws.Mark().Contested) > 0 {
		if err := t.Settle(ctx); err != nil {
			return nil, err
		}
	}
	return plan, nil
}

// propose turns a plan into a proposal of a commit.
func (t *Editor) propose(ctx context.Context, plan *merge.Plan, e Edit) (*workspace.Proposal, error) {
	p := &workspace.Proposal{Restructures: plan.Restructures}
	if e.Intend != nil {
		p.Intend = func(digest record.Digest) error { return e.Intend(digest, plan) }
	}
	loose := &loosePages{tree: t}
	var derive []func(*store.CacheTx) error
	for _, put := range plan.Puts {
		change, after, err := t.change(ctx, put, e, loose)
		if err != nil {
			return nil, err
		}
		p.Changes = append(p.Changes, change)
		p.Blocks = append(p.Blocks, e.Blocks[put.Entry]...)
		if after != nil {
			derive = append(derive, after)
		}
	}
	for _, gone := range plan.Gone[:min(len(plan.Gone), record.MaxChanges-len(p.Changes))] {
		p.Changes = append(p.Changes, workspace.Change{Manifest: manifest.Manifest{Entry: gone.Entry}})
	}
	if err := loose.flush(ctx); err != nil {
		return nil, err
	}
	p.Blocks = append(p.Blocks, loose.stored...)
	p.Derive = func(tx *store.CacheTx) error {
		for _, write := range derive {
			if err := write(tx); err != nil {
				return err
			}
		}
		return nil
	}
	return p, nil
}

// change returns the next version of an entry, and for a folder how the cache
// follows it.
func (t *Editor) change(ctx context.Context, put merge.Put, e Edit, loose *loosePages) (workspace.Change, func(*store.CacheTx) error, error) {
	n := put.Node
	m := manifest.Manifest{Entry: put.Entry, Parent: put.Place.Folder, Name: put.Place.Name, Created: n.Created, Modified: n.Modified}
	switch n.Kind {
	case manifest.File:
		return workspace.Change{Manifest: m, Body: n.File}, nil, nil
	case manifest.Symlink:
		return workspace.Change{Manifest: m, Body: manifest.SymlinkBody{Target: n.Target}}, nil, nil
	}
	if at, ok := e.Modified[put.Entry]; ok {
		m.Modified = at
	}
	next, err := t.nextFolder(ctx, put, loose)
	if err != nil {
		return workspace.Change{}, nil, err
	}
	return workspace.Change{Manifest: m, Body: next.Body}, t.deriveFolder(put, next), nil
}

func (t *Editor) nextFolder(ctx context.Context, put merge.Put, loose *loosePages) (*nextFolder, error) {
	facts, err := t.Facts(ctx, put.Entry)
	if err != nil {
		return nil, err
	}
	if !put.Fresh && facts.Shape.Version != put.Version-1 {
		// Nobody has looked into it here, and what it holds must not be left out.
		if err := t.Complete(ctx, put.Entry); err != nil {
			return nil, err
		}
		if facts, err = t.Facts(ctx, put.Entry); err != nil {
			return nil, err
		}
	}
	if put.Fresh || facts.Shape.Version != put.Version-1 { // or no version of it could be used
		facts = mirror.Facts{Shape: tree.Gone(put.Version - 1)}
	}
	before := func(ctx context.Context) (tree.Children, []tree.Mark, error) {
		if put.Fresh {
			return nil, nil, nil
		}
		children, err := newView(t.Mirror).Children(ctx, put.Entry)
		return children, facts.Marks, err
	}
	next, err := tree.Write(ctx, facts.Shape, put.Changes, before, loose)
	if err != nil {
		return nil, err
	}
	if next.Snapshot {
		facts.Marks = next.Marks
	}
	facts.Shape = next.Shape
	return &nextFolder{next.Body, canon.Marshal(facts)}, nil
}

// nextFolder is a folder's next version, and what the cache keeps of it.
type nextFolder struct {
	Body  manifest.FolderBody
	facts []byte
}

func (t *Editor) deriveFolder(put merge.Put, next *nextFolder) func(*store.CacheTx) error {
	return func(tx *store.CacheTx) error {
		if put.Fresh {
			if err := tx.ClearFolder(put.Entry); err != nil {
				return err
			}
		}
		if err := mirror.WriteChildren(tx, put.Entry, put.Changes); err != nil {
			return err
		}
		return tx.PutFolder(put.Entry, next.facts)
	}
}

// Sweep commits the ends of what lay below removed folders, as far as they did
// not fit the commit that removed them.
func (t *Editor) Sweep(ctx context.Context, plan *merge.Plan) error {
	left := plan.Gone[min(len(plan.Gone), max(0, record.MaxChanges-len(plan.Puts))):]
	for len(left) > 0 {
		some := left[:min(len(left), record.MaxChanges)]
		left = left[len(some):]
		err := t.ws.Commit(ctx, func(ctx context.Context) (*workspace.Proposal, error) {
			if err := t.Pull(ctx); err != nil {
				return nil, err
			}
			entries := make([]id.Entry, len(some))
			for i, gone := range some {
				entries[i] = gone.Entry
			}
			still, err := merge.Sweep(ctx, newView(t.Mirror), t.Root(), entries)
			if err != nil {
				return nil, err
			}
			p := &workspace.Proposal{Restructures: true}
			for _, gone := range still {
				p.Changes = append(p.Changes, workspace.Change{Manifest: manifest.Manifest{Entry: gone.Entry}})
			}
			return p, nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// loosePages seals the pages of folders and stores them before the commit
// that names them.
type loosePages struct {
	tree   *Editor
	blocks []pack.Block
	body   []byte
	stored []id.Block
}

var _ list.Sealer = (*loosePages)(nil)

// SealPage implements [list.Sealer].
func (l *loosePages) SealPage(ctx context.Context, plain []byte) (manifest.Ref, error) {
	if len(l.body)+len(plain)*2 > pack.MaxSize {
		if err := l.flush(ctx); err != nil {
			return manifest.Ref{}, err
		}
	}
	start := len(l.body)
	ref, body := l.tree.ws.Place().SealBlock(l.body, plain)
	l.body = body
	l.blocks = append(l.blocks, pack.Block{ID: ref.ID, Length: uint32(len(body) - start), Digest: ref.Digest})
	return ref, nil
}

func (l *loosePages) flush(ctx context.Context) error {
	if len(l.blocks) == 0 {
		return nil
	}
	if err := l.tree.ws.Session().Server().Upload(ctx, l.tree.ws.ID(), l.blocks, [][]byte{l.body}); err != nil {
		return err
	}
	for _, b := range l.blocks {
		l.stored = append(l.stored, b.ID)
	}
	l.blocks, l.body = nil, nil
	return nil
}

// See remembers the folders in which operations make something and that they
// do not make themselves.
func (t *Editor) See(ctx context.Context, ops []merge.Op, base *merge.Base) error {
	made, above := map[id.Entry]bool{}, map[id.Entry]bool{}
	for _, op := range ops {
		if c, ok := op.(merge.Create); ok {
			made[c.Entry] = true
			above[c.At.Folder] = true
		}
	}
	v := newView(t.Mirror)
	for folder := range above {
		if made[folder] {
			continue
		}
		if err := base.See(ctx, v, folder); err != nil {
			return err
		}
	}
	return nil
}
