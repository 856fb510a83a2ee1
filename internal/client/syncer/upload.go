package syncer

import (
	"bytes"
	"context"

	"parsec/internal/base/id"
	"parsec/internal/client/list"
	"parsec/internal/client/overlay"
	"parsec/internal/client/transfer"
	"parsec/internal/format/manifest"
)

// cell is the length of the blocks that are sealed here.
const cell = manifest.BlockSize

// noteEvery is after how many bytes of a file it is noted what is stored of it,
// so that an upload that broke off goes on there.
const noteEvery = 16 * cell

// upload stores the changed content of a batch, and says which blocks each file
// introduces.
func (s *Syncer) upload(ctx context.Context, b *overlay.Batch) (map[id.Entry][]id.Block, error) {
	introduced := map[id.Entry][]id.Block{}
	err := transfer.Upload(ctx, s.cfg.Transfer, s.ws.Place(), s.store,
		func(ctx context.Context, out *transfer.Outgoing[part]) error {
			for _, f := range b.Files() {
				u := &uploader{Syncer: s, file: f, out: out}
				body, err := u.body(ctx)
				if err != nil {
					return err
				}
				b.Body(f, body)
				introduced[f.Entry] = u.introduced
				if !f.Copy.IsZero() {
					introduced[f.Copy] = u.introduced
				}
			}
			return nil
		}, func(_ context.Context, parts []part) error {
			for _, p := range parts {
				if err := b.Stored(p.file, p.piece); err != nil {
					return err
				}
			}
			return nil
		})
	return introduced, err
}

// part is a part of a file that is on the server once it is consumed.
type part struct {
	file  *overlay.Frozen
	piece overlay.Piece
}

// uploader makes the next list of blocks of one file.
type uploader struct {
	*Syncer
	file *overlay.Frozen
	out  *transfer.Outgoing[part]
	// introduced are the blocks that the list names and the base does not.
	introduced []id.Block
}

// body seals what differs from the base, in whole blocks, and returns the
// content with these in their places.
func (u *uploader) body(ctx context.Context) (manifest.FileBody, error) {
	base := u.file.Base
	if base.Size == 0 { // what is new has no list yet
		base.Blocks = manifest.List{Items: manifest.EncodeItems([]manifest.Ref{})}
	}
	blocks, err := list.Open(base)
	if err != nil {
		return manifest.FileBody{}, err
	}
	dirty, err := u.dirty(ctx, blocks)
	if err != nil {
		return manifest.FileBody{}, err
	}
	size := u.file.Size
	if before := blocks.Size(); before < size {
		blocks, err = blocks.Replace(ctx, u.content, u, before, before, []manifest.Ref{manifest.Hole(size - before)})
	} else if before > size {
		// What is cut within a block is part of a dirty range, which ends there.
		from := size
		if n := len(dirty); n > 0 && dirty[n-1].To >= size {
			from = dirty[n-1].From
		}
		blocks, err = u.cut(ctx, blocks, from, before, size)
	}
	if err != nil {
		return manifest.FileBody{}, err
	}
	for _, r := range dirty {
		refs, err := u.seal(ctx, r)
		if err != nil {
			return manifest.FileBody{}, err
		}
		if blocks, err = blocks.Replace(ctx, u.content, u, r.From, r.To, refs); err != nil {
			return manifest.FileBody{}, err
		}
	}
	return manifest.FileBody{Size: size, Blocks: blocks.List()}, nil
}

// cut takes away what is behind the file's size. Up to there from an offset
// where a block begins, there is a hole, which is filled after.
func (u *uploader) cut(ctx context.Context, blocks list.Blocks, from, before, size uint64) (list.Blocks, error) {
	var hole []manifest.Ref
	if from < size {
		hole = []manifest.Ref{manifest.Hole(size - from)}
	}
	return blocks.Replace(ctx, u.content, u, from, before, hole)
}

// dirty returns the ranges of the content that are sealed anew: the changed
// ones, and where the file is cut, extended to whole cells and to whole blocks
// of the base, by ascending offset and apart.
func (u *uploader) dirty(ctx context.Context, blocks list.Blocks) ([]overlay.Range, error) {
	var out []overlay.Range
	changed := u.file.Changed
	if blocks.Size() > u.file.Size && u.file.Size > 0 {
		changed = append(changed[:len(changed):len(changed)], overlay.Range{From: u.file.Size - 1, To: u.file.Size})
	}
	for _, r := range cells(changed, u.file.Size) {
		r, err := u.extend(ctx, blocks, r)
		if err != nil {
			return nil, err
		}
		for n := len(out); n > 0 && out[n-1].To >= r.From; n = len(out) {
			r = overlay.Range{From: min(out[n-1].From, r.From), To: max(out[n-1].To, r.To)}
			out = out[:n-1]
		}
		out = append(out, r)
	}
	return out, nil
}

