package files

import (
	"context"
	"path"

	"parsec/internal/base/fault"
	"parsec/internal/client/list"
	"parsec/internal/format/manifest"
)

// CopyAcross copies an entry of another workspace, and all below it, into a
// folder under a name, or with an empty name what is in it. Content is fetched
// and sealed anew as it comes, that of many small files at once.
func (t *Tree) CopyAcross(ctx context.Context, other *Tree, from, into Entry, name string, o CopyOptions) error {
	return t.importing(ctx, o, func(ctx context.Context, im *importer) error {
		to, err := im.into(ctx, into)
		if err != nil {
			return err
		}
		a := &across{importer: im, other: other}
		if name == "" {
			err = a.addChildren(ctx, from, to)
		} else {
			err = a.add(ctx, from, name, to)
		}
		if err != nil {
			return err
		}
		return a.flush(ctx)
	})
}

// across is the producer of a copy between two workspaces. It fetches the
// pieces of many files at once and seals them in order.
type across struct {
	*importer
	other  *Tree
	pieces []acrossPiece
	size   uint64
}

// acrossPiece is a block or hole of a file, or the file's end.
type acrossPiece struct {
	file *acrossFile
	ref  manifest.Ref
	last bool
}

// acrossFile is a file whose pieces are sealed.
type acrossFile struct {
	w       *write
	body    manifest.FileBody
	builder *list.Builder
}

// How much a copy between workspaces fetches at once.
const (
	acrossBytes  = 16 << 20
	acrossPieces = 4096
)

func (a *across) add(ctx context.Context, e Entry, name string, to target) error {
	switch body := e.Body.(type) {
	case manifest.FileBody:
		return a.addFile(ctx, e, body, name, to)
	case manifest.SymlinkBody:
		a.tally.Found(1, 0)
		if a.update && unchanged(e, to.there[name]) {
			a.tally.Done(1, 0)
			return nil
		}
		return a.complete(newWrite(name, to, e.Manifest.Modified), body)
	}
	if there, exists := to.there[name]; exists && there.Kind == manifest.Folder {
		below, err := a.into(ctx, there)
		if err != nil {
			return err
		}
		return a.addChildren(ctx, e, below)
	}
	w := newWrite(name, to, e.Manifest.Modified)
	if err := a.complete(w, manifest.FolderBody{}); err != nil {
		return err
	}
	return a.addChildren(ctx, e, target{folder: w.entry, path: path.Join(to.path, name)})
}

func (a *across) addChildren(ctx context.Context, folder Entry, below target) error {
	a.mu.Lock() // both trees belong to one session
	children, err := a.other.List(ctx, folder)
	a.mu.Unlock()
	if err != nil {
		return err
	}
	for _, e := range children {
		if err := a.add(ctx, e, e.Name(), below); err != nil {
			return err
		}
	}
	return nil
}

// unchanged reports whether a copy is there already, as far as size, time,
// mode and target tell.
func unchanged(e, there Entry) bool {
	return there.Kind == e.Kind && there.Size() == e.Size() && there.Manifest.Modified == e.Manifest.Modified &&
		there.Executable() == e.Executable() && there.Target() == e.Target()
}

func (a *across) addFile(ctx context.Context, e Entry, body manifest.FileBody, name string, to target) error {
	a.tally.Found(1, body.Size)
	if a.update && unchanged(e, to.there[name]) {
		a.tally.Done(1, body.Size)
		return nil
	}
	blocks, err := list.Open(body)
	if err != nil {
		a.tally.Skipped(a.other.address(e.Path), err)
		return nil
	}
	f := &acrossFile{w: newWrite(name, to, e.Manifest.Modified), body: body}
	f.builder = list.NewBuilder(sealer{a.out, f.w})
	for p, err := range blocks.All(ctx, pages{a.other}) {
		if err != nil {
			return err
		}
		if err := a.push(ctx, acrossPiece{file: f, ref: p.Ref}); err != nil {
			return err
		}
	}
	return a.push(ctx, acrossPiece{file: f, last: true})
}

func (a *across) push(ctx context.Context, p acrossPiece) error {
	a.pieces = append(a.pieces, p)
	if !p.last && !p.ref.Hole() {
		a.size += p.ref.Size
	}
	if a.size < acrossBytes && len(a.pieces) < acrossPieces {
		return nil
	}
	return a.flush(ctx)
}

// flush fetches the blocks that were gathered, and seals all pieces in order.
func (a *across) flush(ctx context.Context) error {
	var refs []manifest.Ref
	for _, p := range a.pieces {
		if !p.last && !p.ref.Hole() {
			refs = append(refs, p.ref)
		}
	}
	contents, err := pages{a.other}.ReadPages(ctx, refs)
	if err != nil {
		return err
	}
	for _, p := range a.pieces {
		switch {
		case p.last:
			err = a.finish(ctx, p.file)
		case p.ref.Hole():
			err = p.file.builder.Add(ctx, p.ref)
		default:
			err = a.sealPiece(ctx, p.file, contents[0])
			contents = contents[1:]
		}
		if err != nil {
			return err
		}
	}
	a.pieces, a.size = a.pieces[:0], 0
	return nil
}

func (a *across) sealPiece(ctx context.Context, f *acrossFile, content []byte) error {
	room, err := a.out.Room(len(content))
	if err != nil {
		return err
	}
	copy(room, content)
	ref := a.out.Seal(room)
	f.w.blocks = append(f.w.blocks, ref.ID)
	a.tally.Done(0, uint64(len(content)))
	return f.builder.Add(ctx, ref)
}

func (a *across) finish(ctx context.Context, f *acrossFile) error {
	if f.builder.Size() != f.body.Size {
		return fault.Errorf(fault.Invalid, "copy %s: its blocks do not make up its size", f.w.name)
	}
	blocks, err := f.builder.Finish(ctx)
	if err != nil {
		return err
	}
	return a.complete(f.w, manifest.FileBody{Size: f.body.Size, Executable: f.body.Executable, Blocks: blocks})
}
