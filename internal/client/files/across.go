package files

import (
	"bytes"
	"context"
	"path"

	"parsec/internal/base/fault"
	"parsec/internal/client/list"
	"parsec/internal/client/mirror"
	"parsec/internal/client/transfer"
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
	from    Entry
	w       *write
	body    manifest.FileBody
	builder *list.Builder
	// lost is why the file is left out, if it is.
	lost error
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
		if a.update && to.has(name, looksOf(e)) {
			a.tally.Done(1, 0)
			return nil
		}
		w, err := newWrite(name, e.Kind, to, e.Manifest.Modified)
		if err != nil {
			return a.leave(ctx, a.other.address(e.Path), err)
		}
		return a.complete(w, body)
	}
	if there, exists := to.there[name]; exists && there.Kind == manifest.Folder {
		below, err := a.into(ctx, there)
		if err != nil {
			return err
		}
		return a.addChildren(ctx, e, below)
	}
	w, err := newWrite(name, e.Kind, to, e.Manifest.Modified)
	if err != nil {
		return a.leave(ctx, a.other.address(e.Path), err)
	}
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

func (a *across) addFile(ctx context.Context, e Entry, body manifest.FileBody, name string, to target) error {
	a.tally.Found(1, body.Size)
	if a.update && to.has(name, looksOf(e)) {
		a.tally.Done(1, body.Size)
		return nil
	}
	blocks, err := list.Open(body)
	if err != nil {
		a.tally.Skipped(a.other.address(e.Path), err)
		return nil
	}
	w, err := newWrite(name, e.Kind, to, e.Manifest.Modified)
	if err != nil {
		return a.leave(ctx, a.other.address(e.Path), err)
	}
	f := &acrossFile{from: e, w: w, body: body}
	f.builder = list.NewBuilder(sealer{a.out, f.w})
	for p, err := range blocks.All(ctx, a.other.Pages()) {
		if mirror.Confined(err) {
			f.lost = err
			break
		}
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
	contents, err := a.fetch(ctx)
	if err != nil {
		return err
	}
	for i, p := range a.pieces {
		switch {
		case p.last:
			err = a.finish(ctx, p.file)
		case p.file.lost != nil:
		case p.ref.Hole():
			err = p.file.builder.Add(ctx, p.ref)
		default:
			err = a.sealPiece(ctx, p.file, contents[i])
		}
		if err != nil {
			return err
		}
	}
	a.pieces, a.size = a.pieces[:0], 0
	return nil
}

// fetch returns the contents of the gathered pieces. A file that lacks one is
// left out, as a member may have signed it so.
func (a *across) fetch(ctx context.Context) ([][]byte, error) {
	contents := make([][]byte, len(a.pieces))
	lost := make([]error, len(a.pieces))
	err := transfer.Download(ctx, a.other.Transfer, a.other.ws.Place(), a.other.ws.Session().Server(),
		func(_ context.Context, in *transfer.Incoming[int]) error {
			for i, p := range a.pieces {
				if p.last || p.ref.Hole() {
					continue
				}
				if err := in.Want(p.ref, i); err != nil {
					return err
				}
			}
			return nil
		}, func(i int, content []byte, err error) error {
			contents[i], lost[i] = bytes.Clone(content), err
			return nil
		})
	for i, p := range a.pieces {
		if p.file.lost == nil {
			p.file.lost = lost[i]
		}
	}
	return contents, err
}

func (a *across) sealPiece(ctx context.Context, f *acrossFile, content []byte) error {
	room, err := a.out.Room(len(content))
	if err != nil {
		return err
	}
	a.tally.Done(0, uint64(len(content)))
	return seal(ctx, a.out, f.w, f.builder, room[:copy(room, content)])
}

func (a *across) finish(ctx context.Context, f *acrossFile) error {
	if f.lost == nil && f.builder.Size() != f.body.Size {
		f.lost = fault.Errorf(fault.Invalid, "its blocks do not make up its size")
	}
	if f.lost != nil {
		return a.leave(ctx, a.other.address(f.from.Path), &skip{f.lost})
	}
	blocks, err := f.builder.Finish(ctx)
	if err != nil {
		return err
	}
	return a.complete(f.w, manifest.FileBody{Size: f.body.Size, Executable: f.body.Executable, Blocks: blocks})
}