// cells returns the cells of a file of a size in which ranges lie, which ascend. Most
// of what is written at random lies in few of them.
func cells(ranges []overlay.Range, size uint64) (out []overlay.Range) {
	for _, r := range ranges {
		r = overlay.Range{From: r.From / cell * cell, To: min((r.To+cell-1)/cell*cell, size)}
		if n := len(out); n > 0 && out[n-1].To >= r.From {
			out[n-1].To = max(out[n-1].To, r.To)
			continue
		}
		out = append(out, r)
	}
	return out
}

// extend extends a range to whole cells and whole blocks of the base.
func (u *uploader) extend(ctx context.Context, blocks list.Blocks, r overlay.Range) (overlay.Range, error) {
	for {
		before := r
		r.From, r.To = r.From/cell*cell, min((r.To+cell-1)/cell*cell, u.file.Size)
		if r.From < blocks.Size() {
			for piece, err := range blocks.Range(ctx, u.content, r.From, min(r.To, blocks.Size())) {
				if err != nil {
					return r, err
				}
				if !piece.Ref.Hole() {
					r.From, r.To = min(r.From, piece.Start), min(max(r.To, piece.End()), u.file.Size)
				}
			}
		}
		if r == before {
			return r, nil
		}
	}
}

// seal seals the cells of a range, but for those that are stored already. Zeros
// are holes.
func (u *uploader) seal(ctx context.Context, r overlay.Range) ([]manifest.Ref, error) {
	var refs []manifest.Ref
	piece := overlay.Piece{From: r.From, To: r.From}
	note := func() error {
		if len(piece.Refs) == 0 {
			return nil
		}
		err := u.out.Complete(part{u.file, piece})
		piece = overlay.Piece{From: piece.To, To: piece.To}
		return err
	}
	for at := r.From; at < r.To; {
		if stored, ok := u.stored(at, r.To); ok {
			if err := note(); err != nil {
				return nil, err
			}
			u.introduce(stored.Refs...)
			refs = append(refs, stored.Refs...)
			at, piece.From, piece.To = stored.To, stored.To, stored.To
			continue
		}
		ref, err := u.sealCell(ctx, at, min(at-at%cell+cell, r.To))
		if err != nil {
			return nil, err
		}
		refs, piece.Refs = append(refs, ref), append(piece.Refs, ref)
		at += ref.Size
		if piece.To = at; piece.To-piece.From >= noteEvery {
			if err := note(); err != nil {
				return nil, err
			}
		}
	}
	if r.To-r.From < noteEvery { // little is soon done again
		return refs, nil
	}
	return refs, note()
}

// stored returns a part that is stored already, begins at an offset, and ends
// before another.
func (u *uploader) stored(at, end uint64) (overlay.Piece, bool) {
	for _, p := range u.file.Stored {
		if p.From == at && p.To <= end {
			return p, true
		}
	}
	return overlay.Piece{}, false
}

func (u *uploader) introduce(refs ...manifest.Ref) {
	for _, ref := range refs {
		if !ref.Hole() {
			u.introduced = append(u.introduced, ref.ID)
		}
	}
}

// zeros is what is not stored.
var zeros [cell]byte

func (u *uploader) sealCell(ctx context.Context, from, to uint64) (manifest.Ref, error) {
	room, err := u.out.Room(int(to - from))
	if err != nil {
		return manifest.Ref{}, err
	}
	if _, err := u.file.ReadAt(ctx, room, int64(from)); err != nil {
		return manifest.Ref{}, err
	}
	if bytes.Equal(room, zeros[:len(room)]) {
		return manifest.Hole(uint64(len(room))), nil
	}
	ref := u.out.Seal(room)
	u.introduce(ref)
	return ref, nil
}

// SealPage implements [list.Sealer].
func (u *uploader) SealPage(_ context.Context, plain []byte) (manifest.Ref, error) {
	ref, err := u.out.SealCopy(plain)
	u.introduce(ref)
	return ref, err
}

// same compares the contents of two files of the same size.
func (s *Syncer) same(ctx context.Context, ours, theirs manifest.FileBody) (bool, error) {
	const part = 1 << 20
	a, b := make([]byte, min(part, ours.Size)), make([]byte, min(part, ours.Size))
	for at := uint64(0); at < ours.Size; at += uint64(len(a)) {
		a, b = a[:min(part, ours.Size-at)], b[:min(part, ours.Size-at)]
		if err := s.content.ReadAt(ctx, ours, a, int64(at)); err != nil {
			return false, err
		}
		if err := s.content.ReadAt(ctx, theirs, b, int64(at)); err != nil {
			return false, err
		}
		if !bytes.Equal(a, b) {
			return false, nil
		}
	}
	return true, nil
}
