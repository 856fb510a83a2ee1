package content

import (
	"context"
	"errors"
	"slices"
	"sort"

	"parsec/internal/client/list"
	"parsec/internal/format/manifest"
)

const (
	// mostOutlines is of how many contents an outline is remembered.
	mostOutlines = 64
	// An outline has so many blocks, or covers so much of a content, but where a
	// single read needs more.
	mostPieces, mostSpan = 256, 128 << 20
)

// outline is where the blocks of a part of a content are. To find that in the
// list takes longer than to open a block.
type outline struct {
	key key
	// pieces have no gaps between them.
	pieces []list.Piece
	// end is where the last read ended.
	end uint64
	// asked says that the part of the list behind it was asked for.
	asked bool
}

// key tells contents apart: the same list lies at the same place as long as it is
// in use, and an outline uses it.
type key struct {
	items *byte
	pages *manifest.Page
	size  uint64
}

func keyOf(body manifest.FileBody) (k key) {
	k.size = body.Size
	if len(body.Blocks.Items) > 0 {
		k.items = &body.Blocks.Items[0]
	}
	if len(body.Blocks.Pages) > 0 {
		k.pages = &body.Blocks.Pages[0]
	}
	return k
}

func (o *outline) from() uint64 { return o.pieces[0].Start }
func (o *outline) to() uint64   { return o.pieces[len(o.pieces)-1].End() }

// between returns the pieces that overlap a range, as far as the outline goes.
func (o *outline) between(from, to uint64) []list.Piece {
	i := sort.Search(len(o.pieces), func(i int) bool { return o.pieces[i].End() > from })
	j := sort.Search(len(o.pieces), func(j int) bool { return o.pieces[j].Start >= to })
	return o.pieces[min(i, j):j]
}

// outline returns where the blocks of a range are, and of what follows it.
func (r *Reader) outline(ctx context.Context, body manifest.FileBody, from, to uint64) (*outline, error) {
	k := keyOf(body)
	if o := r.remembered(k, from, to); o != nil {
		return o, nil
	}
	blocks, err := list.Open(body)
	if err != nil {
		return nil, err
	}
	o := r.local(ctx, blocks, from, to)
	if o == nil {
		if o, err = r.exactly(ctx, blocks, from, to); err != nil {
			return nil, err
		}
		if more := r.local(ctx, blocks, from, to); more != nil {
			o = more
		}
	}
	o.key = k
	r.remember(o)
	return o, nil
}

// exactly asks the server for what lacks of the list, and returns an outline of a
// range alone.
func (r *Reader) exactly(ctx context.Context, blocks list.Blocks, from, to uint64) (*outline, error) {
	o := new(outline)
	for piece, err := range blocks.Range(ctx, r, from, to) {
		if err != nil {
			return nil, err
		}
		o.pieces = append(o.pieces, piece)
	}
	return o, nil
}

// goOn gets the part of the list behind an outline, for who reads on, and puts
// another outline in its place. What fails is for who gets there to find out.
func (r *Reader) goOn(ctx context.Context, o *outline, body manifest.FileBody) {
	blocks, err := list.Open(body)
	if err != nil {
		return
	}
	from, to := o.pieces[len(o.pieces)/2].Start, o.to()
	if _, err := r.exactly(ctx, blocks, to, to+1); err != nil {
		return
	}
	if more := r.local(ctx, blocks, from, to+1); more != nil {
		more.key = o.key
		r.remember(more)
	}
}

// local does so without the server, nil if that does not do.
func (r *Reader) local(ctx context.Context, blocks list.Blocks, from, to uint64) *outline {
	for _, span := range []uint64{mostSpan, mostSpan / 8, 0} { // less where the next page is not here
		o := new(outline)
		for piece, err := range blocks.Range(ctx, here{r}, from, min(blocks.Size(), max(to, from+span))) {
			if err != nil {
				break
			}
			if o.pieces = append(o.pieces, piece); len(o.pieces) >= mostPieces && piece.End() >= to {
				break
			}
		}
		if len(o.pieces) > 0 && o.to() >= to {
			return o
		}
	}
	return nil
}

// remembered returns an outline that covers a range, nil if there is none.
func (r *Reader) remembered(k key, from, to uint64) *outline {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.outlines, func(o *outline) bool { return o.key == k })
	if i < 0 {
		return nil
	}
	o := r.outlines[i]
	copy(r.outlines[1:i+1], r.outlines[:i])
	r.outlines[0] = o
	if from < o.from() || to > o.to() {
		return nil
	}
	return o
}

// remember keeps an outline, in place of another one of the same content.
func (r *Reader) remember(o *outline) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outlines = slices.DeleteFunc(r.outlines, func(other *outline) bool {
		if other.key == o.key {
			o.end = other.end
		}
		return other.key == o.key
	})
	r.outlines = slices.Insert(r.outlines, 0, o)
	r.outlines = r.outlines[:min(len(r.outlines), mostOutlines)]
}

// errAway says that a page of a list is not here.
var errAway = errors.New("read content: a part of the list of its blocks is not on this device")

// here reads the pages that are on this device.
type here struct{ *Reader }

var _ list.Reader = here{}

// ReadPages implements [list.Reader].
func (h here) ReadPages(_ context.Context, refs []manifest.Ref) ([][]byte, error) {
	out := make([][]byte, len(refs))
	for i, ref := range refs {
		b, mine := h.take(ref)
		if mine && !h.open(b) {
			h.finish(b, nil, errAway)
		}
		select {
		case <-b.done:
			out[i] = slices.Clone(b.plain)
		default: // somebody is fetching it
		}
		h.giveBack(b)
		if out[i] == nil {
			return nil, errAway
		}
	}
	return out, nil
}
